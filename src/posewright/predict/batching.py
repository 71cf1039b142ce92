"""Many images through a predictor, as a pipeline: read and cropped ahead, in full batches through the network, decoded.

Every stage has threads of its own, and bounded queues lie between them; what the caller does with the poses, such as
drawing and writing, overlaps with all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from posewright import geometry
from posewright.image import warp_all
from posewright.predict.ahead import in_order
from posewright.predict.boxes import two_pass_boxes
from posewright.predict.calibrated import Calibration
from posewright.predict.inputs import Image, Where, as_image, boxes_in
from posewright.predict.scoring import rescore
from posewright.spec import Spec
from posewright.types import Boxes, Crop, Poses

_Item: TypeAlias = "Image | tuple[Image, Where]"


class Predictor(Protocol):
    """What this file needs of `predictor.Predictor`, which builds on it."""

    spec: Spec
    batch: int
    calibration: Calibration | None
    under_way: int

    def __call__(self, image: np.ndarray, boxes: Boxes, /) -> Poses:
        """The poses in one image."""
        ...

    def keypoints(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crops to keypoints in input pixels and scores."""
        ...


@dataclass(slots=True)
class _Work:
    """An image in progress: who is in it, and what is known of them so far."""

    boxes: Boxes
    crop: Crop  # N crops
    crops: np.ndarray  # [at most a batch, H, W, 3], of the first people
    image: np.ndarray | None  # kept only where there are more people than crops
    xy: np.ndarray  # [N, K, 2] input pixels, known up to `done`
    score: np.ndarray  # [N, K], known up to `done`
    done: int = 0


_Chunk: TypeAlias = "list[tuple[_Work, np.ndarray]]"
"""Works, each with some of its crops; up to a batch of crops in all."""


def predict_many(predictor: Predictor, items: Iterable[_Item], *, upright: bool = True) -> Iterator[Poses]:
    """See `Predictor.many`."""

    def begin(item: _Item) -> _Work:
        image, boxes = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        spec, pixels = predictor.spec, as_image(image, upright=upright)
        found = boxes_in(pixels, two_pass_boxes(predictor) if boxes is None else boxes, image)
        crop = geometry.crop(found, spec.size, padding=spec.padding, rule=spec.crop_rule, image_size=pixels.shape[:2])
        crops = warp_all(pixels, crop[: predictor.batch], spec.border)
        rest = pixels if len(found) > len(crops) else None
        count = (len(found), spec.skeleton.num_keypoints)
        return _Work(found, crop, crops, rest, np.empty((*count, 2)), np.empty(count))

    def run(chunk: _Chunk) -> tuple[_Chunk, np.ndarray, np.ndarray]:
        crops = [crops for _, crops in chunk]
        return chunk, *predictor.keypoints(crops[0] if len(crops) == 1 else np.concatenate(crops))

    works = in_order(begin, items, threads=min(8, os.cpu_count() or 1), ahead=predictor.batch)
    chunks = in_order(run, _chunks(predictor, works), threads=predictor.under_way, ahead=predictor.under_way)
    with closing(works), closing(chunks):
        yield from _finished(predictor, chunks)


def _finished(predictor: Predictor, chunks: Iterable[tuple[_Chunk, np.ndarray, np.ndarray]]) -> Iterator[Poses]:
    """The poses of the images whose people are all known, as chunks come from the network."""
    spec = predictor.spec
    for chunk, xy, score in chunks:
        start = 0
        for work, crops in chunk:
            in_batch, in_image = slice(start, start + len(crops)), slice(work.done, work.done + len(crops))
            work.xy[in_image], work.score[in_image] = xy[in_batch], score[in_batch]
            start, work.done = in_batch.stop, in_image.stop
            if work.done == len(work.boxes):
                scores = rescore(work.score, work.boxes.score, spec.scoring)
                calibrated = None if predictor.calibration is None else predictor.calibration(scores)
                yield Poses(work.crop.to_image(work.xy), work.score, scores, work.boxes, spec.skeleton, calibrated)


def _chunks(predictor: Predictor, works: Iterable[_Work]) -> Iterator[_Chunk]:
    """The works' crops in lists of `batch` crops; images without people are passed along."""
    chunk: _Chunk = []
    room = predictor.batch
    try:
        for work, crops in _crops(predictor, works):
            while len(crops) > room:
                yield [*chunk, (work, crops[:room])]
                chunk, crops, room = [], crops[room:], predictor.batch
            chunk.append((work, crops))
            room -= len(crops)
            if room == 0 or len(chunk) >= 4 * predictor.batch:  # long runs of images without people are passed on, too
                yield chunk
                chunk, room = [], predictor.batch
    except Exception:
        if chunk:
            yield chunk  # an image's error does not swallow the results of those before it
        raise
    if chunk:
        yield chunk


def _crops(predictor: Predictor, works: Iterable[_Work]) -> Iterator[tuple[_Work, np.ndarray]]:
    batch, border = predictor.batch, predictor.spec.border
    for work in works:
        yield work, work.crops
        if work.image is not None:
            for start in range(batch, len(work.boxes), batch):
                yield work, warp_all(work.image, work.crop[start : start + batch], border)
