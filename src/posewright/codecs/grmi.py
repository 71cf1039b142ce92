"""OffsetHeatmap: a disc and the way to its middle per keypoint, decoded by letting all pixels vote.

Papandreou et al., "Towards Accurate Multi-person Pose Estimation in the Wild" (G-RMI), CVPR 2017, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from posewright import losses
from posewright.codecs import _discs, _maps
from posewright.codecs._base import TripleCodec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class OffsetHeatmap(TripleCodec):
    """Three maps per keypoint: the logit of being near it, and the offsets to it along x and y in input pixels.

    Positions 0 and size - 1 of input and map coincide, so mirrored maps need no shift.

    Attributes:
        size: (height, width) of the input: (353, 257) in the paper.
        map_size: (height, width) of the maps, in the paper that of the input: keypoints are read to a whole map pixel.
        radius: of the disc, in input pixels.
    """

    radius: float = 25.0

    def __post_init__(self) -> None:
        TripleCodec.__post_init__(self)
        _maps.check_above_zero(self, "radius")

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """Named "grmi": logistic on the discs, Huber on the offsets inside them; a mean over samples and pixels."""
        return {"grmi": partial(losses.grmi, reduction="mean")}

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., 3 K, h, w] and weight [..., K].

        Channels 3k, 3k + 1 and 3k + 2 are the disc and the offsets to its middle, in input pixels, 0 outside of it.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        weight = np.minimum(visibility, 1)
        maps = _discs.discs(xy, weight, self.map_size, self.radius, stride=self._stride, unit=self.radius)
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
        stride = self._stride
        pixel, votes = _maps.peaks(_votes(maps.astype(np.float64), stride), computed=True)
        return pixel * stride, votes * (stride[0] * stride[1] / (np.pi * self.radius**2))


def _votes(triples: np.ndarray, stride: np.ndarray) -> np.ndarray:
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
