"""Published weights: the table of them, and downloading them into a cache.

The cache is addressed by content: `weights/<sha256>/<name>` holds a file, `ids/<id>` says which one an entry of the
table is. A file under its final name is complete and has the checksum that the folder's name says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from posewright.files import cache_folder, ready_folder, write_text, write_with
from posewright.models import DEFAULT
from posewright.weights._download import Progress, download, head
from posewright.weights._registry import Entry, Published, Terms, datasets, entries, entry, published, table, terms

__all__ = [
    "Checked", "Entry", "Published", "Terms", "cache_folder", "cached", "check", "datasets", "entries", "entry",
    "import_file", "local_weights", "published", "pull", "resolve", "terms", "verify",
]  # fmt: skip

try:
    import fcntl
except ImportError:  # Windows: two processes that fetch one file at once may damage it, which its checksum shows
    fcntl = None

_LARGEST = 4 << 30  # bytes; the largest published file has a tenth of it


@dataclass(frozen=True, slots=True)
class Checked:
    """A file of the cache and what `verify` found wrong with it; empty where it is intact."""

    id: str
    path: Path
    problem: str


def cached(id: str) -> Path | None:
    """The file of an entry in the cache, None where it is not there."""
    with contextlib.suppress(OSError):
        path = cache_folder() / "weights" / (cache_folder() / "ids" / id).read_text()
        return path if path.is_file() else None
    return None


def local_weights(spec: str) -> Path | None:
    """The weights of a pose system that need no download; None where there are none.

    Those inside the package, or else the first file in the cache that is of this system, in the order of `entries`.
    """
    shipped = Path(__file__).parent / "default.safetensors"
    if spec == DEFAULT and shipped.is_file():
        return shipped
    return next((path for e in entries(spec) if (path := cached(e.id))), None)


def resolve(name: str) -> Path:
    """A file by its path, by the id of published weights in the cache, or as "default": the weights in the package.

    Raises:
        FileNotFoundError: it is an id and the weights are not in the cache. Whether a file exists is not checked.
    """
    if Path(name).exists() or name not in (*table(), "default"):
        return Path(name)
    if found := local_weights(DEFAULT) if name == "default" else cached(name):
        return found
    raise FileNotFoundError(f"{name} is not in the cache: download it first (posewright weights pull {name})")


def pull(id: str, *, offline: bool | None = None, unverified: bool = False, progress: Progress | None = None) -> Path:
    """The file of an entry, from the cache or else downloaded into it.

    $POSEWRIGHT_MIRROR, where it is set, is asked first, for {mirror}/{id}/{file}; then the entry's URLs in order. An
    interrupted download resumes where it was.

    Args:
        id: see `entries`.
        offline: never use the network; None asks $POSEWRIGHT_OFFLINE.
        unverified: take a file without a published checksum, over https only.
        progress: called with the bytes downloaded and in all (0 where that is not known).

    Raises:
        LookupError: there is no such entry.
        FileNotFoundError: it is not in the cache and the network is not to be used.
        ValueError: no checksum was published: the message has that of the file that came, and says how to take it.
        OSError: it cannot be downloaded: each URL's reason, or how to get it manually.
    """
    wanted = entry(id)
    if path := cached(id):
        return path
    mirror = os.environ.get("POSEWRIGHT_MIRROR", "").rstrip("/")
    urls = [f"{mirror}/{id}/{wanted.file or id}"] * bool(mirror) + list(wanted.fetchable)
    if not urls:
        raise OSError(wanted.by_hand())
    if os.environ.get("POSEWRIGHT_OFFLINE", "").lower() not in ("", "0", "no", "false") if offline is None else offline:
        raise FileNotFoundError(
            f"{id} is not in the cache {cache_folder()} and the network is switched off: go online, or "
            f"`posewright weights import {id} FILE`"
        )
    reasons = []
    for url in urls:
        if not wanted.sha256 and urlsplit(url).scheme != "https":
            reasons.append(f"{url}: not requested over {urlsplit(url).scheme}, for no checksum was published")
            continue
        try:
            return _pull_from(url, wanted, unverified, progress)
        except _Unverified:
            raise
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    raise OSError(f"{id} cannot be downloaded: {'; '.join(reasons)}. Or: {wanted.by_hand()}")


class _Unverified(ValueError):
    """A downloaded file has no published checksum."""


def import_file(id: str, path: str | os.PathLike[str]) -> Path:
    """Copy a file that was downloaded manually into the cache; returns its place there.

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
    """Recompute the checksums of the cache's files: of one entry, or of all.

    Raises:
        LookupError: there is no such entry.
    """
    found = [(e.id, path) for e in ([entry(id)] if id else entries()) if (path := cached(e.id))]
    return [Checked(name, path, _damage(path, entry(name))) for name, path in found]


def check(pattern: str = "*") -> Iterator[tuple[str, str, str]]:
    """Ask every URL of the entries that match for its headers alone: (id, URL, "200, 1234 bytes" or what failed)."""
    places = [(e.id, url) for e in entries(pattern) for url in e.urls]
    with ThreadPoolExecutor(8) as pool:
        yield from ((id, url, answer) for (id, url), answer in zip(places, pool.map(lambda p: head(p[1]), places)))


def _pull_from(url: str, wanted: Entry, unverified: bool, progress: Progress | None) -> Path:
    url, _, member = url.partition("#")
    name = wanted.file or Path(urlsplit(url).path).name
    part = ready_folder(cache_folder() / "partial") / hashlib.sha256(url.encode()).hexdigest()[:16]
    with _alone(part.with_suffix(".lock")):
        if path := cached(wanted.id):
            return path  # another process has downloaded it meanwhile
        download(url, part, limit=_LARGEST, progress=progress)
        keep = False
        try:
            if member:
                _unpack(part, member)
            place = _place(part, wanted, name)
            if not (wanted.sha256 or unverified):
                keep = not member  # so that the second call need not download it again
                raise _Unverified(
                    f"{wanted.id}: no checksum was published, so it cannot be verified that {url} is the published "
                    f"file; the sha256 of the downloaded file is {place.parent.name}. To take it: --no-verify"
                )
            ready_folder(place.parent)
            part.replace(place)
        finally:
            if not keep:  # complete or wrong, there is nothing to resume
                for leftover in (part, part.with_name(f"{part.name}.tag")):
                    leftover.unlink(missing_ok=True)
        return _keep(place, wanted)


def _unpack(archive: Path, member: str) -> None:
    """Put one file of a zip archive in the archive's place."""
    try:
        with zipfile.ZipFile(archive) as files:
            if (size := files.getinfo(member).file_size) > _LARGEST:
                raise ValueError(f"{member} claims {size} bytes, more than {_LARGEST}: damaged, or malicious")
            with files.open(member) as source:  # reads no more than it claims
                write_with(archive, lambda file: shutil.copyfileobj(source, file))
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"expected a zip archive with {member}, got another: {error}") from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or compressed as this Python cannot
        raise ValueError(f"the zip archive with {member} cannot be unpacked: {error}") from None


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
