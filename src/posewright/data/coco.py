"""COCO-format keypoints of any skeleton (COCO, CrowdPose, AP-10K, Animal-Pose, custom), packed into arrays.

`read` checks a file entry by entry and says what it skipped and what it filled in.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from posewright import coco_format
from posewright.coco_format import AREA_OF_BOX
from posewright.data.dataset import KeypointDataset
from posewright.data.image_files import Strings, find_all
from posewright.files import short
from posewright.types import Skeleton

_FARTHEST = 2**24  # pixels; from there on float32 does not hold every pixel


def read(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    skeleton: Skeleton | None = None,
    categories: Sequence[str] | None = None,
    missing: Literal["raise", "skip"] = "raise",
    allow_outside: bool = False,
) -> KeypointDataset:
    """The people of a COCO-format keypoint file.

    Left out, and counted by reason: crowds, people without a labelled keypoint, areas that are not above 0, boxes with
    nothing of them inside the image, other categories. Boxes are cleaned by `geometry.sanitise_box`.

    Args:
        annotations: the JSON file.
        images: the folder of the images, or one above it; by default looked for around the annotation file, in the
            standard COCO layouts.
        skeleton: what the points are, instead of what `categories` says.
        categories: names of the categories to take; by default all that have keypoints.
        missing: what to do about images not found: an error, or skip and count them.
        allow_outside: take images whose names lead out of that folder.

    Raises:
        FileNotFoundError: the file or an image is not found.
        ValueError: the file is not JSON, not COCO, contradicts itself, has no usable annotations, or names an image
        outside.
    """
    path = Path(annotations)
    file = coco_format.read_annotations(path)
    folder = Path(images) if images else None
    return of_file(path, folder, file, skeleton, categories, missing, allow_outside=allow_outside)


def of_file(
    path: Path,
    images: Path | None,
    file: coco_format.AnyFile,
    skeleton: Skeleton | None,
    categories: Sequence[str] | None,
    missing: Literal["raise", "skip", "keep"],
    *,
    allow_outside: bool = False,
) -> KeypointDataset:
    """The people of an annotation file that was read already; see `read`. "keep" looks for no image at all."""
    coco_format.check_ids(path, file)
    if not file.annotations:
        raise ValueError(f"{path}: no annotations in it, only {len(file.images)} images")
    chosen, named = coco_format.skeleton_of(path, file, skeleton, categories)
    skipped: Counter[str] = Counter()
    found = _images(path, images, file, missing, skipped, allow_outside=allow_outside)
    rows = _of_category(file, named, {entry.id for entry, _ in found}, skipped)
    every = coco_format.packed(path, file, rows, chosen.num_keypoints)
    people = _narrow(every, ~every.crowd, "a crowd", skipped)
    coco_format.check_visibility(path, people)
    labelled = np.any(people.keypoints[..., 2] > 0, axis=1)
    people = _narrow(people, labelled, "without a labelled keypoint", skipped)
    if (far := np.abs(people.keypoints[..., :2]).max((1, 2), initial=0) > _FARTHEST).any():
        number = people.id[int(np.argmax(far))]
        raise ValueError(f"{path}: annotation {number}: out-of-range coordinates, beyond {_FARTHEST} pixels")
    return _boxed(path, file, chosen, found, people, every, skipped, "with a keypoint of visibility 1 or 2 and a box")


def boxes_of_file(
    path: Path,
    images: Path | None,
    file: coco_format.AnyFile,
    skeleton: Skeleton,
    categories: Sequence[str] = (),
    *,
    allow_outside: bool = False,
) -> KeypointDataset:
    """The boxes of an annotation file that was read already, as people (or animals) of whom no point is labelled.

    Args:
        path: what messages name; images are looked for around it.
        images: see `read`.
        file: what it holds.
        skeleton: what the points would be.
        categories: names of the categories to take; by default all, with keypoints or without.
        allow_outside: see `read`.

    Raises:
        FileNotFoundError, LookupError, ValueError: see `read`; or there is no category of that name.
    """
    coco_format.check_ids(path, file)
    names = {c.name for c in file.categories}
    if strangers := set(categories) - names:
        known = short(", ".join(sorted(names)))
        raise LookupError(
            f"{path}: no category {', '.join(sorted(strangers))}; it has: {known or 'none'}. The setting "
            "adaptation.categories names those whose boxes are taken, and adaptation.categories=[] takes all"
        )
    chosen = {c.id for c in file.categories if c.name in categories} if categories else None
    unlabelled = [coco_format.without_points(a) for a in file.annotations]
    file = coco_format.File(file.images, unlabelled, file.categories)
    skipped: Counter[str] = Counter()
    found = _images(path, images, file, "raise", skipped, allow_outside=allow_outside)
    rows = _of_category(file, chosen, {entry.id for entry, _ in found}, skipped)
    every = coco_format.packed(path, file, rows, skeleton.num_keypoints)
    people = _narrow(every, ~every.crowd, "a crowd", skipped)
    return _boxed(path, file, skeleton, found, people, every, skipped, "with a box")


def _boxed(
    path: Path,
    file: coco_format.AnyFile,
    skeleton: Skeleton,
    found: list[tuple[coco_format.Image, str]],
    people: coco_format.Annotations,
    every: coco_format.Annotations,
    skipped: Counter[str],
    wanted: str,
) -> KeypointDataset:
    """Those of the people whose boxes can be used."""
    row_of = {entry.id: row for row, (entry, _) in enumerate(found)}
    box = _cleaned(path, people, [found[row_of[number]][0] for number in people.image_id.tolist()])
    inside = ~np.isnan(box[:, 0])
    people, box = _narrow(people, inside, "with a box empty or outside its image", skipped), box[inside]
    area = np.where(np.isnan(people.area), AREA_OF_BOX * people.box[:, 2] * people.box[:, 3], people.area)
    filled = {
        f"area ({AREA_OF_BOX} of the box)": int(np.isnan(people.area).sum()),
        "image size (boxes not cut at the edge)": sum(not (i.width and i.height) for i in file.images),
    }
    people = _narrow(people, area > 0, "with an area not above 0", skipped)
    box, area = box[area > 0], area[area > 0]
    if not len(people):
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise ValueError(
            f"{path}: no usable annotations: of {len(file.annotations)} annotations, {reasons}; expected at least one "
            f"person {wanted} inside its image"
        )
    crowding = np.array([np.nan if i.crowding is None else i.crowding for i, _ in found], np.float64)
    return KeypointDataset(
        path,
        skeleton,
        np.array([i.id for i, _ in found], np.int64),
        Strings.of(place for _, place in found),
        np.array([row_of[number] for number in people.image_id.tolist()], np.int32),
        people.id,
        people.category_id,
        people.keypoints[..., :2].astype(np.float32),
        people.keypoints[..., 2].astype(np.uint8),
        box,
        area,
        dict(skipped),
        {reason: count for reason, count in filled.items() if count},
        annotated=every,
        crowding=crowding,
    )


def _narrow(
    annotations: coco_format.Annotations, keep: np.ndarray, reason: str, skipped: Counter[str]
) -> coco_format.Annotations:
    """The annotations that are kept; the others are counted."""
    skipped.update({reason: int((~keep).sum())} if not keep.all() else {})
    return annotations[keep]


def _images(
    path: Path,
    root: Path | None,
    file: coco_format.AnyFile,
    missing: str,
    skipped: Counter[str],
    *,
    allow_outside: bool,
) -> list[tuple[coco_format.Image, str]]:
    """The images that are there, each with its path."""
    if missing == "keep":
        return [(i, i.file_name) for i in file.images]
    found, searched = find_all(path, root, [i.file_name for i in file.images], allow_outside=allow_outside)
    absent = [i for i, where in zip(file.images, found) if where is None]
    if absent and (missing == "raise" or len(absent) == len(found)):
        first = absent[0]
        raise FileNotFoundError(
            f"{path}: {len(absent)} of {len(found)} images not found, first {short(first.file_name, 120)!r} (id "
            f"{first.id}); looked in {', '.join(searched) or f'{root or path.parent}, which does not exist'}; say "
            "which folder holds the images"
            + ("" if len(absent) == len(found) else ", or leave the missing ones out (missing='skip')")
        )
    skipped.update({"images not found": len(absent)} if absent else {})
    return [(i, where) for i, where in zip(file.images, found) if where is not None]


def _of_category(
    file: coco_format.AnyFile, categories: set[int] | None, images: Container[int], skipped: Counter[str]
) -> list[int]:
    """Places of the annotations of these categories and images."""
    kept = []
    for n, a in enumerate(file.annotations):
        if categories is not None and a.category_id not in categories:
            skipped["of another category"] += 1
        elif a.image_id not in images:
            skipped["on an image not found"] += 1
        else:
            kept.append(n)
    return kept


def _cleaned(path: Path, people: coco_format.Annotations, images: Sequence[coco_format.Image]) -> np.ndarray:
    """Cleaned boxes [n, 4], NaN where nothing of one is left."""
    boxes = np.full((len(people), 4), np.nan)
    for n, (box, image) in enumerate(zip(people.box, images)):
        if np.isnan(box).any():
            raise ValueError(
                f"{path}: annotations[{people.row[n]}] (id {people.id[n]}, image {image.id}): no bbox; expected x, y, "
                "width, height in pixels"
            )
        if (clean := coco_format.clean_box(box, image.height, image.width)) is not None:
            boxes[n] = clean
    return boxes
