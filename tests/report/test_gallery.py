"""Cases are ordered by how good they are, and drawn."""

from dataclasses import replace

import numpy as np
import pytest

from posewright import draw
from posewright.data import coco
from posewright.evaluate import evaluator
from posewright.image import read
from posewright.report import gallery
from posewright.synthetic import people as synthetic


@pytest.mark.parametrize("sigmas", ["kept", "none"])
def test_cases_are_ordered_and_drawn(tmp_path, sigmas):
    people = coco.read(synthetic.make(tmp_path, 6, workers=1))
    if sigmas == "none":
        people = people.with_skeleton(replace(people.skeleton, sigmas=None))
    image_ids = [people[n].image_id for n in range(len(people))]
    results = [  # person n is found off by n pixels
        {"image_id": image_ids[n], "keypoints": np.insert(people[n].xy + n, 2, 1, axis=1).ravel().tolist()}
        for n in range(len(people))
    ]
    results = [r for r in results if r["image_id"] != image_ids[-1]]  # no person in the last image
    evaluation = evaluator.Evaluation({}, results, None, None, "", people.skeleton.points, "gt")
    quality, best = gallery.best_results(people, evaluation)
    assert quality[0] == (1 if sigmas == "kept" else 0)
    assert (quality[1:] < quality[0]).all()
    assert quality[-1] == (0 if sigmas == "kept" else -1)
    assert [b is None for b in best] == [i == image_ids[-1] for i in image_ids]
    worst = gallery.cases(people, evaluation, 3)["Worst"]
    assert len(worst) == 3
    assert worst[0].caption.startswith("OKS 0.00" if sigmas == "kept" else "off 1.00")
    paths = gallery.write_sheets(tmp_path, people, evaluation, 4)
    assert [p.name for p in paths] == ["worst.jpg", "random.jpg", "best.jpg"]
    assert read(paths[0]).shape == (240 + 18 + 18, 4 * 240, 3)  # captions, and a legend


def test_points_of_low_score_are_seen_and_annotated_ones_have_their_side_s_colour(tmp_path):
    people = coco.read(synthetic.make(tmp_path, 1, workers=1))
    person = people[0]
    away = np.insert(person.xy + 9, 2, 0.01, axis=1)
    without = gallery.case(people, 0, "", None).image
    shown = gallery.case(people, 0, "", away).image
    assert (shown != without).any(2).sum() > 50
    for colour in (draw.LEFT, draw.RIGHT, draw.MIDDLE):
        assert (np.abs(without.astype(int) - colour).max(2) < 50).sum() > 5
