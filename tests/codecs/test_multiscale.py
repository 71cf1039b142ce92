"""MultiScaleHeatmap against slow blurs and walks, and each of its quirks by number."""

import math

import numpy as np
import pytest

from posewright.codecs.multiscale import MultiScaleHeatmap

CODEC = MultiScaleHeatmap((256, 192), (64, 48))
TAPS = {5: [1, 4, 6, 4, 1], 7: [2, 7, 14, 18, 14, 7, 2], 9: [4, 13, 30, 51, 60, 51, 30, 13, 4]}


def slow_taps(k):
    if k in TAPS:
        return np.array(TAPS[k]) / sum(TAPS[k])
    sigma = 0.3 * ((k - 1) / 2 - 1) + 0.8
    weights = [math.exp(-((i - k // 2) ** 2) / (2 * sigma**2)) for i in range(k)]
    return np.array(weights) / sum(weights)


def slow_blur(heat, k):
    r = k // 2
    padded = np.pad(heat, r, mode="reflect")
    height, width = heat.shape
    rows = sum(t * padded[:, i : i + width] for i, t in enumerate(slow_taps(k)))
    return sum(t * rows[i : i + height] for i, t in enumerate(slow_taps(k)))


def slow_encode(xy, visibility, kernels=(15, 11, 9, 7, 5)):
    labels = np.zeros((len(kernels), len(xy), 64, 48))
    valid = np.zeros(len(xy))
    for k, (x, y) in enumerate(xy):
        valid[k] = visibility[k] if 0 <= x <= 191 and 0 <= y <= 255 else 0
        if valid[k] >= 1:
            for level, kernel in enumerate(kernels):
                one = np.zeros((64, 48))
                one[math.trunc(y * 64 / 256), math.trunc(x * 48 / 192)] = 1
                blurred = slow_blur(one, kernel)
                labels[level, k] = blurred / blurred.max() * 255
    return labels, valid


def slow_decode(maps, kernel=5, shifts=(0.25,)):
    out, score = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for k, heat in enumerate(maps.astype(np.float64)):
        blurred = slow_blur(np.pad(heat, 10), kernel)
        y, x = (v - 10 for v in np.unravel_index(blurred.argmax(), blurred.shape))
        at = np.array([x, y], float)
        for shift in shifts:
            blurred[y + 10, x + 10] = 0
            y, x = (v - 10 for v in np.unravel_index(blurred.argmax(), blurred.shape))
            way = np.array([x, y]) - at
            length = math.hypot(*way)
            if length > 1e-3:
                at += shift * way / length
        at = np.clip(at, 0, (47, 63))
        score[k] = heat[round(at[1]), round(at[0])] / 255 + 0.5
        out[k] = 4 * at + 2
    return out, score


def test_encode_equals_slow_blur():
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.uniform((-10, -10), (200, 266), (40, 2)), rng.uniform(0, 30, (20, 2))])
    visibility = rng.integers(0, 3, len(xy))
    labels, valid = CODEC.encode(xy, visibility)
    slow_labels, slow_valid = slow_encode(xy, visibility)
    np.testing.assert_allclose(labels, slow_labels, rtol=3e-7, atol=1e-12)
    np.testing.assert_array_equal(valid, slow_valid)
    assert labels.shape == (5, 60, 64, 48)
    assert labels.dtype == valid.dtype == np.float32


def test_small_kernels_use_the_table_not_the_formula():
    labels, _ = CODEC.encode(np.array([[98.0, 102.0]]), np.array([2]))
    assert labels[:, 0, 25, 24].tolist() == [255] * 5
    np.testing.assert_allclose(labels[4, 0, 25, 22:27], 255 * np.array([1, 4, 6, 4, 1]) / 6, rtol=1e-6)
    np.testing.assert_allclose(labels[3, 0, 25, 24:28], 255 * np.array([18, 14, 7, 2]) / 18, rtol=1e-6)
    np.testing.assert_allclose(labels[1, 0, 26, 24], 255 * math.exp(-1 / 8), rtol=1e-6)


def test_near_the_border_the_maximum_may_sit_beside_the_keypoint():
    labels, _ = CODEC.encode(np.array([[4 * 3 + 1.0, 120.0]]), np.array([2]))
    assert np.unravel_index(labels[0, 0].argmax(), (64, 48)) == (30, 2)
    assert labels[0, 0].max() == 255
    assert labels[0, 0, 30, 3] < 255


def test_places_are_truncated_and_bounds_exclude_what_lies_beyond_the_last_pixel():
    xy = np.array([[99.9, 103.9], [191.0, 255.0], [191.1, 9.0], [-0.1, 9.0], [0.0, 0.0]])
    labels, valid = CODEC.encode(xy, np.array([1, 2, 2, 2, 1]))
    assert valid.tolist() == [1, 2, 0, 0, 1]
    assert labels[4, 0, 25, 24] == labels[4, 1, 63, 47] == 255
    assert not labels[:, 2:4].any()


def awkward_maps(rng):
    """Label-like blobs (one or two, near borders too), noise, empty, negative, plateau, single pixels."""
    y, x = np.mgrid[:64, :48]
    at = rng.uniform((-2, -2), (50, 66), (60, 2))
    blob = 255 * np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 2.4)
    two = blob[:20] + rng.uniform(0.5, 1.1, (20, 1, 1)) * blob[20:40]
    noise = rng.normal(size=(10, 64, 48)) * 20
    single = np.zeros((4, 64, 48))
    single[[0, 1, 2, 3], [0, 63, 30, 5], [0, 47, 20, 47]] = 255
    rest = np.stack([np.zeros((64, 48)), np.full((64, 48), -3.0), np.full((64, 48), 7.0)])
    noisy = [kind + rng.normal(size=kind.shape) for kind in (blob, two)]
    return np.concatenate([*noisy, noise, -blob[:3] - 1, single, rest]).astype(np.float32)


@pytest.mark.parametrize(
    ("kernel", "shifts"), [(5, (0.25,)), (9, (0.25,)), (11, (0.25,)), (21, (0.25,)), (5, (0.25, 0.1)), (5, ())]
)
def test_decode_equals_slow_walk(kernel, shifts):
    maps = awkward_maps(np.random.default_rng(1))
    if kernel > 9:
        maps = maps[:-7]  # without single pixels and plateaus: taps that are no binary fractions tie to the last bit
    xy, score = MultiScaleHeatmap((256, 192), (64, 48), blur=kernel, shifts=shifts).decode(maps[None])
    slow_xy, slow_score = slow_decode(maps, kernel, shifts)
    np.testing.assert_allclose(xy[0], slow_xy, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(score[0], slow_score)


def test_one_quarter_toward_the_second_maximum_half_a_stride_on():
    heat = np.zeros((1, 1, 64, 48), np.float32)
    heat[0, 0, 30, 20], heat[0, 0, 30, 21] = 255, 200
    xy, score = CODEC.decode(heat)
    assert xy[0, 0].tolist() == [4 * 20.25 + 2, 4 * 30 + 2]
    assert score[0, 0] == 1.5


def test_the_second_maximum_may_be_far_away():
    heat = np.zeros((1, 1, 64, 48), np.float32)
    for x, value in ((10, 100), (40, 99)):
        heat[0, 0, 29:32, x - 1 : x + 2] = -1000
        heat[0, 0, 30, x] = value * 1000
    assert CODEC.decode(heat)[0][0, 0].tolist() == [4 * 10.25 + 2, 4 * 30 + 2]


def test_a_map_without_positive_values_ends_in_a_corner_with_score_one_half():
    xy, score = CODEC.decode(np.zeros((1, 1, 64, 48), np.float32))
    assert (xy[0, 0].tolist(), score[0, 0]) == ([2, 2], 0.5)
    xy, score = CODEC.decode(np.full((1, 1, 64, 48), -51, np.float32))
    assert (xy[0, 0].tolist(), score[0, 0]) == ([2, 2], pytest.approx(0.3))


def test_round_trip_of_the_finest_label():
    # Truncation to a map pixel and the half stride: within one move of a quarter and half a map pixel.
    xy = np.random.default_rng(2).uniform((12, 12), (180, 240), (200, 2))
    labels, _ = CODEC.encode(xy, np.full(200, 2))
    decoded, score = CODEC.decode(labels[None, 4])
    assert np.abs(decoded[0] - xy).max() <= 3
    assert (score == 1.5).all()


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel must be odd and above 0, got 4"):
        MultiScaleHeatmap((256, 192), (64, 48), blur=4)
