"""COCO-format files: what is read, skipped, filled in and refused."""

import json
import math
import os

import numpy as np
import pytest

from posewright import image
from posewright.data import coco
from posewright.skeletons import AP10K17, COCO17, CROWDPOSE14, LSP14, to_category
from posewright.types import Skeleton


def test_reads_a_person(dataset, person, tmp_path):
    people = coco.read(dataset(tmp_path, [person(7)]))
    one = people[0]
    assert len(people) == 1
    assert people.skeleton.points == ("head", "left_wing", "right_wing")
    assert people.skeleton.mirror == (("left_wing", "right_wing"),)
    assert (one.path, one.image_id, one.annotation_id) == (tmp_path / "images/a.jpg", 1, 7)
    np.testing.assert_array_equal(one.xy, [[15, 25], [20.5, 30.25], [0, 0]])
    np.testing.assert_array_equal(one.visibility, [2, 1, 0])
    np.testing.assert_array_equal(one.box, [10, 20, 29, 39])  # cleaning takes a pixel
    assert one.area == 700.0
    assert people.skipped == people.filled == {}
    assert people.paths == {1: tmp_path / "images/a.jpg"}


def test_skips_are_counted_by_reason(dataset, person, category, tmp_path):
    file = dataset(
        tmp_path,
        [
            person(1),
            person(2, iscrowd=1),
            person(3, keypoints=[0] * 9, num_keypoints=0),
            person(4, keypoints=None, num_keypoints=None),
            person(5, area=0),
            person(6, bbox=[10, 20, 0, 40]),
            person(7, bbox=[100, 20, 30, 40]),
            person(8, bbox=[10, 20, 1, 40]),
            person(9, category_id=2, keypoints=None),
        ],
        categories=[category, {"id": 2, "name": "dog"}],
    )
    people = coco.read(file)
    assert people.annotation_id.tolist() == [1, 6, 8]  # the official loaders keep a box that has lost one side
    np.testing.assert_allclose(people.box[1], [10, 20, 0, 39], atol=1e-6)  # official code keeps a box without width
    assert people.skipped == {
        "of another category": 1,
        "a crowd": 1,
        "without a labelled keypoint": 2,
        "with a box empty or outside its image": 1,
        "with an area not above 0": 1,
    }


def test_missing_fields_are_filled_in_and_counted(dataset, person, tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}]
    minimal = person(1, area=None, iscrowd=None, num_keypoints=None, bbox=[90, 20, 30, 40])
    people = coco.read(dataset(tmp_path, [minimal], images))
    assert people.area[0] == pytest.approx(0.53 * 30 * 40)
    np.testing.assert_array_equal(people.box[0], [90, 20, 29, 39])
    assert people.filled == {"area (0.53 of the box)": 1, "image size (boxes not cut at the edge)": 1}
    truth = people.evaluated()
    assert (truth.crowd.tolist(), truth.labelled.tolist(), truth.area.tolist()) == ([False], [2], [pytest.approx(636)])


def test_numbers_in_quotes_and_whole_floats_are_numbers(dataset, person, tmp_path):
    people = coco.read(dataset(tmp_path, [person("7", image_id=1.0, keypoints=[15.0, 25, 2.0, "20", 30, 1, 0, 0, 0])]))
    assert people.annotation_id.tolist() == [7]
    assert people.xy[0, 1].tolist() == [20, 30]


def test_all_categories_with_the_same_keypoints_are_taken(dataset, person, category, tmp_path):
    species = [category, category | {"id": 5, "name": "moth"}]
    file = dataset(tmp_path, [person(1), person(2, category_id=5)], categories=species)
    assert coco.read(file).category_id.tolist() == [1, 5]
    assert coco.read(file, categories=["moth"]).category_id.tolist() == [5]
    assert coco.read(file).evaluated().category_id.tolist() == [1, 5]
    assert coco.read(file, categories=["moth"]).evaluated().category_id.tolist() == [5]


def test_a_skeleton_can_be_given(dataset, person, tmp_path):
    own = Skeleton("own", ("x", "y", "z"))
    assert coco.read(dataset(tmp_path, [person()], categories=[]), skeleton=own).skeleton == own
    file = dataset(tmp_path, [person()])
    assert coco.read(file, skeleton=own).skeleton == own
    with pytest.raises(ValueError, match=r"annotations\[0\] \(id 1, image 1\): expected 17 keypoints as 51 numbers.*9"):
        coco.read(file, skeleton=COCO17)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": []}, "no annotations in it, only 1 images"),
        ({"annotations": [{"id": 3, "keypoints": [0] * 9}]}, "no usable annotations: .*1 without a labelled keypoint"),
        (
            {"annotations": [{"id": 3, "keypoints": [1, 2, 2]}]},
            r"annotations\[0\] \(id 3, .*expected 3 keypoints.*got 3 num",
        ),
        ({"annotations": [{"id": 3, "keypoints": [1, 2, 3] * 3}]}, r"\(id 3, image 1\): visibility must be 0 .*got 3"),
        ({"annotations": [{"id": 3, "keypoints": [1, 2, -1] * 3}]}, "visibility must be 0 .*got -1"),
        ({"annotations": [{"id": 3, "keypoints": "none"}]}, r"\(id 3, image 1\): keypoints must be a list .*got `str`"),
        ({"annotations": [{"id": 3, "keypoints": [1, None, 2] * 3}]}, "must be a list of finite numbers.*got `null`"),
        (
            {"annotations": [{}, {"id": 3, "keypoints": [1, math.nan, 2] * 3}]},
            r"annotations\[1\] \(id 3, .*: keypoints holds",
        ),
        (
            {"annotations": [{"id": 3, "bbox": [1, 2, math.inf, 4]}]},
            r"annotations\[0\] \(id 3, .*: bbox holds",
        ),
        ({"annotations": [{"id": 3, "bbox": [1, 2, 3]}]}, r"\(id 3, image 1\): bbox must be x, y, width, height"),
        ({"annotations": [{"id": 3, "bbox": None}]}, r"\(id 3, image 1\): no bbox"),
        ({"annotations": [{"id": 3}, {"id": 3}]}, "2 entries of annotations have the id 3"),
        ({"images": [{}, {}]}, "2 entries of images have the id 1"),
        ({"annotations": [{"id": 3, "image_id": 9}]}, r"\(id 3, image 9\): no entry of images has the id 9"),
        ({"annotations": [{"image_id": None}]}, r"missing required field `image_id` - at `\$.annotations\[0\]`"),
        ({"categories": []}, "none of its 0 categories lists keypoints"),
        (
            {"categories": [{"name": "dog", "keypoints": None, "skeleton": None}]},
            "none of its 1 categories lists keypoints.*person_keypoints_",
        ),
        (
            {"categories": [{}, {"id": 2, "name": "fly", "keypoints": ["a"]}]},
            "'bug' and 'fly' list different",
        ),
        ({"categories": [{"skeleton": [[0, 1]]}]}, r"category 'bug': 'skeleton' must be pairs .*1\.\.3"),
    ],
)
def test_wrong_content(dataset, person, tmp_path, change, message):
    """An entry holds what is changed in the usual one; None leaves a field out."""
    file = dataset(tmp_path, [person()])
    content = json.loads(file.read_text())
    for part, entries in change.items():
        (usual,) = content[part]
        content[part] = [{k: v for k, v in (usual | entry).items() if v is not None} for entry in entries]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        coco.read(file)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"not JSON, or cut short.*0 bytes"),
        ('{"images": [', "not JSON, or cut short"),
        ("hello", "not JSON"),
        ("[NaN]", "Expected `object`, got `array`"),
        ('{"images": [], "annotations": [], "info": NaN}', "no annotations in it"),
        ('{"images": ' + "[" * 100_000, "Expected `object`, got `array` - at"),
        ('{"info": ' + "[" * 100_000, "nested too deeply"),
        ('{"images": [{"id": ' + "1" * 5000 + "}]}", "got|out of range|<= 9223372036854775807"),
        ('{"images": [{"id": 1, "file_name": "\\ud800"}], "annotations": []}', "cut short: .*surrogate"),
        ('{"' + "k" * 70_000 + '": 1}', "got an object with kkk"),
        ("3", "expected a COCO annotation file, .*got `int`"),
        ('{"info": 1, "shapes": []}', "got an object with info, shapes"),
        ('[{"image_id": 1, "score": 0.5}]', "got a list of 1 of objects with image_id, score; that looks like results"),
        ("[]", "got a list of 0"),
        ('{"images": 3, "annotations": []}', "expected a COCO annotation file.*Expected `array`, got `int`"),
    ],
)
def test_not_coco(tmp_path, text, message):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        coco.read(file)
    assert str(error.value).startswith(str(file))
    assert len(str(error.value)) < 700


def test_bytes_that_are_no_text_and_pipes_are_refused(tmp_path):
    file = tmp_path / "x.json"
    file.write_bytes(b'{"images": [{"id": 1, "file_name": "\xff"}], "annotations": []}')
    with pytest.raises(ValueError, match=r"x\.json: expected a COCO annotation file"):
        coco.read(file)
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", "/dev/zero"):
        with pytest.raises(ValueError, match="expected a JSON file, got a pipe or a device"):
            coco.read(path)


def test_no_file(dataset, person, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such JSON file"):
        coco.read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="expected a JSON file, got a folder"):
        coco.read(tmp_path)
    with pytest.raises(LookupError, match="no category cat; it has: bug"):
        coco.read(dataset(tmp_path, [person()]), categories=["cat"])


def test_a_whole_skeleton_in_the_categories_is_read_back(dataset, person, tmp_path):
    bug = Skeleton("bug", ("a", "b", "c"), (("a", "b"),), (("a", "c"),), (0.1, 0.2, 0.1), ("b",))
    file = dataset(tmp_path, [person()], categories=[to_category(bug, 1, "bug")])
    assert coco.read(file).skeleton == bug  # no mirror pair could be told from these names


def test_real_files(shared):
    expected = {
        "coco_mini/annotations/person_keypoints_train2017.json": (86, 80, COCO17, {"a crowd": 5, "unlabelled": 81}),
        "formats/coco/test_coco.json": (12, 4, COCO17, {"unlabelled": 2}),
        "formats/crowdpose/test_crowdpose.json": (4, 2, CROWDPOSE14, {"unlabelled": 1}),
        "formats/ap10k/test_ap10k.json": (2, 2, AP10K17, {}),
        "lspet/val.json": (500, 500, LSP14, {}),
    }
    for name, (number, images, skeleton, skipped) in expected.items():
        people = coco.read(shared / "data" / name)
        assert (len(people), len(people.image_id), people.skeleton.points) == (number, images, skeleton.points)
        assert {k.replace("without a labelled keypoint", "unlabelled"): v for k, v in people.skipped.items()} == skipped
        assert image.read(people[0].path, upright=False).ndim == 3
    people = coco.read(shared / "data/formats/horse10/test_horse10.json")
    assert people.skeleton.num_keypoints == 22
    for name in ("mpii/test_mpii.json", "coco/test_coco_det_AP_H_56.json"):
        with pytest.raises(ValueError, match=r"expected a COCO annotation file.*got a list of"):
            coco.read(shared / "data/formats" / name)
