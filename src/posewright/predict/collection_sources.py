"""Images of very large collections: named one by one, however many there are, and opened wherever they lie."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from posewright.image import READABLE_HERE
from posewright.predict.images import in_utf8

TARS = (".tar", ".tar.gz", ".tgz")
"""What names of tar shards end in, as WebDataset writes them."""

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_HEX = re.compile(rb"\\x([89a-f][0-9a-f])")
_NAMED = 5


@dataclass(slots=True)
class Unread:
    """What of the folders is neither an image nor a tar shard.

    Attributes:
        count: how many files.
        first: the first few, by name.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count a file."""
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(in_utf8(name))


def is_tar(name: str) -> bool:
    """Whether a file is called as tar shards are."""
    return name.lower().endswith(TARS)


def is_image(name: str) -> bool:
    """Whether a file is called as images are that can be read."""
    return name.lower().endswith(READABLE_HERE)


def on_disk(name: str) -> str:
    """The name of a file on this machine that may have gone through `in_utf8`."""
    if "\\x" not in name or "://" in name or os.path.lexists(name):
        return name
    return os.fsdecode(_HEX.sub(lambda found: bytes.fromhex(found[1].decode()), os.fsencode(name)))


def is_of_the_file(error: OSError) -> bool:
    """Whether it is about one file; others, as of a network, may be about all that follow."""
    kinds = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, kinds) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP)


def why(error: OSError) -> str:
    """What an error of a file system says, which need not be much where that is in an object store."""
    missing = "no such file" if isinstance(error, FileNotFoundError) else ""
    return error.strerror or missing or str(error) or type(error).__name__


def file_system(name: str) -> tuple[Any, str]:
    """The fsspec file system of a path or an address ("s3://bucket/photos"), and the path in it.

    Raises:
        ModuleNotFoundError: fsspec, or what it needs for this kind of address, is not installed.
        ValueError: there is no such kind of address.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise ModuleNotFoundError("collections need fsspec: pip install posewright[collection]") from None
    try:
        return url_to_fs(name)
    except ImportError as error:
        raise ModuleNotFoundError(f"{name}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def names_of(sources: Sequence[str], *, recursive: bool = False, unread: Unread) -> Iterator[str]:
    """The names of the images and tar shards that sources stand for, one by one, in an order that stays.

    Args:
        sources: folders, whose files are taken by their names; patterns, with ranges as WebDataset writes them
            ("train-{0000..0146}.tar"); .txt files with one image or tar shard per line, from the text file's own folder
            where that is neither absolute nor an address; images; tar shards. Each a path or an address of an object
            store ("s3://bucket/photos").
        recursive: take the files of sub-folders too.
        unread: counts what is neither.

    Raises:
        FileNotFoundError: there is no such file or folder, or a pattern matches none.
        ValueError: a list is not text, or lists nothing.
        ModuleNotFoundError: see `file_system`.
    """
    for source in dict.fromkeys(sources):
        for name in _ranges(source):
            system, path = file_system(name)
            if glob.has_magic(name) and not system.exists(path):
                yield from _in_pattern(name, system, path, unread)
            else:
                yield from _in_source(name, system, path, unread, recursive=recursive)


def _ranges(source: str) -> Iterator[str]:
    """A name with ranges in braces as the names that it stands for."""
    found = _RANGE.search(source)
    if not found:
        yield source
        return
    low, high = found.groups()
    for number in range(int(low), int(high) + 1):
        yield from _ranges(f"{source[: found.start()]}{number:0{len(low)}d}{source[found.end() :]}")


def _in_pattern(pattern: str, system: Any, path: str, unread: Unread) -> Iterator[str]:
    names = [_as_given(system, name, pattern) for name in sorted(system.glob(path))]
    if not names:
        raise FileNotFoundError(f"{pattern}: nothing matches this pattern")
    for name in names:
        if is_image(name) or is_tar(name):
            yield name
        else:
            unread.add(name)


def _in_source(name: str, system: Any, path: str, unread: Unread, *, recursive: bool) -> Iterator[str]:
    if name.lower().endswith(".txt"):
        yield from _in_list(name, system, path)
    elif system.isdir(path):
        yield from _in_folder(name, system, path, unread, recursive=recursive)
    elif not system.exists(path):
        raise FileNotFoundError(f"{name}: no such file or folder")
    elif is_image(name) or is_tar(name):
        yield name
    else:
        raise ValueError(f"{name}: expected a folder, a .txt list, a tar shard or an image")


def _in_folder(name: str, system: Any, path: str, unread: Unread, *, recursive: bool) -> Iterator[str]:
    root = name.rstrip("/") or "/"
    for folder, folders, files in system.walk(path, maxdepth=None if recursive else 1, on_error="raise"):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        inside = folder[len(path) :].strip("/")
        for file in sorted(files):
            each = str(PurePosixPath(inside) / file)
            if file.startswith("."):
                continue
            if is_image(file) or is_tar(file):
                yield f"{root}/{each}"
            else:
                unread.add(f"{root}/{each}")


def _in_list(name: str, system: Any, path: str) -> Iterator[str]:
    above, listed = name.rpartition("/")[0], 0
    if not system.exists(path):
        raise FileNotFoundError(f"{name}: no such file or folder")
    try:
        with system.open(path, "r", encoding="utf-8") as lines:
            for line in map(str.strip, lines):
                if line and not line.startswith("#"):
                    listed += 1
                    free = not above or "://" in line or Path(line).is_absolute()
                    yield line if free else f"{above}/{line}"
    except UnicodeDecodeError:
        raise ValueError(
            f"{name}: expected a text file with one image or tar shard per line, got other bytes"
        ) from None
    if not listed:
        raise ValueError(f"{name}: lists no image; expected one image or tar shard per line")


def _as_given(system: Any, path: str, source: str) -> str:
    """A path of a file system in the form that its source has."""
    if "://" in source:
        return str(system.unstrip_protocol(path))
    return path if Path(source).is_absolute() else str(Path(path).relative_to(Path.cwd()))
