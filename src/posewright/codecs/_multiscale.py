"""What MSPN, RSN and CPN share: labels blurred by several kernels, and points moved toward the second maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from posewright import losses
from posewright.codecs import _blur, _maps, _squares
from posewright.codecs._base import MapCodec

if TYPE_CHECKING:
    import torch

_BORDER = 10
"""Zeros around a map before it is blurred and its maxima are looked for."""


@dataclass(frozen=True, slots=True)
class BlurMultiScaleHeatmap(MapCodec):
    """Labels from a wide blur to a narrow one, and maps that are blurred before decoding.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        kernels: sizes of the labels' blurs, coarse to fine.
        blur: size of the blur before decoding.
    """

    kernels: tuple[int, ...] = (15, 11, 9, 7, 5)
    blur: int = 5

    @property
    def losses(self) -> Mapping[str, losses.Loss]:
        """Named "coarse-to-fine": a label width for each output, hard keypoint mining on each stage's finest one."""
        return {"coarse-to-fine": losses.mspn}

    def __post_init__(self) -> None:
        MapCodec.__post_init__(self)
        for kernel in (*self.kernels, self.blur):
            _blur.taps(kernel)


@dataclass(frozen=True, slots=True)
class SecondMaximumHeatmap(BlurMultiScaleHeatmap):
    """The labels of MSPN, RSN and CPN, and maps that are read by moving from the maximum toward the second one.

    Attributes:
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        kernels: sizes of the labels' blurs, coarse to fine.
        blur: size of the blur before decoding.
        shifts: lengths, in map pixels, of the moves toward the second maximum (the third, ...).
    """

    shifts: tuple[float, ...] = (0.25,)

    def encode(self, xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [..., K, 2] in input pixels and visibility [..., K] to labels [..., L, K, h, w] and weight.

        The peak, 255, is at the keypoint's map pixel. As published, a keypoint a few pixels from the border may have it
        beside that, for the blur folds its tail back.

        Returns:
            labels: float32, one level per kernel.
            weight: [..., K] float32, the visibility 0, 1 or 2; 0 for keypoints outside of the input.

        Raises:
            ValueError: wrong shapes, a visibility other than 0, 1, 2, or a labelled point that is not finite.
        """
        xy, visibility = _maps.read_points(xy, visibility)
        pixel, inside = self._pixels(xy)
        weight = np.where(inside, visibility, 0).astype(np.float32)
        return labels(pixel, weight, self.map_size, self.kernels), weight

    def _pixels(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map pixels [..., 2] of points in input pixels, truncated, and whether a point is inside of the input."""
        height, width = self.size
        inside = np.asarray(((xy >= 0) & (xy <= (width - 1, height - 1))).all(-1))
        return np.trunc(xy * self.map_size[::-1] / (width, height)), inside

    def decode(self, maps: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Maps [..., K, h, w] to keypoints [..., K, 2] in input pixels and scores [..., K].

        Map pixel i is read as input pixel 4 i + 2 (half a stride, as published), and the score is the map's value,
        before the blur, at the pixel nearest to the keypoint, divided by 255, plus 0.5.

        Raises:
            ValueError: maps of another size, or with NaN.
        """
        return _maps.decode(maps, self.map_size, self._read)

    def _read(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xy = self._walked(maps)
        return (xy + 0.5) * _maps.stride(self.size, self.map_size), score_at(maps, xy)

    def _walked(self, maps: np.ndarray) -> np.ndarray:
        """Keypoints [M, 2] in map pixels of maps [M, h, w]."""
        return toward_second_maximum(maps, self.blur, self.shifts)


def labels(
    pixel: np.ndarray,
    weight: np.ndarray,
    map_size: tuple[int, int],
    kernels: tuple[int, ...],
    *,
    at_keypoint: bool = False,
) -> np.ndarray:
    """Ones at pixels, blurred with each kernel, each map divided by its maximum, times 255.

    As published, the blur mirrors at the border: close to it the folded tail can put the maximum beside the keypoint.

    Args:
        pixel: [..., K, 2] whole numbers inside the map; anything where the weight is 0.
        weight: [..., K]; where it is 0 the maps stay empty.
        map_size: (height, width) of the maps.
        kernels: sizes of the blurs.
        at_keypoint: divide by the value at the keypoint instead of the maximum, as mmpose does.

    Returns:
        [..., L, K, h, w] float32, one level per kernel.
    """
    maps = np.zeros((*weight.shape[:-1], len(kernels), weight.shape[-1], *map_size), np.float32)
    flat = maps.reshape(-1, *map_size)
    drawn = weight > 0
    which = np.arange(len(flat)).reshape(-1, len(kernels), weight.shape[-1])
    at = pixel[drawn]
    for level, kernel in enumerate(kernels):
        start, _ = _maps.block(at, kernel // 2, map_size)
        states = tuple(_state(at[:, axis], kernel, map_size[1 - axis]) for axis in (1, 0))
        blocks = _blocks(kernel, map_size, at_keypoint)[states]
        _maps.paste(flat, which[:, level].reshape(weight.shape)[drawn], start, blocks)
    return maps


def _state(at: np.ndarray, kernel: int, length: int) -> np.ndarray:
    """Which of `_blocks` pixels [M] along an axis need: the same, unless the mirrored tail reaches into the map."""
    first = kernel // 2 + 1
    return (at - np.clip(at, first, max(length - 1 - first, first)) + first).astype(np.int64)


@cache
def _blocks(kernel: int, map_size: tuple[int, int], at_keypoint: bool) -> np.ndarray:
    """[n, m, a, b] float32: labels as seen through the block of pixels that they fill, for every `_state`."""
    factors = []
    for length in map_size:
        blur = _blur.matrix(length, kernel)
        _, first = np.unique(_state(np.arange(length), kernel, length), return_index=True)
        _, (pixels, _) = _maps.block(np.stack([first, first], -1), kernel // 2, (length, length))
        rows = np.take_along_axis(blur.T[first], pixels, 1)
        reference = np.diag(blur)[first, None] if at_keypoint else rows.max(1, keepdims=True)
        factors.append(rows / reference)
    return (255 * factors[0][:, None, :, None] * factors[1][None, :, None, :]).astype(np.float32)


def toward_second_maximum(maps: np.ndarray, kernel: int, shifts: tuple[float, ...]) -> np.ndarray:
    """The blurred maps' maxima, moved toward the second maximum (and on toward the third, with a second shift).

    Each map gets a border of 10 zeros and is blurred; the maximum is set to 0, the next one looked for wherever it
    is, and the point moves a fixed length toward it. A map without positive values ends in a corner of the border.
    Of equal maxima the first in row-major order is taken; the published code leaves that to the last bit of the blur.

    Args:
        maps: [M, h, w].
        kernel: size of the blur.
        shifts: length of each move in map pixels.

    Returns:
        [M, 2] float64 map pixels, clamped to the map.
    """
    squares = _squares.of_maxima(maps, kernel, min(kernel // 2, _BORDER))  # further out there is nothing but zeros
    xy, last = _walk(squares.cells, squares.side, squares.origin, shifts)
    rest = np.flatnonzero(~squares.hold(last))
    xy[rest] = _walks_on_whole_maps(maps[rest], kernel, shifts)
    height, width = maps.shape[1:]
    return np.clip(xy, 0, (width - 1, height - 1))


def _walks_on_whole_maps(maps: np.ndarray, kernel: int, shifts: tuple[float, ...]) -> np.ndarray:
    # Further out than the blur reaches there is nothing but zeros; where it reaches all of the border, it mirrors.
    reach = min(kernel // 2, _BORDER)
    origin = np.array([-reach, -reach])

    def walk(blurred: np.ndarray) -> np.ndarray:
        height, width = blurred.shape[1:]
        return _walk(blurred.reshape(-1, height * width), width, origin, shifts, zeros_beyond=reach < _BORDER)[0]

    pieces = _blur.pieces(maps, kernel, mirrored=reach == _BORDER, border=reach)
    return np.concatenate([walk(blurred) for _, blurred in pieces])


def _walk(
    cells: np.ndarray, width: int, origin: np.ndarray, shifts: tuple[float, ...], *, zeros_beyond: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """From the largest of each row of cells toward the next ones; used cells are set to 0, in place.

    Args:
        cells: [M, n] blurred values.
        width: of the rectangle that the cells are.
        origin: its first cell in map pixels, [2] or [M, 2].
        shifts: length of each move in map pixels.
        zeros_beyond: whether the first pixel of the border, a zero, is not among the cells.

    Returns:
        xy: [M, 2] where the walks end, in map pixels.
        last: [M] the smallest value that was used.
    """
    every = np.arange(len(cells))

    def largest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best = _maps.first_maximum(cells)
        value = cells[every, best]
        place = np.stack([best % width, best // width], -1) + origin
        if zeros_beyond:  # without a positive value, the first zero is the largest: the corner of the border
            place[value <= 0] = -_BORDER
        return best, value, place

    best, value, place = largest()
    xy = place.astype(np.float64)
    for shift in shifts:
        cells[every, best] = 0
        best, value, place = largest()
        way = place - xy
        length = np.sqrt((way**2).sum(-1, keepdims=True))
        xy += np.where(length > 1e-3, shift * way / np.maximum(length, 1e-3), 0)
    return xy, value


def score_at(maps: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Scores [M]: maps [M, h, w] at the pixels nearest to points [M, 2], halves to even, / 255 + 0.5, float64."""
    nearest = np.rint(xy).astype(np.int64)
    return _maps.lookup(maps, nearest[:, 0], nearest[:, 1]).astype(np.float64) / 255 + 0.5
