"""Metrics and losses in plain words, and published rows beside one's own."""

import numpy as np

from posewright.evaluate import printing
from posewright.evaluate._groups import Groups
from posewright.evaluate.printing import published_row


def test_a_published_row_fits_the_boxes_and_leaves_out_what_was_not_published():
    row = published_row("hrnet-w32-256x192", "gt", ["AP", "AR_M"])
    assert row.startswith("| published on coco (")
    assert row.split(" | ")[1] == "0.765"
    assert row.endswith("| gt |")
    assert published_row("hrnet-w32-256x192", "detections.json", ["AP"]).endswith("| 0.744 | det 56.4 |")
    assert published_row("litebaseline-unheard-of", "gt", ["AP"]) == ""


def test_the_group_that_has_most_errors_is_named_with_how_much_more_than_its_share():
    groups = Groups(("front", "behind"), np.array([0, 0, 0, 1, -1]))
    label, lift = groups.telling(np.array([1, 0, 0, 3, 9]), np.array([5, 5, 5, 5, 5]))
    assert label == "behind"
    assert lift == 3.0
    assert groups.telling(np.zeros(5), np.ones(5)) == ("", 0.0)
    assert groups.telling(np.array([1, 0, 0, 1, 0]), np.ones(5))[0] == ""


def test_explanations_of_sizes_and_zeros(small_world, measured_of):
    truth, exact = small_world
    fine = measured_of(truth, exact)
    assert printing.explain(fine) == [
        "AP_M and AR_M are -1: no ground truth of medium size (1024 to 9216 square pixels)",
        "AP_L and AR_L are -1: no ground truth of large size (9216 or more square pixels)",
    ]
    assert fine.best_oks == 1
    no_people = measured_of(truth | {"annotations": []}, exact)
    assert printing.explain(no_people)[0] == "all metrics are -1: no person is annotated with a keypoint, crowds apart"
    silent = measured_of(truth, [])
    assert printing.explain(silent)[0] == f"AP is 0: there are no results for the {len(exact)} annotated people"
    far = [e | {"keypoints": [9e4, 9e4, 1.0] * 17} for e in exact]
    assert "the best result for each person has a mean OKS of 0.000" in printing.explain(measured_of(truth, far))[0]
    empty = truth | {"images": [*truth["images"], {"id": 7777}]}
    strayed = printing.explain(measured_of(empty, [e | {"image_id": 7777} for e in exact]))[0]
    assert (
        strayed
        == f"AP is 0: no result is of any of the {fine.images} images with annotated people; compare the image ids"
    )


def test_the_row_is_headed_as_hrnets_and_names_the_boxes(small_world, measured_of):
    truth, exact = small_world
    measured = measured_of(truth, exact, boxes="gt")
    head, rule, row = printing.markdown_row(measured.metrics, "lpn-50", measured.boxes).splitlines()
    assert head == "| Arch | AP | Ap .5 | AP .75 | AP (M) | AP (L) | AR | AR .5 | AR .75 | AR (M) | AR (L) | Boxes |"
    assert row == "| lpn-50 | 1.000 | 1.000 | 1.000 | – | – | 1.000 | 1.000 | 1.000 | – | – | gt |"
    assert rule.count("---") == 12
    lines = printing.summary(measured, "lpn-50")
    assert lines[:10] == printing.coco_lines(measured.metrics)
    assert lines[-1] == row
