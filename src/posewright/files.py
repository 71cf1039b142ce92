"""Files written atomically, beside their place and then renamed; JSON read with one clear line for every fault; and
how large an encoded image is, by its header.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec


def write_with(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Have `fill` write the file; under its own name it appears only once it is complete and on disk.

    Raises:
        OSError: the folder cannot be made or written, or its disk is full; the message names the file.
    """
    ready_folder(path.parent)
    _remove_stale(path)
    handle, beside = tempfile.mkstemp(
        prefix=f".{path.name}.{_MACHINE}-{os.getpid()}.", suffix=".partial", dir=path.parent
    )
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o666 & ~_UMASK)
        Path(beside).replace(path)
    except BaseException as error:
        Path(beside).unlink(missing_ok=True)
        # What torch.save says after a failed write is about its own state; the write's error is what it met first.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError) and cause.strerror:
            kept = "the file that was there is kept" if path.exists() else "nothing was left there"
            raise unwritten(path, cause, kept) from None
        raise


def unwritten(path: Path, error: OSError, kept: str) -> OSError:
    """An error of the same kind that says which file could not be written, what to do, and what is `kept` of it."""
    hint = "free some space or choose another folder; " if error.errno in _FULL else ""
    message = f"cannot write {path}: {error.strerror}; {hint}{kept}"
    kind = type(error) if type(error).__module__ == "builtins" else OSError
    return kind(error.errno, message)


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically; see `write_with`."""
    write_with(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `write_with`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, indent: int = 0) -> None:
    """Write JSON atomically; see `write_with`. NaN and infinity become null, for JSON has neither."""
    data = msgspec.json.encode(value)
    write_bytes(path, msgspec.json.format(data, indent=indent) if indent else data)


def ready_folder(folder: Path) -> Path:
    """The folder, made where missing and known to be writable.

    Raises:
        OSError: it cannot be made, is a file, or cannot be written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(f"cannot write into {folder}: {error.strerror or error}; choose another folder") from None
    return folder


def cache_folder() -> Path:
    """Where files are kept: $POSEWRIGHT_CACHE, or posewright/ in the user's cache folder."""
    if own := os.environ.get("POSEWRIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posewright"


def short(text: str, most: int = 300) -> str:
    """Text of unknown origin as a message may hold it: printable, and cut in the middle to `most` characters."""
    half = (most - 3) // 2
    text = text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
    return "".join(c if c.isprintable() else "?" for c in text)


def regular(path: Path, wanted: str) -> Path:
    """The path of a regular file: a pipe would be waited for, and a device never ends.

    Args:
        path: where it should be.
        wanted: what is expected there, such as "an image file".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe, a socket or a device.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such {wanted.partition(' ')[2]}")
    kind = "a folder" if path.is_dir() else "a pipe or a device"
    raise ValueError(f"{path}: expected {wanted}, got {kind}")


# -- reading JSON ----------------------------------------------------------------------------------------------------


def read_json(path: Path, kind: Any, wanted: str, lenient_kind: Any = None) -> Any:
    """JSON of a form that is checked. NaN and Infinity, which Python writes though JSON has neither, are read too.

    Numbers in quotes and whole numbers written 3.0 are taken, for exports from tables write both.

    Args:
        path: the file.
        kind: what msgspec is to make of it.
        wanted: that form in words, for messages.
        lenient_kind: the form of a file with NaN or Infinity in it, where `kind` holds raw JSON.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe or a device; not JSON; or of another form.
    """
    data = regular(path, "a JSON file").read_bytes().removeprefix(b"\xef\xbb\xbf")  # Windows' byte-order mark
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        return convert(_lenient(data, error, path, wanted), lenient_kind or kind, str(path), wanted)


def _lenient(data: bytes, error: Exception, path: str | os.PathLike[str], wanted: str) -> Any:
    """What Python's reader makes of JSON that the strict one refuses for another reason than its form."""
    if not isinstance(error, msgspec.ValidationError) and "surrogate" not in str(error):
        try:
            return json.loads(data)
        except RecursionError:
            raise ValueError(f"{path}: expected {wanted}; this is nested too deeply") from None
        except (ValueError, OverflowError) as other:
            error = other
    found = ""
    if isinstance(error, msgspec.ValidationError):
        if "`array`" in str(error)[-20:] or "`object`" in str(error)[-20:] or "missing" in str(error):
            found = _described(data)
        raise ValueError(f"{path}: expected {wanted}: {short(str(error))}{found}") from None
    raise ValueError(
        f"{path}: expected {wanted}; this is not JSON, or cut short: {short(str(error))} ({len(data)} bytes)"
    ) from None


def _described(data: bytes) -> str:
    """What a JSON file of another form holds, in a few words."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if isinstance(value, dict) and not {"images", "annotations"} <= value.keys():
        return f"; got an object with {short(', '.join(value), 100) or 'nothing'}"
    if isinstance(value, list):
        first = value[0] if value and isinstance(value[0], dict) else {}
        keys = f" of objects with {short(', '.join(first), 100)}" if first else ""
        looks = "; that looks like results or detections" if "score" in first else ""
        return f"; got a list of {len(value)}{keys}{looks}"
    return ""


def convert(value: Any, kind: Any, name: str, wanted: str) -> Any:
    """What is in memory, as a form that is checked; numpy's numbers and arrays are taken.

    Raises:
        ValueError: it is of another form.
    """
    try:
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            return msgspec.convert(_plain(value), kind, strict=False)
    except (msgspec.ValidationError, RecursionError, OverflowError, UnicodeError) as error:
        raise ValueError(f"{name}: expected {wanted}: {short(str(error))}") from None


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays, and torch's, as Python's."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value


# -- writing --------------------------------------------------------------------------------------------------------


def _remove_stale(path: Path) -> None:
    """Remove what killed writers of this file left beside it: a partial file names its writer's machine and process."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.{_MACHINE}-*.partial"):
        writer = partial.name.removeprefix(f".{path.name}.{_MACHINE}-").partition(".")[0]
        if writer.isdigit() and not _is_running(int(writer)):
            partial.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether a process of this number may be running; where that cannot be known, it may."""
    if os.name != "posix":  # os.kill would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def image_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG, PNG, BMP, WebP, TIFF, GIF (its canvas) or PNM file, before any turning.

    Nothing is decoded: a file of a few bytes can claim any size, and decoders allocate what it claims.

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


os.umask(_UMASK := os.umask(0))  # to ask for it is to set it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segments that hold a JPEG's size; the three left out hold tables."""
_JPEG_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}
"""Markers without a segment."""
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
_PNM = re.compile(rb"P[1-6](?:\s|#[^\r\n]*[\r\n])+(\d{1,9})(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})\s")
