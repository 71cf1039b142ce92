"""OpenCV's Gaussian blur as small matrices, so that it can be applied to any part of a map."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

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


def blurred(maps: np.ndarray, kernel: int, *, mirrored: bool, dtype: type = np.float64) -> np.ndarray:
    """Whole maps [M, h, w] blurred, as `dtype`.

    Args:
        maps: the maps.
        kernel: the blur's size.
        mirrored: whether the maps continue beyond their border as a mirror image, or else with zeros.
        dtype: the number type to compute in.
    """
    border = 0 if mirrored else kernel // 2
    count, height, width = maps.shape
    rows = matrix(height, kernel, border)[border : border + height].astype(dtype)
    columns = matrix(width, kernel, border)[border : border + width].T.astype(dtype)
    return rows @ (maps.astype(dtype, copy=False).reshape(-1, width) @ columns).reshape(count, height, width)


def in_chunks(maps: np.ndarray, size: int = 1024) -> Iterator[slice]:
    """Slices of at most `size` maps, for work whose intermediate results should fit a cache."""
    return (slice(i, i + size) for i in range(0, len(maps), size))
