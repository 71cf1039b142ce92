"""The way from an image to its keypoints is short enough to be read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "count_calls.py"


def test_at_most_twelve_functions_lie_between_an_image_and_its_keypoints():
    module_spec = importlib.util.spec_from_file_location("count_calls", SCRIPT)
    assert module_spec is not None
    assert module_spec.loader is not None
    count_calls = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(count_calls)
    spec = find("simplebaseline-r18-slim-128x96")
    pixels, boxes = np.zeros((90, 120, 3), np.uint8), Boxes.of([[10, 10, 50, 70]])
    steps, inside = count_calls.own_calls(Predictor(spec, spec.build(), device="cpu"), pixels, boxes)
    assert len(steps) <= 12, steps
    assert any(step.endswith("GaussianHeatmap.decode") for step in steps)
    assert any(step.endswith("SimpleBaseline.forward") for step in inside)
