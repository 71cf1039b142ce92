"""What MSPN, RSN and CPN share: labels blurred by several kernels, and points moved toward the second maximum."""

from __future__ import annotations

from functools import cache

import numpy as np

from posewright.codecs import _blur, _maps

_BORDER = 10
"""Zeros around a map before it is blurred and its maxima are looked for."""


@cache
def _profiles(length: int, kernel: int, at_keypoint: bool) -> np.ndarray:
    """[length, n]: row p is a one at pixel p, blurred, divided by its reference, seen through p's block of pixels."""
    blur = _blur.matrix(length, kernel)
    _, pixels = _maps.window(np.arange(length), kernel // 2, length)
    rows = np.take_along_axis(blur.T, pixels, 1)
    reference = np.diag(blur)[:, None] if at_keypoint else rows.max(1, keepdims=True)
    return (rows / reference).astype(np.float32)


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
        [..., L, K, h, w] float32, one level a kernel.
    """
    height, width = map_size
    drawn = weight > 0
    x, y = (np.where(drawn, pixel[..., i], 0).astype(np.int64) for i in (0, 1))
    maps = np.zeros((*weight.shape[:-1], len(kernels), weight.shape[-1], height, width), np.float32)
    for level, kernel in enumerate(kernels):
        column = _profiles(height, kernel, at_keypoint)[y] * np.float32(255) * drawn[..., None]
        row = _profiles(width, kernel, at_keypoint)[x]
        start_y, _ = _maps.window(y, kernel // 2, height)
        start_x, _ = _maps.window(x, kernel // 2, width)
        _maps.paste(maps[..., level, :, :, :], start_y, start_x, column[..., :, None] * row[..., None, :])
    return maps


def toward_second_maximum(maps: np.ndarray, kernel: int, shifts: tuple[float, ...]) -> np.ndarray:
    """The blurred maps' maxima, moved toward the second maximum (and on toward the third, with a second shift).

    Each map gets a border of 10 zeros and is blurred; the maximum is set to 0, the next one looked for wherever it
    is, and the point moves a fixed length toward it. A map without positive values ends in a corner of the border.

    Args:
        maps: [..., h, w].
        kernel: size of the blur.
        shifts: length of each move in map pixels.

    Returns:
        [..., 2] float64 map pixels, clamped to the map.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height, width)
    parts = [_blurred_maxima(flat[part], kernel, shifts) for part in _blur.in_chunks(flat)]
    xy = np.concatenate(parts) if parts else np.zeros((0, 2))
    return np.clip(xy, 0, (width - 1, height - 1)).reshape(*maps.shape[:-2], 2)


def _blurred_maxima(maps: np.ndarray, kernel: int, shifts: tuple[float, ...]) -> np.ndarray:
    height, width = maps.shape[-2:]
    blur_y, blur_x = _blur.matrix(height, kernel, _BORDER), _blur.matrix(width, kernel, _BORDER)
    blurred = blur_y @ maps.astype(np.float64) @ blur_x.T
    return _walk(blurred.reshape(len(maps), -1), blurred.shape[-1], shifts) - _BORDER


def _walk(cells: np.ndarray, width: int, shifts: tuple[float, ...]) -> np.ndarray:
    """From the largest of each row of cells toward the next ones; used cells are set to 0, in place."""
    every = np.arange(len(cells))
    best = cells.argmax(1)
    xy = np.stack([best % width, best // width], -1).astype(np.float64)
    for shift in shifts:
        cells[every, best] = 0
        best = cells.argmax(1)
        way = np.stack([best % width, best // width], -1) - xy
        length = np.linalg.norm(way, axis=-1, keepdims=True)
        xy += np.where(length > 1e-3, shift * way / np.maximum(length, 1e-3), 0)
    return xy


def score_at(maps: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The maps' values [..., h, w] at the pixels nearest to points [..., 2], halves to even: / 255 + 0.5, float64."""
    nearest = np.rint(xy).astype(np.int64)
    return _maps.lookup(maps, nearest[..., 0], nearest[..., 1]).astype(np.float64) / 255 + 0.5
