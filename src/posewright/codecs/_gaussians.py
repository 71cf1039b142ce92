"""Gaussians as targets: cut off to a square (SimpleBaseline, HRNet, LPN, UDP), or whole (DARK, RSN with UDP)."""

from __future__ import annotations

from functools import cache

import numpy as np

from posewright.codecs import _maps

_FAINT = 9.3
"""Sigmas beyond which a Gaussian's factor along one axis, below 2e-19, is written as 0.

Maps are float32 with a peak of 1, so nothing can tell; it keeps products out of the range of denormal numbers, which
processors multiply a hundred times slower.
"""


def pixel_gaussians(
    xy: np.ndarray, visibility: np.ndarray, size: tuple[int, int], map_size: tuple[int, int], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """The target of SimpleBaseline, HRNet and LPN: Gaussians with their peak, exactly 1, at the nearest map pixel.

    Args:
        xy: [..., K, 2] input pixels.
        visibility: [..., K] visibility 0, 1 or 2.
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: in map pixels.

    Returns:
        maps [..., K, h, w] and weight [..., K], as of `cut_gaussians`.
    """
    xy, visibility = _maps.read_points(xy, visibility)
    # Truncation, not floor: as published, a joint up to 1.5 map pixels left of the map lands on column 0.
    pixel = np.trunc(xy / _maps.stride(size, map_size) + 0.5)
    weight = _weight(pixel, visibility, map_size, sigma)
    at, reach = pixel.reshape(-1, 2), int(3 * sigma)
    start, (columns, rows) = _maps.block(at, reach, map_size)
    position = np.clip(start - at + reach, -2 * reach - 1, 2 * reach + 1).astype(np.int64)
    position[weight.ravel() == 0] = 2 * reach + 1
    blocks = _stamps(sigma, rows.shape[1], columns.shape[1])[position[:, 1], position[:, 0]]
    maps = np.zeros((*weight.shape, *map_size), np.float32)
    _maps.paste(maps.reshape(-1, *map_size), np.arange(weight.size), start, blocks)
    return maps, weight


@cache
def _stamps(sigma: float, rows: int, columns: int) -> np.ndarray:
    """[n, n, rows, columns] float32: a Gaussian in all its positions relative to a block that has to lie in the map.

    Position 0 along an axis is the Gaussian in the block's middle, and position i (from the end, if negative) that of
    a block i pixels further on; in the outermost positions they do not meet.
    """
    reach = int(3 * sigma)
    position = np.roll(np.arange(-2 * reach - 1, 2 * reach + 2), -2 * reach - 1)
    column, row = (
        np.exp(-(off**2) / (2 * sigma**2)) * (np.abs(off) <= reach)
        for off in (position[:, None] - reach + np.arange(count) for count in (rows, columns))
    )
    return (column[:, None, :, None] * row[None, :, None, :]).astype(np.float32)


def _weight(pixel: np.ndarray, visibility: np.ndarray, map_size: tuple[int, int], sigma: float) -> np.ndarray:
    """1 where a keypoint is labelled and its square of 3 sigma meets the map, else 0.

    As published, the test is exclusive on the left and top: a square that ends just before pixel 0 counts.
    """
    reach = 3 * sigma
    outside = (pixel >= np.array(map_size[::-1]) + reach) | (pixel < -reach - 1)
    return ((visibility > 0) & ~outside.any(-1)).astype(np.float32)


def cut_gaussians(
    centre: np.ndarray, pixel: np.ndarray, visibility: np.ndarray, map_size: tuple[int, int], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians of peak 1 at `centre`, cut off to the squares of 3 sigma around `pixel`.

    Args:
        centre: [..., K, 2] map pixels.
        pixel: [..., K, 2] whole numbers: `centre` rounded, as the codec rounds.
        visibility: [..., K]; where it is 0 the map stays empty.
        map_size: (height, width) of the maps.
        sigma: in map pixels.

    Returns:
        maps: [..., K, h, w] float32.
        weight: [..., K] float32, 1, but 0 where nothing is labelled or the square misses the map; one that ends just
            before pixel 0 leaves an empty map of weight 1, as published.
    """
    weight = _weight(pixel, visibility, map_size, sigma)
    return _drawn(centre, pixel, weight, map_size, sigma, 3 * sigma), weight


def whole_gaussians(centre: np.ndarray, weight: np.ndarray, map_size: tuple[int, int], sigma: float) -> np.ndarray:
    """Gaussians of peak 1 at real-valued centres, not cut off.

    Args:
        centre: [..., K, 2] map pixels.
        weight: [..., K]; where it is 0 the map stays empty.
        map_size: (height, width) of the maps.
        sigma: in map pixels.

    Returns:
        [..., K, h, w] float32.
    """
    return _drawn(centre, centre, weight, map_size, sigma, _FAINT * sigma)


def _drawn(
    centre: np.ndarray, middle: np.ndarray, weight: np.ndarray, map_size: tuple[int, int], sigma: float, far: float
) -> np.ndarray:
    """Gaussians around `centre`, 0 where they are further than `far` from `middle` along either axis."""
    centre, middle = centre.reshape(-1, 2), middle.reshape(-1, 2)
    start, pixels = _maps.block(np.rint(middle), int(np.ceil(far)), map_size)
    factors = []
    for axis, places in enumerate(pixels):
        values = np.exp(-((places - centre[:, axis, None]) ** 2) / (2 * sigma**2))
        values[np.abs(places - middle[:, axis, None]) > far] = 0
        factors.append(values.astype(np.float32))
    blocks = (factors[1] * (weight.reshape(-1, 1) > 0))[:, :, None] * factors[0][:, None, :]
    maps = np.zeros((*weight.shape, *map_size), np.float32)
    _maps.paste(maps.reshape(-1, *map_size), np.arange(weight.size), start, blocks)
    return maps
