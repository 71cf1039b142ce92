"""COCO-format files: what is read, found, skipped, filled in and refused."""

import json
import math
import os
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from posewright import image
from posewright.data import coco, sources
from posewright.data.image_files import Strings
from posewright.skeletons import AP10K17, COCO17, CROWDPOSE14, LSP14, to_category
from posewright.types import Skeleton

THREE = {"id": 1, "name": "bug", "keypoints": ["head", "left_wing", "right_wing"], "skeleton": [[1, 2], [1, 3]]}


def person(number=1, image_id=1, **changes):
    entry = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [10, 20, 30, 40],
        "area": 700.0,
        "iscrowd": 0,
        "num_keypoints": 2,
        "keypoints": [15, 25, 2, 20.5, 30.25, 1, 0, 0, 0],
    }
    return {key: value for key, value in (entry | changes).items() if value is not None}


def photo(number=1, name="a.jpg"):
    return {"id": number, "file_name": name, "width": 100, "height": 80}


def dataset(folder, annotations, images=None, categories=(THREE,), name="annotations/train.json", places=("images",)):
    """A data set in `folder`: the JSON, and an empty file for each image in each of `places`."""
    images = [photo()] if images is None else images
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": list(categories)}
    path.write_text(json.dumps(content))
    for place in places:
        for entry in images:
            file = folder / place / entry["file_name"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return path


def test_reads_a_person(tmp_path):
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


def test_skips_are_counted_by_reason(tmp_path):
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
        categories=[THREE, {"id": 2, "name": "dog"}],
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


def test_missing_fields_are_filled_in_and_counted(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}]
    minimal = person(1, area=None, iscrowd=None, num_keypoints=None, bbox=[90, 20, 30, 40])
    people = coco.read(dataset(tmp_path, [minimal], images))
    assert people.area[0] == pytest.approx(0.53 * 30 * 40)
    np.testing.assert_array_equal(people.box[0], [90, 20, 29, 39])
    assert people.filled == {"area (0.53 of the box)": 1, "image size (boxes not cut at the edge)": 1}
    truth = people.evaluated()
    assert (truth.crowd.tolist(), truth.labelled.tolist(), truth.area.tolist()) == ([False], [2], [pytest.approx(636)])


def test_numbers_in_quotes_and_whole_floats_are_numbers(tmp_path):
    people = coco.read(dataset(tmp_path, [person("7", image_id=1.0, keypoints=[15.0, 25, 2.0, "20", 30, 1, 0, 0, 0])]))
    assert people.annotation_id.tolist() == [7]
    assert people.xy[0, 1].tolist() == [20, 30]


@pytest.mark.parametrize(
    ("name", "place", "root"),
    [
        ("annotations/person_keypoints_train2017.json", "train2017", None),
        ("annotations/person_keypoints_train2017.json", "images/train2017", None),
        ("annotations/person_keypoints_train2017.json", "images", None),
        ("annotations/person_keypoints_train2017.json", "", None),
        ("annotations/person_keypoints_train2017.json", "annotations", None),
        ("annotations/ap10k-val-split1.json", "data", None),
        ("train/_annotations.coco.json", "train", None),
        ("val.json", "images", None),
        ("val.json", "images/val", None),
        ("valid_set.json", "valid", None),
        ("annotations/instances_default.json", "images/default", None),
        ("x.json", "photos", "photos"),
        ("x_val2017.json", "photos/val2017", "photos"),
        ("x_val2017.json", "photos/images/val2017", "photos"),
        ("x_val2017.json", "photos/val", "photos"),
    ],
)
def test_image_folders_are_found(tmp_path, name, place, root):
    file = dataset(tmp_path, [person()], name=name, places=[place])
    people = coco.read(file, tmp_path / root if root else None)
    assert people[0].path == tmp_path / place / "a.jpg"


def test_the_folder_of_the_split_comes_first(tmp_path):
    file = dataset(tmp_path, [person()], name="annotations/val.json", places=["train", "val", "images"])
    assert coco.read(file)[0].path == tmp_path / "val/a.jpg"


def test_an_absolute_path_is_taken_as_it_is(tmp_path):
    elsewhere = tmp_path / "elsewhere/a.jpg"
    file = dataset(tmp_path / "set", [person()], [photo(name=str(elsewhere))])
    assert coco.read(file, allow_outside=True)[0].path == elsewhere


@pytest.mark.parametrize("name", ["/etc/passwd.jpg", "../a.jpg", "b/../../a.jpg", "..\\a.jpg"])
def test_names_that_lead_out_of_the_images_are_refused(tmp_path, name):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "images" / "b").mkdir(parents=True)
    file = dataset(tmp_path, [person()], [photo(name=name)], places=())
    with pytest.raises(ValueError, match=r"train.json: file_name .* leads outside .*images; .*--allow-outside"):
        coco.read(file, tmp_path / "images")
    if name != "/etc/passwd.jpg":
        assert coco.read(file, tmp_path / "images", allow_outside=True)[0].path.samefile(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["{}/images/a.jpg", "../images/a.jpg", "b..c/a.jpg"])
def test_names_that_stay_inside_are_read(tmp_path, name):
    file = dataset(tmp_path, [person()], [photo(name=name.format(tmp_path))], places=())
    for folder in ("images", "images/b..c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").touch()
    assert coco.read(file)[0].path.samefile(tmp_path / "images" / name.removeprefix("../images/").format(tmp_path))


def test_coco_2014_names_lead_to_either_folder(tmp_path):
    names = ["COCO_train2014_000000000009.jpg", "COCO_val2014_000000000042.jpg"]
    images = [photo(n + 1, name) for n, name in enumerate(names)]
    people = [person(1, 1), person(2, 2)]
    file = dataset(tmp_path, people, images, name="gt_json/train_val_minus_minival_2014.json", places=[])
    for folder, name in zip(("train2014", "val2014"), names):
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / name).touch()
    assert [s.path.parent.name for s in coco.read(file)] == ["train2014", "val2014"]


def test_coco_2014_names_are_found_in_the_2017_release(tmp_path):
    images = [photo(1, "COCO_val2014_000000000042.jpg")]
    file = dataset(tmp_path, [person()], images, name="annotations/minival_2014.json", places=[])
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017/000000000042.jpg").touch()
    assert coco.read(file)[0].path == tmp_path / "train2017/000000000042.jpg"


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
    images = [photo(n, f"{n}.jpg") for n in range(1, 30)]
    file = dataset(tmp_path, [person()], images, name="annotations/val.json", places=["images/val"])
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    assert len(coco.read(file).image_id) == 29
    assert len(listed) == len(set(listed)) < 29


def test_missing_images(tmp_path):
    images = [photo(1), photo(2, "b.jpg"), photo(3, "c.jpg")]
    file = dataset(tmp_path, [person(1, 1), person(2, 2), person(3, 3)], images)
    (tmp_path / "images/b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.json: 1 of 3 images not found, first 'b.jpg' \(id 2\)") as e:
        coco.read(file)
    assert str(tmp_path / "images") in str(e.value)
    people = coco.read(file, missing="skip")
    assert people.annotation_id.tolist() == [1, 3]
    assert people.image_id.tolist() == [1, 3]
    assert people.skipped == {"images not found": 1, "on an image not found": 1}
    with pytest.raises(FileNotFoundError, match=r"3 of 3 images not found.*which does not exist"):
        coco.read(file, tmp_path / "no such folder", missing="skip")


def test_all_categories_with_the_same_keypoints_are_taken(tmp_path):
    species = [THREE, THREE | {"id": 5, "name": "moth"}]
    file = dataset(tmp_path, [person(1), person(2, category_id=5)], categories=species)
    assert coco.read(file).category_id.tolist() == [1, 5]
    assert coco.read(file, categories=["moth"]).category_id.tolist() == [5]
    assert coco.read(file).evaluated().category_id.tolist() == [1, 5]
    assert coco.read(file, categories=["moth"]).evaluated().category_id.tolist() == [5]


def test_a_skeleton_can_be_given(tmp_path):
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
        ({"annotations": [person(3, keypoints=[0] * 9)]}, "no usable annotations: .*1 without a labelled keypoint"),
        (
            {"annotations": [person(3, keypoints=[1, 2, 2])]},
            r"annotations\[0\] \(id 3, .*expected 3 keypoints.*got 3 num",
        ),
        ({"annotations": [person(3, keypoints=[1, 2, 3] * 3)]}, r"\(id 3, image 1\): visibility must be 0 .*got 3"),
        ({"annotations": [person(3, keypoints=[1, 2, -1] * 3)]}, "visibility must be 0 .*got -1"),
        ({"annotations": [person(3, keypoints="none")]}, r"\(id 3, image 1\): keypoints must be a list .*got `str`"),
        ({"annotations": [person(3, keypoints=[1, None, 2] * 3)]}, "must be a list of finite numbers.*got `null`"),
        (
            {"annotations": [person(1), person(3, keypoints=[1, math.nan, 2] * 3)]},
            r"annotations\[1\] \(id 3, .*: keypoints holds",
        ),
        (
            {"annotations": [person(3, bbox=[1, 2, math.inf, 4])]},
            r"annotations\[0\] \(id 3, .*: bbox holds",
        ),
        ({"annotations": [person(3, bbox=[1, 2, 3])]}, r"\(id 3, image 1\): bbox must be x, y, width, height"),
        ({"annotations": [person(3, bbox=None)]}, r"\(id 3, image 1\): no bbox"),
        ({"annotations": [person(3), person(3)]}, "2 entries of annotations have the id 3"),
        ({"images": [photo(), photo()]}, "2 entries of images have the id 1"),
        ({"annotations": [person(3, image_id=9)]}, r"\(id 3, image 9\): no entry of images has the id 9"),
        ({"annotations": [{"id": 1}]}, r"missing required field `image_id` - at `\$.annotations\[0\]`"),
        ({"categories": []}, "none of its 0 categories lists keypoints"),
        ({"categories": [{"id": 1, "name": "dog"}]}, "none of its 1 categories lists keypoints.*person_keypoints_"),
        (
            {"categories": [THREE, THREE | {"id": 2, "name": "fly", "keypoints": ["a"]}]},
            "'bug' and 'fly' list different",
        ),
        ({"categories": [THREE | {"skeleton": [[0, 1]]}]}, r"category 'bug': 'skeleton' must be pairs .*1\.\.3"),
    ],
)
def test_wrong_content(tmp_path, change, message):
    file = dataset(tmp_path, [person()])
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
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


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such JSON file"):
        coco.read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="expected a JSON file, got a folder"):
        coco.read(tmp_path)
    with pytest.raises(LookupError, match="no category cat; it has: bug"):
        coco.read(dataset(tmp_path, [person()]), categories=["cat"])


@pytest.fixture
def crowd(tmp_path):
    """Two images with two people each, one with none; a crowd and an unlabelled person on the first."""
    images = [photo(10, "a.jpg"), photo(20, "b.jpg"), photo(30, "c.jpg")]
    everyone = [
        person(0, 20),
        person(1, 10, bbox=[1, 2, 31, 41]),
        person(2, 20),
        person(3, 10, iscrowd=1),
        person(4, 10, keypoints=[0] * 9),
        person(5, 10),
    ]
    return coco.read(dataset(tmp_path, everyone, images))


def test_by_image_and_boxes(crowd):
    assert {k: v.tolist() for k, v in crowd.by_image().items()} == {10: [1, 3], 20: [0, 2]}
    boxes = crowd.gt_boxes()
    assert list(boxes) == [10, 20]
    assert boxes[10].source == "gt"
    assert boxes[10].score.tolist() == [1, 1]
    np.testing.assert_array_equal(boxes[10].xywh, [[1, 2, 30, 40], [10, 20, 29, 39]])
    assert list(crowd.paths) == [10, 20, 30]


def test_ground_truth_is_whole(crowd):
    truth = crowd.evaluated()
    assert truth.id.tolist() == [0, 1, 2, 3, 4, 5]
    assert truth.crowd.tolist() == [False, False, False, True, False, False]
    assert truth.labelled.tolist() == [2, 2, 2, 2, 0, 2]
    assert truth.box[1].tolist() == [1, 2, 31, 41]  # as annotated, not cleaned


@pytest.mark.parametrize("index", [[1, 0], np.array([True, True, False, False])])
def test_subset(crowd, index):
    part = crowd.subset(index)
    order = part.annotation_id.tolist()
    assert sorted(order) == [0, 1]
    assert part.image_id.tolist() == [10, 20]
    assert [part[n].image_id for n in range(2)] == [{0: 20, 1: 10}[a] for a in order]
    assert part[order.index(1)].path.name == "a.jpg"
    # People left out are left out of the truth; the crowd and the unlabelled one still excuse detections.
    assert part.evaluated().id.tolist() == [0, 1, 3, 4]
    assert part.subset([order.index(0)]).evaluated().id.tolist() == [0]


def test_mapped_by_name(crowd):
    other = Skeleton("other", ("tail", "right_wing", "head"))
    people = crowd.mapped(other)
    np.testing.assert_array_equal(people.xy[0], [[0, 0], [0, 0], [15, 25]])
    np.testing.assert_array_equal(people.visibility[0], [0, 0, 2])
    truth = people.evaluated()
    assert truth.keypoints[0].tolist() == [[0, 0, 0], [0, 0, 0], [15, 25, 2]]
    assert truth.labelled[0] == 1
    with pytest.raises(ValueError, match=r"no point of 'bug3'.*matched by name"):
        crowd.mapped(Skeleton("none", ("x",)))


def test_arrays_must_fit(crowd):
    with pytest.raises(ValueError, match=r"visibility must be \(4, 3\), got \(4, 2\)"):
        replace(crowd, visibility=crowd.visibility[:, :2])
    with pytest.raises(ValueError, match="3 images, 1 paths"):
        replace(crowd, image_path=Strings.of(["a"]))


def test_a_whole_skeleton_in_the_categories_is_read_back(tmp_path):
    bug = Skeleton("bug", ("a", "b", "c"), (("a", "b"),), (("a", "c"),), (0.1, 0.2, 0.1), ("b",))
    file = dataset(tmp_path, [person()], categories=[to_category(bug, 1, "bug")])
    assert coco.read(file).skeleton == bug  # no mirror pair could be told from these names


def test_packed_strings():
    names = ["a.jpg", "", "grün/日本.png"]
    packed = Strings.of(names)
    assert [packed[n] for n in range(len(packed))] == names
    assert len(Strings.of([])) == 0


def test_people_are_few_objects(tmp_path):
    """What workers share must be arrays: the number of Python objects may not grow with the number of people."""
    images = [photo(n, f"{n}.jpg") for n in range(1, 1001)]
    people = coco.read(dataset(tmp_path, [person(n, n) for n in range(1, 1001)], images))
    assert len(pickle.dumps(people)) < 400 * 1000
    tracemalloc.start()
    copy = pickle.loads(pickle.dumps(people))
    blocks = sum(s.count for s in tracemalloc.take_snapshot().statistics("filename"))
    tracemalloc.stop()
    assert len(copy) == 1000
    assert blocks < 500


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


def test_sets_are_joined_by_the_names_of_their_points(tmp_path):
    one = dataset(tmp_path / "one", [person(7)])
    wings = {"id": 1, "name": "fly", "keypoints": ["right_wing", "sting", "head"]}
    two = dataset(tmp_path / "two", [person(7), person(8, iscrowd=1)], categories=[wings])
    both = sources.read_all([one, two], ["", tmp_path / "two" / "images"])
    assert both.skeleton == coco.read(one).skeleton
    assert both.annotation_id.tolist() == [7, 7]
    assert both.paths == {1: tmp_path / "one/images/a.jpg", 2: tmp_path / "two/images/a.jpg"}
    np.testing.assert_array_equal(both.xy, [[[15, 25], [20.5, 30.25], [0, 0]], [[0, 0], [0, 0], [15, 25]]])
    np.testing.assert_array_equal(both.visibility, [[2, 1, 0], [0, 0, 2]])
    assert both.skipped == {"a crowd": 1}
    assert both.summary().startswith(f"{one} + {two}: 2 people in 2 images, bug3")
    with pytest.raises(ValueError, match=r"people of several files are for training; evaluate them one by one"):
        both.evaluated()
    with pytest.raises(ValueError, match="2 annotation files, but 1 folders of images: one for each"):
        sources.read_all([one, two], [""])


def test_a_file_takes_the_points_of_a_skeleton_by_name_or_in_order(tmp_path):
    own = Skeleton("own", ("head", "tail", "right_wing"), sigmas=(0.1, 0.2, 0.3))
    named = sources.read_all([dataset(tmp_path / "named", [person()])], [""], own)
    assert named.skeleton == own
    np.testing.assert_array_equal(named.visibility, [[2, 0, 0]])
    assert named.summary().endswith("never labelled: tail")
    assert named.evaluated().keypoints[0].tolist() == [[15, 25, 2], [0, 0, 0], [0, 0, 0]]
    nameless = sources.read_all([dataset(tmp_path / "nameless", [person()], categories=[])], [""], own)
    assert nameless.skeleton == own
    np.testing.assert_array_equal(nameless.visibility, [[2, 1, 0]])
    with pytest.raises(ValueError, match=r"no point of 'bug3' .* is named in 'lsp14'"):
        sources.read_all([dataset(tmp_path / "other", [person()])], [""], LSP14)
    with pytest.raises(ValueError, match="expected the points"):
        named.with_skeleton(LSP14)
