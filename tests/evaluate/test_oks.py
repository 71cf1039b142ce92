"""Rescoring, OKS and suppression of doubles equal the published loops, one pose and one image at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posewright.evaluate import oks as scoring
from posewright.predict.scoring import rescore
from posewright.skeletons import COCO17

SIGMAS = np.array(COCO17.sigmas)


def test_rescoring_by_hand():
    score = np.array([[0.2, 0.3, 0.5], [0.1, 0.2, 0.0], [0.9, 0.9, 0.9]])
    box = np.array([0.5, 1.0, 2.0])
    # a score of exactly 0.2 is not above 0.2; a pose without any above it scores 0
    np.testing.assert_allclose(rescore(score, box, "above 0.2"), [0.5 * 0.4, 0, 1.8], rtol=1e-15)
    np.testing.assert_allclose(rescore(score, box, "all"), [0.5 / 3, 0.1, 1.8], rtol=1e-15)
    np.testing.assert_allclose(rescore(score, box, "above 0.2", 0.4), [0.25, 0, 1.8], rtol=1e-15)
    with pytest.raises(ValueError, match=r"scoring rule must be 'above 0\.2' or 'all', got 'max'"):
        rescore(score, box, "max")


def test_oks_by_hand():
    xy = np.zeros((17, 2))
    one = xy.copy()
    one[0] = 3, 4  # 5 pixels at the nose: exp(-25 / (2 * 100 * (2 * 0.026)^2)) of 1/17
    lost = 1 - math.exp(-25 / (2 * 100 * 0.052**2))
    assert scoring.oks(xy, one, 100.0, SIGMAS) == pytest.approx(1 - lost / 17, rel=1e-14)
    assert scoring.oks(xy, xy, 0.0, SIGMAS) == 1
    assert scoring.oks(xy, one, 0.0, SIGMAS) == pytest.approx(16 / 17)
    table = scoring.oks(np.stack([xy, one])[:, None], np.stack([xy, one])[None], np.full((2, 2), 100.0), SIGMAS)
    assert table.shape == (2, 2)
    assert table[0, 1] == table[1, 0]


def crowd(rng, count, images=1, scores=1000):
    """Poses of a few people each, many of them close doubles, in any order."""
    image = rng.integers(0, images, count)
    base = rng.uniform(0, 300, (images, 4, 17, 2))
    xy = (
        base[image, rng.integers(0, 4, count)]
        + rng.normal(0, 1, (count, 17, 2)) * rng.choice([0.5, 3, 8], count)[:, None, None]
    )
    return xy, rng.integers(0, scores, count) / scores, rng.uniform(50, 150, count) ** 2, image


def plain_oks(i, j, xy, area):
    total = 0.0
    for (x, y), (u, v), sigma in zip(xy[i], xy[j], SIGMAS):
        total += math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma) ** 2 / ((area[i] + area[j]) / 2 + 2.2e-16) / 2)
    return total / 17


def plain_nms(xy, score, area, places, threshold):
    order = sorted(places, key=lambda n: (score[n], n), reverse=True)
    kept = []
    while order:
        best, *order = order
        kept.append(best)
        order = [n for n in order if plain_oks(best, n, xy, area) <= threshold]
    return kept


def plain_soft_nms(xy, score, area, places, threshold, decay):
    left = {n: score[n] for n in places}
    taken = []
    while left and len(taken) < 20:
        best = max(left, key=lambda n: (left[n], score[n], n))
        del left[best]
        taken.append(best)
        for n in left:
            like = plain_oks(best, n, xy, area)
            if decay == "gaussian":
                left[n] *= math.exp(-(like**2) / threshold)
            elif like >= threshold:
                left[n] *= 1 - like
    return taken


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), scores=st.sampled_from([3, 10**6]), threshold=st.sampled_from([0.3, 0.9, 0.999]))
def test_nms_equals_the_loop_over_images(seed, scores, threshold):
    xy, score, area, image = crowd(np.random.default_rng(seed), 60, images=4, scores=scores)
    want = [n for g in range(4) for n in plain_nms(xy, score, area, np.flatnonzero(image == g), threshold)]
    got = scoring.oks_nms(xy, score, area, SIGMAS, threshold, image)
    assert got.tolist() == want


@pytest.mark.parametrize("decay", ["gaussian", "linear"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), threshold=st.sampled_from([0.3, 0.9]))
def test_soft_nms_equals_the_loop_over_images(decay, seed, threshold):
    xy, score, area, image = crowd(np.random.default_rng(seed), 70, images=3, scores=10**6)
    want = [n for g in range(3) for n in plain_soft_nms(xy, score, area, np.flatnonzero(image == g), threshold, decay)]
    got = scoring.soft_oks_nms(xy, score, area, SIGMAS, threshold, image, decay)
    assert got.tolist() == want


def test_nms_by_hand():
    xy = np.zeros((4, 17, 2))
    xy[2:] += 500
    score = np.array([0.5, 0.9, 0.7, 0.7])
    area = np.full(4, 1e4)
    assert scoring.oks_nms(xy, score, area, SIGMAS).tolist() == [1, 3]  # of equal scores the later pose goes first
    assert scoring.oks_nms(xy, score, area, SIGMAS, 1.0).tolist() == [1, 3, 2, 0]  # only above the threshold
    assert scoring.oks_nms(xy, score, area, SIGMAS, group=np.array([7, 2, 7, 2])).tolist() == [1, 3, 2, 0]
    assert scoring.soft_oks_nms(xy, score, area, SIGMAS).tolist() == [1, 3, 2, 0]
    assert len(scoring.soft_oks_nms(np.zeros((30, 17, 2)), np.ones(30), np.ones(30), SIGMAS)) == 20
    with pytest.raises(ValueError, match="decay must be 'gaussian' or 'linear', got 'cosine'"):
        scoring.soft_oks_nms(xy, score, area, SIGMAS, decay="cosine")


def test_what_lies_exactly_at_the_threshold():
    """Of two points one coincides and one is far away: the OKS of the first two poses is 0.5 to the last bit."""
    xy = np.array([[[0, 0], [0, 0]], [[0, 0], [1e6, 0]], [[0, 1e6], [1e6, 1e6]]])
    score, area, sigmas = np.array([0.9, 0.8, 0.5]), np.ones(3), [0.5, 0.5]
    assert scoring.oks(xy[0], xy[1], 1.0, sigmas) == 0.5
    above, below = np.nextafter(0.5, 1), np.nextafter(0.5, 0)
    assert scoring.oks_nms(xy, score, area, sigmas, 0.5).tolist() == [0, 1, 2]  # above it one goes, at it one stays
    assert scoring.oks_nms(xy, score, area, sigmas, below).tolist() == [0, 2]
    # Linear: at the threshold 0.8 becomes 0.8 (1 - 0.5) = 0.4, less than the 0.5 of the third; below it stays.
    assert scoring.soft_oks_nms(xy, score, area, sigmas, 0.5, decay="linear").tolist() == [0, 2, 1]
    assert scoring.soft_oks_nms(xy, score, area, sigmas, above, decay="linear").tolist() == [0, 1, 2]
    # Gaussian: the threshold is a width, and 0.8 exp(-0.25 / 0.5) = 0.48522.
    for third, order in ((0.4853, [0, 2, 1]), (0.4852, [0, 1, 2])):
        assert scoring.soft_oks_nms(xy, np.array([0.9, 0.8, third]), area, sigmas, 0.5).tolist() == order


@pytest.mark.parametrize("decay", ["gaussian", "linear"])
@pytest.mark.parametrize(("count", "left"), [(19, 19), (20, 20), (21, 20)])
def test_soft_nms_takes_twenty_per_image_and_drops_none_before(decay, count, left):
    xy, score = np.zeros((2 * count, 17, 2)), np.linspace(1, 0, 2 * count)
    image = np.arange(2 * count) % 2
    kept = scoring.soft_oks_nms(xy, score, np.ones(2 * count), SIGMAS, 0.9, image, decay)
    assert np.bincount(image[kept]).tolist() == [left, left]


def test_one_point_skeletons_and_no_poses():
    xy, score, area = np.array([[[0.0, 0]], [[0.1, 0]], [[90, 0]]]), np.array([0.1, 0.2, 0.3]), np.full(3, 1e4)
    assert scoring.oks_nms(xy, score, area, [0.1]).tolist() == [2, 1]
    no_poses = np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0), SIGMAS
    assert scoring.oks_nms(*no_poses).tolist() == []
    assert scoring.soft_oks_nms(*no_poses).tolist() == []


def test_arguments_stay_as_they_are():
    xy, score, area, image = crowd(np.random.default_rng(0), 40, images=2)
    before = [a.copy() for a in (xy, score, area, image)]
    scoring.oks_nms(xy, score, area, SIGMAS, group=image)
    scoring.soft_oks_nms(xy, score, area, SIGMAS, group=image)
    for now, then in zip((xy, score, area, image), before):
        np.testing.assert_array_equal(now, then)
