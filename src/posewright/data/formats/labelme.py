"""Labelme: a JSON file per image, or a folder of them, with points and rectangles that a group id keeps together.

Points of one group are one person or animal; points without a group are one as well, if no label comes twice. A point's
flag "occluded" stands for a hidden one, and a rectangle's label is the class. Labelme turns photographs upright by EXIF
before they are labelled: where the image is found, its points are turned back into the pixels that are stored.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import coco_format
from posewright.data import exif
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.data.image_files import find_all
from posewright.files import read_json, write_json

SUFFIX = ""
"""A data set is a folder."""


class _Shape(msgspec.Struct):
    label: str
    points: list[tuple[float, float]]
    shape_type: str = "point"
    group_id: int | None = None
    flags: dict[str, bool] | None = None


class _File(msgspec.Struct):
    shapes: list[_Shape]
    image: str = msgspec.field(name="imagePath")
    height: int | None = msgspec.field(name="imageHeight", default=None)
    width: int | None = msgspec.field(name="imageWidth", default=None)


def is_format(path: Path) -> bool:
    """Whether it is such a file, or a folder with one."""
    if path.is_dir():
        path = next(iter(sorted(path.glob("*.json"))), path)
    start = _assemble.head(path)
    return path.suffix.lower() == ".json" and start.startswith("{") and '"shapes"' in start


def read(path: Path) -> Annotated:
    """All files of a folder, or one; other shapes than points and rectangles are lost. See `Format.read`."""
    places = sorted(path.glob("*.json"), key=lambda p: _assemble.natural(p.name)) if path.is_dir() else [path]
    files: list[tuple[Path, _File]] = []
    for place in places:
        files.append((place, read_json(place, _File, "a Labelme file with shapes and imagePath")))
    shapes = [shape for _, file in files for shape in file.shapes]
    points = tuple(dict.fromkeys(s.label for s in shapes if s.shape_type == "point"))
    if not points:
        raise ValueError(f"{path}: no shape of type point in {len(files)} files")
    skeleton = _assemble.skeleton_of_names(path, points)
    lost = Counter(f"shapes of type {s.shape_type}"[:60] for s in shapes if s.shape_type not in ("point", "rectangle"))
    turnings = _turnings(places[0], [file.image for _, file in files])
    images, instances, labels = [], list[Instance](), list[str | None]()
    for (place, file), turning in zip(files, turnings):
        height, width = file.height, file.width
        if turning and (height, width) in (turning.upright_size, (None, None)):
            height, width = turning.height, turning.width
            for shape in file.shapes:
                shape.points = turning.stored(np.reshape(shape.points, (-1, 2))).tolist()
        images.append(coco_format.Image(len(images) + 1, file.image, width, height))
        groups: dict[int | None, list[_Shape]] = {}
        for shape in file.shapes:
            if shape.shape_type in ("point", "rectangle"):
                groups.setdefault(shape.group_id, []).append(shape)
        for number, group in groups.items():
            instances.append(_instance(f"{place}: group {number}", group, points, len(images) - 1))
            labels.append(next((s.label for s in group[::-1] if s.shape_type == "rectangle"), None))
    categories = _assemble.classes(skeleton, labels)
    instances = [i._replace(category=categories[label].id) for i, label in zip(instances, labels)]
    return _assemble.annotated(places[0], list(categories.values()), images, instances, dict(lost))


def label_file(name: str) -> str:
    """The file of an image's labels."""
    return f"{Path(name.replace('/', '_')).stem}.json"


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write a file per image into a folder; images are looked for beside them, and are not copied.

    Raises:
        ValueError: two images differ in their suffix alone, and would have one file.
    """
    skeleton, shown, lost = _assemble.pictures(found)
    files = _assemble.label_files(found, label_file)
    names = {category.id: category.name for category in found.file.categories}
    listed = [picture.image.file_name for picture in shown]
    copied, around = _turnings(path / files[0], listed) if files else [], _turnings(found.path, listed)
    for picture, file, turning in zip(shown, files, (a or b for a, b in zip(copied, around))):
        shapes: list[dict[str, Any]] = []
        for number, instance in enumerate(picture.instances, 1):
            for point, (x, y, visibility) in zip(skeleton.points, instance.keypoints.tolist()):
                if visibility > 0:
                    shapes.append(_shape(point, "point", [[x, y]], number, occluded=visibility == 1))
            if instance.box:
                x, y, w, h = instance.box
                shapes.append(_shape(names[instance.category], "rectangle", [[x, y], [x + w, y + h]], number))
        height, width = picture.image.height, picture.image.width
        if turning:  # Labelme shows the image upright
            height, width = turning.upright_size
            for shape in shapes:
                shape["points"] = turning.upright(np.array(shape["points"])).tolist()
        content = {
            "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": picture.image.file_name, "imageData": None,
            "imageHeight": height, "imageWidth": width,
        }  # fmt: skip
        write_json(path / file, content)
    unboxed = [i.category for picture in shown for i in picture.instances if not i.box]
    lost["classes of annotations without a box"] += len(unboxed) if len(names) > 1 else 0
    lost.update(_assemble.lost_fields(found, shown, "areas", "points"))
    lost.update({"bones": len(skeleton.bones)} if skeleton.bones else {})
    return dict(+lost)


def _turnings(path: Path, names: list[str]) -> list[exif.Turning | None]:
    """How each image that is found around a file is to be turned; None where it is upright, or is not found."""
    try:  # of what lies outside, the orientation alone is read
        places, _ = find_all(path, None, names, allow_outside=True)
    except (OSError, ValueError):  # a name that no file can have, of which reading the images complains
        return [None] * len(names)
    return [exif.turning(Path(place)) if place else None for place in places]


def _shape(label: str, kind: str, points: list[list[float]], group: int, *, occluded: bool = False) -> dict[str, Any]:
    flags = {"occluded": True} if occluded else {}
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": flags}


def _instance(where: str, shapes: list[_Shape], points: tuple[str, ...], image: int) -> Instance:
    keypoints, box = np.zeros((len(points), 3)), None
    for shape in shapes:
        if shape.shape_type == "rectangle" and len(shape.points) == 2:
            low, high = np.min(shape.points, axis=0), np.max(shape.points, axis=0)
            box = [*low.tolist(), *(high - low).tolist()]
        if shape.shape_type == "point":
            if len(shape.points) != 1:
                raise ValueError(f"{where}: a point of {len(shape.points)} places, expected 1")
            row = points.index(shape.label)
            if keypoints[row, 2]:
                raise ValueError(f"{where}: the label {shape.label[:60]!r} comes twice; give each animal a group id")
            keypoints[row] = (*shape.points[0], 1 if (shape.flags or {}).get("occluded") else 2)
    return Instance(image, keypoints, box)
