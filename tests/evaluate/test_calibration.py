"""Scores become probabilities: never falling, within 0 and 1, and nearer to the truth on other images."""

import numpy as np
import pytest

from posewright.evaluate.calibration import error, fit, isotonic
from posewright.predict import calibrated
from posewright.predict.calibrated import Calibration


def test_isotonic_regression_pools_what_falls():
    x, y = isotonic(np.array([1.0, 2, 3, 4, 5]), np.array([0, 1, 0, 1, 1]))
    assert x.tolist() == [1, 2, 3, 4, 5]
    assert y.tolist() == [0, 0.5, 0.5, 1, 1]
    x, y = isotonic(np.array([2.0, 2.0, 2.0]), np.array([1, 0, 0]))
    assert (x.tolist(), y.tolist()) == ([2], [pytest.approx(1 / 3)])


def test_the_error_is_the_distance_of_stated_and_true_shares():
    right = np.arange(1000) % 4 == 0
    assert error(np.full(1000, 0.25), right) == pytest.approx(0, abs=0.01)
    assert error(np.full(1000, 0.75), right) == pytest.approx(0.5, abs=0.01)


def test_a_fit_lowers_the_error_of_scores_that_say_too_much():
    rng = np.random.default_rng(0)
    truth = rng.random(4000)
    fitted = fit(3 * truth, rng.random(4000) < truth**2, np.arange(4000) // 4)
    assert fitted.before > 0.3
    assert fitted.after < 0.04
    probability = fitted(np.linspace(-1, 5, 50))
    assert (np.diff(probability) >= 0).all()
    assert probability.min() >= 0
    assert probability.max() <= 1
    assert fitted(1.5) == pytest.approx(0.25, abs=0.1)


def test_too_few_poses_are_refused():
    with pytest.raises(ValueError, match="expected 20 poses or more"):
        fit(np.arange(5.0), np.ones(5, bool), np.arange(5))


def test_a_calibration_is_stored_beside_weights_and_a_damaged_one_named(tmp_path):
    weights = tmp_path / "best.pt"
    assert calibrated.read(weights) is None
    stored = Calibration((0.0, 2.0), (0.1, 0.9), 100, 0.4, 0.02)
    calibrated.write(calibrated.place_of(weights), stored)
    assert calibrated.read(weights) == stored
    (entry,) = stored.applied([{"image_id": 1, "score": 1.0}])
    assert entry == {"image_id": 1, "score": 1.0, "calibrated": 0.5}
    assert calibrated.read(tmp_path / "best.onnx") == stored  # exported beside them
    (tmp_path / "best.calibration.json").write_text('{"score": [2, 1]}')
    with pytest.raises(ValueError, match=r"best\.calibration\.json"):
        calibrated.read(weights)
