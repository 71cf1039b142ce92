"""Where boxes come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posewright.predict import boxes as detect
from posewright.types import Boxes, Poses, Skeleton


@pytest.mark.parametrize("name", ["785.jpg", "000000000785.jpg", "a/COCO_val2014_000000000785.jpg"])
def test_images_are_named_by_their_number(name):
    assert detect.image_id_of(name) == 785


def test_a_name_without_number_is_refused():
    with pytest.raises(ValueError, match=r"785_small\.jpg: the name does not end in an image id"):
        detect.image_id_of("785_small.jpg")


# -- boxes from files -----------------------------------------------------------------------------------------------


def entry(**changes: object) -> dict[str, object]:
    return {"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40.5], "score": 0.9} | changes


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_detections_are_looked_up_by_image(tmp_path):
    entries = [entry(score=0.2), entry(image_id=3), entry(score=0.8, bbox=[5, 5, 5, 5]), entry(image_id="3")]
    file = detect.detections(written(tmp_path / "boxes.json", entries))
    assert (len(file), file.skipped, file.source) == (4, {}, "boxes.json")
    assert file.of("x/0007.jpg").score.tolist() == [0.2, 0.8]
    assert file.of("x/0007.jpg").xywh.tolist() == [[1, 2, 30, 40.5], [5, 5, 5, 5]]
    assert len(file.of_id(3)) == 2
    assert len(file.of_id(4)) == 0
    assert file.of_id(4).source == "boxes.json"


def test_detections_left_out_are_counted(tmp_path):
    entries = [
        entry(category_id=2),
        entry(score=0.5),
        entry(bbox=[1, 2, float("nan"), 4]),
        entry(score=float("inf")),
        entry(bbox=[1, 2, 0, 4]),
        entry(bbox=[1, 2, 3, -4]),
        entry(score=0.7),
    ]
    file = detect.detections(written(tmp_path / "boxes.json", entries), threshold=0.7)
    assert file.skipped == {"of another category": 1, "below 0.7": 1, "not finite": 2, "without area": 2}
    assert (len(file), file.source) == (1, "boxes.json, score >= 0.7")
    assert len(detect.detections(tmp_path / "boxes.json", category=2)) == 1


def test_no_detections_are_no_boxes(tmp_path):
    file = detect.detections(written(tmp_path / "boxes.json", []))
    assert (len(file), len(file.of("1.jpg"))) == (0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, "expected a list of detections .*: Expected `array`, got `object`"),
        ([entry(), entry(bbox=[1, 2, 3])], r"Expected `array` of length 4.* - at `\$\[1\]\.bbox`"),
        ([entry(score="high")], r"Expected `float`, got `str` - at `\$\[0\]\.score`"),
        ([entry(), {"image_id": 7}], r"missing required field `category_id` - at `\$\[1\]`"),
        ([entry(image_id=-1)], r"Expected `int` >= 0 - at `\$\[0\]\.image_id`"),
        ([entry(image_id=2**70)], r"at `\$\[0\]\.image_id`"),
        ([entry(bbox=[None, 1, 2, 3], score=float("nan"))], r"Expected `float`, got `null` - at `\$\[0\]\.bbox"),
        ([entry(category_id=3), entry(category_id=18)], "none of the 2 detections is of category 1; there are: 3, 18"),
    ],
)
def test_malformed_detections_name_file_and_entry(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"boxes\.json: .*" + message):
        detect.detections(written(tmp_path / "boxes.json", content))


def test_files_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.json: no such JSON file"):
        detect.detections(tmp_path / "gone.json")
    for content in ('[{"image_id": 7, "cat', "", '[{"a":' * 100_000):
        (tmp_path / "cut.json").write_text(content)
        with pytest.raises(ValueError, match=r"cut\.json: expected a list of detections .*(cut short|too deeply)"):
            detect.detections(tmp_path / "cut.json")


def coco(**changes: object) -> dict[str, object]:
    return {
        "images": [
            {"id": 4, "file_name": "val/a.jpg", "width": 100, "height": 50},
            {"id": 5, "file_name": "val/b.jpg", "width": None},
            {"id": 6, "file_name": "train/b.jpg"},
        ],
        "annotations": [
            {"image_id": 4, "category_id": 1, "bbox": [10, 20, 31, 500], "iscrowd": 0, "id": 1},
            {"image_id": 4, "category_id": 1, "bbox": [200, 20, 30, 20]},
            {"image_id": 4, "category_id": 1, "bbox": [1, 2, 3, float("nan")]},
            {"image_id": 4, "category_id": 1, "iscrowd": 1, "bbox": [1, 2, 3, 4]},
            {"image_id": 4, "category_id": 2, "bbox": [1, 2, 3, 4]},
            {"image_id": 5, "category_id": 1, "bbox": [-1, 2, 3, 4]},
        ],
        "categories": [{"id": 1, "name": "dog", "keypoints": ["nose"]}, {"id": 2, "name": "person"}],
    } | changes


def test_annotated_boxes_are_cleaned_and_found_by_file_name(tmp_path):
    file = detect.annotated(written(tmp_path / "gt.json", coco()))
    assert file.source == "gt"
    assert file.skipped == {"without a box inside the image": 2, "crowds": 1, "of another category": 1}
    assert file.of("anywhere/a.jpg").xywh.tolist() == [[10, 20, 30, 29]]  # one pixel less, ends at the image's
    assert file.of("data/val/b.jpg").xywh.tolist() == [[0, 2, 2, 3]]  # not cut: the image's size is not known
    assert len(file.of("data/train/b.jpg")) == 0
    for name in ("b.jpg", "val/c.jpg"):
        with pytest.raises(LookupError, match=rf"{name}: no image of this name among the \d of the annotation file"):
            file.of(name)


@pytest.mark.parametrize("wanted", ["person", 2])
def test_annotated_boxes_of_a_category(tmp_path, wanted):
    path = written(tmp_path / "gt.json", coco())
    assert detect.annotated(path, category=wanted).xywh.tolist() == [[1, 2, 2, 3]]
    with pytest.raises(ValueError, match=r"gt\.json: has no category 'cat'; it has: dog \(1\), person \(2\)"):
        detect.annotated(path, category="cat")


def test_detections_may_name_their_images(tmp_path):
    named = [entry(image_id=n, file_name=f"{folder}/1.jpg") for n, folder in enumerate("ab")]
    file = detect.detections(written(tmp_path / "boxes.json", named))
    assert [file.id_of(f"photos/{folder}/1.jpg") for folder in "ab"] == [0, 1]
    with pytest.raises(LookupError, match=r"c/1\.jpg: no image of this name among the 2 of the detections file"):
        file.of("c/1.jpg")


def test_annotations_name_the_images_of_detections(tmp_path):
    names = written(tmp_path / "gt.json", coco())
    file = detect.detections(written(tmp_path / "boxes.json", [entry(image_id=4)]), annotations=names)
    assert len(file.of("a.jpg")) == 1
    assert file.id_of("val/b.jpg") == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([entry()], "expected a COCO annotation file.*Expected `object`, got `array`"),
        (coco(categories=[{"id": 1, "name": "car"}]), "a category with keypoints or one named 'person', got car"),
        (coco(images=[]), "annotation 0 is of image 4, which is not among its images"),
    ],
)
def test_files_without_annotated_boxes_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"gt\.json: .*" + message):
        detect.annotated(written(tmp_path / "gt.json", content))


@pytest.mark.parametrize(
    ("scores", "box", "source"),
    [
        ([0.9, 0.9, 0.9, 0.16, 0.1], [14, 0, 52, 50], "whole image, two passes"),  # 20..60 x 5..44, 6 to spare
        ([0.9, 0.9, 0.9, 0.15, 0.1], [0, 0, 100, 80], "whole image"),  # three are too few
    ],
)
def test_the_first_pass_gives_the_box_of_the_second(scores, box, source):
    xy = np.array([[[20.0, 5], [60, 40], [30, 44], [40, 20], [99, 79]]])
    skeleton = Skeleton("five", tuple("abcde"))

    def find(_: np.ndarray, whole: Boxes) -> Poses:
        return Poses(xy, np.array([scores]), np.ones(1), whole, skeleton)

    found = detect.two_pass_boxes(find)(np.zeros((80, 100, 3), np.uint8))
    assert found.xywh.tolist() == [box]
    assert found.source == source


def test_fixed_boxes_are_those_that_touch_the_image():
    boxes = Boxes.of(
        [[1, 2, 3, 4], [20, 2, 3, 4], [-3, 2, 3, 4], [-2, -2, 30, 30], [2, 10, 3, 4]], [1, 2, 3, 4, 5], "x"
    )
    touching = detect.FixedBoxes(boxes)(np.zeros((10, 20, 3), np.uint8))
    assert (touching.score.tolist(), touching.source) == ([1, 4], "x")


@pytest.mark.shared
def test_real_files_are_read(shared):
    coco_folder = shared / "data/formats/coco"
    found = detect.detections(coco_folder / "test_coco_det_AP_H_56.json", threshold=0.5)
    gt = detect.annotated(coco_folder / "test_coco.json")
    assert (len(gt), gt.skipped) == (14, {})
    for path in sorted(coco_folder.glob("*.jpg")):
        assert found.id_of(path) == gt.id_of(path)
        assert 0 < len(found.of(path)) < 30
