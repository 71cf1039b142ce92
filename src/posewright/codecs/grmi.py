"""DiscVotes: a disc and the way to its middle a keypoint, decoded by letting all pixels vote.

Papandreou et al., "Towards Accurate Multi-person Pose Estimation in the Wild" (G-RMI), CVPR 2017, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posewright.codecs import _discs, _maps
from posewright.types import CropRule, Skeleton

if TYPE_CHECKING:
    import torch

    from posewright.spec import Maps


@dataclass(frozen=True, slots=True)
class DiscVotes:
    """Three maps a keypoint: the logit of being near it, and the offsets to it along x and y in input pixels.

    Positions 0 and size - 1 of input and map coincide, so mirrored maps need no shift.

    Attributes:
        size: (height, width) of the input: (353, 257) in the paper.
        map_size: (height, width) of the maps, in the paper that of the input: keypoints are read to a whole map pixel.
        radius: of the disc, in input pixels.
    """

    size: tuple[int, int]
    map_size: tuple[int, int]
    radius: float = 25.0

    def __post_init__(self) -> None:
        _maps.check_sizes(self)
        _maps.check_above_zero(self, "radius")
        if min(*self.size, *self.map_size) < 2:
            raise ValueError(f"DiscVotes: sides must be at least 2, got {self.size} and {self.map_size}")

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """Right for crops whose edges lie at 0 and size - 1."""
        return ("udp",)

    def channels(self, num_keypoints: int) -> int:
        """Three maps a keypoint."""
        return 3 * num_keypoints

    def _stride(self) -> tuple[float, float]:
        (height, width), (map_height, map_width) = self.size, self.map_size
        return (width - 1) / (map_width - 1), (height - 1) / (map_height - 1)

    def encode(self, xy: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., 3 K, h, w] and weight [..., K].

        Channels 3k, 3k + 1 and 3k + 2 are the disc and the offsets to its middle, in input pixels, 0 outside of it.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, seen = _maps.read_points(xy, seen)
        weight = np.minimum(seen, 1)
        maps = _discs.discs(xy, weight, self.map_size, self.radius, stride=self._stride(), unit=self.radius)
        return maps, weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., 3 K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K].

        Each pixel votes for the place its offset points to, with its probability, spread over the four map pixels
        around (equation 2). The keypoint is where most votes come together; the score is their sum divided by the
        disc's area.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read, per_point=3, at_a_time=16)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stride = self._stride()
        pixel, votes = _maps.peaks(_votes(maps.astype(np.float64), stride))
        return pixel * stride, votes * (stride[0] * stride[1] / (np.pi * self.radius**2))

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """Maps of mirrored inputs, mirrored back, x offsets negated; no shift."""
        return _maps.mirror_triples(maps, skeleton)


def _votes(triples: np.ndarray, stride: tuple[float, float]) -> np.ndarray:
    """Sums of votes [M, h, w] of logits and offsets [M, 3, h, w]."""
    count, _, height, width = triples.shape
    _maps.refuse_not_finite(triples)
    probability = 1 / (1 + np.exp(-np.clip(triples[:, 0], -500, 500)))
    # Votes beyond the map are moved just outside of it, onto a frame that is cut off in the end.
    x = np.clip(np.arange(width) + triples[:, 1] / stride[0], -1, width) + 1
    y = np.clip(np.arange(height)[:, None] + triples[:, 2] / stride[1], -1, height) + 1
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, below = x - column, y - row
    frame = (count, height + 3, width + 3)
    first = np.ravel_multi_index((np.arange(count)[:, None, None], row, column), frame)
    total = np.zeros(int(np.prod(frame)))
    for down, share_y in ((0, 1 - below), (1, below)):
        for along, share_x in ((0, 1 - right), (1, right)):
            cell = (first + down * frame[2] + along).ravel()
            total += np.bincount(cell, (probability * share_y * share_x).ravel(), total.size)
    return total.reshape(frame)[:, 1 : height + 1, 1 : width + 1]
