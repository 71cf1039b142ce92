"""Shards of results: Parquet or COCO JSON files that appear atomically, and know what is in them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import msgspec

from posewright.files import write_with
from posewright.predict.collection_sources import file_system
from posewright.predict.journal import lock
from posewright.skeletons import to_category
from posewright.types import Skeleton

ShardFormat: TypeAlias = Literal["parquet", "coco"]

SUFFIXES: dict[ShardFormat, str] = {"parquet": ".parquet", "coco": ".json"}

_ROWS = 256
"""Images of one row group."""


class ImageRecord(msgspec.Struct):
    """The outcome for one image of a collection.

    Attributes:
        file_name: the image, by its path or address; of a tar shard that of the tar, a slash, and its name in there.
        image_id: unlike any other in the collection.
        height: of the image, in pixels; 0 where it could not be read.
        width: see `height`.
        error: what is wrong with it, "" where nothing is.
        poses: COCO keypoint results, with the box as `bbox`.
    """

    file_name: str
    image_id: int
    height: int = 0
    width: int = 0
    error: str = ""
    poses: list[dict[str, Any]] = []


class Counts(msgspec.Struct):
    """What is in a shard of results: images, poses, and images that could not be read, the first few with reasons."""

    images: int = 0
    poses: int = 0
    failed: int = 0
    reasons: list[str] = []

    def add(self, record: ImageRecord) -> None:
        """Count an image."""
        self.images, self.poses = self.images + 1, self.poses + len(record.poses)
        if record.error:
            self.failed += 1
            self.reasons = [*self.reasons, record.error][:5]


class _CocoFile(msgspec.Struct):
    posewright: Counts


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """A folder of result shards, on a disk or in an object store; a file in it is there wholly or not at all.

    Attributes:
        path: of the folder, or its address.
        shard_format: of the shards.
    """

    path: str
    shard_format: ShardFormat = "parquet"

    @property
    def suffix(self) -> str:
        """What names of shards end in."""
        return SUFFIXES[self.shard_format]

    def names(self) -> set[str]:
        """The names of its files; none where there is no such folder."""
        system, path = file_system(self.path)
        if not system.isdir(path):
            return set()
        return {str(name).rstrip("/").rpartition("/")[2] for name in system.ls(path, detail=False)}

    def holds(self, name: str) -> bool:
        """Whether a file is there."""
        system, path = file_system(f"{self.path}/{name}")
        return system.exists(path)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or some of them."""
        system, path = file_system(f"{self.path}/{name}")
        return system.cat_file(path, start, end)

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file, one by one."""
        system, path = file_system(f"{self.path}/{name}")
        with system.open(path, "rb") as file:
            yield from file

    def write(self, name: str, fill: Any) -> None:
        """Have `fill` write a file, which appears once it is complete; see `files.write_with`."""
        if "://" not in self.path:
            write_with(Path(self.path) / name, fill)
            return
        system, path = file_system(f"{self.path}/{name}")
        with tempfile.TemporaryDirectory() as folder:  # uploaded in one piece: what is cut short is no object
            write_with(local := Path(folder) / name, fill)
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
            system.put_file(str(local), path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against other runs on this machine, where the system can.

        Raises:
            BlockingIOError: another run writes there.
            ValueError: it is a file.
            OSError: it cannot be made or written into.
        """
        if "://" in self.path:
            yield
            return
        folder = Path(self.path)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder for shards of results, got a file; choose another")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a+b") as file:
            lock(file, folder)
            yield


def write_shard(
    folder: ResultsFolder, name: str, records: Iterable[ImageRecord], skeleton: Skeleton, about: dict[str, str]
) -> Counts:
    """Write a shard of results as its records come; its name says in which format.

    Args:
        folder: where.
        name: of the file.
        records: of its images, in order; a few hundred are held at a time, of a COCO shard the image entries too.
        skeleton: of the poses.
        about: what made them, by name.

    Raises:
        OSError: the file cannot be written, or its disk is full; or what `records` raises.
    """
    counts = Counts()

    def counted() -> Iterator[ImageRecord]:
        try:
            for record in records:
                counts.add(record)
                yield record
        except OSError as error:
            raise _UnreadError(error) from None

    fill = _parquet if name.endswith(SUFFIXES["parquet"]) else _coco
    try:
        folder.write(name, lambda file: fill(file, counted(), counts, skeleton, about))
    except _UnreadError as unread:
        raise unread.error from None
    return counts


class _UnreadError(Exception):
    """Of reading, while a file is written: what writes it would take an `OSError` for its own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def read_counts(folder: ResultsFolder, name: str) -> Counts:
    """What is in a finished shard, by what its file says.

    Raises:
        ValueError: the file is damaged.
    """
    system, path = file_system(f"{folder.path}/{name}")
    try:
        if name.endswith(SUFFIXES["coco"]):
            return msgspec.json.decode(system.cat_file(path), type=_CocoFile).posewright
        from pyarrow import parquet

        with system.open(path, "rb") as file:
            metadata = parquet.read_metadata(file).metadata or {}
        return msgspec.json.decode(metadata[b"posewright.counts"], type=Counts)
    except (msgspec.MsgspecError, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"{folder.path}/{name}: not a shard of results that was written here, or damaged ({error}); remove it, and "
            "the same command makes it again"
        ) from None


def _coco(
    file: BinaryIO, records: Iterable[ImageRecord], counts: Counts, skeleton: Skeleton, about: dict[str, str]
) -> None:
    """COCO's object of images, annotations and categories; annotations are keypoint results with ids of their own."""
    images, separator, number = list[bytes](), b"", 0
    file.write(b'{"annotations":[')
    for record in records:
        entry = {"id": record.image_id, "file_name": record.file_name, "height": record.height, "width": record.width}
        images.append(msgspec.json.encode(entry | ({"error": record.error} if record.error else {})))
        for pose in record.poses:
            number += 1
            width, height = pose["bbox"][2:]
            more = {"id": number, "area": width * height, "iscrowd": 0, "num_keypoints": skeleton.num_keypoints}
            file.write(separator + msgspec.json.encode(pose | more))
            separator = b",\n"
    file.write(b'],\n"images":[' + b",\n".join(images) + b"],\n")
    file.write(b'"categories":' + msgspec.json.encode([to_category(skeleton)]) + b",\n")
    file.write(b'"info":' + msgspec.json.encode(about) + b',\n"posewright":' + msgspec.json.encode(counts) + b"}\n")


def _parquet(
    file: BinaryIO, records: Iterable[ImageRecord], counts: Counts, skeleton: Skeleton, about: dict[str, str]
) -> None:
    """One row per image, with the list of its poses."""
    import pyarrow
    from pyarrow import parquet

    single, numbers = pyarrow.float32(), 3 * skeleton.num_keypoints
    pose = [
        ("score", single),
        ("calibrated", single),
        ("bbox", pyarrow.list_(single, 4)),
        ("keypoints", pyarrow.list_(single, numbers)),
    ]
    schema = pyarrow.schema(
        [
            ("file_name", pyarrow.string()),
            ("image_id", pyarrow.int64()),
            ("height", pyarrow.int32()),
            ("width", pyarrow.int32()),
            ("error", pyarrow.string()),
            ("poses", pyarrow.list_(pyarrow.struct(pose))),
        ]
    )
    category = msgspec.json.encode(to_category(skeleton)).decode()
    known = {"posewright.category": category} | {f"posewright.{name}": text for name, text in about.items()}
    with parquet.ParquetWriter(file, schema.with_metadata(known), compression="zstd") as writer:
        while rows := [msgspec.structs.asdict(record) for record in itertools.islice(records, _ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema.with_metadata(known)))
        writer.add_key_value_metadata({"posewright.counts": msgspec.json.encode(counts).decode()})
