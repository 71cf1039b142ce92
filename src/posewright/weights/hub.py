"""Published weights: the table of them, and fetching them into a cache.

The cache is addressed by content: `weights/<sha256>/<name>` holds a file, `ids/<id>` says which one an entry of the
table is. A file under its final name is whole and has the checksum that the folder's name says.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import functools
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from posewright.files import ready_folder, write_text, write_with
from posewright.models import DEFAULT
from posewright.weights._download import Progress, download

try:
    import fcntl
except ImportError:  # Windows: two processes that fetch the same file at once may spoil it, and notice by checksum
    fcntl = None

BY_HAND = ("drive.google.com", "1drv.ms", "onedrive.live.com", "pan.baidu.com", "www.dropbox.com")
"""Hosts that give a program a web page instead of the file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One published file.

    Attributes:
        id: its name in the table.
        spec: the pose system that it is of; empty where there is none in Posewright.
        data: what it was trained on.
        size: the input as HxW.
        boxes: the boxes behind the figures, such as "det 56.4" or "GT".
        ap, ar, pckh: published figures, 0..1, where there are any.
        urls: where it can be had, best first; what follows a "#" is its path in the zip archive that is there.
        sha256: the checksum in hex, or as many leading digits of it as were published.
        file: its name, within the folder where a URL leads to a folder.
        source: who published it.
        note: what else to know.
    """

    id: str
    spec: str
    data: str
    size: str
    boxes: str
    ap: float | None
    ar: float | None
    pckh: float | None
    urls: tuple[str, ...]
    sha256: str
    file: str
    source: str
    note: str

    @property
    def fetchable(self) -> tuple[str, ...]:
        """The URLs that a program can fetch."""
        return tuple(url for url in self.urls if urlsplit(url).netloc not in BY_HAND)

    def by_hand(self) -> str:
        """One line on how to get the file where a program cannot."""
        name = self.file or "FILE"
        how = f"open {self.urls[0]} in a browser and download {name}" if self.urls else "find it (no address is known)"
        return f"{self.id}: {how}, then `posewright weights import {self.id} {name}`"


@dataclass(frozen=True, slots=True)
class Checked:
    """A file of the cache and what `verify` found wrong with it; empty where nothing."""

    id: str
    path: Path
    problem: str


def entries(pattern: str = "*") -> list[Entry]:
    """The table's entries whose id or pose system matches a shell pattern, in its order."""
    return [e for e in _table().values() if fnmatchcase(e.id, pattern) or fnmatchcase(e.spec, pattern)]


def entry(id: str) -> Entry:
    """The entry of that id.

    Raises:
        LookupError: there is none; the message names the nearest, or those of the pose system of that name.
    """
    if found := _table().get(id):
        return found
    near = [e.id for e in entries(id)][:5] or difflib.get_close_matches(id, _table(), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise LookupError(f"no published weights are named {id!r}{hint} (`posewright weights list` lists all)")


def cache_folder() -> Path:
    """Where files are kept: $POSEWRIGHT_CACHE, or posewright/ in the user's cache folder."""
    if own := os.environ.get("POSEWRIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posewright"


def cached(id: str) -> Path | None:
    """The file of an entry in the cache, None where it is not there."""
    with contextlib.suppress(OSError):
        path = cache_folder() / "weights" / (cache_folder() / "ids" / id).read_text()
        return path if path.is_file() else None
    return None


def local_weights(spec: str) -> Path | None:
    """The weights of a pose system that need no fetching; None where there are none.

    Those inside the package, or else the first file in the cache that is of this system, in the table's order.
    """
    own = Path(__file__).parent / "default.safetensors"
    if spec == DEFAULT and own.is_file():
        return own
    return next((path for e in entries(spec) if (path := cached(e.id))), None)


def resolve(name: str) -> Path:
    """A file by its path, or by the id of published weights that are in the cache.

    Raises:
        FileNotFoundError: it is an id and the weights were not fetched. Whether a file exists is not asked.
    """
    if Path(name).exists() or name not in _table():
        return Path(name)
    if found := cached(name):
        return found
    raise FileNotFoundError(f"{name} is not in the cache: fetch it first (posewright weights pull {name})")


def pull(id: str, *, offline: bool | None = None, progress: Progress | None = None) -> Path:
    """The file of an entry, from the cache or else fetched into it.

    Mirrors are tried in order; a download that was broken off goes on where it was.

    Args:
        id: see `entries`.
        offline: never use the network; None asks $POSEWRIGHT_OFFLINE.
        progress: called with the bytes at hand and in all (0 where that is not known).

    Raises:
        LookupError: there is no such entry.
        FileNotFoundError: it is not in the cache and the network is not to be used.
        OSError: it cannot be fetched: each mirror's reason, or how to get it by hand.
    """
    wanted = entry(id)
    if path := cached(id):
        return path
    if not wanted.fetchable:
        raise OSError(wanted.by_hand())
    if _offline() if offline is None else offline:
        raise FileNotFoundError(
            f"{id} is not in the cache {cache_folder()} and the network is switched off: go online, or "
            f"`posewright weights import {id} FILE`"
        )
    reasons = []
    for url in wanted.fetchable:
        try:
            return _pull_from(url, wanted, progress)
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    raise OSError(f"{id} cannot be fetched: {'; '.join(reasons)}. Or: {wanted.by_hand()}")


def import_file(id: str, path: str | os.PathLike[str]) -> Path:
    """Copy a file that was got by other means into the cache; returns its place there.

    Raises:
        LookupError: there is no such entry.
        FileNotFoundError: there is no such file.
        ValueError: it is empty, a web page, or not the published file by its checksum.
        OSError: the cache cannot be written.
    """
    wanted, path = entry(id), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    place = _place(path, wanted, wanted.file or path.name)
    with path.open("rb") as source:
        write_with(place, lambda file: shutil.copyfileobj(source, file))
    return _keep(place, wanted)


def verify(id: str | None = None) -> list[Checked]:
    """Compute the checksums of the cache's files anew: of one entry, or of all.

    Raises:
        LookupError: there is no such entry.
    """
    found = [(e.id, path) for e in ([entry(id)] if id else entries()) if (path := cached(e.id))]
    return [Checked(name, path, _damage(path, entry(name))) for name, path in found]


def _offline() -> bool:
    return os.environ.get("POSEWRIGHT_OFFLINE", "").lower() not in ("", "0", "no", "false")


@functools.cache
def _table() -> dict[str, Entry]:
    text = (files("posewright.weights") / "registry.csv").read_text(encoding="utf-8")
    return {row["id"]: _entry(row) for row in csv.DictReader(text.splitlines())}


def _entry(row: dict[str, str]) -> Entry:
    figures = {name: float(row[name]) if row[name] else None for name in ("ap", "ar", "pckh")}
    return Entry(**(row | figures | {"urls": tuple(row["urls"].split())}))  # pyright: ignore[reportArgumentType]


def _pull_from(url: str, wanted: Entry, progress: Progress | None) -> Path:
    url, _, member = url.partition("#")
    name = wanted.file or Path(urlsplit(url).path).name
    part = ready_folder(cache_folder() / "partial") / hashlib.sha256(url.encode()).hexdigest()[:16]
    with _alone(part.with_suffix(".lock")):
        if path := cached(wanted.id):
            return path  # another process has fetched it meanwhile
        download(url, part, progress=progress)
        try:
            if member:
                _unpack(part, member)
            place = _place(part, wanted, name)
            ready_folder(place.parent)
            part.replace(place)
        finally:  # whole or wrong, there is nothing to go on from
            for leftover in (part, part.with_name(f"{part.name}.tag")):
                leftover.unlink(missing_ok=True)
        return _keep(place, wanted)


def _unpack(archive: Path, member: str) -> None:
    """Put one file of a zip archive in the archive's place."""
    try:
        with zipfile.ZipFile(archive) as files, files.open(member) as source:
            write_with(archive, lambda file: shutil.copyfileobj(source, file))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{archive.name}: expected a zip archive with {member}, got another: {error}") from None


def _place(path: Path, wanted: Entry, name: str) -> Path:
    """Where the cache keeps a file with these bytes, which must be those of the entry."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start or start.startswith(b"<"):
        what = "a web page" if start else "empty"
        raise ValueError(f"{path} is {what}, not the file of {wanted.id}; {wanted.by_hand()}")
    digest = _sha256(path)
    if not digest.startswith(wanted.sha256):
        raise ValueError(
            f"{name} has the sha256 {digest[: max(len(wanted.sha256), 8)]}, published was {wanted.sha256}: damaged, or "
            f"not the file of {wanted.id}"
        )
    return cache_folder() / "weights" / digest / name


def _keep(place: Path, wanted: Entry) -> Path:
    write_text(cache_folder() / "ids" / wanted.id, f"{place.parent.name}/{place.name}")
    return place


def _damage(path: Path, wanted: Entry) -> str:
    digest = _sha256(path)
    if digest != path.parent.name:
        return f"its bytes have changed since it was stored: delete it and pull {wanted.id} again"
    return "" if digest.startswith(wanted.sha256) else f"its sha256 is {digest[:16]}, published was {wanted.sha256}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time in."""
    with lock.open("w") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
