"""MPII's people (Andriluka et al., CVPR 2014) from the official JSON: centre, scale, 16 joints and their visibility."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np

from posewright.coco_format import AREA_OF_BOX
from posewright.data.coco import KeypointDataset
from posewright.data.image_files import Strings, find_all
from posewright.files import read_json, short
from posewright.skeletons import MPII16

_SHIFT = 15  # times the scale, downwards: MPII's centre is the middle of the body, the crop's is a little lower


class _Person(msgspec.Struct):
    image: str
    center: tuple[float, float]
    scale: float
    joints: list[tuple[float, float]]
    joints_vis: list[float]
    headbox: tuple[float, float, float, float] | None = None


def is_mpii(annotations: str | os.PathLike[str]) -> bool:
    """Whether an annotation file is a list, as MPII's is, and no object, as COCO's."""
    path = Path(annotations)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def read(annotations: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> KeypointDataset:
    """The people of MPII's official JSON, with the points of `MPII16`.

    Boxes are the squares of 200 times the scale around the centre, which is moved down by 15 times the scale, as in
    the published loaders; coordinates count pixels from 1 there and from 0 here. Where every entry has a `headbox`
    (x1, y1, x2, y2), PCKh is measured by it.

    Args:
        annotations: the JSON file.
        images: the folder of the images; by default looked for around the file.

    Raises:
        FileNotFoundError: the file or an image is not found.
        ValueError: it is not such a file.
    """
    path = Path(annotations)
    wanted = "MPII's list of people {image, center, scale, joints, joints_vis}"
    people: list[_Person] = read_json(path, list[_Person], wanted)
    for n, person in enumerate(people):
        if len(person.joints) != 16 or len(person.joints_vis) != 16 or not person.scale > 0:
            raise ValueError(
                f"{path}: person {n} ({short(person.image, 80)}): expected 16 joints, 16 joints_vis and a scale above "
                f"0, got {len(person.joints)}, {len(person.joints_vis)} and {person.scale:g}"
            )
    if not people:
        raise ValueError(f"{path}: no usable annotations: expected {wanted}, got none")
    names = list(dict.fromkeys(person.image for person in people))
    found, searched = find_all(path, Path(images) if images else None, names)
    if absent := [name for name, place in zip(names, found) if place is None]:
        raise FileNotFoundError(
            f"{path}: {len(absent)} of {len(names)} images not found, first {short(absent[0], 120)!r}; looked in "
            f"{', '.join(searched) or 'no folder that exists'}; say which folder holds the images"
        )
    scale = np.array([person.scale for person in people], np.float64)
    centre = np.array([person.center for person in people], np.float64)
    down = np.where(centre[:, 0] != -1, _SHIFT * scale, 0.0)
    centre = centre + np.stack([np.zeros(len(people)), down], 1) - 1
    box = np.concatenate([centre - 100 * scale[:, None], np.repeat(200 * scale[:, None], 2, 1)], 1)
    rows = {name: row for row, name in enumerate(names)}
    heads = [person.headbox for person in people if person.headbox is not None]
    numbers = np.arange(1, len(people) + 1)
    return KeypointDataset(
        path,
        MPII16,
        np.arange(1, len(names) + 1),
        Strings.of(place for place in found if place is not None),
        np.array([rows[person.image] for person in people], np.int32),
        numbers,
        np.ones(len(people), np.int64),
        np.array([person.joints for person in people], np.float32) - 1,
        (np.array([person.joints_vis for person in people]) > 0).astype(np.uint8) * 2,
        box,
        AREA_OF_BOX * box[:, 2] * box[:, 3],
        head_box=np.array(heads, np.float64) - 1 if len(heads) == len(people) else None,
    )
