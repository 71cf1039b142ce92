"""OpenCV's Gaussian blur as small matrices, so that it can be applied to any part of a map."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

_TAPS = {
    1: (1,),
    3: (1, 2, 1),
    5: (1, 4, 6, 4, 1),
    7: (2, 7, 14, 18, 14, 7, 2),
    9: (4, 13, 30, 51, 60, 51, 30, 13, 4),
}
"""OpenCV does not evaluate the Gaussian for these sizes: it uses these fixed numbers, divided by their sum."""


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


def blurred(maps: np.ndarray, kernel: int, *, mirrored: bool, border: int = 0, dtype: type = np.float64) -> np.ndarray:
    """Whole maps [M, h, w] blurred, [M, h + 2 border, w + 2 border], as `dtype`.

    Args:
        maps: the maps.
        kernel: the blur's size.
        mirrored: whether the maps, or their border, continue as a mirror image, or else with zeros.
        border: zeros added around the maps before the blur.
        dtype: the number type to compute in.
    """
    count, height, width = maps.shape
    source = maps.astype(dtype, copy=False).reshape(-1, width)
    across = np.empty((count * height, width + 2 * border), dtype)
    for to, of, weights in _strips(width, kernel, border, mirrored, dtype):
        np.matmul(source[:, of], weights.T, out=across[:, to])
    across = across.reshape(count, height, width + 2 * border)
    result = np.empty((count, height + 2 * border, width + 2 * border), dtype)
    for to, of, weights in _strips(height, kernel, border, mirrored, dtype):
        np.matmul(weights, across[:, of], out=result[:, to])
    return result


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
        of = slice(int(used[0]), int(used[-1]) + 1)
        strips.append((slice(int(start), int(stop)), of, np.ascontiguousarray(weights[start:stop, of])))
    return strips
