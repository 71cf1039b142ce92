"""MindSpore checkpoints (.ckpt), read and written without MindSpore.

A file is one protobuf message::

    Checkpoint  { repeated Value value = 1 }
    Value       { required string tag = 1; TensorProto tensor = 2 (or MapTensorProto maptensor = 3) }
    TensorProto { repeated int64 dims = 1; required string tensor_type = 2; required bytes tensor_content = 3 }

A tensor above 512 MiB is split over several Values of one tag, each with the dims of the whole. A file saved with
`crc_check=True` ends in the letters "crc_num" and, in ten bytes big-endian, the CRC-32 of all that stands before.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from posewright.files import write_with

TYPES = {
    "Float16": torch.float16, "Float32": torch.float32, "Float64": torch.float64, "BFloat16": torch.bfloat16,
    "Int8": torch.int8, "Int16": torch.int16, "Int32": torch.int32, "Int64": torch.int64,
    "UInt8": torch.uint8, "UInt16": torch.uint16, "UInt32": torch.uint32, "UInt64": torch.uint64,
    "Bool": torch.bool,
}  # fmt: skip
"""MindSpore's number types; strings and hash tables, which it can save too, are not weights."""

MAX_DIMS = 8
_SLICE = 512 << 20
_CRC_MARK = b"crc_num"
_CRC_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FOREIGN = "a field that MindSpore checkpoints do not have: another kind of file, or damaged"


def parse(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors in a checkpoint's bytes, by tag, in file order.

    Raises:
        ValueError: it is not such a file, is damaged, or holds something other than tensors of numbers.
    """
    parts: dict[str, list[_Part]] = {}
    for number, message in _fields(_checked(memoryview(data))):
        if number != 1 or not isinstance(message, memoryview):
            raise ValueError(_FOREIGN)
        tag, part = _value(message)
        parts.setdefault(tag, []).append(part)
    return {tag: _tensor(tag, found) for tag, found in parts.items()}


def write(
    path: str | PathLike[str],
    tensors: Mapping[str, torch.Tensor | np.ndarray],
    *,
    crc: bool = False,
    slice_bytes: int = _SLICE,
) -> None:
    """Write a checkpoint that MindSpore's `load_checkpoint` reads; atomically.

    Args:
        path: the file.
        tensors: by tag; all number types of MindSpore.
        crc: append the checksum that MindSpore verifies on request.
        slice_bytes: tensors of more bytes than this are split.

    Raises:
        ValueError: MindSpore does not have a tensor's type.
    """

    def fill(file: BinaryIO) -> None:
        checksum = 0
        for tag, values in tensors.items():
            tensor = torch.as_tensor(values)
            kind = next((name for name, dtype in TYPES.items() if dtype == tensor.dtype), None)
            if kind is None:
                raise ValueError(f"{tag!r} is of type {tensor.dtype}; MindSpore has {', '.join(TYPES)}")
            content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            head = b"".join(_key(1, _VARINT) + _number(size) for size in tensor.shape) + _field(2, kind.encode())
            for start in range(0, max(len(content), 1), slice_bytes):
                proto = head + _field(3, content[start : start + slice_bytes])
                message = _field(1, _field(1, tag.encode()) + _field(2, proto))
                checksum = zlib.crc32(message, checksum)
                file.write(message)
        if crc:
            file.write(_CRC_MARK + checksum.to_bytes(_CRC_BYTES, "big"))

    write_with(Path(path), fill)


_Part = tuple[tuple[int, ...], str, memoryview]
"""dims, tensor_type, tensor_content."""


def _checked(data: memoryview) -> memoryview:
    """The message without its checksum, which is verified where there is one."""
    end = len(data) - _CRC_BYTES
    start = end - len(_CRC_MARK)
    if start < 0 or data[start:end] != _CRC_MARK:
        return data
    found, written = zlib.crc32(data[:start]), int.from_bytes(data[end:], "big")
    if found != written:
        raise ValueError(f"its checksum is {found:#x}, but {written:#x} was written: the file is damaged")
    return data[:start]


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of a protobuf message: ints for varints, bytes for all else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind in (_FIXED64, _BYTES, _FIXED32):
            size, at = _varint(message, at) if kind == _BYTES else (8 if kind == _FIXED64 else 4, at)
            if size > len(message) - at:
                raise ValueError(f"a field of {size} bytes where {len(message) - at} are left: cut short or damaged")
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}, which protobuf files do not hold")
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("ends inside a number: cut short or damaged")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes: damaged")


def _value(message: memoryview) -> tuple[str, _Part]:
    tag, part = None, None
    for number, value in _fields(message):
        if number == 1 and tag is None and isinstance(value, memoryview):
            tag = bytes(value).decode()
        elif number == 2 and part is None and isinstance(value, memoryview):
            part = _tensor_proto(value)
        elif number == 3:
            raise ValueError(f"{tag!r} is a hash table; expected tensors")
        else:
            raise ValueError(_FOREIGN)
    if tag is None or part is None:
        raise ValueError(f"entry {tag!r} lacks its {'name' if tag is None else 'tensor'}: damaged")
    return tag, part


def _tensor_proto(message: memoryview) -> _Part:
    dims: list[int] = []
    kind, content = None, None
    for number, value in _fields(message):
        if number == 1 and len(dims) <= MAX_DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 2 and kind is None and isinstance(value, memoryview):
            kind = bytes(value).decode()
        elif number == 3 and content is None and isinstance(value, memoryview):
            content = value
        else:
            raise ValueError(_FOREIGN)
    if kind is None or content is None:
        raise ValueError(f"a tensor lacks its {'type' if kind is None else 'content'}: damaged")
    return tuple(d - (1 << 64) if d >> 63 else d for d in dims), kind, content


def _packed(values: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(values) and len(found) <= MAX_DIMS:
        value, at = _varint(values, at)
        found.append(value)
    return found


def _tensor(tag: str, parts: list[_Part]) -> torch.Tensor:
    dims, kind, _ = parts[0]
    if any(part[:2] != (dims, kind) for part in parts):
        raise ValueError(f"{tag!r} occurs twice, with different shapes or types")
    if kind not in TYPES:
        raise ValueError(f"{tag!r} is of type {kind[:40]!r}; expected one of {', '.join(TYPES)}")
    if len(dims) > MAX_DIMS or any(d < 0 for d in dims):
        raise ValueError(f"{tag!r} has the shape {dims[: MAX_DIMS + 1]}; expected up to {MAX_DIMS} sizes, none below 0")
    content = bytearray().join(part[2] for part in parts)
    dtype = TYPES[kind]
    if dims == (0,) and len(content) == dtype.itemsize:
        dims = ()  # how older MindSpore writes the shape of a scalar
    if math.prod(dims) * dtype.itemsize != len(content):
        raise ValueError(f"{tag!r} has the shape {dims} of {kind}, but {len(content)} bytes: cut short or damaged")
    if not content:
        return torch.empty(dims, dtype=dtype)
    if dtype == torch.bool:  # any byte but 0 means true; torch itself may only hold 0 and 1
        return torch.frombuffer(content, dtype=torch.uint8).ne(0).reshape(dims)
    return torch.frombuffer(content, dtype=dtype).reshape(dims)


def _key(number: int, kind: int) -> bytes:
    return _number(number << 3 | kind)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(g | 0x80 for g in groups[:-1]), groups[-1]])
