"""Poses survive the way to other tools' values and back."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from posewright.predict import interop
from posewright.types import Boxes, Poses, Skeleton

PAWS = Skeleton("paws", ("left_paw", "right_paw", "tail"))


@pytest.fixture
def poses():
    xy = np.array([[[10.0, 20], [30, 25], [12, 60]], [[110, 20], [130, 25], [112.5, 60]]])
    score = np.array([[0.9, 0.5, 0.1], [0.8, 0.25, 0.75]])
    boxes = Boxes.of([[5, 10, 40, 60], [105, 10, 40, 60]], [0.5, 0.25], "file")
    return Poses(xy, score, np.array([0.5, 0.25]), boxes, PAWS)


def same(found, poses):
    np.testing.assert_allclose(found.xy, poses.xy, atol=1e-4)
    np.testing.assert_allclose(found.score, poses.score, atol=1e-6)
    assert found.skeleton == poses.skeleton


def test_supervision_there_and_back(poses):
    supervision = pytest.importorskip("supervision")
    theirs = interop.to_supervision(poses)
    assert theirs.xy.dtype == np.float32
    same(interop.from_supervision(theirs, PAWS), poses)
    np.testing.assert_array_equal(interop.from_supervision(theirs, PAWS).instance_score, poses.instance_score)
    np.testing.assert_array_equal(theirs.as_detections().xyxy[1], [110, 20, 130, 60])
    scene = supervision.VertexAnnotator(radius=2).annotate(np.zeros((80, 160, 3), np.uint8), theirs[1:])
    assert scene[20, 110].any()
    assert not scene[:, :90].any()
    unscored = supervision.KeyPoints(xy=theirs.xy)
    assert interop.from_supervision(unscored, PAWS).score.tolist() == [[1, 1, 1]] * 2
    assert len(interop.from_supervision(interop.to_supervision(poses[:0]), PAWS)) == 0


def test_fiftyone_there_and_back_with_its_origin_at_the_edge(poses, monkeypatch):
    stub = SimpleNamespace(Keypoints=SimpleNamespace, Keypoint=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "fiftyone", stub)
    theirs = interop.to_fiftyone(poses, (100, 200))
    assert theirs.keypoints[0].points[0] == pytest.approx((10.5 / 200, 20.5 / 100))
    same(interop.from_fiftyone(theirs, PAWS, (100, 200)), poses)
    assert len(interop.from_fiftyone(SimpleNamespace(keypoints=[]), PAWS, (100, 200))) == 0


def test_a_tool_that_is_missing_is_named(poses, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ModuleNotFoundError, match="pip install supervision"):
        interop.to_supervision(poses)
    with pytest.raises(ModuleNotFoundError, match="pip install fiftyone"):
        interop.to_fiftyone(poses, (1, 1))


def test_coco_results_there_and_back(poses):
    found = interop.from_coco([*poses.to_coco(7), *poses[:1].to_coco(9, bbox=True)], PAWS)
    assert list(found) == [7, 9]
    same(found[7], poses)
    np.testing.assert_array_equal(found[7].boxes.xywh, poses.boxes.xywh)
    assert len(found[9]) == 1
    calibrated = replace(poses, calibrated=np.array([0.75, 0.5]))
    assert interop.from_coco(calibrated.to_coco(7), PAWS)[7].calibrated.tolist() == [0.75, 0.5]


def test_pandas_there_and_back(poses):
    pytest.importorskip("pandas")
    table = poses.to_pandas()
    same(interop.from_pandas(table, PAWS), poses)
    assert "pose_calibrated" not in table
    calibrated = replace(poses, calibrated=np.array([0.75, 0.5]))
    assert interop.from_pandas(calibrated.to_pandas(), PAWS).calibrated.tolist() == [0.75, 0.5]
    with pytest.raises(ValueError, match="expected the points left_paw"):
        interop.from_pandas(table.iloc[1:], PAWS)


def test_deeplabcut_one_animal_there_and_back(poses):
    pytest.importorskip("pandas")
    table = interop.to_deeplabcut({"img1.png": poses[:1], "img2.png": poses[1:]})
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert table.loc["img2.png", ("posewright", "tail", "likelihood")] == 0.75
    found = interop.from_deeplabcut(table, PAWS)
    same(found["img1.png"], poses[:1])


def test_deeplabcut_several_animals_and_rows_without_some(poses):
    pytest.importorskip("pandas")
    table = interop.to_deeplabcut({0: poses, 1: poses[:1], 2: poses[:0]})
    assert list(table.columns.get_level_values("individuals").unique()) == ["individual1", "individual2"]
    found = interop.from_deeplabcut(table)
    assert [len(found[n]) for n in range(3)] == [2, 1, 0]
    np.testing.assert_allclose(found[0].xy, poses.xy)
    with pytest.raises(ValueError, match="one skeleton"):
        interop.to_deeplabcut({})


def test_deeplabcuts_own_labels_are_read(shared):
    pandas = pytest.importorskip("pandas")
    (csv,) = shared.glob("data/deeplabcut/**/CollectedData_*.csv")
    table = pandas.read_csv(csv, header=[0, 1, 2], index_col=0)
    found = interop.from_deeplabcut(table)
    assert len(found) == 116
    assert max(len(poses) for poses in found.values()) == 1


def test_missing_points_score_nothing_and_boxes_go_around_the_others():
    found = interop.poses_of([[[np.nan, 0], [4, 2], [8, 10]]], None, PAWS, source="test")
    assert found.score.tolist() == [[0, 1, 1]]
    assert found.boxes.xywh.tolist() == [[3.5, 1.5, 5, 9]]
