"""Annotated people of one file or several, in any format that is read here, with the points of one skeleton."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from posewright.data import coco, formats
from posewright.data.dataset import PER_PERSON, KeypointDataset
from posewright.data.formats import Annotated
from posewright.data.image_files import Strings, find_all
from posewright.types import Skeleton


def read_all(
    annotations: Sequence[str | os.PathLike[str]],
    images: Sequence[str | os.PathLike[str]],
    skeleton: Skeleton | None = None,
    *,
    allow_outside: bool = False,
    same_points: Mapping[str, str] | None = None,
    unlabelled: Collection[int] = (),
    categories: Sequence[str] = (),
) -> KeypointDataset:
    """The people of one annotation file or of several together, all with the points of one skeleton.

    Points are matched by name; those that a file lacks are unlabelled in its people. In a file that does not name its
    points they must be the skeleton's, in its order.

    Args:
        annotations: files or folders of any format in `data.formats`.
        images: for each of them the folder of its images, or "" to look around it.
        skeleton: what the points are; by default the first file's. Where it has no sigmas, a file's own remain.
        allow_outside: take images whose names lead out of their folders.
        same_points: names of points in the files -> the skeleton's, for points that are the same by other names.
        unlabelled: places of the files of which boxes alone are read: their people have no labelled point.
        categories: names of the categories that are taken from those; by default all.

    Raises:
        FileNotFoundError, LookupError, ValueError: see `coco.read`; or a file shares no point with the skeleton.
    """
    if len(annotations) != len(images):
        raise ValueError(f"{len(annotations)} annotation files, but {len(images)} folders of images: one for each")
    sets: list[KeypointDataset] = []
    for place, (path, folder) in enumerate(zip(map(Path, annotations), images)):
        root = Path(folder) if folder else None
        if place in unlabelled:
            if skeleton is None:
                raise ValueError(f"{path}: its boxes alone are read, so name a file with labelled points before it")
            sets.append(_boxes(path, root, skeleton, categories, allow_outside=allow_outside))
            continue
        people = _one(path, root, skeleton, allow_outside=allow_outside)
        skeleton = skeleton or people.skeleton
        people = _renamed(people, same_points or {}, skeleton)
        if people.skeleton.points == skeleton.points:
            sets.append(people.with_skeleton(replace(skeleton, sigmas=skeleton.sigmas or people.skeleton.sigmas)))
        else:
            sets.append(people.mapped(skeleton))
    return sets[0] if len(sets) == 1 else _joined(sets)


def without_images(found: Annotated, skeleton: Skeleton | None = None) -> KeypointDataset:
    """The people of annotations whose images are not looked for; errors as of `coco.read`."""
    return _filled(found, coco.of_file(found.path, None, found.file, skeleton, None, "keep"))


def with_images_found(
    found: Annotated, images: str | os.PathLike[str] | None = None, *, allow_outside: bool = False
) -> KeypointDataset:
    """The people of annotations, with the paths of those images that are found; the others' paths are empty.

    Args:
        found: the annotations.
        images: the folder of the images; by default they are looked for around the file.
        allow_outside: take images whose names lead out of it; else no image is taken where one's name does.

    Raises:
        ValueError: see `coco.read`.
    """
    names = [image.file_name for image in found.file.images]
    try:
        places, _ = find_all(found.path, Path(images) if images else None, names, allow_outside=allow_outside)
    except ValueError:
        places = [None] * len(names)
    return replace(without_images(found), image_path=Strings.of(place or "" for place in places))


def _one(path: Path, images: Path | None, skeleton: Skeleton | None, *, allow_outside: bool) -> KeypointDataset:
    name = formats.recognised(path)
    if hasattr(formats.named(name), "people"):
        return formats.named(name).people(path, images, allow_outside=allow_outside)
    found = formats.read(path, name)
    unnamed = not any(category.keypoints for category in found.file.categories)
    skeleton = skeleton if unnamed else None
    people = coco.of_file(found.path, images, found.file, skeleton, None, "raise", allow_outside=allow_outside)
    return _filled(found, people)


def _boxes(
    path: Path, images: Path | None, skeleton: Skeleton, categories: Sequence[str], *, allow_outside: bool
) -> KeypointDataset:
    found = formats.read(path)
    people = coco.boxes_of_file(found.path, images, found.file, skeleton, categories, allow_outside=allow_outside)
    return _filled(found, people)


def _renamed(people: KeypointDataset, same: Mapping[str, str], skeleton: Skeleton) -> KeypointDataset:
    """The people with those points called as the skeleton does which it does not know by their own names."""
    own = people.skeleton
    new = {old: name for old, name in same.items() if old in own.points and old not in skeleton.points}
    if not new:
        return people
    points = tuple(new.get(point, point) for point in own.points)
    return replace(people, skeleton=Skeleton(own.name, points, sigmas=own.sigmas), channels=None)


def _filled(found: Annotated, people: KeypointDataset) -> KeypointDataset:
    """The people, with what was filled in and lost when their file was read."""
    return replace(people, filled=found.filled | people.filled, skipped=found.lost | people.skipped)


def _joined(sets: Sequence[KeypointDataset]) -> KeypointDataset:
    """Several sets of one skeleton as one. images renumbered: two sets may use one id for different images."""
    shifts = np.cumsum([0, *(len(people.image_id) for people in sets)])
    packed: dict[str, Any] = {name: np.concatenate([getattr(people, name) for people in sets]) for name in PER_PERSON}
    skipped = sum((Counter(people.skipped) for people in sets), Counter[str]())
    filled = sum((Counter(people.filled) for people in sets), Counter[str]())
    return KeypointDataset(
        annotations=Path(" + ".join(str(people.annotations) for people in sets)),
        skeleton=sets[0].skeleton,
        image_id=np.arange(1, shifts[-1] + 1),
        image_path=Strings.of(people.image_path[row] for people in sets for row in range(len(people.image_path))),
        image=np.concatenate([people.image + shift for people, shift in zip(sets, shifts)]).astype(np.int32),
        **packed,
        origin=np.repeat(np.arange(len(sets), dtype=np.int16), [len(people) for people in sets]),
        skipped=dict(skipped),
        filled=dict(filled),
    )
