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

    from posewright.codecs import Maps


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


def read_points(xy: np.ndarray, visibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points as float64 and visibility as float32; points that are not labelled become (0, 0).

    Args:
        xy: [..., K, 2] points.
        visibility: [..., K] visibility 0, 1 or 2; where it is 0, the point may be anything, NaN included.

    Raises:
        ValueError: shapes that do not belong together, a visibility other than 0, 1, 2, or a labelled point that is
            not finite.
    """
    xy, visibility = np.asarray(xy, np.float64), np.asarray(visibility, np.float32)
    if xy.ndim < 2 or xy.shape[-1] != 2 or visibility.shape != xy.shape[:-1]:
        raise ValueError(
            f"encode: expected xy [..., K, 2] and visibility [..., K], got {xy.shape} and {visibility.shape}"
        )
    if ((visibility != 0) & (visibility != 1) & (visibility != 2)).any():
        raise ValueError(f"encode: visibility must be 0, 1 or 2, got {sorted(set(visibility.ravel().tolist()))}")
    xy = np.where((visibility > 0)[..., None], xy, 0.0)
    if not np.isfinite(xy).all():
        bad = np.argwhere(~np.isfinite(xy).all(-1))[0]
        raise ValueError(
            f"encode: labelled keypoint {bad.tolist()} is {xy[tuple(bad)].tolist()}; expected finite input pixels, "
            "or visibility 0 where there is none"
        )
    return xy, visibility


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
    leading = (*values.shape[:-3], values.shape[-3] // per_point)
    flat = values.reshape(-1, *((per_point, *map_size) if per_point > 1 else map_size))
    xy, score = np.empty((len(flat), 2)), np.empty(len(flat))
    for part in parts(len(flat), at_a_time):
        xy[part], score[part] = read(flat[part])
    return xy.reshape(*leading, 2), score.reshape(leading)


def parts(count: int, at_a_time: int = 1024) -> Iterator[slice]:
    """Slices that cut `count` things into parts of limited size."""
    return (slice(i, i + at_a_time) for i in range(0, count, at_a_time))


def stride(size: tuple[int, int], map_size: tuple[int, int]) -> np.ndarray:
    """Input pixels per map pixel along x and y: (W_i / W_o, H_i / H_o)."""
    return np.array([size[1] / map_size[1], size[0] / map_size[0]])


def lookup(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values [M] of maps [M, h, w] at one pixel each, x and y [M]."""
    height, width = maps.shape[1:]
    return maps.ravel().take((np.arange(len(maps)) * height + y) * width + x)


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


EQUAL = 1e-10
"""Relative difference below which two *computed* float64 values are equal: so they are read alike on every processor.

The last bits of a blur hang on the order in which a processor sums; those of distinct maps differ by far more.
"""


def first_maximum(rows: np.ndarray, equal: float = EQUAL) -> np.ndarray:
    """Places [M] of the first value of each row [M, n] that equals the row's maximum up to a relative difference."""
    peak = rows.max(1, keepdims=True)
    return (rows >= peak - equal * np.abs(peak)).argmax(1)


def peaks(maps: np.ndarray, empty: int = 0, *, computed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The first maximum, in row-major order, of maps [M, h, w].

    Args:
        maps: [M, h, w].
        empty: see below.
        computed: the maps are results of ours in float64, not a network's: values apart by rounding alone are equal.

    Returns:
        xy: [M, 2] int64 map pixels; (empty, empty) where the maximum is not above 0.
        score: [M] the maximum.

    Raises:
        ValueError: a map holds NaN, or its maximum is infinite.
    """
    height, width = maps.shape[1:]
    rows = maps.reshape(-1, height * width)
    index = first_maximum(rows) if computed else rows.argmax(1)
    score = maps.ravel().take(np.arange(len(maps)) * (height * width) + index)
    refuse_not_finite(score)
    xy = np.empty((len(maps), 2), np.int64)
    np.divmod(index, width, out=(xy[:, 1], xy[:, 0]))
    xy[score <= 0] = empty
    return xy, score


def quarter_shift(
    maps: np.ndarray, pixel: np.ndarray, *, separately: bool = False, excluded: int = 1, computed: bool = False
) -> np.ndarray:
    """A quarter of a pixel toward the higher neighbour along each axis (as published with SimpleBaseline and HRNet).

    Columns and rows 0, 1 and the last one never qualify, though the one before last does, and a point moves along
    either axis only if it qualifies along both; equal neighbours do not move it.

    Args:
        maps: [M, h, w].
        pixel: [M, 2] whole numbers; outside of the map there is no move.
        separately: test the axes one by one, as mmpose 1.x does; the other axis then only excludes its first row or
            column.
        excluded: the last of the first columns and rows that do not qualify.
        computed: see `peaks`.

    Returns:
        [M, 2] float64 moves of -0.25, 0 or 0.25.
    """
    height, width = maps.shape[1:]
    x, y = np.ascontiguousarray(pixel.T)
    inner_x, inner_y = (x > excluded) & (x < width - 1), (y > excluded) & (y < height - 1)
    both = inner_x & inner_y
    flat, cell = maps.ravel(), (np.arange(len(maps)) * height + y) * width + x
    moves = np.zeros(pixel.shape)
    for axis, step, moved in ((0, 1, inner_x & (y > 0)), (1, width, inner_y & (x > 0))):
        at = cell[moved if separately else both]
        after, before = flat.take(at + step), flat.take(at - step)
        slope = after - before
        if computed:
            slope[np.abs(slope) <= EQUAL * np.maximum(np.abs(after), np.abs(before))] = 0
        moves[moved if separately else both, axis] = 0.25 * np.sign(slope)
    return moves


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
    numpy = isinstance(maps, np.ndarray)
    flipped: Any = picked[..., ::-1] if numpy else picked.flip(-1)
    if not shift:
        return flipped.copy() if numpy else flipped
    shifted = np.empty_like(picked) if numpy else picked
    shifted[..., 0], shifted[..., 1:] = flipped[..., 0], flipped[..., :-1]
    return shifted


def block(
    centre: np.ndarray, reach: np.ndarray | int, map_size: tuple[int, int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Blocks of up to 2 reach + 1 pixels a side, moved into the map, that hold all of a window that is in the map.

    Args:
        centre: [M, 2] whole numbers, the windows' middles, possibly outside of the map.
        reach: half of the window, or one along x and one along y.
        map_size: (height, width) of the map.

    Returns:
        start: [M, 2] int64, the blocks' first pixels.
        pixels: x [M, b] and y [M, a] of the blocks' pixels; some may lie outside of the window.
    """
    length = np.array(map_size[::-1])
    sides = np.minimum(2 * np.asarray(reach) + 1, length)
    start = np.clip(centre - reach, 0, length - sides).astype(np.int64)
    return start, [start[:, axis, None] + np.arange(side) for axis, side in enumerate(sides)]


def paste(maps: np.ndarray, which: np.ndarray, start: np.ndarray, blocks: np.ndarray) -> None:
    """Write blocks [M, a, b] into maps [all, h, w], in place: block m into map `which[m]` at `start[m]`, (x, y).

    Nothing else is written: an empty page of memory costs nothing until it is touched, which makes this several
    times faster than evaluating whole maps.
    """
    (height, width), (rows, columns) = maps.shape[1:], blocks.shape[1:]
    shape = (len(maps), height - rows + 1, width - columns + 1, rows, columns)
    as_strided(maps, shape, maps.strides + maps.strides[1:])[which, start[:, 1], start[:, 0]] = blocks
