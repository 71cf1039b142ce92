"""MATLAB files of version 5 to 7, which MPII, LSP and TigDog are published in.

They are read here, because scipy's reader may crash the process on a damaged structure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from posewright.files import short

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1",
           17: "u2", 18: "u4"}  # fmt: skip
"""Types of numbers in the file."""
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Types of numbers that arrays have in MATLAB, which the file may store as smaller ones."""
_CELL, _STRUCTURE, _TEXT = 1, 2, 4
_MATRIX, _COMPRESSED = 14, 15
_HEADER = 128  # bytes
_LARGEST = 1 << 32  # bytes of a variable
_DEEPEST = 32


class Structure:
    """A MATLAB structure: its fields are its attributes, in the order of `_fieldnames`."""

    _fieldnames: list[str]

    def __init__(self, fields: Sequence[tuple[str, Any]]) -> None:
        self._fieldnames = [name for name, _ in fields]
        self.__dict__.update(fields)


def read(path: Path, wanted: str) -> dict[str, Any]:
    """The variables of a MATLAB file: arrays of numbers, of texts, or of objects (cells, and `Structure`s).

    Args:
        path: the file.
        wanted: what it should hold, in words, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER], "")
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise ValueError(f"{path}: expected {wanted}; a MATLAB file of version 7.3, save it with -v7")
    try:
        if not order:
            raise ValueError("no header")
        found = [_matrix(values, order) for values in _variables(memoryview(data)[_HEADER:], order)]
    except (ValueError, TypeError, OverflowError, IndexError, struct.error, zlib.error, MemoryError) as error:
        reason = short(str(error), 200)
        raise ValueError(f"{path}: expected {wanted}; not a MATLAB file, or damaged: {reason}") from None
    return dict(found)


def _variables(data: memoryview, order: str) -> Iterator[memoryview]:
    """What each variable holds, unpacked."""
    for kind, values in _elements(data, order):
        if kind == _COMPRESSED:
            yield from _variables(memoryview(zlib.decompressobj().decompress(values, _LARGEST)), order)
        elif kind == _MATRIX:
            yield values


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The elements of a part of the file, each with its type; short ones stand in the tag itself."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start = place + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if start + size > len(data) or (start == place + 4 and size > 4):
            raise ValueError(f"an element of {size} bytes, where {len(data) - start} are left")
        yield kind, data[start : start + size]
        end = max(start + size, place + 8)
        place = end if kind == _COMPRESSED else -(-end // 8) * 8


def _matrix(data: memoryview, order: str, depth: int = 0) -> tuple[str, np.ndarray]:
    """Name and value of an array."""
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} levels")
    parts = list(_elements(data, order))
    if not parts:
        return "", np.zeros((0, 0))
    (flags, shape), name = (_numbers(*part, order) for part in parts[:2]), bytes(parts[2][1]).decode()
    kind, dims, rest = int(flags[0]) & 0xFF, tuple(shape.tolist()), parts[3:]
    if min(dims) < 0 or (prod(dims) > len(data) and kind != _STRUCTURE):
        raise ValueError(f"{name or 'an array'} of {dims}, in {len(data)} bytes")
    if kind in _CLASSES:
        return name, _numbers(*rest[0], order).astype(order + _CLASSES[kind]).reshape(dims, order="F")
    if kind == _TEXT:
        return name, np.array(["".join(map(chr, _numbers(*rest[0], order).tolist()))] if rest else [], str)
    if kind == _CELL:
        return name, _objects([_matrix(values, order, depth + 1)[1] for _, values in rest], dims)
    if kind == _STRUCTURE:
        return name, _structures(rest, dims, order, depth)
    raise ValueError(f"{name or 'an array'} is of MATLAB's class {kind}, which is not read")


def _structures(parts: list[tuple[int, memoryview]], dims: tuple[int, ...], order: str, depth: int) -> np.ndarray:
    width, text = int(_numbers(*parts[0], order)[0]), bytes(parts[1][1])
    if width < 1:
        raise ValueError(f"names of fields of {width} bytes")
    names = [text[n : n + width].partition(b"\0")[0].decode() for n in range(0, len(text), width)]
    values = [_matrix(data, order, depth + 1)[1] for _, data in parts[2:]]
    if not names or len(values) != prod(dims) * len(names):
        raise ValueError(f"structures {dims} of {len(names)} fields, with {len(values)} values")
    rows = (values[n : n + len(names)] for n in range(0, len(values), len(names)))
    return _objects([Structure(list(zip(names, row))) for row in rows], dims)


def _objects(values: list[Any], dims: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(values), object)
    for n, value in enumerate(values):
        array[n] = value
    return array.reshape(dims, order="F")


def _numbers(kind: int, data: memoryview, order: str) -> np.ndarray:
    if kind not in _STORED:
        raise ValueError(f"numbers of type {kind}, which MATLAB does not have")
    return np.frombuffer(data, order + _STORED[kind])
