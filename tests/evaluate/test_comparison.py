"""Comparing results: real differences are told from chance, and what cannot be compared is refused with the reason."""

import json
from dataclasses import replace

import numpy as np
import pytest

from posewright.evaluate.comparison import Contender, compare, same_grounds
from posewright.skeletons import COCO17, to_category


@pytest.fixture
def files(tmp_path):
    """Thirty images of one person; results `good` and `worse`, whose left wrists are off; what eval writes beside."""
    rng = np.random.default_rng(0)
    annotations, good, worse = [], [], []
    for n in range(30):
        xy = rng.uniform(50, 250, (17, 2))
        triples = np.column_stack([xy, np.full(17, 2)])
        a = {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [50, 50, 200, 200], "area": 4e4, "iscrowd": 0}
        annotations.append(a | {"num_keypoints": 17, "keypoints": triples.ravel().tolist()})
        near = xy + rng.normal(0, 1, (17, 2))
        for kept, wrist in ((good, 0), (worse, 300)):
            moved = near.copy()
            moved[9] += wrist
            keypoints = np.column_stack([moved, np.ones(17)]).ravel().tolist()
            kept.append({"image_id": n, "category_id": 1, "keypoints": keypoints, "score": 1.0})
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 300, "height": 300} for n in range(30)]
    truth = {"images": images, "annotations": annotations, "categories": [to_category(COCO17)]}
    for name, content in (("gt", truth), ("good", good), ("worse", worse)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_the_point_that_became_worse_is_told_from_chance(files):
    first, other = compare(
        [Contender.of(files / f"{name}.json") for name in ("good", "worse")], str(files / "gt.json"), draws=200
    )
    assert first.main == (0, 0, 0)
    change, low, high = other.main
    assert low <= change <= high < 0
    assert change == pytest.approx(other.metrics["AP"] - first.metrics["AP"], abs=1e-12)
    wrist = COCO17.points.index("left_wrist")
    assert other.points[wrist, 2] < -0.9
    assert not np.delete(other.points, wrist, axis=0).any()
    assert (other.changes < 0).all()


def test_the_interval_holds_no_difference_where_there_is_none(files):
    both = [Contender.of(files / "good.json")] * 2
    _, same = compare(both, str(files / "gt.json"), draws=20)
    assert same.main == (0, 0, 0)


def test_other_boxes_and_other_ground_truths_are_refused_with_the_reason(files):
    plain = Contender.of(files / "good.json")
    with pytest.raises(ValueError, match="no ground truth is known: name the annotations with --data"):
        same_grounds([plain, plain])
    stated = replace(plain, boxes="gt", annotations=str(files / "gt.json"))
    assert same_grounds([stated, plain]) == str(files / "gt.json")
    with pytest.raises(
        ValueError, match=r"good has boxes from gt, good from yolox\.json: their metrics do not compare"
    ):
        same_grounds([stated, replace(stated, boxes="yolox.json")])
    with pytest.raises(ValueError, match="the ground truths differ: good was evaluated on"):
        same_grounds([stated, replace(stated, sha256="0" * 64, annotations="other.json")])
