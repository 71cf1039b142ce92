"""Annotated images and instances made into COCO's schema, and taken out of it again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from posewright import coco_format, skeletons
from posewright.data.formats import Annotated
from posewright.data.formats._source import Source
from posewright.files import short
from posewright.skeletons import to_category
from posewright.types import Skeleton

MARGIN = 20.0
"""Pixels around the extent of an instance's points where a format has no boxes, as DeepLabCut's own crops have them."""

_NOTHING = "annotations without a box and a labelled point"


class Instance(NamedTuple):
    """One annotated person or animal.

    Attributes:
        image: its image, as a place in the list of images.
        keypoints: [K, 3] x, y, visibility.
        box: x, y, width, height, or None where the format has none.
        category: its category's id.
        area: square pixels, or None.
    """

    image: int
    keypoints: np.ndarray
    box: Sequence[float] | None = None
    category: int = 1
    area: float | None = None


def category(skeleton: Skeleton, number: int = 1, name: str = "") -> coco_format.Category:
    """A skeleton as a category."""
    return msgspec.convert(to_category(skeleton, number, name or skeleton.name), coco_format.Category)


def annotated(
    path: Path,
    categories: Sequence[coco_format.Category],
    images: Sequence[coco_format.Image],
    instances: Iterable[Instance],
    lost: dict[str, int] | None = None,
) -> Annotated:
    """COCO's schema of images and instances; those without a labelled point and a box are left out.

    Where an instance has no box, it is the extent of its labelled points and `MARGIN` pixels around, within the image.
    """
    annotations: list[coco_format.Annotation[list[float] | None]] = []
    filled: Counter[str] = Counter()
    for instance in instances:
        labelled = instance.keypoints[:, 2] > 0
        if instance.box is None and not labelled.any():
            continue
        box = instance.box
        if box is None:
            filled[f"boxes (the points' extent and {MARGIN:g} px)"] += 1
            box = around(instance.keypoints[labelled, :2], images[instance.image])
        annotations.append(
            coco_format.Annotation(
                image_id=images[instance.image].id,
                id=len(annotations) + 1,
                category_id=instance.category,
                bbox=[float(v) for v in box],
                keypoints=[float(v) for v in instance.keypoints.ravel()],
                area=instance.area,
                iscrowd=False,
                num_keypoints=int(labelled.sum()),
            )
        )
    file = coco_format.File(list(images), annotations, list(categories))
    return Annotated(path, file, dict(filled), lost or {})


def box_of(instance: Instance, image: coco_format.Image) -> list[float]:
    """An instance's box, or else that around its labelled points."""
    if instance.box is not None:
        return [float(v) for v in instance.box]
    return around(instance.keypoints[instance.keypoints[:, 2] > 0, :2], image)


def around(xy: np.ndarray, image: coco_format.Image) -> list[float]:
    """The box x, y, width, height around points [n, 2], `MARGIN` pixels wider on each side, within the image."""
    low, high = xy.min(0) - MARGIN, xy.max(0) + MARGIN
    if image.width and image.height:
        low, high = np.maximum(low, 0), np.minimum(high, (image.width, image.height))
    return [*low, *np.maximum(high - low, 1)]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image and its instances, in the order of the file."""

    image: coco_format.Image
    instances: list[Instance]


def pictures(found: Annotated, *, points_only: bool = False) -> tuple[Skeleton, list[Picture], Counter[str]]:
    """The skeleton, the images with their instances, and what of the file is no part of them, counted.

    Args:
        found: the annotations.
        points_only: the format has no boxes, so that somebody without a labelled point is lost.

    Raises:
        ValueError: its ids contradict each other, or its categories differ in their keypoints.
    """
    file, lost = found.file, Counter[str]()
    coco_format.check_ids(found.path, file)
    skeleton, chosen = coco_format.skeleton_of(found.path, file, None, None)
    rows = [n for n, a in enumerate(file.annotations) if chosen is None or a.category_id in chosen]
    lost.update({"annotations of other categories": len(file.annotations) - len(rows)})
    every = coco_format.packed(found.path, file, rows, skeleton.num_keypoints)
    shown = [Picture(image, []) for image in file.images]
    place = {image.id: n for n, image in enumerate(file.images)}
    for n in range(len(every)):
        if every.crowd[n]:
            lost["crowds"] += 1
            continue
        row = place[int(every.image_id[n])]
        box = None if np.isnan(every.box[n]).any() else every.box[n].tolist()
        area = None if np.isnan(every.area[n]) else float(every.area[n])
        keypoints = every.keypoints[n].astype(np.float64)
        if not keypoints[:, 2].any() and (box is None or points_only):
            lost["annotations without a labelled point" if points_only else _NOTHING] += 1
            continue
        shown[row].instances.append(Instance(row, keypoints, box, int(every.category_id[n]), area))
    lost["segmentations"] += Source(found).segmentations(file.annotations)
    return skeleton, shown, +lost


def lost_fields(found: Annotated, shown: Iterable[Picture], *fields: str) -> dict[str, int]:
    """How many instances have something that a format cannot hold: "boxes", "areas" or "hidden points".

    "classes" are those of all instances, where they differ; "points" those that no instance has, by whose labels alone
    a format knows them. Boxes that were made of the points when the annotations were read are not lost.
    """
    count: Counter[str] = Counter()
    instances = [instance for picture in shown for instance in picture.instances]
    classes = {instance.category for instance in instances}
    count["classes (written as one)"] = len(classes) if len(classes) > 1 else 0
    if instances:
        labelled = np.any([instance.keypoints[:, 2] > 0 for instance in instances], axis=0)
        count["points that nobody has"] = int((~labelled).sum())
    for instance in instances:
        count["boxes"] += instance.box is not None
        count["areas"] += instance.area is not None
        count["hidden points (written as visible)"] += int((instance.keypoints[:, 2] == 1).sum())
    count["boxes"] -= sum(n for name, n in found.filled.items() if name.startswith("boxes"))
    return {name: n for name, n in (+count).items() if name.startswith(fields)}


def classes(skeleton: Skeleton, labels: Iterable[str | None]) -> dict[str | None, coco_format.Category]:
    """The categories that instances' labels name, by label; None is that of an instance without one.

    Where all others have one label, an instance without is of that; else nothing says what it is: "object".
    """
    found = list(labels)
    names = list(dict.fromkeys(label for label in found if label is not None))
    other = names[0] if len(names) == 1 else "object"
    if None in found and other not in names:
        names.append(other)
    out: dict[str | None, coco_format.Category] = {
        n: category(skeleton, k, n) for k, n in enumerate(names or [other], 1)
    }
    return out | {None: out[other]} if other in out else out


def label_files(found: Annotated, label_file: Callable[[str], str]) -> list[str]:
    """The label file of each image of annotations, by its name.

    Raises:
        ValueError: two images would have one.
    """
    first: dict[str, str] = {}
    for name in (image.file_name for image in found.file.images):
        file = label_file(inside(name))
        if file in first:
            raise ValueError(
                f"{found.path}: images {short(first[file], 120)!r} and {short(name, 120)!r} would share the labels "
                f"{short(file, 120)}, for this format names them by the image; rename one, or write another format"
            )
        first[file] = name
    return list(first)


def head(path: Path, size: int = 1 << 16) -> str:
    """The first bytes of a file as text, to tell its format by; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", "replace").removeprefix("\ufeff").lstrip()
    except OSError:
        return ""


def number(text: str, where: str) -> float:
    """A finite number.

    Raises:
        ValueError: the text is none; the message begins with `where`.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {short(text, 60)!r}")
    return value


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts img2 before img10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def skeleton_of_names(path: Path, points: tuple[str, ...]) -> Skeleton:
    """A skeleton of which only the points' names are known; the published one where these are its points.

    Raises:
        ValueError: there are none, or too long ones.
    """
    if not points or any(len(point) > 200 for point in points):
        raise ValueError(f"{path}: no labelled points with names of up to 200 characters")
    return skeletons.from_category({"name": "object", "keypoints": list(points)}, str(path))


def of_corners(where: str, corners: Sequence[float] | None) -> list[float] | None:
    """A box x1, y1, x2, y2 as x, y, width, height; None where there is none, or one without extent.

    Raises:
        ValueError: it has not 4 finite numbers.
    """
    if corners is None:
        return None
    if len(corners) != 4 or not np.isfinite(corners).all():
        raise ValueError(f"{where}: expected a box x1, y1, x2, y2, got {short(str(list(corners)[:9]), 80)}")
    x1, y1, x2, y2 = (float(v) for v in corners)
    return [x1, y1, x2 - x1, y2 - y1] if x2 > x1 and y2 > y1 else None


def inside(name: str) -> str:
    """An image's name as a relative path that stays in its folder: no root, no "..", slashes only."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts).replace(":", "_") or "image"


def lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        numbered = enumerate(path.read_text("utf-8-sig").splitlines(), 1)
        return [(number, line) for number, line in numbered if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected lines of text, got other bytes") from None


def read_yaml(path: Path, wanted: str) -> dict[str, Any]:
    """The object that a YAML file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: PyYAML is missing.
        ValueError: it is something else; the message says what was wanted.
    """
    try:
        import yaml
    except ImportError:
        raise ImportError(f"{path}: YAML files need PyYAML: pip install posewright[formats]") from None
    try:
        content = yaml.safe_load(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected {wanted}: {short(str(error))}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected {wanted}, got something else")
    return content
