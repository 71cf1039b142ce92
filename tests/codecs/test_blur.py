"""The blur that codecs read maps through, against OpenCV's own."""

import cv2
import numpy as np
import pytest

from posewright.codecs import _blur

KERNELS = [1, 3, 5, 7, 9, 11, 15, 17, 21, 23]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(64, 48), (30, 17)])
def test_blurred_equals_opencv(kernel, size):
    maps = np.random.default_rng(0).normal(size=(2, *size))
    mirrored, zeros = (_blur.blurred(maps, kernel, mirrored=m) for m in (True, False))
    wide = _blur.blurred(maps, kernel, mirrored=True, border=10)
    for heat, one, two, three in zip(maps, mirrored, zeros, wide):
        np.testing.assert_allclose(one, cv2.GaussianBlur(heat, (kernel, kernel), 0), atol=1e-7)
        border = kernel // 2
        padded = cv2.GaussianBlur(np.pad(heat, border), (kernel, kernel), 0)
        np.testing.assert_allclose(two, padded[border : border + size[0], border : border + size[1]], atol=1e-7)
        np.testing.assert_allclose(three, cv2.GaussianBlur(np.pad(heat, 10), (kernel, kernel), 0), atol=1e-7)


@pytest.mark.parametrize("count", [0, 1, 100])
def test_pieces_are_all_of_the_maps_in_order_and_share_their_memory(count):
    maps = np.random.default_rng(2).normal(size=(count, 64, 48)).astype(np.float32)
    before = maps.copy()
    parts, blurs, memory = [], [], set()
    for piece, blurred in _blur.pieces(maps, 7, mirrored=True, dtype=np.float32):
        parts.append(piece)
        blurs.append(blurred.copy())
        memory.add(blurred.__array_interface__["data"][0])
        blurred[:] = np.nan
    assert len(memory) == 1
    assert len(parts) == (4 if count == 100 else 1)  # of 32 maps each
    np.testing.assert_array_equal(np.concatenate(parts), before)
    np.testing.assert_array_equal(np.concatenate(blurs), _blur.blurred(maps, 7, mirrored=True, dtype=np.float32))


@pytest.mark.parametrize("kernel", [1, 7, 21])
@pytest.mark.parametrize("side", [1, 5, 12])
@pytest.mark.parametrize("mirrored", [True, False])
def test_blurred_squares_are_what_the_whole_blur_has_there(kernel, side, mirrored):
    height, width, beyond = 20, 16, 11
    maps = np.random.default_rng(1).normal(size=(500, height, width))
    first = np.stack(np.meshgrid(np.arange(-beyond, width), np.arange(-beyond, height)), -1).reshape(-1, 2)
    if mirrored:
        first = first[(first > -side).all(1)]
    which = np.arange(len(first)) % len(maps)
    # Continued so far that the blur of all squares is inside: by zeros, or mirrored as numpy does, period by period.
    around = ((0, 0), *[(beyond + kernel // 2, side + kernel // 2)] * 2)
    continued = np.pad(maps, around, mode="reflect" if mirrored else "constant")
    whole = np.stack([cv2.GaussianBlur(one, (kernel, kernel), 0) for one in continued])
    squares = _blur.blurred_squares(maps, which, first, side, kernel, mirrored=mirrored)
    assert squares.shape == (len(first), side, side)
    for square, blurred, (x, y) in zip(squares, whole[which], first + beyond + kernel // 2):
        np.testing.assert_allclose(square, blurred[y : y + side, x : x + side], atol=1e-7)


@pytest.mark.parametrize("kernel", [0, 4, -3])
def test_other_kernels_are_refused(kernel):
    with pytest.raises(ValueError, match=f"must be odd and above 0, got {kernel}"):
        _blur.taps(kernel)


def test_products_are_taken_in_blocks_that_one_thread_computes(monkeypatch):
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(50, 7)), rng.normal(size=(7, 3))
    out = np.empty((50, 5))
    monkeypatch.setattr(_blur, "_ALONE", 21 * 8)
    _blur.product(rows, weights, out[:, 1:4])
    np.testing.assert_allclose(out[:, 1:4], rows @ weights)
