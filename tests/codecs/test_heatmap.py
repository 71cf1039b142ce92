"""GaussianHeatmap against a slow reading of the published rules, and each of its quirks by number."""

import math

import numpy as np
import pytest

from posewright.codecs.heatmap import GaussianHeatmap
from posewright.skeletons import COCO17

CODEC = GaussianHeatmap((256, 192), (64, 48))


def slow_encode(xy, visibility, size=(256, 192), map_size=(64, 48), sigma=2):
    (height, width), r = map_size, 3 * sigma
    maps = np.zeros((len(xy), height, width))
    weight = np.minimum(np.asarray(visibility, float), 1)
    for k, point in enumerate(xy):
        mx = math.trunc(point[0] / (size[1] / width) + 0.5)
        my = math.trunc(point[1] / (size[0] / height) + 0.5)
        if mx - r >= width or my - r >= height or mx + r + 1 < 0 or my + r + 1 < 0:
            weight[k] = 0
        if weight[k] > 0.5:
            for y in range(max(0, my - r), min(height, my + r + 1)):
                for x in range(max(0, mx - r), min(width, mx + r + 1)):
                    maps[k, y, x] = math.exp(-((x - mx) ** 2 + (y - my) ** 2) / (2 * sigma**2))
    return maps, weight


def slow_decode(maps, stride=4, empty=0, separately=False):
    out, score = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for k, heat in enumerate(maps):
        height, width = heat.shape
        score[k] = heat.max()
        y, x = (int(v) for v in np.unravel_index(heat.argmax(), heat.shape))
        if score[k] <= 0:
            x = y = empty
        move_x, move_y = 1 < x < width - 1, 1 < y < height - 1
        if separately:
            move_x, move_y = move_x and y > 0, move_y and x > 0
        else:
            move_x = move_y = move_x and move_y
        out[k] = x, y
        if move_x:
            out[k, 0] += 0.25 * np.sign(heat[y, x + 1] - heat[y, x - 1])
        if move_y:
            out[k, 1] += 0.25 * np.sign(heat[y + 1, x] - heat[y - 1, x])
    return out * stride, score


@pytest.mark.parametrize(("size", "map_size", "sigma"), [((256, 192), (64, 48), 2), ((384, 288), (96, 72), 3)])
def test_encode_equals_slow_rule(size, map_size, sigma):
    rng = np.random.default_rng(0)
    xy = rng.uniform((-70, -70), (size[1] + 70, size[0] + 70), (200, 2))
    visibility = rng.integers(0, 3, 200)
    maps, weight = GaussianHeatmap(size, map_size, float(sigma)).encode(xy, visibility)
    slow_maps, slow_weight = slow_encode(xy, visibility, size, map_size, sigma)
    np.testing.assert_allclose(maps, slow_maps, rtol=3e-7, atol=0)
    np.testing.assert_array_equal(weight, slow_weight)
    assert maps.dtype == weight.dtype == np.float32
    assert 20 < (slow_weight == 1).sum() < 180


def test_peak_is_one_on_the_nearest_pixel_and_the_support_is_a_square():
    maps, _ = CODEC.encode(np.array([[97.9, 101.9]]), np.array([2]))
    assert maps[0, 25, 24] == 1
    assert maps[0, 25, 25] == np.float32(math.exp(-1 / 8))
    rows, columns = np.nonzero(maps[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 31, 18, 30)
    assert len(rows) == 169


def test_centre_is_truncated_not_floored():
    maps, weight = CODEC.encode(np.array([[-5.0, 40.0], [-5.9, 40.0], [-6.0, 40.0]]), np.ones(3))
    assert np.unravel_index(maps[0].argmax(), (64, 48)) == (10, 0)
    assert maps[:, 10, 0].tolist() == [1, 1, np.float32(math.exp(-1 / 8))]
    assert weight.tolist() == [1, 1, 1]


def test_bounds_are_exclusive_on_the_left_and_inclusive_on_the_right():
    # mu = -7: the square ends at -1, an empty map of weight 1; mu = -8: weight 0. mu = 54: 54 - 6 = 48, weight 0.
    xy = np.array([[-7.5, 10.0], [-8.5, 10.0], [53.0, 10.0], [54.0, 10.0]]) * 4
    maps, weight = CODEC.encode(xy, np.full(4, 2))
    assert weight.tolist() == [1, 0, 1, 0]
    assert [bool(m.any()) for m in maps] == [False, False, True, False]


def test_encode_on_a_map_smaller_than_the_gaussian():
    maps, _ = GaussianHeatmap((32, 32), (8, 8)).encode(np.array([[12.0, 20.0]]), np.ones(1))
    np.testing.assert_allclose(maps, slow_encode([[12.0, 20.0]], [1], (32, 32), (8, 8))[0], rtol=3e-7)


def awkward_maps(rng, height=64, width=48):
    """Random, empty, negative, plateau and border maps."""
    kinds = [
        rng.normal(size=(20, height, width)),
        np.zeros((1, height, width)),
        -rng.random((3, height, width)) - 0.1,
        np.full((1, height, width), 0.5),
        np.round(rng.random((10, height, width)), 1),
    ]
    border = np.zeros((64, height, width))
    spots = [(y, x) for y in (0, 1, 2, 30, 61, 62, 63) for x in (0, 1, 2, 20, 45, 46, 47)]
    for heat, (y, x) in zip(border, spots):
        heat[:] = rng.random((height, width)) * 0.1
        heat[y, x] = 1
    return np.concatenate([*kinds, border]).astype(np.float32)


@pytest.mark.parametrize(("empty", "separately"), [(0, False), (-1, False), (-1, True)])
def test_decode_equals_slow_rule(empty, separately):
    maps = awkward_maps(np.random.default_rng(1))
    codec = GaussianHeatmap((256, 192), (64, 48), empty=empty, separately=separately)
    xy, score = codec.decode(maps[None])
    slow_xy, slow_score = slow_decode(maps, 4, empty, separately)
    np.testing.assert_array_equal(xy[0], slow_xy)
    np.testing.assert_array_equal(score[0], slow_score)


def test_quarter_rule_leaves_out_0_1_and_the_last_but_not_the_one_before():
    moved = {}
    for x in (0, 1, 2, 46, 47):
        heat = np.zeros((1, 1, 64, 48), np.float32)
        heat[0, 0, 30, x] = 1
        heat[0, 0, 30, min(x + 1, 47)] += 0.5
        heat[0, 0, 31, x] += 0.5
        moved[x] = CODEC.decode(heat)[0][0, 0].tolist()
    assert moved == {0: [0, 120], 1: [4, 120], 2: [9, 121], 46: [185, 121], 47: [188, 120]}


def test_equal_neighbours_do_not_move_and_the_first_of_equal_maxima_wins():
    heat = np.zeros((1, 1, 64, 48), np.float32)
    heat[0, 0, 20, 30] = heat[0, 0, 40, 10] = 1
    xy, score = CODEC.decode(heat)
    assert xy[0, 0].tolist() == [120, 80]
    assert score[0, 0] == 1


def test_unflip_shifts_by_one_and_column_0_keeps_its_own_value():
    maps = np.arange(17 * 64 * 48, dtype=np.float32).reshape(1, 17, 64, 48)
    out = CODEC.unflip(maps, COCO17)
    np.testing.assert_array_equal(out[0, 0, :, 0], maps[0, 0, :, 47])
    np.testing.assert_array_equal(out[0, 0, :, 1], maps[0, 0, :, 47])
    np.testing.assert_array_equal(out[0, 0, :, 2], maps[0, 0, :, 46])
    np.testing.assert_array_equal(out[0, 1, :, 47], maps[0, 2, :, 1])


def test_round_trip_is_within_the_quantisation():
    # Rounding to a map pixel and a symmetric peak (no quarter move): half a map pixel, 2 input pixels, at most.
    xy = np.random.default_rng(2).uniform((8, 8), (180, 240), (300, 2))
    decoded, score = CODEC.decode(CODEC.encode(xy, np.full(300, 2))[0][None])
    assert np.abs(decoded[0] - xy).max() <= 2
    assert (score == 1).all()


def test_without_the_quarter_rule_points_stay_on_their_pixels():
    maps = awkward_maps(np.random.default_rng(3))
    xy, score = GaussianHeatmap((256, 192), (64, 48), quarter=False).decode(maps[None])
    quarter_xy, quarter_score = CODEC.decode(maps[None])
    np.testing.assert_array_equal(xy, 4 * np.rint(quarter_xy / 4))
    np.testing.assert_array_equal(score, quarter_score)
    assert (xy != quarter_xy).any()


def test_a_flip_test_without_the_shift():
    maps = np.random.default_rng(3).random((1, 17, 64, 48), np.float32)
    codec = GaussianHeatmap((256, 192), (64, 48), flip_shift=False)
    np.testing.assert_array_equal(codec.unflip(maps, COCO17), maps[:, COCO17.flip_index, :, ::-1])


@pytest.mark.parametrize(("shift", "error"), [(True, 0.5), (False, -1.5)])
def test_compensation_takes_away_what_a_flip_test_leaves(shift, error):
    xy = np.linspace((40.0, 50.0), (152.0, 194.0), 20 * 17, endpoint=False).reshape(20, 17, 2)
    mirrored = np.stack([191 - xy[..., 0], xy[..., 1]], -1)[:, COCO17.flip_index]
    for compensation, left in ((0.0, error), (error, 0.0)):
        codec = GaussianHeatmap((256, 192), (64, 48), flip_shift=shift, compensation=compensation)
        maps, flipped = (codec.encode(points, np.full((20, 17), 2))[0] for points in (xy, mirrored))
        average = (codec.decode(maps)[0] + codec.decode(codec.unflip(flipped, COCO17))[0]) / 2
        np.testing.assert_allclose((average - xy).mean((0, 1)), [left, 0], atol=0.05)


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="separately is of the quarter rule, which quarter=False turns off"):
        GaussianHeatmap((256, 192), (64, 48), separately=True, quarter=False)
    with pytest.raises(ValueError, match="decoding must be 'argmax' or 'soft-argmax', got 'soft'"):
        GaussianHeatmap((256, 192), (64, 48), decoding="soft")
