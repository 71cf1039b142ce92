"""What DARK and UDP share: a map is blurred only where it is read, and a Newton step leads from pixel to peak."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from posewright.codecs import _blur, _maps

_AT_A_TIME = 1 << 15
"""Pixels to blur at a time: a larger window of memory is slower to get than to fill."""


def blurred_squares(
    maps: np.ndarray, which: np.ndarray, first: np.ndarray, side: int, kernel: int, *, mirrored: bool
) -> np.ndarray:
    """Squares of some of the maps, blurred; the rest of the maps is not touched.

    Args:
        maps: [all, h, w].
        which: [M] places of the maps to read.
        first: [M, 2] whole numbers, the squares' first pixels, possibly outside of the map.
        side: of the squares.
        kernel: size of OpenCV's Gaussian blur.
        mirrored: whether the maps continue beyond their border as a mirror image, or else with zeros.

    Returns:
        [M, side, side] float64. Values beyond the border are those of the continued map.
    """
    (down, first_y, start_y), (across, first_x, start_x) = (
        _along(first[:, 1 - axis], side, kernel, maps.shape[1 + axis], mirrored) for axis in (0, 1)
    )
    high, wide = down.shape[2], across.shape[2]
    views = sliding_window_view(maps, (high, wide), (1, 2))
    squares = np.empty((len(which), side, side))
    for part in _maps.parts(len(which), max(_AT_A_TIME // (high * wide), 1)):
        windows = views[which[part], start_y[part], start_x[part]].astype(np.float64)
        squares[part] = down[first_y[part]] @ windows @ across[first_x[part]].swapaxes(1, 2)
    return squares


def _along(
    first: np.ndarray, side: int, kernel: int, length: int, mirrored: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What squares from pixels [M] on need along one axis.

    Returns:
        weights: [places, side, n], from n pixels of the map to the square's.
        place: [M] the square's weights.
        start: [M] first of the n pixels.
    """
    weights, lowest = _weights(side, kernel, length, mirrored)
    start = np.clip(first - kernel // 2, 0, length - weights.shape[2])
    return weights, np.clip(first - lowest, 0, len(weights) - 1), start


@cache
def _weights(side: int, kernel: int, length: int, mirrored: bool) -> tuple[np.ndarray, int]:
    """From pixels of an axis to the blurred values of squares, [places, side, n], and the first of the places.

    Further out there is nothing but zeros; with a mirrored border all squares reach into the map.
    """
    reach, window = kernel // 2, min(side + kernel - 1, length)
    beyond = side - 1 if mirrored else side + reach
    places = np.arange(-beyond, length if mirrored else length + reach + 1)
    weights = np.zeros((len(places), side, window))
    start = np.clip(places - reach, 0, length - window)[:, None]
    for tap, weight in enumerate(_blur.taps(kernel)):
        pixel = places[:, None] + np.arange(side) + tap - reach
        inside = (pixel >= 0) & (pixel < length)
        if mirrored:
            period = max(2 * (length - 1), 1)
            folded = np.abs(pixel) % period
            pixel, inside = np.minimum(folded, period - folded) % length, np.ones_like(inside)
        place, cell = np.nonzero(inside)
        np.add.at(weights, (place, cell, (pixel - start)[inside]), weight)
    return weights, -beyond


def scale_to_peak(near: np.ndarray, maps: np.ndarray, which: np.ndarray, chosen: np.ndarray, kernel: int) -> None:
    """Scale chosen blurred squares [M, n, n], in place, so that their whole map keeps its maximum under the blur.

    The map continues with zeros. This blurs the chosen maps as a whole, so choose only where the scale matters.
    """
    before = maps[which[chosen]]
    after = _blur.blurred(before, kernel, mirrored=False)
    near[chosen] *= (before.max((1, 2)) / after.max((1, 2)))[:, None, None]


_CURVED = 1e-12
"""The least curvature of a logarithm along any direction: what is below it is left of the blur's rounding errors."""


def newton(gradient: np.ndarray, hessian: np.ndarray, damping: float = 0.0) -> np.ndarray:
    """The steps [M, 2] to the extrema of paraboloids; none where the Hessian is singular.

    Nothing limits a step: close to a plateau it can lead out of the map, as in the published code.

    Args:
        gradient: [2, M], along x and y.
        hessian: [3, M], xx, yy and xy.
        damping: added to the Hessian's diagonal.
    """
    dx, dy = gradient
    dxx, dyy, dxy = hessian[0] + damping, hessian[1] + damping, hessian[2]
    determinant = dxx * dyy - dxy**2
    # The determinant over the larger eigenvalue is the smaller one. The published codes test for exactly 0.
    regular = np.abs(determinant) > _CURVED * np.maximum(np.maximum(np.abs(dxx), np.abs(dyy)), np.abs(dxy))
    over = np.where(regular, -1.0, 0.0) / np.where(regular, determinant, 1.0)
    return np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], -1) * over[:, None]
