"""HRNet's select_data, against its formula by loops."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posewright.data.dataset import KeypointDataset
from posewright.data.image_files import Strings
from posewright.data.selection import selected
from posewright.skeletons import MPII16


def people(count, seed):
    """People with boxes around their points, some of them far off."""
    rng = np.random.default_rng(seed)
    box = np.column_stack([rng.uniform(0, 50, (count, 2)), rng.uniform(20, 90, (count, 2))])
    xy = box[:, None, :2] + rng.uniform(0, 1, (count, 16, 2)) * box[:, None, 2:] + rng.normal(0, 12, (count, 1, 2))
    return KeypointDataset(
        annotations=Path("people.json"),
        skeleton=MPII16,
        image_id=np.array([1]),
        image_path=Strings.of(["a.jpg"]),
        image=np.zeros(count, np.int32),
        annotation_id=np.arange(1, count + 1),
        category_id=np.ones(count, np.int64),
        xy=xy.astype(np.float32),
        visibility=rng.integers(0, 3, (count, 16)).astype(np.uint8),
        box=box,
        area=box[:, 2] * box[:, 3],
    )


def test_selected_by_loops():
    spec = SimpleNamespace(size=(256, 192), padding=(1.25, 1.25), crop_rule="standard")
    dataset = people(60, seed=3)
    kept = []
    for n in range(len(dataset)):
        x, y, w, h = dataset.box[n]
        centre = (x + w / 2, y + h / 2)
        w, h = max(w, h * 192 / 256) * 1.25, max(h, w * 256 / 192) * 1.25
        points = dataset.xy[n][dataset.visibility[n] > 0]
        if len(points):
            away = math.dist(points.astype(float).mean(0), centre)
            if math.exp(-(away**2) / (2 * 0.2**2 * w * h)) > 0.2 / 16 * len(points) + 0.45 - 0.2 / 16:
                kept.append(n)
    assert 5 < len(kept) < 55
    found = selected(dataset, spec)
    assert found.annotation_id.tolist() == dataset.annotation_id[kept].tolist()
    assert found.skipped == {"not centred in their box (select_data)": 60 - len(kept)}
    far = replace(dataset, box=dataset.box + np.array([9000, 0, 0, 0]))
    with pytest.raises(ValueError, match="no usable annotations: all 60 people are not centred in their box"):
        selected(far, spec)


def test_unlabelled_people_go():
    dataset = people(4, seed=0)
    visibility = dataset.visibility.copy()
    visibility[:2] = 0
    spec = SimpleNamespace(size=(64, 64), padding=(1.0, 1.0), crop_rule="standard")
    centred = replace(
        dataset,
        visibility=visibility,
        xy=np.broadcast_to(dataset.box[:, None, :2] + dataset.box[:, None, 2:] / 2, dataset.xy.shape),
    )
    assert selected(centred, spec).annotation_id.tolist() == dataset.annotation_id[2:].tolist()
