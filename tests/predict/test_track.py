"""Ids hold through crossings, gaps and uneven frame times; smoothing keeps motion and loses noise."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from posewright.predict.track import OneEuro, Tracker, savitzky_golay
from posewright.skeletons import COCO17, LSP14
from posewright.types import Boxes, Poses

BODY = np.random.default_rng(0).uniform(0, 1, (17, 2))


def frame(*corners: tuple[float, float], size: float = 100) -> Poses:
    boxes = Boxes.of([[x, y, size, size] for x, y in corners])
    xy = np.array([BODY * size + corner for corner in corners]).reshape(-1, 17, 2)
    return Poses(xy, np.full(xy.shape[:2], 0.9), np.ones(len(xy)), boxes, COCO17)


def test_ids_hold_when_two_cross_and_the_order_of_boxes_changes():
    tracker, ids = Tracker(COCO17), []
    times = np.cumsum([0.04, 0.02, 0.05] * 14)  # uneven, as a variable frame rate is
    for n, time in enumerate(times):
        left, right = (300 * time, 40.0), (500 - 300 * time, 0.0)
        order = (left, right) if n % 2 else (right, left)
        found = tracker.update(time, frame(*order))
        ids.append(found if n % 2 else found[::-1])
    assert (np.array(ids) == ids[0]).all()
    assert sorted(ids[0]) == [1, 2]


def test_a_track_is_found_again_after_a_short_gap_and_is_new_after_a_long_one():
    tracker = Tracker(COCO17, max_gap=1.0)
    for n in range(10):
        assert tracker.update(n / 25, frame((4.0 * n, 0))) == [1]
    assert len(tracker.update(0.5, frame())) == 0
    assert tracker.update(0.8, frame((80.0, 0))) == [1]  # 100 px per second for 0.44 s, where it was expected
    assert len(tracker.update(1.0, frame())) == 0
    assert tracker.update(2.5, frame((80.0, 0))) == [2]


def test_expected_boxes_move_on():
    tracker = Tracker(COCO17)
    for n in range(20):
        tracker.update(n / 10, frame((10.0 * n, 0)))
    np.testing.assert_allclose(tracker.expected_boxes(2.0).xywh, [[200, 0, 100, 100]], atol=1.5)
    tracker.update(2.0, frame())
    assert len(tracker.expected_boxes(2.1)) == 0


def test_what_cannot_be_is_said():
    tracker = Tracker(COCO17)
    tracker.update(1.0, frame((0, 0)))
    with pytest.raises(ValueError, match="must rise"):
        tracker.update(1.0, frame((0, 0)))
    with pytest.raises(ValueError, match="expected poses of 'lsp14'"):
        Tracker(LSP14).update(0.0, frame((0, 0)))


def test_one_euro_loses_jitter_and_follows_motion():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.06, 200))
    noise = rng.normal(0, 2, (200, 1, 2))
    still = OneEuro()
    smooth = np.array([still(t, 50 + n, 100) for t, n in zip(times, noise)])
    assert smooth[50:].std() < 0.5 * noise[50:].std()
    moving = OneEuro()
    path = times[:, None, None] * np.array([200.0, 0.0])
    assert np.abs(np.array([moving(t, p, 100) for t, p in zip(times, path)]) - path)[50:].max() < 6
    assert np.isfinite(moving(times[-1] + 0.04, np.full((1, 2), np.nan), 100)).all()


def test_savitzky_golay_keeps_polynomials_at_uneven_times_and_fills_gaps():
    times = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.06, 60))
    parabola = np.stack([times**2, 3 - times], -1)[:, None] * 100
    holed = parabola.copy()
    holed[30] = np.nan
    np.testing.assert_allclose(savitzky_golay(times, holed, window=0.4), parabola, atol=1e-6)
    with pytest.raises(ValueError, match="rising times"):
        savitzky_golay(times[::-1], parabola)
