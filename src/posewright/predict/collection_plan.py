"""The plan of a collection's run: which shard of results is about which images, listed once and kept."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, TypeVar

import msgspec

from posewright.predict.collection_shards import ResultsFolder
from posewright.predict.collection_sources import Unread, is_tar, names_of
from posewright.predict.images import in_utf8

PLAN, SETTINGS = "plan.jsonl", "plan.json"
_DAMAGED = "; it is damaged: remove the folder, or choose another"
_T = TypeVar("_T")


class Shard(msgspec.Struct):
    """A line of the plan: what one shard of results is about.

    Attributes:
        number: from 0.
        images: names of images.
        tar: instead of them the name of a tar shard, all of whose images it is about.
    """

    number: int
    images: list[str] = []
    tar: str = ""

    def name(self, suffix: str) -> str:
        """The name of its file of results, which changes with its images."""
        return f"part-{self.number:08d}-{zlib.crc32(msgspec.json.encode(self)):08x}{suffix}"


class Plan(msgspec.Struct):
    """What a folder of results is for; stands in `plan.json`, which appears once the listing is complete.

    Attributes:
        settings: all that the results depend on, by name.
        shards: how many there are.
        listed: how many images and tar shards these are.
        unread: how many other files lay in the folders.
        unread_first: the first few of these.
    """

    settings: dict[str, str]
    shards: int
    listed: int
    unread: int = 0
    unread_first: list[str] = []


def planned(
    folder: ResultsFolder, settings: dict[str, str], sources: Sequence[str], *, recursive: bool, shard_size: int
) -> tuple[Plan, str]:
    """The plan of a folder, made where there is none; and what there is to know about it."""
    present = folder.names()
    if SETTINGS in present:
        plan = _decoded(folder, SETTINGS, folder.read(SETTINGS), Plan)
        changed = [
            name for name in settings.keys() | plan.settings.keys() if settings.get(name) != plan.settings.get(name)
        ]
        if changed:
            raise ValueError(
                f"{folder.path}: holds results of a run with other settings ({', '.join(sorted(changed))}); choose "
                "another folder, or remove it"
            )
        return plan, f"resuming the listing of {plan.listed} images and tar shards; later ones need another folder"
    if any(name.startswith("part-") for name in present):
        raise ValueError(f"{folder.path}: holds shards of results, but no {SETTINGS} that says of what; choose another")
    unread = Unread()
    names = map(in_utf8, names_of(sources, recursive=recursive, unread=unread))
    shards = listed = 0

    def fill(file: BinaryIO) -> None:
        nonlocal shards, listed
        for shard in _shards(names, shard_size):
            file.write(msgspec.json.encode(shard) + b"\n")
            shards, listed = shards + 1, listed + (len(shard.images) or 1)
        if not listed:
            raise ValueError(f"{', '.join(sources)}: no images and no tar shards{_hint(recursive)}")

    folder.write(PLAN, fill)
    plan = Plan(settings, shards, listed, unread.count, unread.first)
    folder.write(SETTINGS, lambda file: file.write(msgspec.json.encode(plan)))
    return plan, ""


def _hint(recursive: bool) -> str:
    return "" if recursive else "; --recursive takes those of sub-folders"


def _shards(names: Iterable[str], size: int) -> Iterator[Shard]:
    """Names in shards of some images, or of one tar."""
    number = 0
    for in_tars, group in itertools.groupby(names, is_tar):
        while chunk := list(itertools.islice(group, 1 if in_tars else size)):
            yield Shard(number, tar=chunk[0]) if in_tars else Shard(number, chunk)
            number += 1


def placed_shards(folder: ResultsFolder, plan: Plan) -> Iterator[tuple[tuple[int, int], Shard]]:
    """Each line of a folder's plan, with its first byte and the one after its last.

    Raises:
        ValueError: the plan is damaged.
    """
    place = lines = 0
    for line in folder.lines(PLAN):
        yield (place, place + len(line)), shard_of(folder, line)
        place, lines = place + len(line), lines + 1
    if lines != plan.shards:
        raise ValueError(f"{folder.path}/{PLAN}: expected {plan.shards} lines, got {lines}{_DAMAGED}")


def shard_of(folder: ResultsFolder, line: bytes) -> Shard:
    """What a line of a folder's plan says.

    Raises:
        ValueError: it is damaged.
    """
    return _decoded(folder, PLAN, line, Shard)


def _decoded(folder: ResultsFolder, name: str, data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"{folder.path}/{name}: {error}{_DAMAGED}") from None
