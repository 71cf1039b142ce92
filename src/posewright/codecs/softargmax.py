"""SoftArgmax: Gaussian heatmaps read by a sharpened soft-arg-max.

Zhang, Tang and Wu, "Simple and Lightweight Human Pose Estimation" (LPN), arXiv 1911.10346, equation 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posewright.codecs import _maps
from posewright.codecs._base import MapCodec
from posewright.codecs._gaussians import pixel_gaussians
from posewright.types import Skeleton

if TYPE_CHECKING:
    import torch

    from posewright.codecs import Maps

_NEGLIGIBLE = 40.0
"""exp(-40) is 4e-18: smaller terms of a softmax change no digit of a float64 sum."""


@dataclass(frozen=True, slots=True)
class SoftArgmax(MapCodec):
    """GaussianHeatmap's maps, decoded by the mean position under softmax(beta * map).

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: of the target's Gaussian, in map pixels.
        beta: sharpness; 160 as evaluated in the paper.
    """

    sigma: float = 2.0
    beta: float = 160.0

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        _maps.check_above_zero(self, "sigma", "beta")

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `GaussianHeatmap.encode`."""
        return pixel_gaussians(xy, visibility, self.size, self.map_size, self.sigma)

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K].

        The score is the map's value at the pixel nearest to the soft-arg-max. As published, the quarter rule is
        applied to the soft coordinate too.

        Raises:
            ValueError: maps of another size.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xy = _soft_argmax(maps, self.beta)
        place = np.round(xy, 9)  # halves are exact: on which side of one a sum ends is a matter of rounding
        nearest = np.rint(place).astype(np.int64)
        score = _maps.lookup(maps, nearest[:, 0], nearest[:, 1])
        xy = xy + _maps.quarter_shift(maps, np.floor(place + 0.5).astype(np.int64))
        return xy * _maps.stride(self.size, self.map_size), score

    def unflip(self, maps: Maps, skeleton: Skeleton) -> Maps:
        """As `GaussianHeatmap.unflip`: with the shift by one pixel."""
        return _maps.mirror(maps, skeleton, shift=True)


def _soft_argmax(maps: np.ndarray, beta: float) -> np.ndarray:
    """Mean position [M, 2], float64, of maps [M, h, w] under softmax(beta * map).

    A softmax this sharp lives on a few pixels, so only those are summed: the others cannot change a digit.
    """
    flat = maps.reshape(-1, maps.shape[1] * maps.shape[2])
    peak = flat.max(1)
    _maps.refuse_not_finite(peak)
    cell = np.flatnonzero(flat >= (peak - _NEGLIGIBLE / beta)[:, None])
    which, y, x = np.unravel_index(cell, maps.shape)
    share = np.exp(beta * (flat.ravel()[cell].astype(np.float64) - peak[which]))
    total, sum_x, sum_y = (np.bincount(which, share * term, len(maps)) for term in (1.0, x, y))
    return np.stack([sum_x / total, sum_y / total], -1)
