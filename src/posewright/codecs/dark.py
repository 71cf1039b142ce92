"""DarkHeatmap: Gaussians at real-valued centres, decoded by a Newton step on the logarithm of the blurred map.

Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020: section 3.1
(decoding, equations 6 to 9) and 3.2 (unbiased encoding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from posewright.codecs import _blur, _gaussians, _maps, _taylor
from posewright.codecs._base import MapCodec, Refinement, check_refinement
from posewright.types import CropRule

if TYPE_CHECKING:
    import torch

_FLOOR = 1e-10
"""The least value whose logarithm is taken."""


@dataclass(frozen=True, slots=True)
class DarkHeatmap(MapCodec):
    """Gaussian heatmaps without rounding, decoded to a fraction of a pixel.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: of the Gaussian, in map pixels: 2 for 64x48 maps, 3 for 96x72.
        blur: size of the blur before decoding: 11 as released for both, 3 for 32x24 maps; mmpose advises 17 at sigma 3.
        crop: "dark", as released: the middles of input and map coincide, and both axes are scaled by the widths less
            one. "standard", as mmpose's "unbiased": map pixel i lies at input pixel i * stride, so mirrored maps are
            shifted as with `GaussianHeatmap`.
        unbiased: whether Gaussians lie at real-valued centres; if not, they are drawn as by `GaussianHeatmap`.
        refine: "newton" as published; "quarter", the rule of `GaussianHeatmap`; or "none".
        empty: both map coordinates of a keypoint whose map has no value above 0: 0, or -1 as in mmpose.
    """

    sigma: float = 2.0
    blur: int = 11
    crop: Literal["dark", "standard"] = "dark"
    unbiased: bool = True
    refine: Refinement = "newton"
    empty: int = 0

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        _maps.check_above_zero(self, "sigma")
        _blur.taps(self.blur)
        check_refinement(self)
        if self.crop not in ("dark", "standard"):
            raise ValueError(f"DarkHeatmap: crop must be 'dark' or 'standard', got {self.crop!r}")

    @property
    def crop_rules(self) -> tuple[CropRule, ...]:
        """Right for its own crop rule only."""
        return (self.crop,)

    def _bridge(self) -> tuple[np.ndarray, np.ndarray]:
        """Map pixels = input pixels * scale + shift, both (x, y)."""
        if self.crop == "standard":
            return 1 / _maps.stride(self.size, self.map_size), np.zeros(2)
        scale = (self.map_size[1] - 1) / (self.size[1] - 1)
        last_pixel, last_cell = np.array(self.size[::-1]) - 1, np.array(self.map_size[::-1]) - 1
        return np.full(2, scale), (last_cell - last_pixel * scale) / 2

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., K, h, w] and weight [..., K].

        The Gaussian spans the whole map, unless `unbiased` is False. Keypoints outside of the map keep their weight as
        long as the square of 3 sigma around them reaches in.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        scale, shift = self._bridge()
        centre = xy * scale + shift
        if not self.unbiased:
            pixel = np.trunc(centre + 0.5)
            return _gaussians.cut_gaussians(pixel, pixel, visibility, self.map_size, self.sigma)
        low, high = centre - 3 * self.sigma, centre + 3 * self.sigma + 1
        if self.crop == "dark":
            low, high = np.trunc(low), np.trunc(high)
        outside = (low >= self.map_size[::-1]).any(-1) | (high < 0).any(-1)
        weight = np.where(outside, 0, np.minimum(visibility, 1)).astype(np.float32)
        return _gaussians.whole_gaussians(centre, weight, self.map_size, self.sigma), weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K], the maps' maxima.

        Maxima in the two outermost rows and columns are not refined. On plateaus the step may be long: nothing
        limits it.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xy, score = _maps.peaks(maps, self.empty)
        scale, shift = self._bridge()
        if self.refine == "newton":
            xy = xy + _steps(maps, xy, self.blur)
        elif self.refine == "quarter":
            xy = xy + _maps.quarter_shift(maps, xy)
        return (xy - shift) / scale, score

    @property
    def _published_shift(self) -> bool:
        return self.crop == "standard"


def _steps(maps: np.ndarray, pixel: np.ndarray, kernel: int) -> np.ndarray:
    """From maxima [M, 2] of maps [M, h, w] to the peaks of their blurred logarithms."""
    height, width = maps.shape[1:]
    steps = np.zeros(pixel.shape)
    inner = np.flatnonzero(((pixel > 1) & (pixel < (width - 2, height - 2))).all(1))
    near = _blur.blurred_squares(maps, inner, pixel[inner] - 2, 5, kernel, mirrored=False)
    # Scaling the blurred map to the maximum before the blur only adds a constant to the logarithm, unless a value
    # falls below the floor. The scale is at least 1, a blur being a mean, so no value above the floor gets there.
    _taylor.scale_to_peak(near, maps, inner, near.min((1, 2)) < _FLOOR, kernel)
    log = np.log(np.maximum(near, _FLOOR))
    centre, left, right, above, below = log[:, 2, 2], log[:, 2, 1], log[:, 2, 3], log[:, 1, 2], log[:, 3, 2]
    dxx = (log[:, 2, 4] - 2 * centre + log[:, 2, 0]) / 4
    dyy = (log[:, 4, 2] - 2 * centre + log[:, 0, 2]) / 4
    dxy = (log[:, 3, 3] - log[:, 1, 3] - log[:, 3, 1] + log[:, 1, 1]) / 4
    steps[inner] = _taylor.newton(np.stack([right - left, below - above]) / 2, np.stack([dxx, dyy, dxy]))
    return steps
