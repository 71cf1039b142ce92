"""A look at a batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posewright.data.loader import Batch
from posewright.models import find
from posewright.train.distributed import Team
from posewright.train.samples import batch_sheet


def _batch(name: str, xy: np.ndarray):
    spec = find(name)
    points = spec.skeleton.num_keypoints
    xy = np.broadcast_to(xy, (2, points, 2)).astype(float)
    visibility = np.full((2, points), 2, np.uint8)
    target, weight = map(torch.from_numpy, spec.codec.encode(xy, visibility))
    batch = Batch(torch.zeros(2, 3, *spec.size), target, weight, xy, visibility, np.arange(2))
    return SimpleNamespace(spec=spec, team=Team()), batch


def test_a_sheet_shows_image_target_and_prediction():
    spread = np.linspace(40, 150, 17)[:, None].repeat(2, axis=1)
    run, batch = _batch("simplebaseline-r50-256x192", spread)
    sheet = batch_sheet(run, batch, batch.target)  # pyright: ignore[reportArgumentType]
    assert sheet.shape == (2 * 256, 3 * 192, 3)
    image, target, prediction = np.split(sheet[:256], 3, axis=1)
    assert np.ptp(image, axis=(0, 1)).max() <= 1
    assert image[0, 0].tolist() == pytest.approx([103.53, 116.28, 123.675], abs=1)  # what 0 is, its means being BGR
    assert (target != image).any()
    assert np.abs(prediction.astype(int) - target).mean() < 5
