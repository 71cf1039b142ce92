"""Discs around keypoints and the way to their middles: what UDP's offset target and G-RMI share."""

from __future__ import annotations

import numpy as np

from posewright.codecs import _maps


def discs(
    xy: np.ndarray,
    weight: np.ndarray,
    map_size: tuple[int, int],
    radius: float,
    *,
    stride: np.ndarray | tuple[float, float] = (1.0, 1.0),
    unit: float = 1.0,
    masked: bool = True,
) -> np.ndarray:
    """Three maps per keypoint: 1 inside the disc, and the offsets from each of its pixels to the middle along x and y.

    Args:
        xy: [..., K, 2] keypoints.
        weight: [..., K]; where it is 0 the maps stay empty.
        map_size: (height, width) of the maps.
        radius: of the disc, in the keypoints' unit of length.
        stride: length of a map pixel along x and y.
        unit: the largest offset in the target, reached on the disc's edge.
        masked: whether offsets outside of the disc are 0, or else go on over the whole map.

    Returns:
        [..., 3 K, h, w] float32, class, x and y next to each other.
    """
    at, length = xy.reshape(-1, 2), np.array(stride)
    reach = np.ceil(radius / length).astype(int) if masked else np.array(map_size[::-1])
    start, (columns, rows) = _maps.block(np.floor(at / length + 0.5), reach, map_size)
    x = ((at[:, :1] - columns * length[0]) / radius)[:, None, :]
    y = ((at[:, 1:] - rows * length[1]) / radius)[:, :, None]
    drawn = weight.reshape(-1, 1, 1) > 0
    inside = (x**2 + y**2 <= 1) & drawn
    kept = inside if masked else np.broadcast_to(drawn, inside.shape)
    blocks = np.stack([inside, x * unit * kept, y * unit * kept], 1)
    maps = np.zeros((*weight.shape[:-1], 3 * weight.shape[-1], *map_size), np.float32)
    flat = maps.reshape(-1, *map_size)
    _maps.paste(flat, np.arange(len(flat)), np.repeat(start, 3, 0), blocks.reshape(-1, *blocks.shape[2:]))
    return maps
