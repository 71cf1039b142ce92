"""People read from files: by image, in part, under another skeleton, joined, and small in memory."""

import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from posewright.data import coco, sources
from posewright.data.image_files import Strings
from posewright.skeletons import LSP14
from posewright.types import Skeleton


@pytest.fixture
def crowd(dataset, person, photo, tmp_path):
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


def test_packed_strings():
    names = ["a.jpg", "", "grün/日本.png"]
    packed = Strings.of(names)
    assert [packed[n] for n in range(len(packed))] == names
    assert len(Strings.of([])) == 0


def test_people_are_few_objects(dataset, person, photo, tmp_path):
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


def test_sets_are_joined_by_the_names_of_their_points(dataset, person, tmp_path):
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


def test_a_file_takes_the_points_of_a_skeleton_by_name_or_in_order(dataset, person, tmp_path):
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
