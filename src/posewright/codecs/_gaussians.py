"""Gaussians of which only a square is drawn: what SimpleBaseline, HRNet, LPN and UDP are trained on."""

from __future__ import annotations

import numpy as np

from posewright.codecs import _maps


def pixel_gaussians(
    xy: np.ndarray, seen: np.ndarray, size: tuple[int, int], map_size: tuple[int, int], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """The target of SimpleBaseline, HRNet and LPN: Gaussians with their peak, exactly 1, at the nearest map pixel.

    Args:
        xy: [..., K, 2] input pixels.
        seen: [..., K] visibility 0, 1 or 2.
        size: (height, width) of the input.
        map_size: (height, width) of the maps.
        sigma: in map pixels.

    Returns:
        maps [..., K, h, w] and weight [..., K], as of `cut_gaussians`.
    """
    xy, seen = _maps.read_points(xy, seen)
    # Truncation, not floor: as published, a joint up to 1.5 map pixels left of the map lands on column 0.
    pixel = np.trunc(xy / _maps.stride(size, map_size) + 0.5)
    return cut_gaussians(pixel, pixel, np.minimum(seen, 1), map_size, sigma)


def cut_gaussians(
    centre: np.ndarray, pixel: np.ndarray, weight: np.ndarray, map_size: tuple[int, int], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians of peak 1 at `centre`, cut off to the squares of 3 sigma around `pixel`.

    Args:
        centre: [..., K, 2] map pixels.
        pixel: [..., K, 2] whole numbers: `centre` rounded, as the codec rounds.
        weight: [..., K] 0 or 1; where it is 0 the map stays empty.
        map_size: (height, width) of the maps.
        sigma: in map pixels.

    Returns:
        maps: [..., K, h, w] float32.
        weight: [..., K] float32, 0 where the square misses the map. As published, that test is exclusive on the
            left and top: a square that ends just before pixel 0 leaves an empty map of weight 1.
    """
    height, width = map_size
    reach = 3 * sigma
    outside = (pixel - reach >= (width, height)).any(-1) | (pixel + reach + 1 < 0).any(-1)
    weight = np.where(outside, 0, weight).astype(np.float32)
    start_x, row = _profile(centre[..., 0], pixel[..., 0], width, sigma)
    start_y, column = _profile(centre[..., 1], pixel[..., 1], height, sigma)
    maps = np.zeros((*weight.shape, height, width), np.float32)
    _maps.paste(maps, start_y, start_x, _product(column * (weight > 0)[..., None], row))
    return maps, weight


def _profile(centre: np.ndarray, pixel: np.ndarray, length: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """First pixels [...] and values [..., n] float32 of a Gaussian along one axis, 0 beyond 3 sigma of `pixel`."""
    start, pixels = _maps.window(pixel, int(3 * sigma), length)
    values = np.exp(-((pixels - centre[..., None]) ** 2) / (2 * sigma**2))
    values[np.abs(pixels - pixel[..., None]) > 3 * sigma] = 0
    return start, values.astype(np.float32)


def _product(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    return column[..., :, None] * row[..., None, :]


_FAINT = 9.3
"""Sigmas beyond which a Gaussian's factor along one axis, below 2e-19, is written as 0.

Maps are float32 with a peak of 1, so nothing can tell; it keeps products out of the range of denormal numbers, which
processors multiply a hundred times slower.
"""


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
    height, width = map_size
    centre = np.where((weight > 0)[..., None], centre, 0.0)
    start_x, row = _faint_profile(centre[..., 0], width, sigma)
    start_y, column = _faint_profile(centre[..., 1], height, sigma)
    maps = np.zeros((*weight.shape, height, width), np.float32)
    _maps.paste(maps, start_y, start_x, _product(column * (weight > 0)[..., None], row))
    return maps


def _faint_profile(centre: np.ndarray, length: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    start, pixels = _maps.window(np.rint(centre), int(np.ceil(_FAINT * sigma)), length)
    off = pixels - centre[..., None]
    values = np.exp(-(off**2) / (2 * sigma**2))
    values[np.abs(off) > _FAINT * sigma] = 0
    return start, values.astype(np.float32)
