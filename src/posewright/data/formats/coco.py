"""COCO's keypoint JSON, which CrowdPose, AP-10K and exports of most tools follow: see `posewright.coco_format`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from posewright import coco_format
from posewright.data.formats import Annotated
from posewright.data.formats._source import Source
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
    """Write the annotations in COCO's schema; fields that an entry lacks are left out.

    Nothing of them is lost: what else a COCO file holds, such as segmentations and licences, is taken over as it is.
    """
    source = Source(found)
    content = dict(source.fields)
    for name in ("images", "annotations", "categories"):
        rows = getattr(found.file, name)
        content[name] = [_fields(row) | others for row, others in zip(rows, source.of(name, rows))]
    write_bytes(path, msgspec.json.encode(content))
    return {}


def _fields(entry: msgspec.Struct) -> dict[str, Any]:
    values = ((field.encode_name, getattr(entry, field.name)) for field in msgspec.structs.fields(entry))
    # An annotation without keypoints holds empty text, which is not JSON.
    return {k: v for k, v in values if v is not None and not (isinstance(v, msgspec.Raw) and not bytes(v))}
