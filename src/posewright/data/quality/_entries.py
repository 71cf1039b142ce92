"""What the entries of annotations say of themselves: ids, keypoints, boxes, areas, sides, duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import numpy as np

from posewright import coco_format, skeletons
from posewright.coco_format import AREA_OF_BOX
from posewright.data.formats import Annotated, _assemble
from posewright.data.quality._findings import Finding
from posewright.files import short
from posewright.types import Skeleton

FAR = 0.1
"""A point is far outside its box from this part of the box's longer side on."""

SWAPPED = 0.5
"""A pair looks swapped where swapping it shortens its bones to less than this part."""

ALIKE = 0.03
"""Two annotations are of the same person where their points lie nearer than this part of the box's longer side."""


class Row(NamedTuple):
    """An annotation that can be looked at further."""

    place: int
    where: str
    image: int
    keypoints: np.ndarray
    box: list[float]
    skeleton: Skeleton | None

    @property
    def labelled(self) -> np.ndarray:
        """[n, 2] the labelled points."""
        return self.keypoints[self.keypoints[:, 2] > 0, :2]


def findings(found: Annotated) -> list[Finding]:
    """All that is wrong with the entries of annotations, without a look at their images."""
    known, out = _skeletons(found)
    categories = {category.id for category in found.file.categories}
    places = {image.id: n for n, image in enumerate(found.file.images)}
    out += _ids(found)
    rows: list[Row] = []
    for n, a in enumerate(found.file.annotations):
        if a.iscrowd or a.image_id not in places or (categories and a.category_id not in categories):
            continue
        where, image, skeleton = _where(n, a), places[a.image_id], known.get(a.category_id)
        triples, wrong = _triples(a, skeleton)
        if wrong:
            out.append(Finding("keypoints", where, wrong, image, n, None))
            continue
        box, faults = _box(a, triples)
        row = Row(n, where, image, triples, box, skeleton)
        out += [Finding(kind, where, detail, image, n, mend) for kind, detail, mend in (*faults, *_numbers(a, row))]
        rows.append(row)
    out += _nothing(found.file, rows)
    placed = _xyxy(rows, found.file.images) or _outside(rows, found.file.images)
    moved = {f.annotation: f.mend["keypoints"] for f in placed if f.mend and "keypoints" in f.mend}
    for row in rows:
        # Pairs are compared, and swapped, as the mend of points outside leaves them: both mend one list.
        keypoints = np.reshape(moved[row.place], (-1, 3)) if row.place in moved else row.keypoints
        placed += _swapped(row._replace(keypoints=keypoints))
    return [*out, *placed, *_duplicates(rows)]


def _nothing(file: coco_format.AnyFile, rows: Sequence[Row]) -> Iterator[Finding]:
    """What makes `train` refuse the whole set."""
    if not file.images or not file.annotations:
        yield Finding("empty", "the file", f"{len(file.images)} images and {len(file.annotations)} annotations")
    elif not any(category.keypoints for category in file.categories):
        yield Finding("no points", "categories", f"none of {len(file.categories)} lists keypoints")
    elif not any(len(row.labelled) for row in rows):
        yield Finding("empty", "annotations", f"none of {len(file.annotations)} has a labelled point")


def _where(n: int, a: coco_format.Annotation[Any]) -> str:
    return coco_format.where("", n, a)[2:]


def _skeletons(found: Annotated) -> tuple[dict[int, Skeleton], list[Finding]]:
    """Category id -> skeleton, and what is wrong with them."""
    known: dict[int, Skeleton] = {}
    out: list[Finding] = []
    for category in found.file.categories:
        if not category.keypoints:
            continue
        entry = {k: v for k, v in msgspec.to_builtins(category).items() if v is not None}
        where = f"category {category.id} ({short(category.name, 40)})"
        try:
            known[category.id] = skeletons.from_category(entry, where)
        except ValueError as error:
            out.append(Finding("keypoints", where, str(error).removeprefix(f"{where}: ")))
            continue
        if not known[category.id].can_flip:
            points = short(", ".join(category.keypoints), 80)
            out.append(Finding("mirror", where, f"no two of {points} differ by left and right alone"))
    return known, out


def _ids(found: Annotated) -> Iterator[Finding]:
    file = found.file
    categories = {category.id for category in file.categories}
    highest = max((a.id or 0 for a in file.annotations), default=0)
    visited: set[int] = set()
    by_id: dict[int, list[int]] = {}
    for n, image in enumerate(file.images):
        by_id.setdefault(image.id, []).append(n)
    contradicted = False
    for number, places in by_id.items():
        if len(places) == 1:
            continue
        alike = len({file.images[n].file_name for n in places}) == 1
        contradicted |= not alike
        detail = f"{len(places)} images have the id {number}"
        for n in places[1:] if alike else places:
            yield Finding(
                "id", f"images[{n}]", f"{detail} and one name" if alike else detail, n, -1, None if alike else {}
            )
    for n, a in enumerate(file.annotations):
        if a.id is None or a.id in visited:
            highest += 1
            detail = "no id" if a.id is None else f"the id {a.id} is used before"
            yield Finding("id", _where(n, a), detail, -1, n, {"id": highest})
        visited.add(a.id if a.id is not None else highest)
        if a.image_id not in by_id:
            # It may be of an image whose id is wrong, so that none is dropped before a person has set that right.
            mend = {} if contradicted else None
            yield Finding("id", _where(n, a), f"no image has the id {a.image_id}", -1, n, mend)
        elif categories and a.category_id not in categories:
            yield Finding("id", _where(n, a), f"no category has the id {a.category_id}", -1, n, None)


def _triples(a: coco_format.Annotation[Any], skeleton: Skeleton | None) -> tuple[np.ndarray, str]:
    """Keypoints [K, 3] of an annotation, and what is wrong with them."""
    points = skeleton.num_keypoints if skeleton else 0
    numbers = a.keypoints
    if coco_format.without_keypoints(a) or not points:
        return np.zeros((points, 3)), ""
    try:
        if isinstance(numbers, msgspec.Raw):
            numbers = msgspec.json.decode(bytes(numbers), type=list[float], strict=False)
    except (msgspec.MsgspecError, RecursionError) as error:
        return np.zeros((points, 3)), f"not a list of numbers: {short(str(error), 80)}"
    if not numbers:
        return np.zeros((points, 3)), ""
    if len(numbers) != 3 * points:
        return np.zeros((points, 3)), f"{len(numbers)} numbers, expected {3 * points} of {points} points"
    triples = np.array(numbers, np.float64).reshape(points, 3)
    if not np.isfinite(triples).all():
        return triples, "a number that is not finite"
    odd = triples[~np.isin(triples[:, 2], (0, 1, 2)), 2]
    return triples, f"a visibility of {odd[0]:g}" if len(odd) else ""


_Fault = tuple[str, str, dict[str, Any]]


def _box(a: coco_format.Annotation[Any], triples: np.ndarray) -> tuple[list[float], list[_Fault]]:
    """The box, or without one that of the points."""
    box = a.bbox or []
    if len(box) == 4 and np.isfinite(box).all() and box[2] > 0 and box[3] > 0:
        return [float(v) for v in box], []
    xy = triples[triples[:, 2] > 0, :2]
    if not len(xy):
        return [0.0, 0.0, 0.0, 0.0], [] if not box else [
            ("no box", f"the box is {box[:9]}, and no point is labelled", {})
        ]
    made = [float(v) for v in _assemble.around(xy, coco_format.Image(0))]
    return made, [("no box", f"the box is {box[:9]}" if box else "no box", {"bbox": made})]


def _numbers(a: coco_format.Annotation[Any], row: Row) -> Iterator[_Fault]:
    """What is wrong with the area and the count of points."""
    made = AREA_OF_BOX * row.box[2] * row.box[3]
    if a.area is None and row.box[2]:
        yield "missing area", "no area", {"area": made}
    elif a.area is not None and not a.area > 0:
        yield "no area", f"the area is {a.area:g}", {"area": made} if made else {}
    if row.skeleton and a.num_keypoints is not None and a.num_keypoints != len(row.labelled):
        yield (
            "count",
            f"{a.num_keypoints:g}, but {len(row.labelled)} are labelled",
            {"num_keypoints": len(row.labelled)},
        )


def _xyxy(rows: Sequence[Row], images: Sequence[coco_format.Image]) -> list[Finding]:
    """Boxes of corners, which a file has all or none of.

    They are told where every box grows to the right and below as corners do, holds its points as corners, and some
    leave their image, or hold too much beside their points, as x, y, width, height.
    """
    told = 0
    for row in rows:
        x, y, right, below = row.box
        image = images[row.image]
        if not (right > x and below > y):
            return []
        inside = (row.labelled >= (x - 2, y - 2)) & (row.labelled <= (right + 2, below + 2))
        if len(row.labelled) and inside.mean() < 0.9:
            return []
        if image.width and image.height:
            if right > image.width + 2 or below > image.height + 2:
                return []
            told += x + right > image.width + 2 or y + below > image.height + 2
    if told < max(1, 0.1 * len(rows)):
        return []
    return [
        Finding(
            "xyxy box", row.where, f"the box is {row.box}", row.image, row.place,
            {"bbox": [*row.box[:2], row.box[2] - row.box[0], row.box[3] - row.box[1]]},
        )
        for row in rows
    ]  # fmt: skip


def _outside(rows: Sequence[Row], images: Sequence[coco_format.Image]) -> list[Finding]:
    """Labelled points outside their image, or far outside their box."""
    out = []
    for row in rows:
        image, (x, y, w, h) = images[row.image], row.box
        if image.width and image.height:
            xy = row.keypoints[:, :2]
            away = (row.keypoints[:, 2] > 0) & ((xy < -1) | (xy > (image.width, image.height))).any(1)
            if away.any():
                mended = np.where(away[:, None], 0.0, row.keypoints).ravel().tolist()
                mend = {"keypoints": mended, "num_keypoints": len(row.labelled) - int(away.sum())}
                out.append(Finding("outside image", row.where, f"{away.sum()} points", row.image, row.place, mend))
                continue
        if len(row.labelled) and w > 0:
            low, high = np.minimum(row.labelled.min(0), (x, y)), np.maximum(row.labelled.max(0), (x + w, y + h))
            if max(*((x, y) - low), *(high - (x + w, y + h))) > FAR * max(w, h):
                mend = {"bbox": [*low.tolist(), *(high - low).tolist()]}
                out.append(Finding("outside box", row.where, "points beyond it", row.image, row.place, mend))
    return out


def _swapped(row: Row) -> Iterator[Finding]:
    """Mirror pairs whose bones to other pairs would be much shorter the other way round."""
    if row.skeleton is None:
        return
    place = {point: n for n, point in enumerate(row.skeleton.points)}
    pairs = [(place[a], place[b]) for a, b in row.skeleton.mirror]
    pair_of = {n: k for k, pair in enumerate(pairs) for n in pair}
    as_is, swapped = np.zeros(len(pairs)), np.zeros(len(pairs))
    for bone in row.skeleton.bones:
        one, two = (place[point] for point in bone)
        if one not in pair_of or two not in pair_of or pair_of[one] == pair_of[two]:
            continue
        other = pairs[pair_of[two]][1 - pairs[pair_of[two]].index(two)]
        if not (row.keypoints[[one, two, other], 2] > 0).all():
            continue
        right, wrong = (float(np.linalg.norm(row.keypoints[one, :2] - row.keypoints[n, :2])) for n in (two, other))
        for k in (pair_of[one], pair_of[two]):
            as_is[k], swapped[k] = as_is[k] + right, swapped[k] + wrong
    side = max(row.box[2:])
    for k in np.argsort(swapped - as_is):
        if swapped[k] < SWAPPED * as_is[k] and as_is[k] - swapped[k] > FAR * side:
            left, right = pairs[k]
            keypoints = row.keypoints.copy()
            keypoints[[left, right]] = keypoints[[right, left]]
            names = f"{row.skeleton.points[left]} and {row.skeleton.points[right]}"
            mend = {"keypoints": keypoints.ravel().tolist()}
            yield Finding("swapped", row.where, short(names, 80), row.image, row.place, mend)
            return  # the others are measured by this one


def _duplicates(rows: Sequence[Row]) -> Iterator[Finding]:
    by_image: dict[int, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    for group in by_image.values():
        gone: set[int] = set()
        for one, two in combinations(group, 2):
            if one.place in gone or two.place in gone or one.keypoints.shape != two.keypoints.shape:
                continue
            both = (one.keypoints[:, 2] > 0) & (two.keypoints[:, 2] > 0)
            if both.sum() < min(3, len(both)) or not both.any():
                continue
            off = np.linalg.norm(one.keypoints[both, :2] - two.keypoints[both, :2], axis=1).mean()
            if off < ALIKE * max(one.box[2:]):
                gone.add(two.place)
                yield Finding("duplicate", two.where, f"is {one.where}, {off:.1f} px off", two.image, two.place, None)
