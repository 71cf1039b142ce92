"""DarkHeatmap against slow loops, and its quirks by number."""

import math

import numpy as np
import pytest

from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.models import find
from posewright.skeletons import COCO17

CODEC = DarkHeatmap((256, 192), (64, 48))
MMPOSE = DarkHeatmap((256, 192), (64, 48), crop="standard")


def slow_encode(xy, visibility, dark, sigma=2):
    maps, weight = np.zeros((len(xy), 64, 48)), np.minimum(np.asarray(visibility, float), 1)
    for k, point in enumerate(xy):
        if dark:
            mx = (point[0] - 191 / 2) * 47 / 191 + 47 / 2
            my = (point[1] - 255 / 2) * 47 / 191 + 63 / 2
        else:
            mx, my = point[0] / 4, point[1] / 4
        low, high = (mx - 3 * sigma, my - 3 * sigma), (mx + 3 * sigma + 1, my + 3 * sigma + 1)
        if dark:
            low, high = [math.trunc(v) for v in low], [math.trunc(v) for v in high]
        if low[0] >= 48 or low[1] >= 64 or high[0] < 0 or high[1] < 0:
            weight[k] = 0
        if weight[k] > 0.5:
            for y in range(64):
                for x in range(48):
                    maps[k, y, x] = math.exp(-((x - mx) ** 2 + (y - my) ** 2) / (2 * sigma**2))
    return maps, weight


def slow_decode(maps, blur, kernel=11):
    """Map pixels and scores."""
    out, score = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for k, heat in enumerate(maps.astype(np.float64)):
        height, width = heat.shape
        score[k] = heat.max()
        y, x = np.unravel_index(heat.argmax(), heat.shape) if score[k] > 0 else (0, 0)
        out[k] = x, y
        smooth = blur(heat, kernel, kernel // 2)
        if 1 < x < width - 2 and 1 < y < height - 2:
            log = np.log(np.maximum(smooth * heat.max() / smooth.max(), 1e-10))
            d = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
            dxx = (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2]) / 4
            dyy = (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]) / 4
            dxy = (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]) / 4
            if dxx * dyy - dxy**2 != 0:
                out[k] -= np.linalg.solve([[dxx, dxy], [dxy, dyy]], d)
    return out, score


@pytest.mark.parametrize("codec", [CODEC, MMPOSE])
def test_encode_equals_slow_rule(codec):
    rng = np.random.default_rng(0)
    xy, visibility = rng.uniform((-50, -50), (242, 306), (60, 2)), rng.integers(0, 3, 60)
    maps, weight = codec.encode(xy, visibility)
    slow_maps, slow_weight = slow_encode(xy, visibility, codec is CODEC)
    np.testing.assert_allclose(maps, slow_maps, rtol=5e-7, atol=1e-18)
    np.testing.assert_array_equal(weight, slow_weight)
    assert 10 < weight.sum() < 50


def test_bounds_are_truncated_as_released_and_not_in_mmpose():
    # Map x of -7.5 and -7: the square of 3 sigma, one more pixel added, ends at -0.5 and 0.
    dark = (np.array([-7.5, -7.0, -8.1]) - 47 / 2) * 191 / 47 + 191 / 2
    xy = np.stack([dark, np.full(3, 100.0)], -1)
    assert CODEC.encode(xy, np.ones(3))[1].tolist() == [1, 1, 0]
    xy[:, 0] = np.array([-7.5, -7.0, -8.1]) * 4
    assert MMPOSE.encode(xy, np.ones(3))[1].tolist() == [0, 1, 0]


def test_both_axes_use_the_ratio_of_the_widths_about_the_middles():
    maps = np.zeros((1, 2, 64, 48), np.float32)
    maps[0, 0, 0, 0] = maps[0, 1, 63, 47] = 1
    xy, _ = CODEC.decode(maps)
    np.testing.assert_allclose(xy[0, :, 0], [0, 191], atol=1e-12)
    np.testing.assert_allclose(xy[0, :, 1], [127.5 - 31.5 * 191 / 47, 127.5 + 31.5 * 191 / 47], atol=1e-12)


@pytest.mark.parametrize("kernel", [11, 17, 3])
def test_decode_equals_slow_rule(slow_blur, awkward_maps, kernel):
    maps = awkward_maps()
    xy, score = DarkHeatmap((256, 192), (64, 48), blur=kernel, crop="standard").decode(maps[None])
    slow_xy, slow_score = slow_decode(maps, slow_blur, kernel)
    np.testing.assert_allclose(xy[0] / 4, slow_xy, rtol=1e-7, atol=1e-7)
    np.testing.assert_array_equal(score[0], slow_score)
    assert (np.abs(slow_xy - np.rint(slow_xy)) > 0.01).sum() > 80


def test_values_below_the_floor_are_scaled_with_the_whole_map(slow_blur):
    # Nothing but one pixel in a sea of negative values: the blur is negative two pixels away from it.
    maps = np.full((1, 64, 48), -0.02, np.float32)
    maps[0, 20, 30], maps[0, 20, 31] = 1, 0.5
    codec = DarkHeatmap((256, 192), (64, 48), blur=3, crop="standard")
    np.testing.assert_allclose(codec.decode(maps[None])[0][0] / 4, slow_decode(maps, slow_blur, 3)[0], atol=1e-9)


def test_the_two_outermost_rows_and_columns_are_not_refined():
    y, x = np.mgrid[:64, :48]
    for column, refined in ((1.2, False), (2.2, True), (45.2, True), (46.2, False)):
        heat = np.exp(-((x - column) ** 2 + (y - 30.3) ** 2) / 8).astype(np.float32)
        xy, _ = MMPOSE.decode(heat[None, None])
        assert (xy[0, 0, 1] != 120) == refined


def test_unflip_shifts_only_with_the_standard_crop():
    maps = np.random.default_rng(3).random((1, 17, 64, 48), np.float32)
    np.testing.assert_array_equal(CODEC.unflip(maps, COCO17), maps[:, COCO17.flip_index, :, ::-1])
    quarter = GaussianHeatmap((256, 192), (64, 48))
    np.testing.assert_array_equal(MMPOSE.unflip(maps, COCO17), quarter.unflip(maps, COCO17))


def test_an_unknown_crop_is_refused():
    with pytest.raises(ValueError, match="crop must be 'dark' or 'standard', got 'udp'"):
        DarkHeatmap((256, 192), (64, 48), crop="udp")


def test_encoding_alone_decoding_alone_and_no_refinement(awkward_maps):
    sizes, maps = ((256, 192), (64, 48)), awkward_maps()[None]
    plain = GaussianHeatmap(*sizes)
    encoding = DarkHeatmap(*sizes, crop="standard", refine="quarter")
    decoding = DarkHeatmap(*sizes, crop="standard", unbiased=False)
    coarse = DarkHeatmap(*sizes, crop="standard", refine="none")
    xy, visibility = np.random.default_rng(4).uniform(-40, 240, (60, 2)), np.full(60, 2)
    for ours, published in ((encoding, MMPOSE), (coarse, MMPOSE), (decoding, plain)):
        for a, b in zip(ours.encode(xy, visibility), published.encode(xy, visibility)):
            np.testing.assert_allclose(a, b, rtol=2e-7)
    for ours, published in ((encoding, plain), (decoding, MMPOSE), (coarse, GaussianHeatmap(*sizes, quarter=False))):
        for a, b in zip(ours.decode(maps), published.decode(maps)):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"refine must be one of \('newton', 'quarter', 'none'\), got 'taylor'"):
        DarkHeatmap(*sizes, refine="taylor")


def test_empty_maps_give_0_or_as_in_mmpose_minus_1():
    empty = np.zeros((1, 1, 64, 48), np.float32)
    assert MMPOSE.decode(empty)[0].tolist() == [[[0, 0]]]
    assert DarkHeatmap((256, 192), (64, 48), crop="standard", empty=-1).decode(empty)[0].tolist() == [[[-4, -4]]]


def test_small_maps_are_blurred_as_released():
    blurs = {name: find(f"hrnet-{name}").codec.blur for name in ("w32-dark-128x96", "w48-dark-128x96")}
    assert blurs == {"w32-dark-128x96": 3, "w48-dark-128x96": 11}
