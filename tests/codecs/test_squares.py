"""Squares around maxima: their cells are the blur's, bounds are bounds, and what is said to be held is held."""

import numpy as np
import pytest

from posewright.codecs import _blur, _squares

SIZE = (22, 18)


def maps(seed=0):
    """Blobs, some with a rival or close to an edge, noise, single pixels, plateaus, nothing, nothing positive."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    at = rng.uniform(-2, np.array(SIZE[::-1]) + 1, (60, 2))
    blobs = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 3)
    pairs = blobs[:20] + rng.uniform(0.5, 1.1, (20, 1, 1)) * blobs[20:40]
    single = np.zeros((3, *SIZE))
    single[[0, 1, 2], [0, 10, 21], [0, 9, 17]] = 1
    disc = (np.hypot(x - 8.5, y - 10) <= 4)[None]
    odd = [-blobs[:4], rng.normal(size=(6, *SIZE)), single, disc, np.full((1, *SIZE), 0.5), np.zeros((1, *SIZE))]
    return np.concatenate([blobs, pairs, blobs + 0.02 * rng.normal(size=blobs.shape), *odd]).astype(np.float32)


@pytest.mark.parametrize(
    ("kernel", "border"),
    [*((kernel, 10) for kernel in (1, 5, 9, 11, 15, 21, 25)), (13, 3), (5, 2), (9, 4), (7, 0), (15, 0)],
)
def test_bounds_bound_and_what_is_held_is_held(kernel, border):
    given = maps()
    squares = _squares.of_maxima(given, kernel, border)
    along_y, along_x = (_blur.matrix(n, kernel, border) for n in SIZE)
    whole = along_y @ given.astype(np.float64) @ along_x.T
    ys, xs = (np.arange(n + 2 * border) - border for n in SIZE)
    blocks = squares.bound.repeat(4, 1).repeat(4, 2)[:, : len(ys), : len(xs)]
    assert (whole <= blocks + 1e-6).all()
    least = np.concatenate([np.sort(squares.cells, 1)[:, -2], squares.cells.max(1)])
    held = np.concatenate([squares.hold(part) for part in np.split(least, 2)])
    twice = np.tile(np.arange(len(given)), 2)
    inside_y = (ys >= squares.origin[:, 1:]) & (ys < squares.origin[:, 1:] + squares.side)
    inside_x = (xs >= squares.origin[:, :1]) & (xs < squares.origin[:, :1] + squares.side)
    outside = np.where(inside_y[:, :, None] & inside_x[:, None, :], -np.inf, whole).max((1, 2))[twice]
    assert (outside[held] < least[held]).all()
    assert held.mean() > 0.3
    assert not held[least <= 0].any()
    n = int(np.flatnonzero(held)[0])
    square = whole[n][inside_y[n]][:, inside_x[n]]
    np.testing.assert_allclose(squares.cells[n].reshape(squares.side, -1), square, atol=1e-12)


def test_no_maps_and_maps_that_are_not_finite():
    assert _squares.of_maxima(np.zeros((0, 20, 20), np.float32), 15, 10).hold(np.zeros(0)).shape == (0,)
    for value in (np.nan, np.inf):
        given = np.zeros((2, *SIZE), np.float32)
        given[1, 5, 6] = value
        with pytest.raises(ValueError, match="1 of 2 maps hold NaN or infinity"), np.errstate(invalid="ignore"):
            _squares.of_maxima(given, 15, 10)
