"""UdpHeatmap, UdpMultiScaleHeatmap and UdpOffsetHeatmap against slow loops, and their quirks by number."""

import math

import numpy as np
import pytest

from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpMultiScaleHeatmap, UdpOffsetHeatmap
from posewright.skeletons import COCO17

SIZES = ((256, 192), (64, 48))
CODEC = UdpHeatmap(*SIZES)
STRIDE = np.array([191 / 47, 255 / 63])


def slow_encode(xy, visibility, sigma=2):
    maps, weight = np.zeros((len(xy), 64, 48)), np.minimum(np.asarray(visibility, float), 1)
    r = 3 * sigma
    for k, (cx, cy) in enumerate(np.asarray(xy) / STRIDE):
        mx, my = math.trunc(cx + 0.5), math.trunc(cy + 0.5)
        if mx - r >= 48 or my - r >= 64 or mx + r + 1 < 0 or my + r + 1 < 0:
            weight[k] = 0
        if weight[k] > 0.5:
            for y in range(max(0, my - r), min(64, my + r + 1)):
                for x in range(max(0, mx - r), min(48, mx + r + 1)):
                    maps[k, y, x] = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return maps, weight


def slow_decode(maps, blur, kernel=7, toolkit="udp"):
    """Map pixels and scores."""
    out, score = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for k, heat in enumerate(maps.astype(np.float64)):
        score[k] = heat.max()
        if score[k] <= 0:
            out[k] = 0 if toolkit == "udp" else -1
            continue
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        out[k] = x, y
        smooth = blur(heat, kernel, kernel // 2 if toolkit == "mmpose1" else 0)
        if toolkit == "udp":
            if np.ptp(smooth) < 1e-9:
                continue
            smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * heat.max()
        elif toolkit == "mmpose1":
            smooth = smooth * heat.max() / smooth.max()
        log = np.pad(np.log(np.clip(smooth, 0.001, 50)), 1, mode="edge")
        y, x = y + 1, x + 1
        d = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
        dxx = log[y, x + 1] - 2 * log[y, x] + log[y, x - 1]
        dyy = log[y + 1, x] - 2 * log[y, x] + log[y - 1, x]
        dxy = log[y + 1, x + 1] - log[y, x + 1] - log[y + 1, x] + 2 * log[y, x]
        dxy = (dxy - log[y, x - 1] - log[y - 1, x] + log[y - 1, x - 1]) / 2
        hessian = np.array([[dxx, dxy], [dxy, dyy]])
        if toolkit != "udp":
            hessian += np.eye(2) * np.finfo(np.float32).eps
        if np.linalg.det(hessian) != 0:
            out[k] -= np.linalg.solve(hessian, d)
    return out, score


def test_encode_equals_slow_rule():
    rng = np.random.default_rng(0)
    xy, visibility = rng.uniform((-60, -60), (252, 316), (200, 2)), rng.integers(0, 3, 200)
    maps, weight = CODEC.encode(xy, visibility)
    slow_maps, slow_weight = slow_encode(xy, visibility)
    np.testing.assert_allclose(maps, slow_maps, rtol=5e-7, atol=0)
    np.testing.assert_array_equal(weight, slow_weight)


def test_the_centre_is_real_but_the_square_is_of_whole_pixels():
    maps, _ = CODEC.encode(np.array([[20.4, 30.4]]) * STRIDE, np.ones(1))
    rows, columns = np.nonzero(maps[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 36, 14, 26)
    assert maps[0, 30, 20] == np.float32(math.exp(-0.32 / 8))


@pytest.mark.parametrize(("toolkit", "kernel"), [("udp", 7), ("udp", 11), ("mmpose0", 11), ("mmpose1", 11)])
def test_decode_equals_slow_rule(slow_blur, awkward_maps, toolkit, kernel):
    maps = awkward_maps()
    xy, score = UdpHeatmap(*SIZES, blur=kernel, toolkit=toolkit).decode(maps[None])
    slow_xy, slow_score = slow_decode(maps, slow_blur, kernel, toolkit)
    # The released code stretches in float32, and so do we: it moves peaks of pure noise by a little.
    np.testing.assert_allclose(xy[0] / STRIDE, slow_xy, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(score[0], slow_score)
    assert (np.abs(slow_xy - np.rint(slow_xy)) > 0.01).sum() > 80


def test_values_above_50_are_clipped(slow_blur, awkward_maps):
    maps = awkward_maps(60.0)[:70]
    for toolkit in ("udp", "mmpose0", "mmpose1"):
        xy, _ = UdpHeatmap(*SIZES, toolkit=toolkit).decode(maps[None])
        np.testing.assert_allclose(xy[0] / STRIDE, slow_decode(maps, slow_blur, 7, toolkit)[0], rtol=1e-4, atol=1e-4)


def test_the_first_and_last_pixels_of_input_and_map_coincide():
    codec = UdpOffsetHeatmap(*SIZES, blurs=(1, 1))
    maps = np.zeros((1, 6, 64, 48), np.float32)
    maps[0, 0, 0, 0] = maps[0, 3, 63, 47] = 1
    assert codec.decode(maps)[0][0].tolist() == [[0, 0], [191, 255]]


def test_flat_and_empty_maps_do_not_move():
    maps = np.stack([np.zeros((64, 48)), np.full((64, 48), -1), np.full((64, 48), 0.3)]).astype(np.float32)
    xy, score = CODEC.decode(maps[None])
    assert not xy.any()
    assert score[0].tolist() == [0, -1, np.float32(0.3)]
    assert (UdpHeatmap(*SIZES, toolkit="mmpose1").decode(maps[None, :2])[0] == -STRIDE).all()


def test_multi_scale_labels_equal_slow_rule():
    rng = np.random.default_rng(1)
    xy, visibility = rng.uniform((-10, -10), (202, 266), (40, 2)), rng.integers(0, 3, 40)
    labels, valid = UdpMultiScaleHeatmap(*SIZES).encode(xy, visibility)
    y, x = np.mgrid[:64, :48]
    for k, point in enumerate(xy):
        inside = 0 <= point[0] <= 191 and 0 <= point[1] <= 255
        assert valid[k] == (visibility[k] if inside else 0)
        cx, cy = point / STRIDE
        for level, sigma in enumerate((2.6, 2.0, 1.7, 1.4105, 1.1105)):
            want = 255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) * (valid[k] > 0)
            np.testing.assert_allclose(labels[level, k], want, rtol=5e-7, atol=1e-15)


def test_multi_scale_maps_decode_like_udp_at_another_scale(awkward_maps):
    maps = awkward_maps()
    xy, score = UdpMultiScaleHeatmap(*SIZES).decode(maps[None] * np.float32(255))
    want_xy, want_score = CODEC.decode(maps[None])
    np.testing.assert_allclose(xy[0, :90], want_xy[0, :90], atol=1e-3)
    np.testing.assert_allclose(score, want_score, rtol=1e-6)


@pytest.mark.parametrize(("radius", "masked"), [(4.0, True), (3.5, True), (3.5, False)])
def test_offset_encode_equals_slow_rule(radius, masked):
    rng = np.random.default_rng(2)
    xy, visibility = rng.uniform((-30, -30), (222, 286), (30, 2)), rng.integers(0, 3, 30)
    maps, weight = UdpOffsetHeatmap(*SIZES, radius=radius, masked=masked).encode(xy, visibility)
    assert maps.shape == (90, 64, 48)
    assert weight.tolist() == np.minimum(visibility, 1).tolist()
    slow = np.zeros((90, 64, 48))
    for k, (cx, cy) in enumerate(xy / STRIDE):
        for y in range(64):
            for x in range(48):
                dx, dy = (cx - x) / radius, (cy - y) / radius
                inside = dx**2 + dy**2 <= 1
                if visibility[k] > 0 and (inside or not masked):
                    slow[3 * k : 3 * k + 3, y, x] = inside, dx, dy
    np.testing.assert_allclose(maps, slow, rtol=3e-7, atol=1e-9)


@pytest.mark.parametrize("blurs", [(15, 7), (23, 11), (23, 1)])
def test_offset_decode_equals_slow_rule(slow_blur, awkward_maps, blurs):
    rng = np.random.default_rng(3)
    maps = awkward_maps()
    maps = np.stack([maps, rng.normal(size=maps.shape), rng.normal(size=maps.shape)], 1).astype(np.float32)
    xy, score = UdpOffsetHeatmap(*SIZES, blurs=blurs).decode(maps.reshape(1, -1, 64, 48))
    for k, (heat, dx, dy) in enumerate(maps):
        smooth = slow_blur(heat, blurs[0])
        if np.ptp(smooth) < 1e-9:
            continue  # the first of equal values is a matter of the last bit
        y, x = np.unravel_index(smooth.argmax(), smooth.shape) if smooth.max() > 0 else (0, 0)
        step = np.array([slow_blur(4.0 * dx, blurs[1])[y, x], slow_blur(4.0 * dy, blurs[1])[y, x]])
        np.testing.assert_allclose(xy[0, k] / STRIDE, (x + step[0], y + step[1]), atol=1e-6)
        assert score[0, k] == pytest.approx(smooth.max(), abs=1e-6)


def test_offset_weights_know_no_bounds():
    maps, weight = UdpOffsetHeatmap(*SIZES).encode(np.array([[1e4, -1e4]]), np.array([2]))
    assert weight.tolist() == [1]
    assert not maps.any()


def test_offset_unflip_swaps_triples_and_negates_dx():
    maps = np.random.default_rng(4).normal(size=(2, 51, 64, 48)).astype(np.float32)
    out = UdpOffsetHeatmap(*SIZES).unflip(maps, COCO17)
    np.testing.assert_array_equal(out[:, 3], maps[:, 6, :, ::-1])
    np.testing.assert_array_equal(out[:, 4], -maps[:, 7, :, ::-1])
    np.testing.assert_array_equal(out[:, 5], maps[:, 8, :, ::-1])
    np.testing.assert_array_equal(out[:, 1], -maps[:, 1, :, ::-1])


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match=r"toolkit must be one of \('udp', 'mmpose0', 'mmpose1'\), got 'mmpose'"):
        UdpHeatmap(*SIZES, toolkit="mmpose")
    with pytest.raises(ValueError, match="sides must be at least 2"):
        UdpHeatmap((256, 192), (64, 1))
    with pytest.raises(ValueError, match=r"expected maps \[\.\.\., 3 K, 64, 48\]"):
        UdpOffsetHeatmap(*SIZES).decode(np.zeros((1, 17, 64, 48)))


def test_parts_of_udp_alone(awkward_maps):
    maps, xy = awkward_maps()[None], np.random.default_rng(5).uniform(0, 190, (40, 2))
    rounded, _ = UdpHeatmap(*SIZES, unbiased=False).encode(xy, np.full(40, 2))
    want, _ = slow_encode(np.trunc(xy / STRIDE + 0.5) * STRIDE, np.full(40, 2))
    np.testing.assert_allclose(rounded, want, rtol=5e-7, atol=1e-12)
    for refine, quarter in (("quarter", True), ("none", False)):
        ours, score = UdpHeatmap(*SIZES, refine=refine).decode(maps)
        plain, plain_score = GaussianHeatmap(*SIZES, quarter=quarter).decode(maps)
        np.testing.assert_allclose(ours / STRIDE, plain / 4, atol=1e-12)
        np.testing.assert_array_equal(score, plain_score)


def test_offset_unflip_with_shift():
    maps = np.random.default_rng(6).normal(size=(1, 51, 8, 6)).astype(np.float32)
    plain = UdpOffsetHeatmap((32, 24), (8, 6)).unflip(maps, COCO17)
    shifted = UdpOffsetHeatmap((32, 24), (8, 6), flip_shift=True).unflip(maps, COCO17)
    np.testing.assert_array_equal(shifted[..., 1:], plain[..., :-1])
    np.testing.assert_array_equal(shifted[..., 0], plain[..., 0])
