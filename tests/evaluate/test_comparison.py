"""Comparing results: real differences are told from chance, and what cannot be compared is refused with the reason."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posewright.data import formats, sources
from posewright.evaluate.comparison import Contender, compare, distinct, same_grounds
from posewright.evaluate.diagnosis import diagnose
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


def test_equal_names_get_as_many_folders_as_it_takes():
    paths = ("a/eval/results.json", "b/eval/results.json", "other/results.json", "b/eval/results.json", "x/y/eval.json")
    names = [c.name for c in distinct([Contender("", Path(path)) for path in paths])]
    assert names == ["a/eval", "b/eval", "other", "b/eval (2)", "y/eval"]


def test_the_file_with_unknown_images_is_named(files):
    (files / "odd.json").write_text((files / "good.json").read_text().replace('"image_id": 3,', '"image_id": 99,'))
    with pytest.raises(ValueError, match=r"odd\.json: result 3 is of image 99, which the ground truth does not have"):
        compare([Contender.of(files / f"{name}.json") for name in ("good", "odd")], str(files / "gt.json"))


def test_the_ground_truth_may_be_of_any_format(files):
    formats.write(formats.read(files / "gt.json"), path := files / "gt.xml")
    people = sources.without_images(formats.read(path))
    triples = np.insert(people.xy, 2, 1, axis=2).reshape(len(people), -1).tolist()
    images, categories = people.image_id[people.image].tolist(), people.category_id.tolist()
    found = [
        {"image_id": image, "category_id": category, "keypoints": keypoints, "score": 1.0}
        for image, category, keypoints in zip(images, categories, triples)
    ]
    (files / "found.json").write_text(json.dumps(found))
    first, _ = compare([Contender.of(files / "found.json")] * 2, str(path), draws=2)
    assert first.diagnosis.value == pytest.approx(1)
    assert diagnose(path, found).value == pytest.approx(1)
