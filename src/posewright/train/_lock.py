"""One training per folder: a lock with its owner's name, which a killed owner does not keep."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec


class _Owner(msgspec.Struct, frozen=True):
    pid: int
    host: str
    started: str
    born: str  # when the process began, so that a later one with its number is not taken for it; "" where unknown


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the block runs; a lock whose owner is no longer running is taken over.

    Raises:
        FileExistsError: another process trains there; the message names it.
    """
    path = folder / "run.lock"
    own = _Owner(os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S"), _born(os.getpid()))
    if (other := _read(path)) and (other.host != own.host or _runs(other)):
        raise FileExistsError(
            f"{folder} is in use: process {other.pid} on {other.host} has trained there since {other.started}; wait "
            f"for it, choose another --out, or, if it no longer runs, delete {path}"
        )
    path.unlink(missing_ok=True)  # of an owner that was killed
    try:
        with path.open("xb") as file:
            file.write(msgspec.json.encode(own))
    except FileExistsError:
        raise FileExistsError(f"{folder} is in use: another training has just started there") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _read(path: Path) -> _Owner | None:
    with suppress(FileNotFoundError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=_Owner)
    return None


def _runs(owner: _Owner) -> bool:
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs as another user
    return _born(owner.pid) == owner.born


def _born(pid: int) -> str:
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
