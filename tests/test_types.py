"""The values are validated on construction and their derived views are right."""

import json
from dataclasses import replace

import numpy as np
import pytest

from posewright.skeletons import COCO17
from posewright.types import Boxes, Crop, Pose, Poses, Skeleton

BUG = Skeleton("bug", ("head", "left", "right"), (("head", "left"),), (("left", "right"),), (0.1, 0.2, 0.2), ("head",))


def test_skeleton_views():
    assert BUG.num_keypoints == 3
    assert BUG.flip_index.tolist() == [0, 2, 1]
    assert BUG.bone_index.tolist() == [[0, 1]]
    assert BUG.upper_mask.tolist() == [True, False, False]
    assert Skeleton("dot", ("a",)).bone_index.shape == (0, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": ()}, "points must be distinct and at least one"),
        ({"points": ("a", "a")}, "points must be distinct"),
        ({"sigmas": (0.1,)}, "'s': 2 points but 1 sigmas"),
        ({"sigmas": (0.1, 0.0)}, "sigmas must be above 0"),
        ({"sigmas": (0.1, float("nan"))}, "sigmas must be above 0"),
        ({"bones": (("a", "c"),)}, r"names \['c'\], not among the points"),
        ({"mirror": (("a", "x"),)}, r"names \['x'\]"),
        ({"upper": ("y",)}, r"names \['y'\]"),
        ({"mirror": (("a", "b"), ("b", "a"))}, "a point stands in two mirror pairs"),
    ],
)
def test_impossible_skeletons(fields, message):
    with pytest.raises(ValueError, match=message):
        Skeleton(**{"name": "s", "points": ("a", "b")} | fields)


def test_boxes():
    boxes = Boxes.of([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert len(boxes) == 2
    assert boxes.score.tolist() == [1, 1]
    assert boxes.xywh.dtype == boxes.score.dtype == np.float64
    assert boxes.source == "caller"
    assert len(Boxes.of([])) == 0
    assert Boxes.of([]).xywh.shape == (0, 4)


@pytest.mark.parametrize(
    ("xywh", "score", "message"),
    [
        ([1, 2, 3, 4], None, r"file: expected xywh \[N, 4\] and score \[N\], got \(4,\)"),
        ([[1, 2, 3]], None, r"got \(1, 3\)"),
        ([[1, 2, 3, 4]], [1, 2], r"got \(1, 4\) and \(2,\)"),
        ([[1, 2, 3, 4], [1, 2, 0, 4]], None, r"box 1 is \[1.0, 2.0, 0.0, 4.0\].*width and height above 0"),
        ([[1, 2, 3, -4]], None, "box 0 is"),
        ([[np.nan, 2, 3, 4]], None, "expected finite x, y, width, height in pixels"),
        ([[1, 2, 3, 4]], [np.inf], "box 0 is .* with score inf"),
    ],
)
def test_impossible_boxes(xywh, score, message):
    with pytest.raises(ValueError, match=message):
        Boxes.of(xywh, score, "file")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3)[:2], r"expected finite matrices \[N, 2, 3\]"),
        (np.array([[[1, 0, np.nan], [0, 1, 0]]]), r"expected finite matrices \[N, 2, 3\]"),
        (
            np.array([[[1.0, 0, 0], [0, 1, 0]], [[1.0, 2, 0], [2, 4, 0]]]),
            r"the matrix cannot be inverted: array\(\[\[1., 2.",
        ),
    ],
)
def test_impossible_crops(matrix, message):
    with pytest.raises(ValueError, match=message):
        Crop(matrix, (4, 4))


@pytest.fixture
def poses():
    boxes = Boxes(np.array([[0, 0, 10, 20], [5, 5, 8, 9.123456]]), np.array([0.9, 0.8]), "test")
    xy = np.arange(12, dtype=float).reshape(2, 3, 2) + 0.123456
    return Poses(xy, np.full((2, 3), 0.5), np.array([0.4, 0.3]), boxes, BUG)


def test_poses_must_fit_their_boxes_and_skeleton(poses):
    with pytest.raises(ValueError, match=r"2 boxes and skeleton 'coco17' want xy \(2, 17, 2\).*got \(2, 3, 2\)"):
        Poses(poses.xy, poses.score, poses.instance_score, poses.boxes, COCO17)


@pytest.mark.parametrize("keep", [np.array([1]), np.array([False, True])])
def test_picking_poses(poses, keep):
    picked = poses[keep]
    assert len(picked) == 1
    assert picked.boxes.source == "test"
    np.testing.assert_array_equal(picked.xy[0], poses.xy[1])
    np.testing.assert_array_equal(picked.boxes.score, [0.8])
    assert len(poses[np.zeros(2, bool)]) == 0


def test_coco_results(poses):
    results = poses.to_coco(7, category_id=3)
    assert results[1] == {
        "image_id": 7,
        "category_id": 3,
        "keypoints": [6.1235, 7.1235, 0.5, 8.1235, 9.1235, 0.5, 10.1235, 11.1235, 0.5],
        "score": 0.3,
        "box": [5.0, 5.0, 8.0, 9.123],
    }


def test_one_pose_and_its_points_by_name(poses):
    pose = poses[1]
    assert isinstance(pose, Pose)
    assert pose["left"] == (8.123456, 9.123456, 0.5)
    assert (pose["head"].x, pose["head"].y, pose["head"].score) == (6.123456, 7.123456, 0.5)
    assert pose.instance_score == 0.3
    assert pose.box.tolist() == [5, 5, 8, 9.123456]
    assert [p["head"].x for p in poses] == [0.123456, 6.123456]
    assert poses[-1] == poses[1] != poses[0]
    with pytest.raises(KeyError, match="'bug' has no point 'lefty'; it has left"):
        pose["lefty"]
    with pytest.raises(IndexError, match="there are 2 poses, asked for number 2"):
        poses[2]
    with pytest.raises(TypeError, match=r"a point is of one pose: poses\[0\]\['head'\]"):
        poses["head"]
    assert len(poses[1:]) == len(poses[[1]]) == 1
    with pytest.raises(AttributeError):
        pose.score = pose.xy


def test_poses_are_equal_by_their_numbers(poses):
    same = Poses(poses.xy.copy(), poses.score.copy(), poses.instance_score.copy(), poses.boxes, BUG)
    assert poses == same
    assert same == poses[:]
    other = Boxes(poses.boxes.xywh, poses.boxes.score, "another detector")
    assert poses != Poses(poses.xy, poses.score, poses.instance_score, other, BUG)
    assert poses != Poses(poses.xy + 1, poses.score, poses.instance_score, poses.boxes, BUG)
    assert poses != poses[:1]
    assert poses != "poses"
    assert Crop(np.eye(3)[None, :2], (4, 4)) == Crop(np.eye(3)[None, :2], (4, 4)) != Crop(np.eye(3)[None, :2], (4, 5))


def test_poses_as_plain_values_and_as_a_table(poses):
    plain = json.loads(json.dumps(poses.to_dict()))
    assert plain["poses"][1]["keypoints"]["left"] == [8.123456, 9.123456, 0.5]
    assert plain["poses"][1] == {**poses[1].to_dict()}
    assert (plain["skeleton"], plain["boxes_from"]) == ("bug", "test")
    assert {"bbox": [5.0, 5.0, 8.0, 9.123]}.items() <= poses.to_coco(7, bbox=True)[1].items()
    pytest.importorskip("pandas")
    table = poses.to_pandas()
    assert list(table.columns) == ["pose", "point", "x", "y", "score", "pose_score"]
    assert table.loc[4].tolist() == [1, "left", 8.123456, 9.123456, 0.5, 0.3]
    assert len(poses[:0].to_pandas()) == 0


def test_calibrated_scores_travel_with_poses_and_stay_between_zero_and_one():
    plain = Poses(np.zeros((2, 3, 2)), np.ones((2, 3)), np.array([3.0, 1.5]), Boxes.of([[0, 0, 9, 9]] * 2), BUG)
    assert "calibrated" not in plain.to_coco(1)[0]
    assert "calibrated" not in plain[0].to_dict()
    poses = replace(plain, calibrated=np.array([0.875, 0.25]))
    assert poses != plain
    assert [pose.calibrated for pose in poses] == [0.875, 0.25]
    assert [pose.instance_score for pose in poses] == [3.0, 1.5]
    assert poses[1:].calibrated.tolist() == [0.25]
    assert poses[0].to_dict()["calibrated"] == 0.875
    assert [(entry["score"], entry["calibrated"]) for entry in poses.to_coco(1)] == [(3.0, 0.875), (1.5, 0.25)]
    for wrong in ([0.5], [0.5, 1.5], [0.5, np.nan]):
        with pytest.raises(ValueError, match="expected 2 calibrated scores from 0 to 1"):
            replace(plain, calibrated=np.array(wrong))
