"""A look at a batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posewright.data import coco
from posewright.data.augment import NONE
from posewright.data.loader import Batch, Loader
from posewright.models import find
from posewright.synthetic import people as synthetic
from posewright.train.distributed import Team
from posewright.train.samples import batch_sheet, targets_over


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


@pytest.mark.parametrize(
    "name", ["simplebaseline-r18-slim-128x96", "hrnet-w32-udp-offset-256x192", "mspn-2stg-256x192"]
)
def test_targets_light_where_the_points_are(name, tmp_path):
    people = coco.read(synthetic.make(tmp_path, 3, split="val", workers=1))
    spec = find(name).with_skeleton(people.skeleton)
    batch = next(iter(Loader(people, spec, NONE, len(people), shuffle=False).epoch(0)))
    grey = np.full((len(people), *spec.size, 3), 60, np.uint8)
    lit = targets_over(grey, batch, spec)
    assert lit.shape == grey.shape
    inside = (batch.xy >= 4).all(2) & (batch.xy < np.array(spec.size[::-1]) - 4).all(2) & (batch.visibility > 0)
    for picture, xy in zip(lit, (xy[known] for xy, known in zip(batch.xy, inside))):
        x, y = xy.round().astype(int).T
        assert picture[y, x, 0].min() > 120
        assert picture[0, :, 0].max() <= 60 or xy[:, 1].min() < 20
        assert np.median(picture[..., 0]) == 30
