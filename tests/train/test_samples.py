"""What is drawn of a batch."""

import numpy as np
import pytest

from posewright.data import coco
from posewright.data.augment import NONE
from posewright.data.loader import Loader
from posewright.models import find
from posewright.synthetic import people as synthetic
from posewright.train import samples


@pytest.mark.parametrize(
    "name", ["simplebaseline-r18-slim-128x96", "hrnet-w32-udp-offset-256x192", "mspn-2stg-256x192"]
)
def test_targets_light_where_the_points_are(name, tmp_path):
    people = coco.read(synthetic.make(tmp_path, 3, split="val", workers=1))
    spec = find(name).with_skeleton(people.skeleton)
    batch = next(iter(Loader(people, spec, NONE, len(people), shuffle=False).epoch(0)))
    grey = np.full((len(people), *spec.size, 3), 60, np.uint8)
    lit = samples.targets_over(grey, batch, spec)
    assert lit.shape == grey.shape
    inside = (batch.xy >= 4).all(2) & (batch.xy < np.array(spec.size[::-1]) - 4).all(2) & (batch.visibility > 0)
    for picture, xy in zip(lit, (xy[known] for xy, known in zip(batch.xy, inside))):
        x, y = xy.round().astype(int).T
        assert picture[y, x, 0].min() > 120
        assert picture[0, :, 0].max() <= 60 or xy[:, 1].min() < 20
        assert np.median(picture[..., 0]) == 30
