"""CpnMultiScaleHeatmap against slow blurs and walks."""

import math

import numpy as np
import pytest

from posewright.codecs.cpn import CpnMultiScaleHeatmap

CODEC = CpnMultiScaleHeatmap((256, 192), (64, 48))


def slow_decode(maps, blur, kernel=21):
    out, score = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for k, heat in enumerate(maps.astype(np.float64)):
        scaled = heat / heat.max() if heat.max() != 0 else 0 * heat
        blurred = blur(np.pad(scaled, 10), kernel)
        y, x = (v - 10 for v in np.unravel_index(blurred.argmax(), blurred.shape))
        at = np.array([x, y], float)
        blurred[y + 10, x + 10] = 0
        y, x = (v - 10 for v in np.unravel_index(blurred.argmax(), blurred.shape))
        length = math.hypot(x - at[0], y - at[1])
        if length > 1e-3:
            at += 0.25 * (np.array([x, y]) - at) / length
        at = np.clip(at, 0, (47, 63))
        score[k] = heat[round(at[1]), round(at[0])] / 255 + 0.5
        out[k] = 4 * at + 2
    return out, score


@pytest.mark.parametrize("kernels", [(15, 11, 9, 7), (23, 17, 13, 9)])
def test_encode_equals_slow_blur(slow_blur, kernels):
    rng = np.random.default_rng(0)
    xy, visibility = rng.uniform((-10, -10), (202, 266), (30, 2)), rng.integers(0, 3, 30)
    labels, weight = CpnMultiScaleHeatmap((256, 192), (64, 48), kernels).encode(xy, visibility)
    assert labels.shape == (4, 30, 64, 48)
    for k, (x, y) in enumerate(xy):
        assert weight[k] == (visibility[k] if 0 <= x < 192 and 0 <= y < 256 else 0)
        for level, kernel in enumerate(kernels):
            one = np.zeros((64, 48))
            if weight[k] > 0:
                one[math.floor(y / 4), math.floor(x / 4)] = 1
                one = slow_blur(one, kernel)
                one *= 255 / one.max()
            np.testing.assert_allclose(labels[level, k], one, rtol=3e-7, atol=1e-12)


def test_bounds_go_up_to_the_size_not_the_last_pixel():
    _, weight = CODEC.encode(np.array([[191.9, 255.9], [192.0, 9.0], [-0.1, 9.0]]), np.full(3, 2))
    assert weight.tolist() == [2, 0, 0]


def test_decode_equals_slow_walk(slow_blur, awkward_maps):
    maps = awkward_maps(255.0)
    maps = maps[maps.max((1, 2)) != maps.min((1, 2))]
    xy, score = CODEC.decode(maps[None])
    slow_xy, slow_score = slow_decode(maps, slow_blur)
    # Equal second maxima (of a single pixel's blur, say) are told apart by the last bit only.
    same = np.isclose(xy[0], slow_xy, rtol=0, atol=1e-5).all(1)
    np.testing.assert_array_equal(same[maps.std((1, 2)) > 0.5], True)
    assert same.mean() > 0.95
    np.testing.assert_allclose(score[0][same], slow_score[same])


def test_negative_maps_turn_positive_and_empty_ones_end_in_a_corner():
    heat = np.full((1, 3, 64, 48), -1, np.float32)
    heat[0, 0, 28:35, 17:24] = -50  # the deepest hollow becomes the highest peak
    heat[0, 1] = heat[0, 2, 30, 20] = 0
    xy, score = CODEC.decode(heat)
    assert np.abs(xy[0, 0] - (4 * 20 + 2, 4 * 31 + 2)).max() <= 1
    assert score[0, 0] == pytest.approx(-50 / 255 + 0.5)
    assert xy[0, 1:].tolist() == [[2, 2], [2, 2]]
    assert score[0, 1:].tolist() == [0.5, pytest.approx(-1 / 255 + 0.5)]
