"""Animal-Pose (Cao et al., ICCV 2019), as published: keypoints.json with images by id and boxes of corners.

A visibility of 1 is labelled there, whether visible or not, and the points have an order of their own, which each
category names. (What mmpose made of it is COCO's, in the order of `ANIMALPOSE20`.)
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import read_json, short
from posewright.skeletons import ANIMALPOSE20

_LIMBS = ("front_elbow", "back_elbow", "front_knee", "back_knee", "front_paw", "back_paw")
_POINTS = ("left_eye", "right_eye", "left_ear", "right_ear", "nose", "throat", "tailbase", "withers",
           *(f"{side}_{point}" for point in _LIMBS for side in ("left", "right")))  # fmt: skip
"""The published names of the points of `ANIMALPOSE20`, in its order."""
_PUBLISHED = ("left_eye", "right_eye", "nose", "left_ear", "right_ear", *_POINTS[8:], "throat", "withers", "tailbase")
"""The order in keypoints.json, also where a category names no points."""


class _Animal(msgspec.Struct):
    image_id: int
    keypoints: list[tuple[float, float, float]]
    bbox: list[float] | None = None
    category_id: int = 1


class _Category(msgspec.Struct):
    id: int
    name: str
    keypoints: tuple[str, ...] = ()


class _File(msgspec.Struct):
    images: dict[str, str]
    annotations: list[_Animal]
    categories: list[_Category] = []


def is_format(path: Path) -> bool:
    """Whether its images are an object, not COCO's list."""
    start = "".join(_assemble.head(path, 4096).split()) if path.suffix.lower() == ".json" else ""
    return start.startswith('{"images":{')


def read(path: Path) -> Annotated:
    """All animals, with the points of `ANIMALPOSE20`; see `Format.read`."""
    file: _File = read_json(path, _File, "Animal-Pose's images by id, annotations and categories")
    if stray := [number for number in file.images if not number.isdigit()]:
        raise ValueError(f"{path}: ids of images must be numbers, got {short(stray[0], 60)!r}")
    images = [coco_format.Image(int(number), name) for number, name in file.images.items()]
    place = {image.id: n for n, image in enumerate(images)}
    orders = {}
    for n, kind in enumerate(kinds := file.categories or [_Category(1, "animal")]):
        names = kind.keypoints or _PUBLISHED
        if sorted(names) != sorted(_POINTS):
            wrong = short(", ".join(names), 60)
            raise ValueError(
                f"{path}: categories[{n}] ({kind.name}): keypoints must be {', '.join(_POINTS)}, got {wrong}"
            )
        orders[kind.id] = [names.index(point) for point in _POINTS]
    categories = [_assemble.category(ANIMALPOSE20, kind.id, kind.name) for kind in kinds]
    instances = []
    for n, animal in enumerate(file.annotations):
        where = f"{path}: annotations[{n}] (image {animal.image_id})"
        if animal.image_id not in place:
            raise ValueError(f"{where}: no image has that id")
        if len(animal.keypoints) != 20 or not np.isfinite(animal.keypoints).all():
            raise ValueError(f"{where}: expected 20 points of finite x, y, visibility, got {len(animal.keypoints)}")
        if animal.category_id not in orders:
            raise ValueError(f"{where}: no category has the id {animal.category_id}")
        keypoints = np.array(animal.keypoints, np.float64)[orders[animal.category_id]]
        keypoints[:, 2] = np.where(keypoints[:, 2] > 0, 2, 0)
        keypoints[keypoints[:, 2] == 0] = 0
        box = _assemble.of_corners(where, animal.bbox)
        instances.append(Instance(place[animal.image_id], keypoints, box, animal.category_id))
    return _assemble.annotated(path, categories, images, instances)
