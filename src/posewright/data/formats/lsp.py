"""Leeds Sports Pose and its extension (Johnson & Everingham, 2010 and 2011): joints.mat beside a folder of images.

The third row is 1 for hidden joints in LSP, and for visible ones in LSP Extended, whose other joints are not labelled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from posewright import coco_format
from posewright.data import matlab
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.skeletons import LSP14


def is_format(path: Path) -> bool:
    """Whether it is a joints.mat, or a folder with one."""
    return (path / "joints.mat").is_file() if path.is_dir() else path.name == "joints.mat"


def read(path: Path) -> Annotated:
    """All people, with the points of `LSP14`; coordinates count pixels from 1 there. See `Format.read`."""
    path = path / "joints.mat" if path.is_dir() else path
    joints = matlab.read(path, "LSP's joints [3, 14, N], or [14, 3, N]").get("joints")
    shape = getattr(joints, "shape", None)
    if joints is None or shape is None or len(shape) != 3 or shape[:2] not in ((3, 14), (14, 3)):
        raise ValueError(f"{path}: expected joints [3, 14, N] or [14, 3, N], got {shape}")
    if joints.dtype.kind not in "fiu" or not np.isfinite(joints).all():
        raise ValueError(f"{path}: joints hold something else than finite numbers")
    extended = shape[0] == 14
    triples = np.moveaxis(joints, 2, 0).astype(np.float64) if extended else np.moveaxis(joints, 2, 0).swapaxes(1, 2)
    triples = triples.astype(np.float64)
    digits = 5 if extended else 4
    names = [f"images/im{n:0{digits}d}.jpg" for n in range(1, len(triples) + 1)]
    images = [coco_format.Image(n, name) for n, name in enumerate(names, 1)]
    triples[..., :2] -= 1
    triples[..., 2] = np.where(triples[..., 2] > 0, 2, 0) if extended else np.where(triples[..., 2] > 0, 1, 2)
    triples[triples[..., 2] == 0] = 0
    instances = [Instance(n, keypoints) for n, keypoints in enumerate(triples)]
    return _assemble.annotated(path, [_assemble.category(LSP14, name="person")], images, instances)
