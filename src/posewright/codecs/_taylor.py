"""What DARK and UDP share: a map is blurred only where it is read, and a Newton step leads from pixel to peak."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from posewright.codecs import _blur


def blurred_around(
    maps: np.ndarray, which: np.ndarray, pixel: np.ndarray, kernel: int, reach: int, *, mirrored: bool
) -> np.ndarray:
    """Some of the maps, blurred at one pixel each and its neighbours up to `reach` away; the rest is not touched.

    Args:
        maps: [all, h, w].
        which: [M] places of the maps to read.
        pixel: [M, 2] whole numbers inside the map.
        kernel: size of OpenCV's Gaussian blur.
        reach: how many neighbours to each side.
        mirrored: whether the maps continue beyond their border as a mirror image, or else with zeros.

    Returns:
        [M, n, n] float64 with n = 2 reach + 1. Values beyond the border are those of the continued map.
    """
    side = 2 * reach + 1
    windows = _windows(maps, which, pixel, kernel // 2 + reach, mirrored)
    weights = _weights(kernel, side)
    rows = np.empty((len(weights), len(which) * side))
    _blur.product(windows.reshape(-1, len(weights)), weights, rows.reshape(-1, side))
    around = np.empty((side, rows.shape[1]))
    _blur.product(rows.T, weights, around.T)
    return around.reshape(side, -1, side).swapaxes(0, 1).copy()


@cache
def _weights(kernel: int, side: int) -> np.ndarray:
    """[side + kernel - 1, side]: from a row of a window to the blurred values in its middle."""
    along = np.zeros((side + kernel - 1, side))
    for i in range(side):
        along[i : i + kernel, i] = _blur.taps(kernel)
    return along


def _windows(maps: np.ndarray, which: np.ndarray, pixel: np.ndarray, reach: int, mirrored: bool) -> np.ndarray:
    """[n, M, n] float64: squares around a pixel each, row by row."""
    height, width = maps.shape[1:]
    side, start = 2 * reach + 1, pixel - reach
    squares = np.empty((side, len(which), side))
    inner = ((start >= 0) & (pixel + reach < (width, height))).all(1)
    if inner.any():
        views = sliding_window_view(maps, (side, side), (1, 2))
        squares[:, inner] = views[which[inner], start[inner, 1], start[inner, 0]].swapaxes(0, 1)
    outer, border = which[~inner], start[~inner]
    rows, in_y = _continued(border[:, 1], side, height, mirrored)
    columns, in_x = _continued(border[:, 0], side, width, mirrored)
    cells = (outer[:, None] * height + rows).T[:, :, None] * width + columns
    squares[:, ~inner] = maps.ravel().take(cells) * in_y.T[:, :, None] * in_x
    return squares


def _continued(start: np.ndarray, side: int, length: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [M, side] from each start on, led back into the map, and whether they count or are zero there."""
    place = start[:, None] + np.arange(side)
    if not mirrored:
        return np.clip(place, 0, length - 1), (place >= 0) & (place < length)
    period = max(2 * (length - 1), 1)
    folded = np.abs(place) % period
    return np.minimum(folded, period - folded) % length, np.ones(place.shape, bool)


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
