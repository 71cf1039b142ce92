"""HourglassHeatmap against slow loops."""

import math

import numpy as np
import pytest

from posewright.codecs.hourglass import HourglassHeatmap

CODEC = HourglassHeatmap((256, 256), (64, 64))


@pytest.mark.parametrize(("sigma", "shape"), [(1.0, "gaussian"), (2.0, "gaussian"), (1.0, "cauchy"), (2.0, "cauchy")])
def test_encode_equals_slow_paste(sigma, shape):
    rng = np.random.default_rng(0)
    xy, visibility = rng.uniform(-40, 296, (200, 2)), rng.integers(0, 3, 200)
    maps, weight = HourglassHeatmap((256, 256), (64, 64), sigma, shape).encode(xy, visibility)
    r = int(3 * sigma)
    for k, point in enumerate(xy):
        px, py = (math.trunc(v / 4) for v in point)
        dropped = px - r >= 64 or py - r >= 64 or px + r + 1 < 0 or py + r + 1 < 0
        assert weight[k] == (0 if dropped else min(visibility[k], 1))
        want = np.zeros((64, 64))
        for y in range(max(0, py - r), min(64, py + r + 1)):
            for x in range(max(0, px - r), min(64, px + r + 1)):
                d2 = (x - px) ** 2 + (y - py) ** 2
                value = math.exp(-d2 / (2 * sigma**2)) if shape == "gaussian" else sigma / (d2 + sigma**2) ** 1.5
                want[y, x] = value * weight[k]
        np.testing.assert_allclose(maps[k], want, rtol=3e-7)


def test_decode_equals_slow_rule(awkward_maps):
    maps = awkward_maps(1.0, 64, 64)
    xy, score = CODEC.decode(maps[None])
    for k, heat in enumerate(maps):
        # 1-based, as published; the input is four times the 0-based map.
        y, x = (v + 1 for v in np.unravel_index(heat.argmax(), heat.shape))
        if heat.max() <= 0:
            x = y = 0
        at = [float(x), float(y)]
        if 1 < x < 64 and 1 < y < 64:
            at[0] += 0.25 * np.sign(heat[y - 1, x] - heat[y - 1, x - 2])
            at[1] += 0.25 * np.sign(heat[y, x - 1] - heat[y - 2, x - 1])
        assert xy[0, k].tolist() == [4 * (v + 0.5 - 1) for v in at]
        assert score[0, k] == heat.max()


def test_the_second_row_and_column_qualify():
    heat = np.zeros((1, 1, 64, 64), np.float32)
    heat[0, 0, 1, 1], heat[0, 0, 1, 2], heat[0, 0, 2, 1] = 1, 0.5, 0.5
    assert CODEC.decode(heat)[0][0, 0].tolist() == [4 * 1.75, 4 * 1.75]


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="shape must be 'gaussian' or 'cauchy', got 'disc'"):
        HourglassHeatmap((256, 256), (64, 64), shape="disc")
