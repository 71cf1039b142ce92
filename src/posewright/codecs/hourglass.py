"""HourglassHeatmap: the pasted Gaussians of stacked hourglass networks, as used on animals.

Newell, Yang and Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016; details as in Mu et al.,
"Learning from Synthetic Animals" (CC-SSL), CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from posewright.codecs import _maps
from posewright.codecs._base import MapCodec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class HourglassHeatmap(MapCodec):
    """Small Gaussians at whole pixels, decoded by arg-max, the quarter rule and half a pixel more.

    The published code rounds the decoded points down to whole image pixels; here they stay as they are.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: in map pixels.
        shape: "gaussian", or "cauchy" for sigma / (d^2 + sigma^2)^1.5.
    """

    sigma: float = 1.0
    shape: Literal["gaussian", "cauchy"] = "gaussian"

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        _maps.check_above_zero(self, "sigma")
        if self.shape not in ("gaussian", "cauchy"):
            raise ValueError(f"HourglassHeatmap: shape must be 'gaussian' or 'cauchy', got {self.shape!r}")

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., K, h, w] and weight [..., K].

        Keypoints are truncated to whole map pixels. Those whose square of 3 sigma misses the map have weight 0.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        pixel = np.trunc(xy / _maps.stride(self.size, self.map_size))
        low, high = np.trunc(pixel - 3 * self.sigma), np.trunc(pixel + 3 * self.sigma + 1)
        outside = (low >= self.map_size[::-1]).any(-1) | (high < 0).any(-1)
        weight = np.where(outside, 0, np.minimum(visibility, 1)).astype(np.float32)
        at, reach = pixel.reshape(-1, 2), int(3 * self.sigma)
        start, (columns, rows) = _maps.block(at, reach, self.map_size)
        x, y = (columns - at[:, :1])[:, None, :], (rows - at[:, 1:])[:, :, None]
        drawn = (np.abs(x) <= reach) & (np.abs(y) <= reach) & (weight.reshape(-1, 1, 1) > 0)
        maps = np.zeros((*weight.shape, *self.map_size), np.float32)
        blocks = np.where(drawn, self._value(x**2 + y**2), 0)
        _maps.paste(maps.reshape(-1, *self.map_size), np.arange(weight.size), start, blocks)
        return maps, weight

    def _value(self, square: np.ndarray) -> np.ndarray:
        if self.shape == "cauchy":
            return self.sigma / (square + self.sigma**2) ** 1.5
        return np.exp(-square / (2 * self.sigma**2))

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K], the maps' maxima.

        Keypoints of maps without a positive value lie half a map pixel before the first one.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixel, score = _maps.peaks(maps, -1)
        xy = pixel + _maps.quarter_shift(maps, pixel, excluded=0) + 0.5
        return xy * _maps.stride(self.size, self.map_size), score
