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
from posewright.predict.collection_sources import file_system, is_of_the_file, on_disk, why
from posewright.predict.collection_tars import tar_members
from posewright.predict.images import in_utf8
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

BoxSource: TypeAlias = "detect.BoxFile | detect.Detector | None"

Tools: TypeAlias = "Callable[[], tuple[Predictor, BoxSource]]"
"""Makes the predictor and where its boxes come from; called once by each process that predicts."""

_SPAN = 10**9
"""From the ids of one shard's images to those of the next one's."""


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

    def opened(content: tuple[str, bytes | ValueError | None]) -> tuple[str, int | None, str, Any]:
        name, data = content
        known = None if isinstance(data, ValueError) else _id_of(boxes, name)  # a tar shard has none
        try:
            pixels = _pixels(name, data, upright=upright)
            return name, known, "", (pixels, _boxes_in(boxes, pixels, name))
        except (ValueError, LookupError) as error:  # of this image
            return name, known, in_utf8(str(error) or f"{name}: {type(error).__name__}"), None

    def items() -> Iterator[Any]:
        contents = tar_members(shard.tar) if shard.tar else ((name, None) for name in shard.images)
        for place, (name, known, error, found) in enumerate(in_order(opened, contents)):
            own = shard.number * _SPAN + place
            if isinstance(boxes, detect.BoxFile):
                own = -1 - own  # below the ids that the file gives to others
            waiting.append(record := ImageRecord(name, own if known is None else known, error=error))
            if not error:
                record.height, record.width = found[0].shape[:2]
                yield found

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
    """An image, of bytes that a tar shard held, or read from where its name says.

    Raises:
        ValueError: it is damaged, or is not there.
        OSError: what is not of this image: it stops the run, for the next one may get further.
    """
    if isinstance(data, ValueError):
        raise data
    if data is not None:
        return image.decode(data, name, upright=upright)
    try:
        if "://" not in name:
            return image.read(on_disk(name), upright=upright)
        system, path = file_system(name)
        return image.decode(system.cat_file(path), name, upright=upright)
    except OSError as error:
        if is_of_the_file(error) and str(error).startswith(f"{name}:"):
            raise ValueError(str(error)) from None
        wrong = f"{name}: cannot be read ({why(error)})"
        if is_of_the_file(error):
            raise ValueError(wrong) from None
        raise (OSError(error.errno, wrong) if error.errno else OSError(wrong)) from None


def _boxes_in(boxes: BoxSource, pixels: np.ndarray, name: str) -> Boxes | None:
    if isinstance(boxes, detect.BoxFile):
        return detect.FixedBoxes(boxes.of(name))(pixels)
    return boxes(pixels) if boxes else None


def _id_of(boxes: BoxSource, name: str) -> int | None:
    """The id that a box file has for an image, also for one that cannot be read."""
    try:
        return boxes.id_of(name) if isinstance(boxes, detect.BoxFile) else None
    except (ValueError, LookupError):
        return None
