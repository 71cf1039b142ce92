"""MPII's own annotations: centre and scale become boxes, and PCKh is measured on them."""

import json

import numpy as np
import pytest

from posewright.data import sources
from posewright.data.formats import mpii
from posewright.data.skeleton_file import people_for
from posewright.evaluate import distances
from posewright.skeletons import LSP14, MPII16


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
    people = mpii.people(written(person()))
    predicted = people.xy.astype(float) + 3
    values, _, rule = distances.measured("PCKh", predicted, people)  # head: 10, 5 apart, so 5.6 at the threshold
    assert (values["Mean"], rule) == (100, "PCKh@0.5 in percent, of the head, upper_neck to head_top")
    people = mpii.people(written(person(headbox=[1, 1, 4, 5])))  # 0.6 of a diagonal of 5 is 3
    values, _, rule = distances.measured("PCKh", predicted, people)
    assert (values["Mean"], rule) == (0, "PCKh@0.5 in percent, of 0.6 of the head box's diagonal")


def test_head_boxes_and_joints_are_those_of_the_official_ground_truth_beside_it(written):
    io = pytest.importorskip("scipy.io")
    path = written(person(joints_vis=[0] * 16), person())
    joints = np.arange(64.0).reshape(16, 2, 2)
    missing = np.zeros((16, 2))
    missing[3, 1] = 1
    heads = np.array([[[1, 5], [1, 5]], [[4, 9], [5, 8]]], float)  # corner, axis, person
    io.savemat(path.with_name("gt_valid.mat"), {"pos_gt_src": joints, "jnt_missing": missing, "headboxes_src": heads})
    people = mpii.people(path)
    np.testing.assert_array_equal(people.head_box, [[0, 0, 3, 4], [4, 4, 8, 7]])
    np.testing.assert_array_equal(people.xy[1, 2], joints[2, :, 1] - 1)
    assert people.visibility.tolist() == [[2] * 16, [2] * 3 + [0] + [2] * 12]
    _, _, rule = distances.measured("PCKh", people.xy.astype(float), people)
    assert rule == "PCKh@0.5 in percent, of 0.6 of the head box's diagonal"
    written(person())
    with pytest.raises(ValueError, match=r"gt_valid.mat: expected pos_gt_src \(16, 2, 1\) for the 1 people beside it"):
        mpii.people(path)
    path.with_name("gt_valid.mat").write_bytes(b"MATLAB 5.0 MAT-file" * 9)
    with pytest.raises(ValueError, match=r"gt_valid.mat: expected MPII's ground truth .*; not a MATLAB file"):
        mpii.people(path)


def test_it_is_training_data_too_alone_or_beside_others(written):
    path = written(person(), person())
    assert len(sources.read_all([path], [""])) == 2
    lsp = sources.read_all([path, path], ["", ""], LSP14)
    assert (len(lsp), lsp.skeleton) == (4, LSP14)
    assert lsp.visibility.sum() == 4 * 2 * len(set(LSP14.points) & set(MPII16.points))


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
        mpii.people(written(person(**change)))
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images not found, first 'b.jpg'"):
        mpii.people(written(person(image="b.jpg")))
