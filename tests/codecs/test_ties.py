"""Plateaus and ties are decoded by rule: the last bits of a blur, which differ between processors, decide nothing."""

import numpy as np
import pytest

from posewright.codecs import _blur, grmi
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.multiscale import MultiScaleHeatmap
from posewright.codecs.udp import UdpOffsetHeatmap

from .test_contract import CASES

SIZES = ((256, 192), (64, 48))


def plateaus(height, width):
    """Flat, discs of several sizes and places, ridges along and across, pairs, crosses and single pixels: [M, h, w]."""
    y, x = np.mgrid[:height, :width]
    middle_x, middle_y = width // 2, height // 2
    square = (np.abs(x - middle_x) <= 3) & (np.abs(y - middle_y) <= 2)
    shapes = [
        np.full((height, width), 0.7),
        *((np.hypot(x - middle_x - d, y - middle_y - d) <= r) for r in (1, 2.5, 4, 9) for d in (0, 0.5)),
        np.abs(x - middle_x) <= 2,
        np.abs(y - middle_y) <= 2,
        np.abs(x - y) <= 2,
        np.exp(-((x - middle_x) ** 2) / 8),
        np.exp(-((x - y) ** 2) / 8),
        square,
        square & ~((x == middle_x) & (y == middle_y)),
        ((x == middle_x - 4) | (x == middle_x + 4)) & (y == middle_y),
        ((x == middle_x) & (np.abs(y - middle_y) <= 1)) | ((y == middle_y) & (np.abs(x - middle_x) <= 1)),
        (x == middle_x) & (y == middle_y),
        (x == 0) & (y == 0),
        (x == width - 1) & (y == height - 1),
    ]
    return np.stack(shapes).astype(np.float32)


def shaken(values, rng):
    """The values with their last bits changed at random."""
    few = rng.integers(-4, 5, values.shape)
    return (values * (1 + few * np.finfo(values.dtype).eps)).astype(values.dtype)


@pytest.mark.parametrize("name", CASES)
def test_the_last_bit_decides_nothing(name, monkeypatch):
    codec = CASES[name].codec
    maps = plateaus(*codec.map_size)
    if codec.channels(1) == 3:
        y, x = np.mgrid[: codec.map_size[0], : codec.map_size[1]]
        maps = np.stack([maps, *np.broadcast_arrays(np.sin(x / 5)[None], np.cos(y / 7)[None], maps)[:2]], 1)
        maps = maps.reshape(-1, *codec.map_size).astype(np.float32)
    before = codec.decode(maps)
    pieces, squares, votes = _blur.pieces, _blur.blurred_squares, grmi._votes
    for seed in range(2):
        rng = np.random.default_rng(seed)

        def shaken_pieces(*args, rng=rng, **settings):
            for piece, blurred in pieces(*args, **settings):
                blurred[:] = shaken(blurred, rng)
                yield piece, blurred

        monkeypatch.setattr(_blur, "pieces", shaken_pieces)
        monkeypatch.setattr(_blur, "blurred_squares", lambda *a, rng=rng, **k: shaken(squares(*a, **k), rng))
        monkeypatch.setattr(grmi, "_votes", lambda *a, rng=rng: shaken(votes(*a), rng))
        after = codec.decode(maps)
        np.testing.assert_allclose(after[0], before[0], atol=0.01)
        np.testing.assert_allclose(after[1], before[1], rtol=1e-5)


def test_the_first_of_equal_blurred_maxima_counts():
    # Blurred with mirrored borders, a disc between two pixels has equal maxima on both; a flat map everywhere.
    codec = UdpOffsetHeatmap(*SIZES, blurs=(15, 1))
    y, x = np.mgrid[:64, :48]
    maps = np.zeros((2, 3, 64, 48), np.float32)
    maps[0, 0], maps[1, 0] = np.hypot(x - 20.5, y - 30.5) <= 4, 0.5
    xy, _ = codec.decode(maps)
    np.testing.assert_allclose(xy[:, 0] / np.array([191 / 47, 255 / 63]), [[20, 30], [0, 0]], atol=1e-9)


@pytest.mark.parametrize("kernel", [5, 11])
def test_a_single_pixel_moves_up_to_the_first_of_its_four_neighbours(kernel):
    heat = np.zeros((1, 64, 48), np.float32)
    heat[0, 30, 20] = 255
    xy, _ = MultiScaleHeatmap(*SIZES, blur=kernel).decode(heat)
    assert xy[0].tolist() == [4 * 20 + 2, 4 * 29.75 + 2]


def test_ridges_and_flat_maps_have_no_step():
    y, x = np.mgrid[:64, :48]
    ridges = np.exp(-(np.stack([x - 20, y - 30, x - y + 10, 0 * x]) ** 2) / 8).astype(np.float32)
    ridges[:, 30, 20] = np.nextafter(np.float32(1), np.float32(2))  # the last bit makes this pixel the maximum
    xy, _ = DarkHeatmap(*SIZES, crop="standard").decode(ridges[:, None])
    np.testing.assert_allclose(xy[:, 0], np.tile([80.0, 120.0], (4, 1)), atol=1e-3)
