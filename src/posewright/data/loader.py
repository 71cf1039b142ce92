"""Loader: annotated people to batches, in worker processes, the same for any number of them.

Workers read an image, cut the crop and send it as bytes; the main process normalises and encodes a whole batch at once.
What a sample looks like depends on the seed, the epoch and its place in the data set alone, so a run can stop after any
batch and go on as if it had not, and one worker more changes nothing but the time.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from posewright import geometry, image
from posewright.data.augment import NONE, Augment, recolour, views
from posewright.data.dataset import KeypointDataset
from posewright.spec import Spec
from posewright.types import Crop, CropRule

_Task = tuple[int, np.ndarray]  # the epoch, and the places of a batch's people
_Cut = tuple[torch.Tensor, np.ndarray, np.ndarray]  # crops [B, H, W, 3] uint8, keypoints and visibility in the input


@dataclass(frozen=True, slots=True)
class Batch:
    """A stacked batch, ready for the network.

    Attributes:
        images: [B, 3, H, W] float32, normalised as the spec says.
        target: what the codec encodes, [B, ...] float32.
        weight: what the codec says of each keypoint, [B, K] float32.
        xy: [B, K, 2] float64, the keypoints in input pixels.
        visibility: [B, K] uint8, visibility as in `Sample`.
        index: [B] int64, the samples' places in their data set.
    """

    images: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    xy: np.ndarray
    visibility: np.ndarray
    index: np.ndarray


class Loader:
    """Batches of people for training (or, without augmentation and in order, for a validation loss).

    Args:
        people: whom to show.
        spec: the pose system; its codec encodes the targets, its skeleton must have the people's points.
        augment: random changes to the crops.
        batch: people per batch. An epoch's last, smaller batch is dropped, unless it is the only one; see `keep_last`.
        seed: of order and augmentation.
        workers: processes that read and crop; 0 does it in this one. They live until `close`, or the loader's end.
        shuffle: draw a new order each epoch; else the people come in theirs, and a smaller last batch is kept.
        share: (which, of how many): the batches hold that part of their people, for the processes of a team.
        keep_last: keep an epoch's last, smaller batch, which the share must be able to divide.
        turns: [N] int, the turn of each person: a batch holds people of one turn alone, and the turns, which must have
            as many people each, follow one another.

    Raises:
        ValueError: the spec's skeleton names other points than the people's, a batch has too few people to share, or
            turns differ in their people.
    """

    def __init__(
        self,
        people: KeypointDataset,
        spec: Spec,
        augment: Augment = NONE,
        batch: int = 32,
        *,
        seed: int = 0,
        workers: int = 0,
        shuffle: bool = True,
        share: tuple[int, int] = (0, 1),
        keep_last: bool = False,
        turns: np.ndarray | None = None,
    ) -> None:
        if spec.skeleton.points != people.skeleton.points:
            raise ValueError(
                f"{spec.name} is for the points {spec.skeleton.points}, but {people.annotations} has "
                f"{people.skeleton.points}: use spec.with_skeleton(people.skeleton), or people.mapped(spec.skeleton)"
            )
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        kinds, counts = np.zeros(1), np.array([len(people)])
        if turns is not None:
            kinds, counts = np.unique(turns, return_counts=True)
        if len(set(counts.tolist())) != 1:
            raise ValueError(f"turns must have as many people each, got {counts.tolist()}")
        self._in_turn = int(counts[0])
        if min(batch, self._in_turn) < share[1]:
            raise ValueError(f"{share[1]} processes cannot share a batch of {min(batch, self._in_turn)} people")
        if keep_last and 0 < self._in_turn % batch < share[1]:
            raise ValueError(f"{share[1]} processes cannot share a last batch of {self._in_turn % batch} people")
        self._turns = [np.ones(len(people), bool)] if turns is None else [turns == kind for kind in kinds]
        self.people, self.spec, self.batch, self.seed, self.shuffle = people, spec, batch, seed, shuffle
        self.share, self.keep_last = share, keep_last or not shuffle
        self._plan: list[_Task] = []  # what the workers are to do next
        self._pool: DataLoader[Any] | None = DataLoader(
            _Crops(people, augment, seed, spec.size, spec.padding, spec.crop_rule, spec.border),
            sampler=self._plan,
            batch_size=None,  # a task is a batch already
            num_workers=workers,
            collate_fn=_as_it_is,
            worker_init_fn=_settle,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # without one, each epoch would take a number from the global generator
        )

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(self._in_turn, self.batch)
        return len(self._turns) * (whole + (rest > 0 and (self.keep_last or whole == 0)))

    def people_in(self, batch: int) -> int:
        """People in an epoch's batch of that number, of all shares together."""
        return min(self.batch, self._in_turn - batch // len(self._turns) * self.batch)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, in order, from batch `first` on. One epoch at a time.

        Raises:
            FileNotFoundError, ValueError, OSError: an image cannot be read; the message names it and the annotation.
        """
        if self._pool is None:
            raise ValueError("the loader is closed")
        order = np.arange(len(self.people))
        if self.shuffle:
            order = _generator(self.seed, number, 1, 0).permutation(order)
        cuts = range(self.batch, self._in_turn, self.batch)
        by_turn = [np.split(order[turn[order]], cuts) for turn in self._turns]
        batches = [places for group in zip(*by_turn) for places in group][: len(self)]
        part, parts = self.share
        self._plan[:] = [(number, np.array_split(places, parts)[part]) for places in batches[first:]]
        for (_, places), cut in zip(list(self._plan), self._pool):
            if isinstance(cut, Exception):
                raise cut
            crops, xy, visibility = cut
            target, weight = self.spec.codec.encode(xy, visibility)
            images = image.to_tensor(crops.numpy(), self.spec.colour, self.spec.mean, self.spec.std)
            yield Batch(images, torch.from_numpy(target), torch.from_numpy(weight), xy, visibility, places)

    def close(self) -> None:
        """End the workers."""
        self._pool = None


@dataclass(frozen=True, slots=True)
class _Crops(Dataset[Any]):
    """What a worker needs, all of it arrays and numbers: tasks in, crops out."""

    people: KeypointDataset
    augment: Augment
    seed: int
    size: tuple[int, int]
    padding: tuple[float, float]
    rule: CropRule
    border: tuple[int, int, int]

    def __getitem__(self, task: _Task) -> _Cut | Exception:
        epoch, places = task
        people, skeleton = self.people, self.people.skeleton
        rngs = [_generator(self.seed, epoch, 0, int(place)) for place in places]
        xy, visibility = people.xy[places].astype(np.float64), people.visibility[places]
        box = people.box[places]
        view = views(
            self.augment,
            box,
            xy,
            visibility,
            rngs,
            skeleton=skeleton,
            size=self.size,
            padding=self.padding,
            rule=self.rule,
        )
        # CPN's release keeps crops in the widened image here, too: boxes in the image, padded by 1.25 more, always are.
        matrix = geometry.matrix_of_region(
            view.region, self.size, rule=self.rule, degrees=view.degrees, mirror=view.flip
        )
        crop = Crop(matrix, self.size, self.rule)
        # Left and right are swapped where the crop is mirrored; the matrix has moved the points already.
        channel = np.where(view.flip[:, None], skeleton.flip_index, np.arange(skeleton.num_keypoints))
        xy = np.take_along_axis(crop.to_input(xy), channel[..., None], 1)
        crops = torch.empty((len(places), *self.size, 3), dtype=torch.uint8)
        if get_worker_info():
            crops.share_memory_()  # before it is filled, so that it is not copied once more on its way
        try:
            for row, (place, rng, out) in enumerate(zip(places, rngs, crops.numpy())):
                self._cut(int(place), crop[row : row + 1], rng, out)
        except (OSError, ValueError) as error:
            return error  # raised in the main process: torch would wrap it in two tracebacks
        return crops, xy, np.take_along_axis(visibility, channel, 1)

    def _cut(self, place: int, crop: Crop, rng: np.random.Generator, out: np.ndarray) -> None:
        people = self.people
        try:
            pixels = image.read(people.image_path[people.image[place]], upright=False)
        except (OSError, ValueError) as error:
            number = people.annotation_id[place]
            raise type(error)(f"{error} (annotation {number} of {people.annotations})") from None
        cut = image.warp_all(pixels, crop, self.border)[0]
        out[:] = recolour(self.augment, cut, rng) if self.augment.recolours else cut


def _generator(seed: int, epoch: int, stream: int, place: int) -> np.random.Generator:
    """Random numbers that depend on nothing but these four: Philox is a function of key and counter."""
    key = np.array([seed % 2**64, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, stream, place], np.uint64)))


def _as_it_is(cut: Any) -> Any:
    """Batches are made by the worker; nothing is left to collate."""
    return cut


def _settle(worker: int) -> None:
    """What a worker does first.

    It leaves signals to its parent: Ctrl-C and `timeout` send theirs to the whole process group, and the parent wants
    to save before it ends its workers. And it tells the garbage collector to leave alone what is there already, for
    looking at an object writes to it, and what is written to is no longer shared with the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError, PermissionError):  # Windows has no process groups
        os.setpgid(0, 0)
    gc.freeze()
