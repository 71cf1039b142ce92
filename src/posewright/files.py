"""Files written atomically, beside their place and then renamed; and JSON read with one clear line for every fault."""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
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
            hint = "free some space or choose another folder; " if cause.errno in _FULL else ""
            kept = "the file that was there is kept" if path.exists() else "nothing was left there"
            raise type(cause)(cause.errno, f"cannot write {path}: {cause.strerror}; {hint}{kept}") from None
        raise


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


os.umask(_UMASK := os.umask(0))  # to ask for it is to set it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
