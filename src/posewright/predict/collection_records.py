"""One shard of a collection: its images opened ahead by threads, their poses, and the file that holds these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeAlias

import numpy as np

from posewright import __version__, image
from posewright.predict import boxes as detect
from posewright.predict.ahead import in_order
from posewright.predict.collection_plan import Shard
from posewright.predict.collection_shards import ImageRecord, ResultsFolder, write_shard
from posewright.predict.collection_sources import file_system, tar_members
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

BoxSource: TypeAlias = "detect.BoxFile | detect.Detector | None"

Tools: TypeAlias = "Callable[[], tuple[Predictor, BoxSource]]"
"""Makes the predictor and where its boxes come from; called once by each process that predicts."""

_SPAN = 10**9
"""From the ids of one shard's images to those of the next one's."""

_OF_THE_IMAGE = (ValueError, LookupError, FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that are noted and passed over; others, as of a network, stop the run, for the next one may get further."""


def make_shard(
    folder: ResultsFolder,
    shard: Shard,
    predictor: Predictor,
    boxes: BoxSource,
    asked: Sequence[int] = (),
) -> str:
    """Find the poses in a shard's images and write them, unless that was done; the name of the file.

    Args:
        folder: for the file.
        shard: what it is about.
        predictor: finds the poses.
        boxes: where its boxes come from.
        asked: once something is in it, the shard is given up.

    Raises:
        KeyboardInterrupt: it was given up.
    """
    name = shard.name(folder.suffix)
    if not folder.holds(name):
        about = {"version": __version__, "model": predictor.spec.name}
        with closing(records_of(shard, predictor, boxes)) as records:
            write_shard(folder, name, _stoppable(records, asked), predictor.spec.skeleton, about)
    return name


def records_of(shard: Shard, predictor: Predictor, boxes: BoxSource) -> Generator[ImageRecord]:
    """The outcome for each image of a shard, in order; images are read ahead by threads."""
    upright = not isinstance(boxes, detect.BoxFile)  # a file's boxes count the pixels as stored: see `image.read`
    waiting: deque[ImageRecord] = deque()

    def opened(content: tuple[str, bytes | ValueError | None]) -> Any:
        name, data = content
        try:
            pixels = _pixels(name, data, upright=upright)
            return name, pixels, _boxes_in(boxes, pixels, name), _id_of(boxes, name)
        except _OF_THE_IMAGE as error:
            return name, str(error)

    def items() -> Iterator[Any]:
        contents = tar_members(shard.tar) if shard.tar else ((name, None) for name in shard.images)
        for place, (name, *found) in enumerate(in_order(opened, contents)):
            record = ImageRecord(name, shard.number * _SPAN + place)
            waiting.append(record)
            if len(found) == 1:
                record.error = found[0]
                continue
            pixels, boxes_in_image, known = found
            record.image_id = record.image_id if known is None else known
            record.height, record.width = pixels.shape[:2]
            yield pixels, boxes_in_image

    for poses in predictor.many(items()):
        while waiting[0].error:
            yield waiting.popleft()
        record = waiting.popleft()
        record.poses = poses.to_coco(record.image_id, bbox=True)
        yield record
    yield from waiting


def _stoppable(records: Iterator[ImageRecord], asked: Sequence[int]) -> Iterator[ImageRecord]:
    for record in records:
        if asked:
            raise KeyboardInterrupt
        yield record


def _pixels(name: str, data: bytes | ValueError | None, *, upright: bool) -> np.ndarray:
    """An image, of bytes that a tar shard held, or read from where its name says."""
    if isinstance(data, ValueError):
        raise data
    if data is None and "://" not in name:
        return image.read(name, upright=upright)
    if data is None:
        system, path = file_system(name)
        return image.decode(system.cat_file(path), name, upright=upright)
    return image.decode(data, name, upright=upright)


def _boxes_in(boxes: BoxSource, pixels: np.ndarray, name: str) -> Boxes | None:
    if isinstance(boxes, detect.BoxFile):
        return detect.FixedBoxes(boxes.of(name))(pixels)
    return boxes(pixels) if boxes else None


def _id_of(boxes: BoxSource, name: str) -> int | None:
    return boxes.id_of(name) if isinstance(boxes, detect.BoxFile) else None
