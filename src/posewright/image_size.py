"""How large an encoded image is, read from its header: before anything is decoded, and without decoding anything.

A file of a few bytes can claim any size, and decoders allocate what it claims.
"""

from __future__ import annotations

import re
import struct

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segments that hold a JPEG's size; the three left out hold tables."""
_JPEG_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}
"""Markers without a segment."""
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
_PNM = re.compile(rb"P[1-6](?:\s|#[^\r\n]*[\r\n])+(\d{1,9})(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})\s")


def size_of(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG, PNG, BMP, WebP, TIFF, GIF (its canvas) or PNM file, before any turning.

    Args:
        data: the file, or as much of its start as holds the header.

    Returns:
        None where it is not one of these, or its header is damaged.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data[:2] == b"BM":
            old = struct.unpack_from("<I", data, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data)
        elif match := _PNM.match(data):
            width, height = int(match[1]), int(match[2])
        else:
            return None
    except struct.error:  # cut short
        return None
    return abs(height), abs(width)


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 9 <= len(data):
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        if marker == 0xFF:
            at += 1
        else:
            at += 2 if marker in _JPEG_BARE else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    """Of the first picture; of a size that is written twice, the larger."""
    order, big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    start = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    if start >= len(data):
        return None
    entries = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, start)[0]
    found = {256: 0, 257: 0}  # width and height
    for n in range(min(entries, 4096)):
        entry = start + (8 + 20 * n if big else 2 + 12 * n)
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in found:
            if kind not in _TIFF_NUMBERS and not (big and kind in (16, 17)):
                return None
            number = struct.unpack_from(order + _TIFF_NUMBERS.get(kind, "q"), data, entry + (12 if big else 8))[0]
            found[tag] = max(found[tag], number)
    return (found[257], found[256]) if all(found.values()) else None
