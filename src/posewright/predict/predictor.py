"""Predictor: an image and boxes in, poses out. The one path for users, evaluation, reports and export checks.

Boxes -> regions -> crops -> network (and its mirror image) -> codec -> image pixels -> scores: all vectorised over
people, and in chunks over people and images alike.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from posewright import geometry
from posewright.image import read, to_tensor, warp_all
from posewright.models import find
from posewright.predict.scoring import rescore
from posewright.runtime import torch_runtime
from posewright.spec import Spec
from posewright.types import Boxes, Poses, Skeleton
from posewright.weights import hub
from posewright.weights.checkpoint import describe
from posewright.weights.checkpoint import load as load_weights

Image: TypeAlias = "str | os.PathLike[str] | np.ndarray"
"""A file, or an [H, W, 3] uint8 RGB array."""

Detector: TypeAlias = "Callable[[np.ndarray], Boxes | np.ndarray]"
"""Finds boxes in an image [H, W, 3] uint8 RGB: `Boxes`, or [N, 4] x, y, width, height in pixels."""

Where: TypeAlias = "Boxes | ArrayLike | Detector | None"
"""Boxes, anything shaped [N, 4] (x, y, width, height in image pixels), a `Detector`, or None: the whole image."""

Network: TypeAlias = "nn.Module | Callable[[Tensor], Tensor]"
"""Images [N, 3, H, W] float32 to maps [N, C, h, w]."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(slots=True)
class _Work:
    """An image on its way: who is in it, and what is known of them so far."""

    boxes: Boxes
    matrices: np.ndarray  # [N, 2, 3], image -> input
    crops: np.ndarray  # [at most a batch, H, W, 3], of the first people
    image: np.ndarray | None  # kept only where there are more people than crops
    xy: np.ndarray  # [N, K, 2] input pixels, known up to `done`
    score: np.ndarray  # [N, K], known up to `done`
    done: int = 0


class Predictor:
    """A network with its spec. Keeps nothing of an image, so one instance serves many threads.

    Args:
        spec: the pose system; `spec.skeleton` names what the network finds.
        net: its network, or any callable that stands for it, such as an exported one. A module is copied, put into
            evaluation mode, and its batch norms are folded: the one given stays as it is and may be trained on.
        flip: average with the mirrored image, as published figures do.
        batch: crops in one run of the network.
        device: where the network runs: "cpu", "cuda", "cuda:1", ..., or "auto", a GPU where there is one.
    """

    def __init__(
        self, spec: Spec, net: Network, *, flip: bool = True, batch: int = 32, device: str | torch.device = "auto"
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1 crop, got {batch}")
        self.spec, self.flip, self.batch, self.device = spec, flip, batch, torch_runtime.device_of(device)
        self.net = torch_runtime.prepared(net, spec.size, self.device) if isinstance(net, nn.Module) else net

    def __call__(self, image: Image, boxes: Where = None, *, upright: bool = True) -> Poses:
        """The poses in one image.

        Args:
            image: a file, or an [H, W, 3] uint8 RGB array.
            boxes: where the people are; see `Where`.
            upright: turn an image file as its EXIF orientation says; see `image.read`.

        Returns:
            One pose a box, in the boxes' order.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: the image is none, or a box is malformed or does not touch the image.
        """
        return next(self._run([self._begin((image, boxes), upright=upright)]))

    def many(self, items: Iterable[tuple[Image, Where]], *, upright: bool = True) -> Iterator[Poses]:
        """The poses in each of many images, in order, `batch` people at a time whichever images they are in.

        The next images are read, and their boxes found and cropped, by threads while the network runs. At most `batch`
        images are read ahead and at most `batch` crops are made of each, however many items there are. The results
        of the images before a faulty one come before its error.

        Args:
            items: pairs of image and boxes, as for a single image. A `Detector` is called by the reading threads.
            upright: see `__call__`.
        """
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "posewright-read")
        try:
            yield from self._run(_ahead(pool, partial(self._begin, upright=upright), items, self.batch))
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, item: tuple[Image, Where], *, upright: bool) -> _Work:
        image, boxes = item
        name = "image" if isinstance(image, np.ndarray) else str(image)
        pixels = _pixels(image, upright)
        boxes = _boxes(boxes, pixels, name)
        spec, count = self.spec, (len(boxes), self.spec.skeleton.num_keypoints)
        region = geometry.region_of_box(
            boxes.xywh, spec.size, padding=spec.padding, rule=spec.crop, annotated=boxes.annotated
        )
        matrices = geometry.matrix_of_region(region, spec.size, rule=spec.crop)
        crops = self._cut(pixels, matrices[: self.batch])
        rest = pixels if len(boxes) > len(crops) else None
        return _Work(boxes, matrices, crops, rest, np.empty((*count, 2)), np.empty(count))

    def _cut(self, pixels: np.ndarray, matrices: np.ndarray) -> np.ndarray:
        spec = self.spec
        return warp_all(pixels, geometry.pixel_matrix(matrices, spec.crop), spec.size, spec.border)

    def _run(self, works: Iterable[_Work]) -> Iterator[Poses]:
        for chunk in self._chunks(works):
            crops = [crops for _, crops in chunk]
            xy, score = self._keypoints(crops[0] if len(crops) == 1 else np.concatenate(crops))
            start = 0
            for work, crops in chunk:
                here, there = slice(start, start + len(crops)), slice(work.done, work.done + len(crops))
                work.xy[there], work.score[there] = xy[here], score[here]
                start, work.done = here.stop, there.stop
                if work.done == len(work.boxes):
                    yield self._poses(work)

    def _chunks(self, works: Iterable[_Work]) -> Iterator[list[tuple[_Work, np.ndarray]]]:
        """The works' crops in lists of `batch` crops; images without people go along."""
        chunk: list[tuple[_Work, np.ndarray]] = []
        room = self.batch
        try:
            for work, crops in self._crops(works):
                while len(crops) > room:
                    yield [*chunk, (work, crops[:room])]
                    chunk, crops, room = [], crops[room:], self.batch
                chunk.append((work, crops))
                room -= len(crops)
                if room == 0 or len(chunk) >= 4 * self.batch:  # long runs of images without people go on, too
                    yield chunk
                    chunk, room = [], self.batch
        except Exception:
            if chunk:
                yield chunk  # an image's error does not swallow the results of those before it
            raise
        if chunk:
            yield chunk

    def _crops(self, works: Iterable[_Work]) -> Iterator[tuple[_Work, np.ndarray]]:
        for work in works:
            yield work, work.crops
            if work.image is not None:
                for start in range(self.batch, len(work.boxes), self.batch):
                    yield work, self._cut(work.image, work.matrices[start : start + self.batch])

    def _keypoints(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crops [N, H, W, 3] to keypoints [N, K, 2] in input pixels and scores [N, K]."""
        codec, skeleton = self.spec.codec, self.spec.skeleton
        if not len(crops):
            return np.empty((0, skeleton.num_keypoints, 2)), np.empty((0, skeleton.num_keypoints))
        with torch.inference_mode():
            images = to_tensor(crops, self.spec.colour, self.spec.mean, self.spec.std).to(self.device)
            maps = self.net(images)
            if self.flip:
                maps = (maps + codec.unflip(self.net(images.flip(-1)), skeleton)) / 2
        return codec.decode(maps)

    def _poses(self, work: _Work) -> Poses:
        xy = geometry.transform(geometry.invert(work.matrices), work.xy)
        score = rescore(work.score, work.boxes.score, self.spec.scoring)
        return Poses(xy, work.score, score, work.boxes, self.spec.skeleton)


def load(
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    num_keypoints: int | None = None,
    skeleton: Skeleton | None = None,
    flip: bool = True,
    batch: int = 32,
    device: str | torch.device = "auto",
) -> Predictor:
    """A pose system with its weights, ready to predict.

    Args:
        name: of the pose system, see `names`; may be left out where `weights` were trained with Posewright. Without
            both it is "default", whose weights are in the package: 14 points of people.
        weights: a file of weights of any toolkit; None takes those in the package, or published ones that were pulled
            or imported before (`posewright weights`).
        num_keypoints: how many keypoints they find, where they differ from the published ones and nothing names them.
        skeleton: what they find, where that is neither the published skeleton nor written in the file.
        flip: see `Predictor`.
        batch: see `Predictor`.
        device: see `Predictor`.

    Raises:
        LookupError: no pose system is named so.
        FileNotFoundError: there is no such file, or no weights were given.
        ValueError: the file holds weights of another pose system, or for other keypoints.
    """
    if weights is None:
        name = find(name or "default").name
        weights = hub.local_weights(name)
    about = describe(weights) if weights is not None else None
    if name is None and about is None:
        raise ValueError(
            f"expected the name of a pose system, such as 'hrnet-w32-256x192': {weights} does not say what it holds"
        )
    spec = find(name or (about.spec if about else ""))
    if weights is None:
        raise FileNotFoundError(
            f"{spec.name}: no weights are at hand; train it (`posewright train {spec.name}`), pull published ones "
            f"(`posewright weights pull ID`), or give a file (weights=FILE){_published(spec)}"
        )
    if about is not None and about.spec != spec.name:
        raise ValueError(f"{weights}: holds weights of {about.spec!r}, not of {spec.name!r}; leave the name out")
    if about is not None and skeleton is not None and skeleton.points != about.skeleton.points:
        raise ValueError(f"{weights}: finds {about.skeleton.points}, not the points of {skeleton.name!r}")
    spec = spec.with_skeleton(_skeleton(about.skeleton if about else spec.skeleton, skeleton, num_keypoints))
    net = spec.build()
    load_weights(net, weights, spec)
    return Predictor(spec, net, flip=flip, batch=batch, device=device)


def _skeleton(known: Skeleton, asked: Skeleton | None, num_keypoints: int | None) -> Skeleton:
    """The skeleton asked for, else the one known, else one of nameless points."""
    skeleton = asked or known
    if num_keypoints in (None, skeleton.num_keypoints):
        return skeleton
    if asked is not None:
        raise ValueError(f"skeleton {asked.name!r} has {asked.num_keypoints} points, but num_keypoints={num_keypoints}")
    return Skeleton(f"points{num_keypoints}", tuple(f"point_{k + 1}" for k in range(num_keypoints or 0)))


def _published(spec: Spec) -> str:
    places = [f"{entry.id}: {entry.urls[0]}" for entry in hub.entries(spec.name) if entry.urls]
    return f", such as {'; '.join(places)}" if places else ""


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[_In], _Out], items: Iterable[_In], most: int
) -> Iterator[_Out]:
    """The function of each item, in order, worked on by the pool up to `most` items ahead."""
    waiting: deque[Future[_Out]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _pixels(image: Image, upright: bool) -> np.ndarray:
    """[H, W, 3] uint8 RGB, contiguous."""
    if isinstance(image, (str, os.PathLike)):
        return read(image, upright=upright)
    if not isinstance(image, np.ndarray):
        kind = f"{type(image).__module__}.{type(image).__name__}"
        raise ValueError(f"image: expected a file's path or an [H, W, 3] uint8 RGB array, got {kind}; use np.asarray")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image: expected an [H, W, 3] uint8 RGB array, got {list(image.shape)} {image.dtype}; {_way(image)}"
        )
    return np.ascontiguousarray(image)


def _way(image: np.ndarray) -> str:
    """What to do about an array that is no [H, W, 3] uint8 image."""
    if not image.size:
        return "it is empty"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return "make a grey image RGB with np.stack([grey] * 3, -1)"
    if image.ndim == 3 and image.shape[2] == 4:
        return "drop the alpha channel: rgba[..., :3]"
    if image.ndim == 3 and image.shape[2] == 3:
        return "scale it to grey levels 0..255 and use .astype(np.uint8)"
    return "give images one by one, channels last"


def _boxes(boxes: Where, pixels: np.ndarray, name: str) -> Boxes:
    """The boxes in an image, whatever they were given as; every one touches it."""
    height, width = pixels.shape[:2]
    if boxes is None:
        return Boxes.of([[0, 0, width, height]], source="whole image")
    if callable(boxes):
        boxes = boxes(pixels)
    try:
        boxes = boxes if isinstance(boxes, Boxes) else Boxes.of(boxes)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None
    outside = (boxes.xywh[:, :2] >= (width, height)).any(1) | (boxes.xywh[:, :2] + boxes.xywh[:, 2:] <= 0).any(1)
    if outside.any():
        n = int(np.argmax(outside))
        raise ValueError(
            f"{name}: box {n} from {boxes.source}, {boxes.xywh[n].tolist()}, lies outside the image of {width} x "
            f"{height} pixels; expected x, y, width, height in its pixels"
        )
    return boxes
