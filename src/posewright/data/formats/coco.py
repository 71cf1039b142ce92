"""COCO's keypoint JSON, which CrowdPose, AP-10K and exports of most tools follow: see `posewright.coco_format`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from posewright import coco_format
from posewright.data.formats import Annotated
from posewright.files import write_bytes

SUFFIX = ".json"
"""What its files' names end in."""


def is_format(path: Path) -> bool:
    """Whether it is JSON by name; the other formats are asked first."""
    return path.suffix.lower() == ".json"


def read(path: Path) -> Annotated:
    """See `Format.read`."""
    return Annotated(path, coco_format.read_annotations(path))


def write(found: Annotated, path: Path) -> dict[str, int]:
    """Write the annotations in COCO's schema; nothing of them is lost. Fields that an entry lacks are left out."""
    content = msgspec.json.decode(msgspec.json.encode(found.file))
    present = {n: [{k: v for k, v in e.items() if v is not None} for e in rows] for n, rows in content.items()}
    write_bytes(path, msgspec.json.encode(present))
    return {}
