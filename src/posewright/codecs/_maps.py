"""What all codecs share: reading points and maps, peaks, the quarter rule, mirroring, drawing small blocks.

Functions here work on any leading dimensions and never write into what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from posewright.types import Skeleton

if TYPE_CHECKING:
    import torch

    from posewright.spec import Maps


def check_sizes(codec: Any) -> None:
    """Refuse a codec whose `size` or `map_size` is not (height, width), both positive whole numbers.

    Raises:
        ValueError: it is not.
    """
    for name in ("size", "map_size"):
        size = getattr(codec, name)
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(
                f"{type(codec).__name__}: {name} must be (height, width), two whole numbers above 0, got {size!r}"
            )


def check_above_zero(codec: Any, *names: str) -> None:
    """Refuse a codec with a field that is not above 0.

    Raises:
        ValueError: there is one.
    """
    for name in names:
        if not getattr(codec, name) > 0:
            raise ValueError(f"{type(codec).__name__}: {name} must be above 0, got {getattr(codec, name)!r}")


def read_points(xy: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points as float64 and visibility as float32; points that are not labelled become (0, 0).

    Args:
        xy: [..., K, 2] points.
        seen: [..., K] visibility 0, 1 or 2; where it is 0, the point may be anything, NaN included.

    Raises:
        ValueError: shapes that do not belong together, a visibility other than 0, 1, 2, or a labelled point that is
            not finite.
    """
    xy, seen = np.asarray(xy, np.float64), np.asarray(seen, np.float32)
    if xy.ndim < 2 or xy.shape[-1] != 2 or seen.shape != xy.shape[:-1]:
        raise ValueError(f"encode: expected xy [..., K, 2] and seen [..., K], got {xy.shape} and {seen.shape}")
    if ((seen != 0) & (seen != 1) & (seen != 2)).any():
        raise ValueError(f"encode: seen must be 0, 1 or 2, got {sorted(set(seen.ravel().tolist()))}")
    xy = np.where((seen > 0)[..., None], xy, 0.0)
    if not np.isfinite(xy).all():
        bad = np.argwhere(~np.isfinite(xy).all(-1))[0]
        raise ValueError(
            f"encode: labelled keypoint {bad.tolist()} is {xy[tuple(bad)].tolist()}; expected finite input pixels, "
            "or seen 0 where there is none"
        )
    return xy, seen


def read_maps(maps: np.ndarray | torch.Tensor, map_size: tuple[int, int], per_point: int = 1) -> np.ndarray:
    """Maps [..., C, h, w] as a float32 or float64 numpy array, from numpy or from a tensor on any device.

    Args:
        maps: the maps; other number types become float32.
        map_size: the (height, width) they must have.
        per_point: how many channels each keypoint has.

    Raises:
        ValueError: maps of another shape.
    """
    if maps.ndim < 3 or tuple(maps.shape[-2:]) != map_size or maps.shape[-3] % per_point:
        channels = "C" if per_point == 1 else f"{per_point} K"
        raise ValueError(
            f"expected maps [..., {channels}, {map_size[0]}, {map_size[1]}] (channels, height, width), got "
            f"{tuple(maps.shape)}"
        )
    if not isinstance(maps, np.ndarray):
        maps = maps.detach().cpu()
        maps = (maps if maps.dtype.itemsize >= 4 else maps.float()).numpy()
    return np.ascontiguousarray(maps, None if maps.dtype in (np.float32, np.float64) else np.float32)


def decode(
    maps: np.ndarray | torch.Tensor,
    map_size: tuple[int, int],
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    per_point: int = 1,
    at_a_time: int = 1024,
) -> tuple[np.ndarray, np.ndarray]:
    """Read keypoints from maps of any leading dimensions, in parts whose intermediate results fit a cache.

    Args:
        maps: [..., C, h, w], numpy or torch.
        map_size: the (height, width) they must have.
        read: from M keypoints' maps, [M, h, w] or [M, per_point, h, w], to points [M, 2] and scores [M].
        per_point: how many channels each keypoint has.
        at_a_time: how many keypoints a part has.

    Returns:
        points [..., K, 2] and scores [..., K], float64.

    Raises:
        ValueError: maps of another shape.
    """
    values = read_maps(maps, map_size, per_point)
    lead = (*values.shape[:-3], values.shape[-3] // per_point)
    flat = values.reshape(-1, *((per_point, *map_size) if per_point > 1 else map_size))
    xy, score = np.empty((len(flat), 2)), np.empty(len(flat))
    for part in parts(len(flat), at_a_time):
        xy[part], score[part] = read(flat[part])
    return xy.reshape(*lead, 2), score.reshape(lead)


def parts(count: int, at_a_time: int = 1024) -> Iterator[slice]:
    """Slices that cut `count` things into parts of at most so many."""
    return (slice(i, i + at_a_time) for i in range(0, count, at_a_time))


def stride(size: tuple[int, int], map_size: tuple[int, int]) -> np.ndarray:
    """Input pixels a map pixel along x and y: (W_i / W_o, H_i / H_o)."""
    return np.array([size[1] / map_size[1], size[0] / map_size[0]])


def lookup(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of maps [..., h, w] at one integer pixel each, x and y [...]."""
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height * width)
    return flat[np.arange(len(flat)), (y * width + x).ravel()].reshape(x.shape)


def refuse_not_finite(peak: np.ndarray) -> None:
    """Refuse maps whose maxima are NaN or infinite; numpy's maximum is NaN where any value is.

    Raises:
        ValueError: there are such maps.
    """
    if not np.isfinite(peak).all():
        count = int((~np.isfinite(peak)).sum())
        raise ValueError(
            f"decode: {count} of {peak.size} maps hold NaN or infinity; the network's outputs are unusable"
        )


def peaks(maps: np.ndarray, empty: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The first maximum, in row-major order, of maps [..., h, w].

    Returns:
        xy: [..., 2] int64 map pixels; (empty, empty) where the maximum is not above 0.
        score: [...] the maximum.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height * width)
    index = flat.argmax(-1)
    score = flat[np.arange(len(flat)), index]
    refuse_not_finite(score)
    xy = np.stack(np.divmod(index, width)[::-1], -1)
    xy[score <= 0] = empty
    return xy.reshape(*maps.shape[:-2], 2), score.reshape(maps.shape[:-2])


def quarter_shift(maps: np.ndarray, pixel: np.ndarray, *, separately: bool = False, excluded: int = 1) -> np.ndarray:
    """A quarter of a pixel toward the higher neighbour along each axis (as published with SimpleBaseline and HRNet).

    Columns and rows 0, 1 and the last one never qualify, though the one before last does, and a point moves along
    either axis only if it qualifies along both; equal neighbours do not move it.

    Args:
        maps: [..., h, w].
        pixel: [..., 2] whole numbers; outside of the map there is no move.
        separately: judge the axes one by one, as mmpose 1.x does; the other axis then only excludes its first row or
            column.
        excluded: the last of the first columns and rows that do not qualify.

    Returns:
        [..., 2] float64 moves of -0.25, 0 or 0.25.
    """
    last = np.array(maps.shape[:-3:-1]) - 1
    inner = (pixel > excluded) & (pixel < last)
    moves = inner & (pixel[..., ::-1] > 0) if separately else inner.all(-1, keepdims=True)
    x, y = np.moveaxis(np.clip(pixel, 1, np.maximum(last - 1, 1)), -1, 0)
    at_x, at_y = np.moveaxis(np.clip(pixel, 0, last), -1, 0)
    slope_x = lookup(maps, x + 1, at_y) - lookup(maps, x - 1, at_y)
    slope_y = lookup(maps, at_x, y + 1) - lookup(maps, at_x, y - 1)
    return np.where(moves, 0.25 * np.sign(np.stack([slope_x, slope_y], -1)), 0.0).astype(np.float64)


def mirror(maps: Maps, skeleton: Skeleton, *, shift: bool, per_point: int = 1) -> Maps:
    """Maps [..., C, h, w] mirrored left to right, paired keypoints' channels swapped.

    Args:
        maps: numpy or torch; stays as it is.
        skeleton: says which keypoints are pairs.
        shift: move the result one pixel to the right, as SimpleBaseline, HRNet, LPN and Lite-HRNet do because their
            input-to-map bridge is not symmetric; column 0 then keeps its own value.
        per_point: how many channels, next to each other, each keypoint has.

    Raises:
        ValueError: the number of channels is not the skeleton's.
    """
    channels = per_point * skeleton.num_keypoints
    if maps.ndim < 3 or maps.shape[-3] != channels:
        raise ValueError(
            f"unflip: skeleton {skeleton.name!r} has {skeleton.num_keypoints} points, so expected maps "
            f"[..., {channels}, h, w], got {tuple(maps.shape)}"
        )
    swapped = np.arange(channels).reshape(-1, per_point)[skeleton.flip_index].ravel().tolist()
    picked: Any = maps[..., swapped, :, :]
    flipped: Any = np.flip(picked, -1).copy() if isinstance(maps, np.ndarray) else picked.flip(-1)
    if not shift:
        return flipped
    picked[..., 0], picked[..., 1:] = flipped[..., 0], flipped[..., :-1]
    return picked


def mirror_triples(maps: Maps, skeleton: Skeleton) -> Maps:
    """As `mirror` for three maps a keypoint, the second of which is an offset along x and changes its sign."""
    flipped: Any = mirror(maps, skeleton, shift=False, per_point=3)
    flipped[..., 1::3, :, :] *= -1
    return flipped


def window(centre: np.ndarray, radius: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where along one axis a block of up to 2 radius + 1 pixels lies that holds all of a window inside the map.

    Args:
        centre: [...] the window's middle, possibly outside of the map.
        radius: half of the window.
        length: pixels along the axis.

    Returns:
        start: [...] int64, the block's first pixel.
        pixels: [..., n] int64, the block's pixels, all inside the map; some may lie outside of the window.
    """
    count = min(2 * radius + 1, length)
    start = np.clip(centre - radius, 0, length - count).astype(np.int64)
    return start, start[..., None] + np.arange(count)


def paste(maps: np.ndarray, which: np.ndarray, start_y: np.ndarray, start_x: np.ndarray, blocks: np.ndarray) -> None:
    """Write blocks [M, a, b] into maps [all, h, w], in place: block m into map `which[m]` at its start.

    Nothing else is written: an empty page of memory costs nothing until it is touched, which makes this several
    times faster than evaluating whole maps.
    """
    (height, width), (rows, columns) = maps.shape[1:], blocks.shape[1:]
    shape = (len(maps), height - rows + 1, width - columns + 1, rows, columns)
    as_strided(maps, shape, maps.strides + maps.strides[1:])[which, start_y, start_x] = blocks
