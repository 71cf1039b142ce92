"""Where a map is largest once it is blurred: a square of it is blurred, and said whether that square is enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from posewright import image
from posewright.codecs import _blur, _maps

_HALVINGS = 2
_BLOCK = 2**_HALVINGS
"""Side of the blocks whose largest values are bounded, in pixels."""
_SIDE = 3 * _BLOCK
"""Side of the squares: the block with the largest bound and its neighbours."""
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
        border: zeros around the maps; without any, the maps are continued as mirror images.
        cells: [M, side * side] float64, the blurred squares row by row.
        side: of the squares.
        origin: [M, 2] first cells, in map pixels.
        bound: [M, rows, columns]: no value of a block, 4 pixels high and wide, is larger; the first block is where the
            border begins.
        edges: first and last pixel along x and y, [2, 2]; what lies further out is in no square.
    """

    maps: np.ndarray
    kernel: int
    border: int
    cells: np.ndarray
    side: int
    origin: np.ndarray
    bound: np.ndarray
    edges: np.ndarray

    def hold(self, least: np.ndarray) -> np.ndarray:
        """Whether all pixels of at least a value each [M], above 0, are certain to be in the squares, [M]."""
        level = least.astype(np.float32) * np.float32(1 - 1e-6)
        which, row, column = np.unravel_index(np.flatnonzero(self.bound >= level[:, None, None]), self.bound.shape)
        first = np.stack([column, row], -1) * _BLOCK - self.border
        stop, origin = np.minimum(first + _BLOCK, np.array(self.maps.shape[:0:-1]) + self.border), self.origin[which]
        far = ((first < origin) | (stop > origin + self.side)).any(1)
        which, first, stop = which[far], first[far], stop[far]
        held = least > 0
        # Where a few bounds are too large, the values of their blocks are looked at.
        few = np.bincount(which, minlength=len(held))[which] <= _FEW
        few &= ((first >= self.edges[0]) & (stop <= self.edges[1] + 1)).all(1)
        held[which[~few]] = False
        which, first = which[few], first[few]
        blocks = _blur.blurred_squares(self.maps, which, first, _BLOCK, self.kernel, mirrored=not self.border)
        held[which[blocks.max((1, 2)) >= level[which]]] = False
        return held


def of_maxima(maps: np.ndarray, kernel: int, border: int) -> Squares:
    """Squares around the maxima of blurred maps, or close to them.

    What is negative only makes a blurred value smaller. So the value is no larger than the sum, over the blocks under
    the blur, of the block's positive values together, times the blur's largest weight there; and as that weight is a
    product of one along y and one along x, the bounds of all blocks are two matrix products.

    Args:
        maps: [M, h, w].
        kernel: size of the blur.
        border: zeros around the maps, which are blurred, too, mirrored at their end.

    Raises:
        ValueError: a map holds NaN, or its maximum is infinite.
    """
    height, width = maps.shape[1:]
    down, across = (_largest_weights(length, kernel, border) for length in (height, width))
    bound = down @ (_positive_means(maps) @ (across.T * np.float32(_BLOCK**2)))
    best = bound.reshape(len(maps), -1).argmax(1) if len(maps) else np.zeros(0, int)
    block = np.stack([best % len(across), best // len(across)], -1)
    # Pixels from which a blur that mirrors at the border's end reaches the map again are left out.
    outside = min(border, 2 * border - kernel // 2) - 1 if border else 0
    edges = np.array([[-outside, -outside], [width - 1 + outside, height - 1 + outside]])
    side = min(_SIDE, *(edges[1] - edges[0] + 1).tolist())
    origin = np.clip((block - 1) * _BLOCK - border, edges[0], edges[1] - side + 1)
    cells = _blur.blurred_squares(maps, np.arange(len(maps)), origin, side, kernel, mirrored=not border)
    return Squares(maps, kernel, border, cells.reshape(-1, side**2), side, origin, bound, edges)


def _positive_means(maps: np.ndarray) -> np.ndarray:
    """Means of the values, of which those below 0 count as 0, in blocks of maps [M, h, w]: [M, rows, columns] float32.

    Raises:
        ValueError: a map holds NaN, or its maximum is infinite.
    """
    count, height, width = maps.shape
    rows, columns = (-(-length // _BLOCK) for length in (height, width))
    high, wide = rows * _BLOCK, columns * _BLOCK
    if (high, wide) != (height, width):
        maps = np.pad(maps, ((0, 0), (0, high - height), (0, wide - width)))
    whole, peak = np.empty((count, rows, columns), np.float32), np.empty(count, np.float32)
    for part in _maps.parts(count, 32):  # which fit a cache
        values = maps[part].astype(np.float32, copy=False)
        flat = values.reshape(len(values), high * wide)
        peak[part] = flat[np.arange(len(flat)), flat.argmax(1)]  # which is faster than max
        whole[part] = image.means_above_zero(values, _HALVINGS)
    _maps.refuse_not_finite(peak)
    return whole


@cache
def _largest_weights(length: int, kernel: int, border: int) -> np.ndarray:
    """The largest weights, along one axis, that blurred pixels of a block give to a block of pixels: [n, m] float32."""
    weights = _blur.matrix(length, kernel, border)
    blocks = [-(-n // _BLOCK) for n in weights.shape]
    whole = np.zeros([n * _BLOCK for n in blocks])
    whole[: len(weights), :length] = weights
    return (whole.reshape(blocks[0], _BLOCK, blocks[1], _BLOCK).max((1, 3)) * (1 + _ROUNDING)).astype(np.float32)
