"""AI Challenger 2017, as published: a list of images with human_annotations and keypoint_annotations.

Boxes are corners there, and a visibility of 1 is visible, 2 hidden and 3 not labelled.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from posewright import coco_format
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.files import read_json, short
from posewright.skeletons import AIC14

_VISIBILITY = {1.0: 2, 2.0: 1, 3.0: 0}


class _Image(msgspec.Struct):
    image_id: str
    keypoint_annotations: dict[str, list[float]]
    human_annotations: dict[str, list[float]] = {}


def is_format(path: Path) -> bool:
    """Whether it is a list with keypoint_annotations."""
    start = _assemble.head(path) if path.suffix.lower() == ".json" else ""
    return start.startswith("[") and '"keypoint_annotations"' in start


def read(path: Path) -> Annotated:
    """All people, with the points of `AIC14`; see `Format.read`."""
    entries: list[_Image] = read_json(path, list[_Image], "AI Challenger's list of image_id, keypoint_annotations")
    images = [coco_format.Image(n, f"{entry.image_id}.jpg") for n, entry in enumerate(entries, 1)]
    instances = []
    for n, entry in enumerate(entries):
        for human, numbers in entry.keypoint_annotations.items():
            where = f"{path}: entry {n} ({short(entry.image_id, 60)}), {short(human, 40)}"
            if len(numbers) != 42 or not np.isfinite(numbers).all() or not set(numbers[2::3]) <= _VISIBILITY.keys():
                raise ValueError(f"{where}: expected 14 points of x, y and 1, 2 or 3; got {short(str(numbers), 80)}")
            keypoints = np.reshape(np.array(numbers, np.float64), (14, 3))
            keypoints[:, 2] = [_VISIBILITY[v] for v in numbers[2::3]]
            keypoints[keypoints[:, 2] == 0] = 0
            instances.append(Instance(n, keypoints, _assemble.of_corners(where, entry.human_annotations.get(human))))
    return _assemble.annotated(path, [_assemble.category(AIC14, name="person")], images, instances)
