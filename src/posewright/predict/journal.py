"""Results of a run over images, written as they come: what is finished survives every kind of interruption.

`results.jsonl` holds one line for the settings and one per finished image. At the end the lines are joined into
`results.json`, which appears atomically; until then an earlier one stays as it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from posewright.files import write_with

NAME = "results.jsonl"
_START = b'{"settings":'

CSV_COLUMNS = ("file_name", "image_id", "person", "point", "x", "y", "score")


class Entry(msgspec.Struct):
    """The outcome for one image.

    Attributes:
        name: the image, as the run calls it.
        image_id: its id in the results.
        state: `ImageFile.state` when it was read.
        source: where its boxes came from.
        outside: how many boxes of a file do not touch it.
        results: its poses.
    """

    name: str
    image_id: int
    state: list[int]
    source: str
    outside: int
    results: list[dict[str, Any]]


class _Settings(msgspec.Struct):
    settings: dict[str, str]


class Journal:
    """The lines of a run in a folder, in the order in which they were finished; what a run like it left is kept.

    Args:
        folder: where `results.jsonl` is, or will be.
        settings: all that results depend on, by name; a journal of other settings is started over.

    Attributes:
        note: what was found there, in words; "" where there was nothing.

    Raises:
        BlockingIOError: another run writes there.
        ValueError: there is another program's file of that name.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._path, self.note = folder / NAME, ""
        self._file = self._path.open("a+b")
        self._places: dict[str, int] = {}
        try:
            lock(self._file, folder)
            self._load(settings)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._places:
            self._path.unlink(missing_ok=True)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, name: str) -> Entry:
        self._file.seek(self._places[name])
        return msgspec.json.decode(self._file.readline(), type=Entry)

    def add(self, entry: Entry) -> None:
        """Record the outcome for an image; from here on it survives a kill of this process."""
        place = self._file.seek(0, io.SEEK_END)
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
        self._places[entry.name] = place

    def drop(self, unwanted: Callable[[Entry], bool]) -> None:
        """Forget the images whose entry is not to be used again."""
        self._places = {name: place for name, place in self._places.items() if not unwanted(self[name])}

    def clear(self) -> None:
        """Forget all, once the lines were joined; the file goes when the journal is closed."""
        self._places.clear()

    def _load(self, settings: dict[str, str]) -> None:
        self._file.seek(0)
        first = self._file.readline()
        try:
            before = msgspec.json.decode(first, type=_Settings).settings
        except msgspec.MsgspecError:
            before = None
            if first[: len(_START)] != _START[: len(first)]:  # a killed run may leave a part of the line
                raise ValueError(
                    f"{self._path}: expected what an interrupted run left, got another file, which this run would "
                    "replace: move it away, or choose another folder"
                ) from None
        if before == settings:
            self._read_lines()
            return
        if before is not None:
            changed = [name for name in settings.keys() | before.keys() if settings.get(name) != before.get(name)]
            self.note = (
                f"{self._path} is of an interrupted run with other settings ({', '.join(sorted(changed))}): all images "
                "are predicted again"
            )
        self._file.truncate(0)
        self._file.write(msgspec.json.encode(_Settings(settings)) + b"\n")
        self._file.flush()

    def _read_lines(self) -> None:
        """Where each image's line is; what a killed run left of its last line is cut off."""
        end = self._file.tell()
        for line in iter(self._file.readline, b""):
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.MsgspecError:
                entry = None
            if entry is None or not line.endswith(b"\n"):
                break
            self._places[entry.name] = end
            end += len(line)
        self._file.truncate(end)


def write_results(path: Path, entries: Iterable[Entry], keys: Sequence[str] | None = None) -> None:
    """Write all poses as one JSON list, atomically and without holding them all.

    Args:
        path: the file.
        entries: of the images, in order.
        keys: of each result, only these are written; all where left out.
    """

    def fill(file: BinaryIO) -> None:
        start = b"["
        for entry in entries:
            for result in entry.results:
                kept = result if keys is None else {key: result[key] for key in keys}
                file.write(start + msgspec.json.encode(kept))
                start = b",\n"
        file.write(b"]" if start != b"[" else b"[]")

    write_with(path, fill)


def write_csv(path: Path, entries: Iterable[Entry], points: Sequence[str]) -> None:
    """Write all poses as a table with one row per keypoint, under `CSV_COLUMNS`; people are numbered from 1."""

    def fill(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(CSV_COLUMNS)
        for entry in entries:
            for person, result in enumerate(entry.results, 1):
                numbers = result["keypoints"]
                writer.writerows(
                    (entry.name, entry.image_id, person, point, *numbers[3 * k : 3 * k + 3])
                    for k, point in enumerate(points)
                )
        text.detach()

    write_with(path, fill)


def lock(file: BinaryIO, folder: Path) -> None:
    """Hold a file of a folder of results until it is closed or its process ends, where the system can.

    Raises:
        BlockingIOError: another run holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            f"{folder} is in use: another run writes its results there; wait for it, or choose another --out"
        ) from None
