"""OpenCV's Gaussian blur as small matrices, so that it can be applied to any part of a map."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from posewright.codecs import _maps

_TAPS = {
    1: (1,),
    3: (1, 2, 1),
    5: (1, 4, 6, 4, 1),
    7: (2, 7, 14, 18, 14, 7, 2),
    9: (4, 13, 30, 51, 60, 51, 30, 13, 4),
}
"""OpenCV does not evaluate the Gaussian for these sizes: it uses these fixed numbers, divided by their sum."""

_PIECE = 3 << 15
"""Pixels to blur at a time."""

_SQUARES = 1 << 15
"""Pixels to blur at a time for squares: larger memory takes longer to get than to fill."""

_ALONE = 1 << 18
"""Multiply-adds up to which OpenBLAS, behind numpy, keeps a matrix product to the thread that calls it.

Otherwise its threads, which wait spinning for the next product, take the cores on which the network computes.
"""


@cache
def taps(kernel: int) -> np.ndarray:
    """The [kernel] float64 weights of OpenCV's Gaussian of that odd size with "sigma = 0"; they sum to 1.

    Raises:
        ValueError: the size is not odd and above 0.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"a blur's kernel must be odd and above 0, got {kernel}")
    if kernel in _TAPS:
        weights = np.array(_TAPS[kernel], np.float64)
    else:
        reach = kernel // 2
        sigma = 0.3 * (reach - 1) + 0.8
        weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    weights.flags.writeable = False
    return weights


@cache
def matrix(length: int, kernel: int, border: int = 0) -> np.ndarray:
    """One axis of the blur: with A for the height and B for the width, the blurred map is A @ map @ B.T.

    Args:
        length: pixels along the axis.
        kernel: the blur's size.
        border: zeros added at both ends before the blur, which mirrors at the ends (without repeating the end pixel).

    Returns:
        [length + 2 border, length] float64, read-only.
    """
    reach, full = kernel // 2, length + 2 * border
    mirrored = np.pad(np.arange(full), reach, mode="reflect")
    whole = np.zeros((full, full))
    for offset, weight in enumerate(taps(kernel)):
        np.add.at(whole, (np.arange(full), mirrored[offset : offset + full]), weight)
    blur = np.ascontiguousarray(whole[:, border : border + length])
    blur.flags.writeable = False
    return blur


def pieces(
    maps: np.ndarray, kernel: int, *, mirrored: bool, border: int = 0, dtype: type = np.float64
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A few of the maps at a time, and what they are like blurred.

    All pieces are blurred into the same memory, which fits a cache: fresh memory, which the system must clear page by
    page, can cost more than the blur. So a piece must be read before the next one, and may be written into.

    Args:
        maps: [M, h, w].
        kernel: the blur's size.
        mirrored: whether the maps, or their border, continue as a mirror image, or else with zeros.
        border: zeros added around the maps before the blur.
        dtype: the number type to compute in.

    Yields:
        some: [m, h, w], a view of the next maps.
        blurred: [m, h + 2 border, w + 2 border], `dtype`. Without maps there is one empty piece.
    """
    count, height, width = maps.shape
    most = min(max(_PIECE // (height * width), 1), count)
    high, wide = height + 2 * border, width + 2 * border
    source = np.empty((most, height, width), dtype)
    across = np.empty((most, height, wide), dtype)
    # Less memory stays in the cache where the result may take the place of what it comes from.
    result = source if (high, wide) == (height, width) else np.empty((most, high, wide), dtype)
    along_x, along_y = (_strips(length, kernel, border, mirrored, dtype) for length in (width, height))
    # Copied: with a transposed view of the weights, the product of many rows takes almost twice as long.
    along_x = [(strip, source_pixels, weights.T.copy()) for strip, source_pixels, weights in along_x]
    for start in range(0, max(count, 1), max(most, 1)):
        piece = maps[start : start + most]
        rows, between, after = (memory[: len(piece)] for memory in (source, across, result))
        rows[:] = piece
        for strip, source_pixels, weights in along_x:
            product(rows.reshape(-1, width)[:, source_pixels], weights, between.reshape(-1, wide)[:, strip])
        for strip, source_pixels, weights in along_y:
            np.matmul(weights, between[:, source_pixels], out=after[:, strip])
        yield piece, after


def product(rows: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """The matrix product of rows [n, k] and weights [k, m], by one thread, into `out` [n, m]."""
    step = max(_ALONE // weights.size, 1)
    for start in range(0, len(rows), step):
        np.matmul(rows[start : start + step], weights, out=out[start : start + step])


def blurred(maps: np.ndarray, kernel: int, *, mirrored: bool, border: int = 0, dtype: type = np.float64) -> np.ndarray:
    """Whole maps [M, h, w] blurred, [M, h + 2 border, w + 2 border], as `dtype`. Arguments are those of `pieces`."""
    high, wide = (length + 2 * border for length in maps.shape[1:])
    whole, done = np.empty((len(maps), high, wide), dtype), 0
    for part, result in pieces(maps, kernel, mirrored=mirrored, border=border, dtype=dtype):
        whole[done : done + len(part)] = result
        done += len(part)
    return whole


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
    for part in _maps.parts(len(which), max(_SQUARES // (high * wide), 1)):
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
    weights, lowest = _square_weights(side, kernel, length, mirrored)
    start = np.clip(first - kernel // 2, 0, length - weights.shape[2])
    return weights, np.clip(first - lowest, 0, len(weights) - 1), start


@cache
def _square_weights(side: int, kernel: int, length: int, mirrored: bool) -> tuple[np.ndarray, int]:
    """From pixels of an axis to the blurred values of squares, [places, side, n], and the first of the places.

    Further out there is nothing but zeros; with a mirrored border all squares reach into the map.
    """
    reach, window = kernel // 2, min(side + kernel - 1, length)
    beyond = side - 1 if mirrored else side + reach
    places = np.arange(-beyond, length if mirrored else length + reach + 1)
    weights = np.zeros((len(places), side, window))
    start = np.clip(places - reach, 0, length - window)[:, None]
    for tap, weight in enumerate(taps(kernel)):
        pixel = places[:, None] + np.arange(side) + tap - reach
        inside = (pixel >= 0) & (pixel < length)
        if mirrored:
            period = max(2 * (length - 1), 1)
            folded = np.abs(pixel) % period
            pixel, inside = np.minimum(folded, period - folded) % length, np.ones_like(inside)
        place, cell = np.nonzero(inside)
        np.add.at(weights, (place, cell, (pixel - start)[inside]), weight)
    return weights, -beyond


@cache
def _strips(
    length: int, kernel: int, border: int, mirrored: bool, dtype: type
) -> list[tuple[slice, slice, np.ndarray]]:
    """One axis of the blur, cut into strips of some 16 pixels: their place, the pixels they come from, the weights.

    A blur's matrix is zero but for a band around its diagonal; this leaves most of the zeros out.
    """
    more = 0 if mirrored else kernel // 2
    weights = matrix(length, kernel, border + more)[more : more + length + 2 * border].astype(dtype)
    edges = np.linspace(0, len(weights), max(len(weights) // 16, 1) + 1).astype(int)
    strips = []
    for start, stop in pairwise(edges):
        used = np.flatnonzero(weights[start:stop].any(0))
        source = slice(int(used[0]), int(used[-1]) + 1)
        strips.append((slice(int(start), int(stop)), source, np.ascontiguousarray(weights[start:stop, source])))
    return strips
