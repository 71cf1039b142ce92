"""Losses in plain words, and published rows beside one's own."""

import numpy as np

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
