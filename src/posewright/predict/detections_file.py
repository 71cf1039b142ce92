"""Detections files that `posewright boxes` writes, and the note beside each of which detector they are from."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec

from posewright.files import write_bytes, write_json


class Note(msgspec.Struct):
    """Where the boxes of a detections file come from.

    Attributes:
        detector: its name.
        detector_checksum: CRC-32 of its file.
        category: that it was asked for.
        threshold: lowest score of the boxes.
        metrics: AP and AR of the boxes against annotations; empty where none were given.
        annotations: the name of their file.
        images: the ids of the images that were looked at, by name, those without boxes among them.
        checksum: CRC-32 of the detections file that this is about.
    """

    detector: str
    detector_checksum: int
    category: str
    threshold: float
    metrics: dict[str, float] = {}
    annotations: str = ""
    images: dict[str, int] = {}
    checksum: int = 0


def write(path: Path, detections: list[dict[str, Any]], note: Note) -> None:
    """Write COCO detections, and beside them `<name>.about.json`, the note."""
    data = msgspec.json.encode(detections)
    write_bytes(path, data)
    write_json(path.with_suffix(".about.json"), msgspec.structs.replace(note, checksum=zlib.crc32(data)), indent=2)


def note_of(path: Path) -> Note | None:
    """The note beside a detections file, where that is about this very file."""
    try:
        note = msgspec.json.decode(path.with_suffix(".about.json").read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None
    return note if note.checksum == zlib.crc32(path.read_bytes()) else None


def source(path: Path) -> str:
    """The name of a detections file, with its detector and its AP where these are noted."""
    if (note := note_of(path)) is None:
        return path.name
    ap = f", box AP {note.metrics['AP']:.3f}" if "AP" in note.metrics else ""
    return f"{path.name} ({note.detector}{ap})"
