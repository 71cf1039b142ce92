"""A gallery's heatmaps lie where the network saw them, stay small, and are left out where there are none."""

import base64

import numpy as np
import torch

from posewright.evaluate.diagnosis import diagnose
from posewright.image import decode
from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.report import cases, heatmaps
from posewright.runtime.exported import ExportedNetwork

SPEC = find("simplebaseline-r18-slim-128x96")


def one_peak(images):
    """Maps [N, 17, 32, 24] of zeros; the third point's has a peak at row 8, column 6."""
    maps = torch.zeros(len(images), 17, 32, 24)
    maps[:, 2, 8:10, 6:8] = 0.5
    return maps


def test_maps_lie_below_each_other_and_their_region_is_that_of_the_crop():
    predictor = Predictor(SPEC, one_peak, flip=False, device="cpu")
    pixels = np.zeros((300, 300, 3), np.uint8)
    first, second = heatmaps.of_boxes(predictor, pixels, np.array([[90, 60, 60, 100.0], [30, 20, 60, 100]]))
    assert tuple(first["size"]) == (32, 24)
    left, top, right, bottom = first["region"]  # of the box padded by 1.25, at the input's ratio
    np.testing.assert_allclose((right - left, bottom - top), (93.75, 125))
    np.testing.assert_allclose(((left + right) / 2, (top + bottom) / 2), (120, 110), atol=1)
    np.testing.assert_allclose(np.subtract(first["region"], second["region"]), (60, 40, 60, 40))
    strip = decode(base64.b64decode(first["maps"]), "strip")[..., 0]
    assert strip.shape == (17 * 32, 24)
    row, column = np.unravel_index(strip.argmax(), strip.shape)
    assert (row // 32, row % 32 // 2, column // 2) == (2, 4, 3)
    assert strip.max() > 240  # the case's highest value
    (empty,) = heatmaps.of_boxes(predictor, pixels, np.array([[10.0, 10, 0, 0]]))  # as annotations may hold them
    assert np.isfinite(empty["region"]).all()


def test_a_gallery_has_heatmaps_of_its_first_cases_and_none_of_exported_files(people, results, monkeypatch):
    d = diagnose(people, results)
    predictor = Predictor(SPEC, one_peak, flip=False, device="cpu")
    found, _ = cases.gallery(d, results, people.paths, predictor=predictor)
    assert all("heat" in case for case in found)
    region = found[0]["heat"]["region"]  # in pixels of the case's picture, which it may leave
    assert region[0] < found[0]["width"] / 2 < region[2]
    assert region[1] < found[0]["height"] / 2 < region[3]
    monkeypatch.setattr(heatmaps, "MOST", 1)
    found, _ = cases.gallery(d, results, people.paths, predictor=predictor)
    assert 0 < sum("heat" in case for case in found) < len(found)
    predictor.net = object.__new__(ExportedNetwork)
    found, _ = cases.gallery(d, results, people.paths, predictor=predictor)
    assert not any("heat" in case for case in found)
