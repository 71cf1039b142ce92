"""One training per folder: a lock with its owner's name, which a killed owner does not keep."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


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
    with _alone(folder):
        if (other := _read(path)) and (other.host != own.host or _runs(other)):
            raise FileExistsError(
                f"{folder} is in use: process {other.pid} on {other.host} has trained there since {other.started}; "
                f"wait for it, choose another --out, or, if it no longer runs, delete {path}"
            )
        path.write_bytes(msgspec.json.encode(own))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let only one process at a time look at the lock and take it."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


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
