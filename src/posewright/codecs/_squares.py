"""Where a map is largest once it is blurred: a square of it is blurred, and said whether that square is enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from posewright.codecs import _blur, _maps, _taylor

_INNER = 2
"""How far from the middle of a square the pixels may be that speak for large values."""
_SMALL = 9
"""The largest blur of which the maps themselves tell where large values may be; others are sampled."""
_FEW = 24
"""How many large bounds outside of a square are followed up."""
_ROUNDING = 1e-4
"""Part by which bounds are raised, far more than float32 loses."""


@dataclass(frozen=True, slots=True)
class Squares:
    """Squares of M blurred maps around their maxima, and how large the values outside of them may be.

    Attributes:
        maps: [M, h, w], before the blur.
        kernel: size of the blur.
        cells: [M, side * side] float64, the blurred squares row by row.
        side: of the squares.
        origin: [M, 2] first cells, in map pixels.
        bound: [M, rows, columns]: no blurred value is larger than the largest bound close to it.
        places: x [columns] and y [rows] of the bounds in map pixels.
        close: how far away a bound still counts, along both axes.
        edges: first and last pixel along x and y, [2, 2]; what lies further out is in no square.
    """

    maps: np.ndarray
    kernel: int
    cells: np.ndarray
    side: int
    origin: np.ndarray
    bound: np.ndarray
    places: tuple[np.ndarray, np.ndarray]
    close: int
    edges: np.ndarray

    def hold(self, least: np.ndarray) -> np.ndarray:
        """Whether all pixels of at least a value each [M], above 0, are certain to be in the squares, [M]."""
        level = least.astype(np.float32) * np.float32(1 - 1e-6)
        which, row, column = np.unravel_index(np.flatnonzero(self.bound >= level[:, None, None]), self.bound.shape)
        (first, last), end = self.edges, self.origin + self.side - 1
        low = np.where(self.origin > first, self.origin + self.close, first)
        high = np.where(end < last, end - self.close, last)
        place = np.stack([self.places[0][column], self.places[1][row]], -1)
        far = ((place < low[which]) | (place > high[which])).any(1)
        which, place = which[far], place[far]
        held = least > 0
        # Where a few bounds are too large, the values close to them are looked at.
        few = np.bincount(which, minlength=len(held))[which] <= _FEW
        few &= ((place - self.close >= first) & (place + self.close <= last)).all(1)
        held[which[~few]] = False
        which, place = which[few], place[few]
        around = _taylor.blurred_around(self.maps, which, place, self.kernel, self.close, mirrored=False)
        held[which[around.max((1, 2)) >= level[which]]] = False
        return held


def of_maxima(maps: np.ndarray, kernel: int, border: int) -> Squares:
    """Squares around the maxima of blurred maps, or close to them.

    A blurred value is a weighted mean, so no larger than the largest pixel under the blur. A wide blur is sampled at
    every second pixel instead: the weights of a pixel in between are at most a factor times the mean of those of its
    neighbours, and so is, where nothing is negative, its value. (Taking a number from all pixels takes it from all
    values, so this holds above the map's least value.)

    Args:
        maps: [M, h, w].
        kernel: size of the blur.
        border: zeros around the maps, which are blurred, too, mirrored at their end.

    Raises:
        ValueError: a map holds NaN, or its maximum is infinite.
    """
    height, width = maps.shape[1:]
    if kernel <= _SMALL:
        bound, places, close = maps, (np.arange(width), np.arange(height)), kernel // 2
        speaking = maps
    else:
        speaking = _blur.blurred(maps, kernel, mirrored=True, border=border, dtype=np.float32, every=2)
        low = np.minimum(maps.min((1, 2), keepdims=True), 0)
        bound, close = speaking - low, 1
        bound *= np.float32(_growth(kernel) ** 2 * (1 + _ROUNDING))
        bound += low
        places = (np.arange(-border, width + border, 2), np.arange(-border, height + border, 2))
    (columns, rows), reach = places, _INNER + close
    best = speaking.reshape(len(maps), len(rows) * len(columns)).argmax(1)
    _maps.refuse_not_finite(speaking.ravel()[best + np.arange(len(maps)) * (len(rows) * len(columns))])
    middle = np.stack([columns[best % len(columns)], rows[best // len(columns)]], -1)
    # Pixels from which a blur that mirrors at the border's end reaches the map again are left out.
    outside = min(border, 2 * border - kernel // 2) - 1
    edges = np.array([[-outside, -outside], [width - 1 + outside, height - 1 + outside]])
    middle = np.clip(middle, edges[0] + reach, edges[1] - reach)
    side, origin = 2 * reach + 1, middle - reach
    if kernel <= _SMALL:
        cells = _taylor.blurred_around(maps, np.arange(len(maps)), middle, kernel, reach, mirrored=False)
    else:
        down, across = (_rows(length, kernel, border, side) for length in (height, width))
        cells = np.empty((len(maps), side, side))
        for part in _maps.parts(len(maps), 64):  # whose maps in float64 fit a cache
            x, y = origin[part].T + border
            cells[part] = down[y] @ maps[part] @ across[x].swapaxes(1, 2)
    return Squares(maps, kernel, cells.reshape(-1, side**2), side, origin, bound, places, close, edges)


@cache
def _rows(length: int, kernel: int, border: int, side: int) -> np.ndarray:
    """[first, side, length] float64: one axis of the blur at `side` pixels from any first one on."""
    return sliding_window_view(_blur.matrix(length, kernel, border), side, 0).swapaxes(1, 2).copy()


@cache
def _growth(kernel: int) -> float:
    """By how much a blur's weight may be larger than the mean of the weights to its left and right."""
    taps = np.pad(_blur.taps(kernel), 2)
    return float((2 * taps[1:-1] / np.maximum(taps[:-2] + taps[2:], np.finfo(float).tiny)).max())
