"""MPII's people (Andriluka et al., CVPR 2014): the published mpii_human_pose_v1_u12_1.mat, or HRNet's JSON of it.

Both hold centre, scale and 16 joints. As in the JSON, a joint is there or not: which are hidden is not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import coco_format
from posewright.coco_format import AREA_OF_BOX
from posewright.data import matlab
from posewright.data.dataset import KeypointDataset
from posewright.data.formats import Annotated, _assemble
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


def is_format(path: Path) -> bool:
    """Whether a file is MPII's by its name, or a list of joints, as the JSON is; COCO's detections are a list, too."""
    if not path.is_file():
        return False
    if path.suffix == ".mat":
        return path.name.startswith("mpii")
    with path.open("rb") as file:
        start = file.read(8192).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"[") and b'"joints"' in start


def read(path: Path) -> Annotated:
    """The people as COCO has them, with the boxes of `people`; head boxes are lost. See `Format.read`."""
    found = _people(path)
    names = list(dict.fromkeys(person.image for person in found))
    boxes = _boxes(found).tolist()
    instances = []
    for person, box in zip(found, boxes):
        triples = np.column_stack([np.array(person.joints) - 1, 2 * (np.array(person.joints_vis) > 0)])
        triples[triples[:, 2] == 0] = 0
        instances.append(_assemble.Instance(names.index(person.image), triples, box))
    images = [coco_format.Image(n, name) for n, name in enumerate(names, 1)]
    heads = sum(person.headbox is not None for person in found)
    lost = {"head boxes": heads} if heads else {}
    return _assemble.annotated(path, [_assemble.category(MPII16, name="person")], images, instances, lost)


def people(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    allow_outside: bool = False,
) -> KeypointDataset:
    """The people of MPII's file, with the points of `MPII16`.

    Boxes are the squares of 200 times the scale around the centre, which is moved down by 15 times the scale, as in
    the published loaders; coordinates count pixels from 1 there and from 0 here. PCKh is measured by the head boxes of
    the entries (`headbox`, x1, y1, x2, y2) or of the official `gt_<name>.mat` beside the file, such as gt_valid.mat
    beside valid.json; the joints are then that file's too, as in the official evaluation.

    Args:
        annotations: the JSON or MATLAB file.
        images: the folder of the images; by default looked for around the file.
        allow_outside: take images whose names lead out of that folder.

    Raises:
        FileNotFoundError: the file or an image is not found.
        ValueError: it is not such a file, or the file of head boxes does not fit it.
    """
    path = Path(annotations)
    people = _people(path)
    names = list(dict.fromkeys(person.image for person in people))
    found, searched = find_all(path, Path(images) if images else None, names, allow_outside=allow_outside)
    if absent := [name for name, place in zip(names, found) if place is None]:
        raise FileNotFoundError(
            f"{path}: {len(absent)} of {len(names)} images not found, first {short(absent[0], 120)!r}; looked in "
            f"{', '.join(searched) or 'no folder that exists'}; say which folder holds the images"
        )
    box = _boxes(people)
    rows = {name: row for row, name in enumerate(names)}
    joints = np.array([person.joints for person in people], np.float32)
    visible = np.array([person.joints_vis for person in people]) > 0
    heads = [person.headbox for person in people if person.headbox is not None]
    head = np.array(heads, np.float64) if len(heads) == len(people) else None
    if (beside := path.with_name(f"gt_{path.stem}.mat")).is_file():
        joints, visible, head = _official(beside, len(people))
    numbers = np.arange(1, len(people) + 1)
    return KeypointDataset(
        path,
        MPII16,
        np.arange(1, len(names) + 1),
        Strings.of(place for place in found if place is not None),
        np.array([rows[person.image] for person in people], np.int32),
        numbers,
        np.ones(len(people), np.int64),
        joints - 1,
        visible.astype(np.uint8) * 2,
        box,
        AREA_OF_BOX * box[:, 2] * box[:, 3],
        head_box=None if head is None else head - 1,
    )


def _people(path: Path) -> list[_Person]:
    if path.suffix == ".mat":
        return _published(path)
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
    return people


def _published(path: Path) -> list[_Person]:
    """The people of the published MATLAB file that have joints, a centre and a scale: those of its training images."""
    variables = matlab.read(path, "MPII's structure RELEASE")
    try:
        entries = np.ravel(np.ravel(variables["RELEASE"])[0].annolist)
    except (AttributeError, IndexError, KeyError):
        raise ValueError(f"{path}: expected MPII's structure RELEASE with annolist") from None
    people = []
    for n, entry in enumerate(entries):
        try:
            name = str(np.ravel(np.ravel(entry.image)[0].name)[0])
            people += [_of_structure(name, rect) for rect in _structures(entry, "annorect") if _is_posed(rect)]
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: entry {n} of annolist: expected an image's people: {short(str(error))}"
            ) from None
    if not people:
        raise ValueError(f"{path}: no usable annotations: expected people with joints, a centre and a scale, got none")
    return people


def _structures(parent: Any, name: str) -> list[Any]:
    """The structures in a field; none where the field is missing or empty."""
    return [entry for entry in np.ravel(getattr(parent, name, [])) if isinstance(entry, matlab.Structure)]


def _is_posed(rect: Any) -> bool:
    return (
        all(_structures(rect, name) for name in ("annopoints", "objpos")) and np.size(getattr(rect, "scale", ())) == 1
    )


def _of_structure(image: str, rect: Any) -> _Person:
    joints, annotated = np.zeros((16, 2)), np.zeros(16)
    for number, x, y in _points(rect):
        joints[number], annotated[number] = (x, y), 1
    centre = _structures(rect, "objpos")[0]
    head = [_number(rect, name) for name in ("x1", "y1", "x2", "y2")] if np.size(getattr(rect, "x1", ())) else None
    return msgspec.convert(
        {
            "image": image,
            "center": (_number(centre, "x"), _number(centre, "y")),
            "scale": _number(rect, "scale"),
            "joints": joints.tolist(),
            "joints_vis": annotated.tolist(),
            "headbox": head,
        },
        _Person,
    )


def _points(rect: Any) -> Iterator[tuple[int, float, float]]:
    for point in _structures(_structures(rect, "annopoints")[0], "point"):
        number = _number(point, "id")
        if number not in range(16):
            raise ValueError(f"joint {number:g}, of 0 to 15")
        yield int(number), _number(point, "x"), _number(point, "y")


def _number(structure: Any, name: str) -> float:
    value = float(np.ravel(getattr(structure, name))[0])
    if not np.isfinite(value):
        raise ValueError(f"{name} is {value}")
    return value


def _boxes(people: list[_Person]) -> np.ndarray:
    """Boxes [N, 4] of centre and scale, as published."""
    scale = np.array([person.scale for person in people], np.float64)
    centre = np.array([person.center for person in people], np.float64)
    down = np.where(centre[:, 0] != -1, _SHIFT * scale, 0.0)
    centre = centre + np.stack([np.zeros(len(people)), down], 1) - 1
    return np.concatenate([centre - 100 * scale[:, None], np.repeat(200 * scale[:, None], 2, 1)], 1)


def _official(path: Path, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints [N, 16, 2], which of them are annotated [N, 16], and head boxes [N, 4] of MPII's own evaluation."""
    fields = matlab.read(path, "MPII's ground truth with pos_gt_src, jnt_missing and headboxes_src")
    shapes = {"pos_gt_src": (16, 2, people), "jnt_missing": (16, people), "headboxes_src": (2, 2, people)}
    for name, shape in shapes.items():
        if (got := getattr(fields.get(name), "shape", None)) != shape:
            raise ValueError(f"{path}: expected {name} {shape} for the {people} people beside it, got {got}")
    joints, missing, heads = (np.asarray(fields[name], np.float64) for name in shapes)
    return np.moveaxis(joints, 2, 0).astype(np.float32), missing.T == 0, np.moveaxis(heads, 2, 0).reshape(people, 4)
