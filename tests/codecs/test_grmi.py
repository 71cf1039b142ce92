"""OffsetHeatmap against slow loops over pixels."""

import math

import numpy as np
import pytest

from posewright.codecs.grmi import OffsetHeatmap

SMALL = OffsetHeatmap((41, 33), (41, 33), radius=6.0)
COARSE = OffsetHeatmap((41, 33), (11, 9), radius=6.0)


@pytest.mark.parametrize("codec", [SMALL, COARSE])
def test_encode_equals_slow_rule(codec):
    rng = np.random.default_rng(0)
    xy, visibility = rng.uniform((-10, -10), (43, 51), (20, 2)), rng.integers(0, 3, 20)
    maps, weight = codec.encode(xy, visibility)
    stride = 32 / (codec.map_size[1] - 1)
    slow = np.zeros((60, *codec.map_size))
    for k, (cx, cy) in enumerate(xy):
        for y in range(codec.map_size[0]):
            for x in range(codec.map_size[1]):
                dx, dy = cx - x * stride, cy - y * stride
                if visibility[k] > 0 and math.hypot(dx, dy) <= 6:
                    slow[3 * k : 3 * k + 3, y, x] = 1, dx, dy
    np.testing.assert_allclose(maps, slow, rtol=3e-7, atol=1e-6)
    assert weight.tolist() == np.minimum(visibility, 1).tolist()


@pytest.mark.parametrize("codec", [SMALL, COARSE])
def test_decode_equals_slow_vote(codec):
    rng = np.random.default_rng(1)
    height, width = codec.map_size
    stride = 32 / (width - 1)
    maps = rng.normal(size=(4, 3, height, width)) * np.array([3, 5, 5])[:, None, None]
    xy, score = codec.decode(maps.reshape(2, 6, height, width).astype(np.float32))
    for k, (logit, dx, dy) in enumerate(maps.astype(np.float32).astype(np.float64)):
        votes = np.zeros((height, width))
        for j in range(height):
            for i in range(width):
                p = 1 / (1 + math.exp(-logit[j, i]))
                x, y = i + dx[j, i] / stride, j + dy[j, i] / stride
                for v in (math.floor(y), math.floor(y) + 1):
                    for u in (math.floor(x), math.floor(x) + 1):
                        if 0 <= u < width and 0 <= v < height:
                            votes[v, u] += p * (1 - abs(x - u)) * (1 - abs(y - v))
        v, u = np.unravel_index(votes.argmax(), votes.shape)
        assert xy.reshape(4, 2)[k].tolist() == [u * stride, v * stride]
        assert score.reshape(4)[k] == pytest.approx(votes.max() / (math.pi * 36 / stride**2), rel=1e-9)


def test_a_perfect_disc_scores_its_share_of_the_area():
    maps, _ = SMALL.encode(np.array([[16.0, 20.0]]), np.ones(1))
    maps[0] = np.where(maps[0] > 0, 30, -30)
    xy, score = SMALL.decode(maps[None])
    assert xy[0, 0].tolist() == [16, 20]
    assert score[0, 0] == pytest.approx(113 / (math.pi * 36), rel=1e-6)  # 113 whole pixels within a radius of 6


def test_offsets_that_are_not_finite_are_refused():
    maps = np.zeros((1, 3, 41, 33), np.float32)
    maps[0, 1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        SMALL.decode(maps)
