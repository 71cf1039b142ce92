"""EXIF's orientation of an image file, and points of the upright image as points of the pixels that are stored.

Annotated data sets count pixels as they are stored; tools that turn photographs before they are labelled do not.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from posewright.files import image_size

_TAG = 0x0112  # of the orientation
_MIRRORED_X, _MIRRORED_Y, _SWAPPED = (2, 3, 7, 8), (3, 4, 6, 7), (5, 6, 7, 8)


class Turning(NamedTuple):
    """How an image that is stored turned is to be turned.

    Attributes:
        orientation: EXIF's, 2 to 8.
        height: of the stored image.
        width: of the stored image.
    """

    orientation: int
    height: int
    width: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) of the upright image."""
        return (self.width, self.height) if self.orientation in _SWAPPED else (self.height, self.width)

    def stored(self, xy: np.ndarray) -> np.ndarray:
        """Points [n, 2] of the upright image, (0, 0) the centre of its first pixel, as points of the stored one."""
        return self._mirrored(xy[:, ::-1] if self.orientation in _SWAPPED else xy)

    def upright(self, xy: np.ndarray) -> np.ndarray:
        """Points [n, 2] of the stored image as points of the upright one."""
        out = self._mirrored(xy)
        return out[:, ::-1] if self.orientation in _SWAPPED else out

    def _mirrored(self, xy: np.ndarray) -> np.ndarray:
        x = self.width - 1 - xy[:, 0] if self.orientation in _MIRRORED_X else xy[:, 0]
        y = self.height - 1 - xy[:, 1] if self.orientation in _MIRRORED_Y else xy[:, 1]
        return np.column_stack([x, y])


def turning(path: Path) -> Turning | None:
    """How a JPEG, PNG or WebP file is to be turned; None where it is upright, or is not an image."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            orientation = _tag(data, _start(data))
            size = image_size(data[:]) if 1 < orientation <= 8 else None
    except (OSError, ValueError, IndexError, struct.error):  # empty or cut short, which reading its pixels says
        return None
    return Turning(orientation, *size) if size else None


def _start(data: mmap.mmap) -> int:
    """Where the block of tags starts, which all three formats hold as a TIFF's; 0 in a file without one."""
    if data[:2] == b"\xff\xd8":
        at = 2
        while data[at : at + 1] == b"\xff" and data[at + 1] not in (0xD9, 0xDA):
            if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                return at + 10
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        return _chunk(data, 8, b"eXIf", ">I4s", 12)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        start = _chunk(data, 12, b"EXIF", "<4sI", 8)
        return start + 6 if data[start : start + 6] == b"Exif\0\0" else start
    return 0


def _chunk(data: mmap.mmap, at: int, wanted: bytes, head: str, extra: int) -> int:
    """Where the content of a chunk starts, each of which has 8 bytes of size and name; 0 in a file without it."""
    while at + 8 <= len(data):
        size, name = sorted(struct.unpack_from(head, data, at), key=lambda value: isinstance(value, bytes))
        if name == wanted:
            return at + 8
        at += size + extra + (size % 2 if extra == 8 else 0)  # WebP's chunks begin at even places
    return 0


def _tag(data: mmap.mmap, start: int) -> int:
    order = {b"II": "<", b"MM": ">"}.get(data[start : start + 2], "")
    if not start or not order:
        return 1
    first = start + struct.unpack_from(f"{order}I", data, start + 4)[0]
    for n in range(struct.unpack_from(f"{order}H", data, first)[0]):
        if struct.unpack_from(f"{order}H", data, first + 2 + 12 * n)[0] == _TAG:
            return struct.unpack_from(f"{order}H", data, first + 10 + 12 * n)[0]
    return 1
