"""GaussianHeatmap: Gaussian heatmaps read at their peak, moved a quarter of a pixel, or by a sharpened soft-arg-max.

Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; used unchanged by HRNet. The
soft-arg-max: Zhang, Tang and Wu, "Simple and Lightweight Human Pose Estimation" (LPN), arXiv 1911.10346, equation 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from posewright.codecs import _maps
from posewright.codecs._base import MapCodec
from posewright.codecs._gaussians import pixel_gaussians

if TYPE_CHECKING:
    import torch

_NEGLIGIBLE = 40.0
"""exp(-40) is 4e-18: smaller terms of a softmax change no digit of a float64 sum."""


@dataclass(frozen=True, slots=True)
class GaussianHeatmap(MapCodec):
    """Gaussian heatmaps, one per keypoint, decoded by arg-max and a quarter of a pixel toward the higher neighbour.

    Map pixel i lies at input pixel i * stride, without any half-pixel term, so a mirrored map is one pixel off: the
    flip rule moves it back by one, which leaves a bias of one input pixel at stride 4.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: of the Gaussian, in map pixels: 2 for 64x48 maps, 3 for 96x72.
        empty: both map coordinates of a keypoint whose map has no value above 0: 0, or -1 as in mmpose.
        separately: apply the quarter rule to each axis on its own, as mmpose 1.x does.
        decoding: "argmax", or "soft-argmax" as in LPN: the mean position under softmax(beta * map).
        beta: sharpness of the softmax; 160 as evaluated in the paper.
        quarter: whether the quarter rule is applied; as published, also to the soft coordinate.
        compensation: input pixels to take from x, 0 as published. Averaged with mirrored maps, x is 0.5 too large
            with the shift, and without it (stride - 1) / 2 too small.
    """

    sigma: float = 2.0
    empty: int = 0
    separately: bool = False
    decoding: Literal["argmax", "soft-argmax"] = "argmax"
    beta: float = 160.0
    quarter: bool = True
    compensation: float = 0.0

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        _maps.check_above_zero(self, "sigma", "beta")
        if self.decoding not in ("argmax", "soft-argmax"):
            raise ValueError(f"GaussianHeatmap: decoding must be 'argmax' or 'soft-argmax', got {self.decoding!r}")
        if self.separately and not self.quarter:
            raise ValueError("GaussianHeatmap: separately is of the quarter rule, which quarter=False turns off")

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., K, h, w] and weight [..., K].

        The Gaussian has its peak, exactly 1, at the nearest map pixel, and is cut off to the square of 3 sigma
        around it. Keypoints outside of the map keep their weight as long as a part of that square may reach in.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        return pixel_gaussians(xy, visibility, self.size, self.map_size, self.sigma)

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K], the maps' maxima.

        With the soft-arg-max, a score is the map's value at the pixel nearest to the soft coordinate.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.decoding == "soft-argmax":
            xy = _soft_argmax(maps, self.beta)
            place = np.round(xy, 9)  # halves are exact: on which side of one a sum ends is a matter of rounding
            nearest, pixel = np.rint(place).astype(np.int64), np.floor(place + 0.5).astype(np.int64)
            score = _maps.lookup(maps, nearest[:, 0], nearest[:, 1])
        else:
            pixel, score = _maps.peaks(maps, self.empty)
            xy = pixel
        if self.quarter:
            xy = xy + _maps.quarter_shift(maps, pixel, separately=self.separately)
        return xy * _maps.stride(self.size, self.map_size) - (self.compensation, 0), score

    @property
    def _published_shift(self) -> bool:
        return True


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
