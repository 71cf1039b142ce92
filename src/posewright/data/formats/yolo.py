"""YOLO-pose data sets (Ultralytics): data.yaml, or its folder, with a text file of normalised numbers per image.

A line is class, box centre and size, then x, y and maybe visibility of each point, in parts of the image's width and
height. All splits of data.yaml are read, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import coco_format, image
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import short, write_text
from posewright.skeletons import mirror_pairs
from posewright.types import Skeleton

SUFFIX = ""
"""A data set is a folder."""


def is_format(path: Path) -> bool:
    """Whether it is a data.yaml with kpt_shape, or its folder."""
    return "kpt_shape" in _assemble.head(path / "data.yaml" if path.is_dir() else path)


def read(path: Path) -> Annotated:
    """All splits of a data set; see `Format.read`. The images must be there, for nothing else says their sizes."""
    path = path / "data.yaml" if path.is_dir() else path
    content = _assemble.read_yaml(path, "a YOLO-pose data set, with kpt_shape, names and train")
    shape, names = content.get("kpt_shape"), content.get("names")
    if not (
        isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) for n in shape) and shape[1] in (2, 3)
    ):
        raise ValueError(f"{path}: kpt_shape must be [points, 2 or 3], got {short(str(shape), 60)}")
    if not 0 < shape[0] <= 10_000:
        raise ValueError(f"{path}: kpt_shape must have 1 to 10000 points, got {shape[0]}")
    named = dict(enumerate(names)) if isinstance(names, list) else names if isinstance(names, dict) else {0: "object"}
    skeleton = _skeleton(path, content, shape[0])
    categories = [_assemble.category(skeleton, int(n) + 1, str(name)) for n, name in named.items() if str(n).isdigit()]
    images: list[coco_format.Image] = []
    instances: list[Instance] = []
    for file in _images(path, content):
        height, width = image.read(file, upright=False).shape[:2]
        name = file.relative_to(path.parent).as_posix() if file.is_relative_to(path.parent) else str(file)
        images.append(coco_format.Image(len(images) + 1, name, width, height))
        parts = list(file.with_suffix(".txt").parts)
        if "images" in parts:
            parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
        if (labels := Path(*parts)).is_file():
            instances += _instances(labels, len(images) - 1, width, height, shape, len(named))
    if not images:
        raise ValueError(f"{path}: no images in the folders of train, val and test")
    return _assemble.annotated(path, categories, images, instances)


def place(name: str) -> str:
    """Where the image of that name is."""
    return f"images/{name}"


def label_file(name: str) -> str:
    """The file of an image's labels."""
    return f"labels/{Path(name).with_suffix('.txt').as_posix()}"


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write data.yaml and, under labels/, a file per image; the images, expected under images/, are not copied.

    Raises:
        ValueError: an image's size is not known, or two images differ in their suffix alone.
    """
    skeleton, shown, lost = _assemble.pictures(found)
    ids = sorted({i.category for p in shown for i in p.instances}) or [1]
    for picture, file in zip(shown, _assemble.label_files(found, label_file)):
        size = np.array([picture.image.width or 0, picture.image.height or 0], np.float64)
        if not size.all():
            raise ValueError(f"{found.path}: image {picture.image.id} has no width and height, which YOLO divides by")
        lines = []
        for instance in picture.instances:
            box = np.array(_assemble.box_of(instance, picture.image))
            centre = (box[:2] + box[2:] / 2) / size
            points = np.column_stack([instance.keypoints[:, :2] / size, instance.keypoints[:, 2]])
            numbers = [*centre, *(box[2:] / size), *points.ravel()]
            lines.append(" ".join([str(ids.index(instance.category)), *(f"{v:.9g}" for v in numbers)]))
        write_text(path / file, "\n".join(lines) + "\n" * bool(lines))
    names = {c.id: c.name for c in found.file.categories}
    content = {  # no path: Ultralytics takes it from the current folder, and without one from this file's
        "train": "images", "val": "images", "kpt_shape": [skeleton.num_keypoints, 3],
        "flip_idx": skeleton.flip_index.tolist(), "names": {n: names[number] for n, number in enumerate(ids)},
        "kpt_names": {n: list(skeleton.points) for n in range(len(ids))},
    }  # fmt: skip
    lines = (f"{key}: {msgspec.json.encode(value).decode()}\n" for key, value in content.items())
    write_text(path / "data.yaml", "".join(lines))
    lost.update(_assemble.lost_fields(found, shown, "areas"))
    lost.update({"bones": len(skeleton.bones)} if skeleton.bones else {})
    return dict(lost)


def _skeleton(path: Path, content: dict[str, Any], count: int) -> Skeleton:
    """The points, by kpt_names where there are any, and their mirror pairs, by flip_idx."""
    names, flip = content.get("kpt_names"), content.get("flip_idx")
    named = next(iter(names.values()), None) if isinstance(names, dict) else names
    points = tuple(str(p) for p in named) if isinstance(named, list) else tuple(f"point{n}" for n in range(count))
    pairs = mirror_pairs(points)
    if isinstance(flip, list):
        if sorted(str(n) for n in flip) != sorted(str(n) for n in range(count)):
            raise ValueError(f"{path}: flip_idx must hold each of 0 to {count - 1} once, got {short(str(flip), 80)}")
        pairs = tuple((points[a], points[b]) for a, b in enumerate(flip) if a < b) if len(points) == count else ()
    if len(points) != count:
        raise ValueError(f"{path}: kpt_shape has {count} points, kpt_names {len(points)}")
    try:
        return Skeleton(f"yolo{count}", points, (), pairs)
    except ValueError as error:
        raise ValueError(f"{path}: {short(str(error))}") from None


def _images(path: Path, content: dict[str, Any]) -> Iterator[Path]:
    root = path.parent / str(content.get("path") or ".")
    if not root.is_dir():
        root = path.parent
    visited: set[Path] = set()
    for split in ("train", "val", "test"):
        places = content.get(split)
        for place in places if isinstance(places, list) else [places] if places else []:
            folder = root / str(place)
            if folder not in visited and folder.is_dir():
                yield from sorted(p for p in folder.rglob("*") if p.suffix.lower() in image.SUFFIXES)
            visited.add(folder)


def _instances(path: Path, place: int, width: int, height: int, shape: list[int], classes: int) -> Iterator[Instance]:
    points, per_point = shape
    for number, line in _assemble.lines(path):
        where, cells = f"{path}: line {number}", line.split()
        if len(cells) != 5 + points * per_point:
            raise ValueError(
                f"{where}: expected class, box and {points} points, {5 + points * per_point} numbers; got {len(cells)}"
            )
        values = np.array([_assemble.number(cell, where) for cell in cells])
        if not 0 <= values[0] < classes or values[0] % 1:
            raise ValueError(f"{where}: expected a class of 0 to {classes - 1}, got {short(cells[0], 20)}")
        w, h = values[3] * width, values[4] * height
        box = [values[1] * width - w / 2, values[2] * height - h / 2, w, h]
        rows = values[5:].reshape(points, per_point)
        shown = rows[:, 2] if per_point == 3 else 2.0 * (rows != 0).any(1)
        keypoints = np.column_stack([rows[:, :2] * (width, height), shown])
        keypoints[shown == 0] = 0
        yield Instance(place, keypoints, box, int(values[0]) + 1)
