"""MPII's own annotations: centre and scale become boxes, and PCKh is measured on them."""

import json

import numpy as np
import pytest

from posewright.data import mpii
from posewright.data.skeleton_file import people_for
from posewright.evaluate import distances
from posewright.skeletons import MPII16


def person(**changes):
    joints = [[10.0 * n + 1, 5.0 * n + 1] for n in range(16)]
    return {"image": "a.jpg", "center": [101.0, 51.0], "scale": 0.5, "joints": joints, "joints_vis": [1] * 16} | changes


@pytest.fixture
def written(tmp_path):
    (tmp_path / "a.jpg").touch()

    def write(*people):
        (tmp_path / "valid.json").write_text(json.dumps(people))
        return tmp_path / "valid.json"

    return write


def test_centre_and_scale_become_boxes_as_published(written):
    people = people_for(MPII16, written(person(), person(center=[-1, 51.0], joints_vis=[0] + [1] * 15)))
    assert len(people) == 2
    np.testing.assert_allclose(people.box[0], [100 - 50, 50 + 7.5 - 50, 100, 100])  # 15 scales down, from 0
    np.testing.assert_allclose(people.box[1][:2], [-2 - 50, 50 - 50])  # no centre, no shift
    np.testing.assert_array_equal(people.xy[0, 3], [30, 15])
    assert people.visibility[1].tolist() == [0] + [2] * 15
    assert people.skeleton == MPII16


def test_pckh_is_measured_by_head_boxes_or_else_the_head(written):
    people = mpii.read(written(person()))
    predicted = people.xy.astype(float) + 3
    values, _, rule = distances.measured("PCKh", predicted, people)  # head: 10, 5 apart, so 5.6 at the threshold
    assert (values["Mean"], rule) == (100, "PCKh@0.5 in percent, of the head, upper_neck to head_top")
    people = mpii.read(written(person(headbox=[1, 1, 4, 5])))  # 0.6 of a diagonal of 5 is 3
    values, _, rule = distances.measured("PCKh", predicted, people)
    assert (values["Mean"], rule) == (0, "PCKh@0.5 in percent, of 0.6 of the head box's diagonal")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [[1, 2]]}, r"person 0 \(a.jpg\): expected 16 joints, 16 joints_vis and a scale above 0, got 1, 16"),
        ({"scale": 0}, "a scale above 0, got 16, 16 and 0"),
        ({"center": [1]}, r"valid.json: expected MPII's list of people .*`\$\[0\].center`"),
    ],
)
def test_faulty_entries_are_named(written, change, message):
    with pytest.raises(ValueError, match=message):
        mpii.read(written(person(**change)))
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images not found, first 'b.jpg'"):
        mpii.read(written(person(image="b.jpg")))
