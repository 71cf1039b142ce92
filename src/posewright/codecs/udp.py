"""Unbiased data processing: positions 0 and size - 1 of input and map coincide.

Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", CVPR
2020. Mirrored maps need no shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from posewright import losses
from posewright.codecs import _blur, _discs, _gaussians, _maps, _squares, _taylor
from posewright.codecs._base import AlignedCodec, Refinement, TripleCodec, check_refinement

if TYPE_CHECKING:
    import torch

Toolkit = Literal["udp", "mmpose0", "mmpose1"]
"""Whose decoding: the authors' release, mmpose 0.x or mmpose 1.x."""

_LEAST, _MOST = 0.001, 50.0
"""Values are clipped to this range before their logarithm is taken."""
_LEVEL = 1e-5
"""A blurred map whose values differ by less than this part of its maximum holds nothing but rounding errors."""
_DAMPING = float(np.finfo(np.float32).eps)
"""What mmpose adds to the Hessian's diagonal in place of a test whether it is singular."""


@dataclass(frozen=True, slots=True)
class UdpHeatmap(AlignedCodec):
    """Gaussian heatmaps with sub-pixel centres, decoded by a Newton step on the logarithm of the blurred map.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: of the Gaussian, in map pixels: 2 for 64x48 maps, 3 for 96x72.
        blur: size of the blur before decoding: 7 as released, 11 in mmpose.
        toolkit: "udp" stretches the blurred map to the range from 0 to the maximum before the blur; "mmpose0" does
            not; "mmpose1" continues the map with zeros instead of a mirror image and scales it to that maximum. Both
            mmpose ones damp the step a little, and put keypoints of empty maps at (-1, -1) instead of (0, 0).
        unbiased: whether Gaussians lie at real-valued centres; if not, at the nearest pixel.
        refine: "newton" as published; "quarter", the rule of `GaussianHeatmap`; or "none".
    """

    sigma: float = 2.0
    blur: int = 7
    toolkit: Toolkit = "udp"
    unbiased: bool = True
    refine: Refinement = "newton"

    def __post_init__(self) -> None:
        _check(self)
        _maps.check_above_zero(self, "sigma")
        check_refinement(self)

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., K, h, w] and weight [..., K].

        The centre is a fraction of a pixel, but the square of 3 sigma that is drawn lies around the nearest pixel.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        centre = xy / self._stride
        pixel = np.trunc(centre + 0.5)
        peak = centre if self.unbiased else pixel
        return _gaussians.cut_gaussians(peak, pixel, visibility, self.map_size, self.sigma)

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K], the maps' maxima.

        Nothing limits the step from a maximum to its peak. Maps of one value only have no step (the released code
        yields NaN there).

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.refine == "newton":
            xy, score = _peaks(maps, self.blur, self.toolkit)
        else:
            xy, score = _maps.peaks(maps, 0 if self.toolkit == "udp" else -1)
            if self.refine == "quarter":
                xy = xy + _maps.quarter_shift(maps, xy)
        return xy * self._stride, score


@dataclass(frozen=True, slots=True)
class UdpMultiScaleHeatmap(AlignedCodec):
    """Labels from coarse to fine for RSN with UDP: whole Gaussians of peak 255, decoded as by `UdpHeatmap`.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigmas: of the labels' Gaussians, coarse to fine, in map pixels: they match kernels 15, 11, 9, 7, 5.
        blur: size of the blur before decoding.
        toolkit: see `UdpHeatmap`.
    """

    sigmas: tuple[float, ...] = (2.6, 2.0, 1.7, 1.4105, 1.1105)
    blur: int = 7
    toolkit: Toolkit = "udp"

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """As of `MultiScaleHeatmap`."""
        return {"coarse-to-fine": losses.mspn}

    def __post_init__(self) -> None:
        _check(self)
        if not all(sigma > 0 for sigma in self.sigmas):
            raise ValueError(f"UdpMultiScaleHeatmap: sigmas must be above 0 map pixels, got {self.sigmas}")

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to labels [..., L, K, h, w] and weight.

        Returns:
            labels: float32, one level per sigma.
            weight: [..., K] float32, the visibility 0, 1 or 2; 0 for keypoints outside of the input.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        inside = ((xy >= 0) & (xy <= (self.size[1] - 1, self.size[0] - 1))).all(-1)
        weight = np.where(inside, visibility, 0).astype(np.float32)
        centre = xy / self._stride
        levels = [_gaussians.whole_gaussians(centre, weight, self.map_size, sigma) for sigma in self.sigmas]
        return np.stack(levels, -4) * np.float32(255), weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K], the maxima over 255.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xy, score = _peaks(maps / 255, self.blur, self.toolkit)
        return xy * self._stride, score


@dataclass(frozen=True, slots=True)
class UdpOffsetHeatmap(TripleCodec):
    """A disc and two offset maps per keypoint ("combined" target): channels 3k, 3k + 1, 3k + 2 are class, dx and dy.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        radius: of the disc, in map pixels, which is also the offsets' unit: 4 as first released, 3.5 later; mmpose
            has 0.0546875 of the map's height (1.x: of its longer side).
        blurs: sizes of the blurs of class and offset maps before decoding: (15, 7) as released, (2 k + 1, k) in
            mmpose 0.x and (2 k + 1, 1) in 1.x, with k = 11 by default.
        masked: whether offsets outside of the disc are 0; False, as mmpose 1.x leaves them, for the target only.
    """

    radius: float = 4.0
    blurs: tuple[int, int] = (15, 7)
    masked: bool = True

    def __post_init__(self) -> None:
        TripleCodec.__post_init__(self)
        _maps.check_above_zero(self, "radius")
        for kernel in self.blurs:
            _blur.taps(kernel)

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """Class and offsets by squares as released, by smooth L1, or by squares as in mmpose, which weighs offsets."""
        return {
            "udp-offset": losses.udp_offset,
            "udp-offset-smooth": partial(losses.udp_offset, smooth=True),
            "udp-offset-mmpose": partial(losses.udp_offset, weigh_offsets=True),
        }

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to maps [..., 3 K, h, w] and weight [..., K].

        As published, there is no test of bounds: keypoints far outside keep weight 1, with empty maps.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        weight = np.minimum(visibility, 1)
        discs = _discs.discs(xy / self._stride, weight, self.map_size, self.radius, masked=self.masked)
        return discs, weight

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., 3 K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K].

        The score is the maximum of the blurred class map; the offset is read from the blurred offset maps there. Of
        equal maxima, which a disc often has, the first in row-major order is taken.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read, per_point=3)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixel, score = _blurred_peaks(maps[:, 0], self.blurs[0])
        each, count = maps.reshape(-1, *self.map_size), len(maps)
        which = np.concatenate([np.arange(1, 3 * count, 3), np.arange(2, 3 * count, 3)])
        offsets = _blur.blurred_squares(each, which, np.tile(pixel, (2, 1)), 1, self.blurs[1], mirrored=True)
        return (pixel + self.radius * offsets.reshape(2, count).T) * self._stride, score


def _blurred_peaks(maps: np.ndarray, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """First maxima [M, 2] and their values [M] of maps [M, h, w] under a blur with mirrored border."""
    squares = _squares.of_maxima(maps, kernel, 0)
    index = _maps.first_maximum(squares.cells)
    score = squares.cells[np.arange(len(maps)), index]
    pixel = squares.origin + np.stack(np.divmod(index, squares.side)[::-1], -1)
    rest = np.flatnonzero(~squares.hold(score))
    found = [_maps.peaks(blurred, computed=True) for _, blurred in _blur.pieces(maps[rest], kernel, mirrored=True)]
    pixel[rest], score[rest] = map(np.concatenate, zip(*found))
    return pixel, score


def _check(codec: UdpHeatmap | UdpMultiScaleHeatmap) -> None:
    AlignedCodec.__post_init__(codec)
    _blur.taps(codec.blur)
    if codec.toolkit not in get_args(Toolkit):
        raise ValueError(f"{type(codec).__name__}: toolkit must be one of {get_args(Toolkit)}, got {codec.toolkit!r}")


def _peaks(maps: np.ndarray, kernel: int, toolkit: Toolkit) -> tuple[np.ndarray, np.ndarray]:
    """Refined maxima [M, 2] in map pixels and scores [M] of maps [M, h, w]."""
    pixel, score = _maps.peaks(maps, 0 if toolkit == "udp" else -1)
    which = np.flatnonzero(score > 0)
    at, peak = pixel[which], score[which].astype(np.float64)
    near = _blur.blurred_squares(maps, which, at - 1, 3, kernel, mirrored=toolkit != "mmpose1")
    _repeat_border(near, at, maps.shape[1:])
    if toolkit == "udp":
        near = _stretched(near, maps, which, peak, kernel)
    elif toolkit == "mmpose1":
        # A common factor cancels out of the logarithm's derivatives, unless it decides what is clipped.
        _taylor.scale_to_peak(near, maps, which, (near.min((1, 2)) < _LEAST) | (peak > _MOST), kernel)
    xy = pixel.astype(np.float64)
    xy[which] += _steps(np.log(np.clip(near, _LEAST, _MOST)), 0.0 if toolkit == "udp" else _DAMPING)
    return xy, score


def _repeat_border(near: np.ndarray, pixel: np.ndarray, map_size: tuple[int, ...]) -> None:
    """Neighbours beyond the map's border repeat its last pixels, in place."""
    height, width = map_size
    for axis, last in ((2, width - 1), (1, height - 1)):
        along = np.moveaxis(near, axis, 1)
        at = pixel[:, 2 - axis]
        along[at == 0, 0] = along[at == 0, 1]
        along[at == last, 2] = along[at == last, 1]


def _stretched(near: np.ndarray, maps: np.ndarray, which: np.ndarray, peak: np.ndarray, kernel: int) -> np.ndarray:
    """Squares [M, 3, 3] of some blurred maps, as if those had been stretched, whole, to the range from 0 to `peak`."""
    pieces = _blur.pieces(maps, kernel, mirrored=True, dtype=np.float32)
    ranges = np.concatenate([(after.min((1, 2)), after.max((1, 2))) for _, after in pieces], 1)
    low, high = ranges[:, which].astype(np.float64)
    level = high - low <= _LEVEL * peak
    scale = np.where(level, 0.0, peak / np.where(level, 1.0, high - low))
    return (near - low[:, None, None]) * scale[:, None, None]


def _steps(log: np.ndarray, damping: float) -> np.ndarray:
    """Newton steps [M, 2] from the middles of squares [M, 3, 3]; the mixed derivative is, as released, one-sided."""
    (corner, above, _), (left, centre, right), (_, below, other) = np.moveaxis(log, 0, -1)
    dxx, dyy = right - 2 * centre + left, below - 2 * centre + above
    dxy = (other - right - below + 2 * centre - left - above + corner) / 2
    return _taylor.newton(np.stack([right - left, below - above]) / 2, np.stack([dxx, dyy, dxy]), damping)
