"""Images of tar shards, read once from front to back; of a damaged shard it is said that something is missing."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from posewright.predict.collection_sources import file_system, is_image, is_of_the_file, on_disk, why
from posewright.predict.images import in_utf8

_BLOCK = tarfile.BLOCKSIZE
_PACKED = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}
"""What reads the compressed tars that start so."""

_DAMAGES = (tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError)


def tar_members(name: str) -> Iterator[tuple[str, bytes | ValueError]]:
    """The name and the bytes of each image in a tar shard, read once from front to back.

    A shard that is damaged or cut short yields what there is, and then its own name and what is wrong; so does one that
    is not there, or may not be read.

    Raises:
        OSError: its disk or network fails; the message names the shard.
    """
    images, wrong = 0, ""
    try:
        system, path = file_system(on_disk(name))
    except ValueError as error:
        yield name, error
        return
    try:
        with (
            system.open(path, "rb") as file,
            tarfile.open(fileobj=_unpacked(file), mode="r|", tarinfo=_Header) as tar,
        ):
            for member in tar:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would hold all it has passed
                hidden = PurePosixPath(member.name).name.startswith(".")
                if member.isfile() and is_image(member.name) and not hidden:
                    content, images = tar.extractfile(member), images + 1
                    yield in_utf8(f"{name}/{member.name}"), content.read() if content else b""
            _check_end(tar.fileobj)
    except _DAMAGES as error:
        wrong = f"the tar shard is damaged or cut short ({error})"
    except OSError as error:
        if is_of_the_file(error):
            wrong = f"the tar shard cannot be read ({why(error)})"
        elif error.errno is None:  # of gzip or bz2, about the bytes
            wrong = f"the tar shard is damaged or cut short ({error})"
        else:
            raise OSError(error.errno, f"{name}: cannot be read ({why(error)})") from None
    if not images and not wrong:
        wrong = "this tar shard holds no image"
    if wrong:
        yield name, ValueError(in_utf8(f"{name}: {wrong}"))


class _Header(tarfile.TarInfo):
    """A member's header; where `tarfile` takes a damaged or a missing one for the end of the shard, this is an error.

    Raises:
        ReadError: it is neither a header nor the block of zeros that marks the end.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == _BLOCK and not any(buf):
                raise  # the end
            wrong = "a header is cut short" if buf else "it ends without the blocks of zeros that mark the end"
            raise tarfile.ReadError(f"a wrong header: {error}" if len(buf) == _BLOCK else wrong) from None


def _check_end(stream: Any) -> None:
    """Read a tar on from its first block of zeros: another must follow, and then nothing but zeros.

    To the end, for only there a compressed file says whether its bytes are those that were written.
    """
    second = stream.read(_BLOCK)
    if len(second) < _BLOCK:
        raise tarfile.ReadError("it ends within the blocks of zeros that mark the end")
    chunk = second
    while chunk:
        if any(chunk):
            raise tarfile.ReadError("after the blocks of zeros that mark the end there is more")
        chunk = stream.read(1 << 16)


class _Replayed:
    """A file that need not seek, of which the first bytes have been read already."""

    def __init__(self, first: bytes, file: Any) -> None:
        self.first, self.file = first, file

    def read(self, size: int) -> bytes:
        taken, self.first = self.first[:size], self.first[size:]
        return taken or self.file.read(size)


def _unpacked(file: Any) -> Any:
    """The bytes of a tar, of a file that may be compressed, as its first bytes say."""
    first = b""
    while len(first) < 6 and (more := file.read(6 - len(first))):
        first += more
    whole: Any = _Replayed(first, file)
    reader = next((reader for start, reader in _PACKED.items() if first.startswith(start)), None)
    if reader is gzip.GzipFile:
        return gzip.GzipFile(fileobj=whole, mode="rb")
    return reader(whole) if reader else whole
