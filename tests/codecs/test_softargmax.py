"""The soft-arg-max of `GaussianHeatmap` against a slow softmax over the whole map."""

import math

import numpy as np
import pytest

from posewright.codecs.heatmap import GaussianHeatmap

CODEC = GaussianHeatmap((256, 192), (64, 48), decoding="soft-argmax")


def slow_decode(maps, beta=160.0):
    out, score = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for k, heat in enumerate(maps.astype(np.float64)):
        height, width = heat.shape
        share = np.exp(beta * (heat - heat.max()))
        share /= share.sum()
        x = sum(share[:, i].sum() * i for i in range(width))
        y = sum(share[j].sum() * j for j in range(height))
        score[k] = maps[k, round(y), round(x)]
        px, py = math.floor(x + 0.5), math.floor(y + 0.5)
        if 1 < px < width - 1 and 1 < py < height - 1:
            x += 0.25 * np.sign(heat[py, px + 1] - heat[py, px - 1])
            y += 0.25 * np.sign(heat[py + 1, px] - heat[py - 1, px])
        out[k] = 4 * x, 4 * y
    return out, score


def blobs(rng, count, noise=0.02):
    """Gaussian maps at sub-pixel places, some beyond the border, with noise."""
    y, x = np.mgrid[:64, :48]
    at = rng.uniform((-3, -3), (51, 67), (count, 2))
    maps = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 8)
    return (maps + noise * rng.normal(size=maps.shape)).astype(np.float32)


def test_decode_equals_slow_rule():
    rng = np.random.default_rng(0)
    maps = np.concatenate([blobs(rng, 30), blobs(rng, 30) * 0.05, -blobs(rng, 5), np.zeros((1, 64, 48), np.float32)])
    xy, score = CODEC.decode(maps[None])
    slow_xy, slow_score = slow_decode(maps)
    np.testing.assert_allclose(xy[0], slow_xy, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(score[0], slow_score)


def test_beta_is_a_parameter():
    maps = blobs(np.random.default_rng(1), 10)
    xy, _ = GaussianHeatmap((256, 192), (64, 48), decoding="soft-argmax", beta=10.0).decode(maps[None])
    np.testing.assert_allclose(xy[0], slow_decode(maps, 10.0)[0], rtol=0, atol=1e-9)
    assert np.abs(xy - CODEC.decode(maps[None])[0]).max() > 1


def test_two_equal_peaks_average_and_the_score_is_read_between_them():
    heat = np.zeros((1, 1, 64, 48), np.float32)
    heat[0, 0, 30, 20] = heat[0, 0, 30, 22] = 1
    xy, score = CODEC.decode(heat)
    assert xy[0, 0].tolist() == [84, 120]
    assert score[0, 0] == 0


def test_the_score_rounds_halves_to_even_and_the_quarter_rule_upward():
    heat = np.zeros((1, 1, 64, 48), np.float32)
    heat[0, 0, 30, 20], heat[0, 0, 30, 21] = 1, 1  # the mean is 20.5: score at 20, quarter rule at 21
    heat[0, 0, 30, 22] = 0.4
    xy, score = CODEC.decode(heat)
    assert xy[0, 0, 0] == pytest.approx(4 * (20.5 - 0.25), abs=1e-9)
    assert score[0, 0] == 1


def test_without_the_quarter_rule_the_soft_coordinate_stays():
    heat = np.zeros((1, 1, 64, 48), np.float32)
    heat[0, 0, 30, 20], heat[0, 0, 30, 21], heat[0, 0, 30, 22] = 1, 1, 0.4
    xy, _ = GaussianHeatmap((256, 192), (64, 48), decoding="soft-argmax", quarter=False).decode(heat)
    assert xy[0, 0] == pytest.approx([4 * 20.5, 120], abs=1e-9)


def test_beta_must_be_above_zero():
    with pytest.raises(ValueError, match="beta must be above 0, got 0"):
        GaussianHeatmap((256, 192), (64, 48), decoding="soft-argmax", beta=0.0)
