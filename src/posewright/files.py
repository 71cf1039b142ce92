"""Files that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec


def write_with(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Have `fill` write the file; under its own name it appears only once it is complete and on disk.

    Raises:
        OSError: the folder cannot be made or written, or its disk is full; the message names the file.
    """
    ready_folder(path.parent)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
            raise type(cause)(cause.errno, f"cannot write {path}: {cause.strerror}") from None
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically; see `write_with`."""
    write_with(path, lambda file: _write(file, data))


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


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
