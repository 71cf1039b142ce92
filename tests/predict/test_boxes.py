"""Where boxes come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posewright import image
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


# -- boxes from detectors -------------------------------------------------------------------------------------------

CELLS = 64 + 16 + 4  # of a 64x64 input, at strides 8, 16, 32


def onnx_file(path: Path, rows: np.ndarray, side: int | str = 64) -> Path:
    """An ONNX file that yields these rows [cells, 5 + classes] for whatever input [1, 3, side, side]."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", kind, [1, 3, side, side])],
        [helper.make_tensor_value_info("output", kind, [1, *rows.shape])],
        [
            onnx.numpy_helper.from_array(rows[None].astype(np.float32), "rows"),
            onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def rows(decoded: bool = False, classes: int = 2) -> np.ndarray:
    """Raw rows of a detector that sees three boxes, one of them twice, and decoded ones of the same boxes."""
    out = np.zeros((CELLS, 5 + classes))
    corner = np.concatenate([np.stack(np.meshgrid(range(n), range(n)), -1).reshape(-1, 2) for n in (8, 4, 2)])
    stride = np.repeat((8, 16, 32), (64, 16, 4))[:, None]
    for cell, offset, sides, score in (
        (8 * 2 + 3, (0.5, 0.5), (12, 20), 0.9),  # centre (28, 20)
        (8 * 2 + 4, (-0.4, 0.5), (12, 20), 0.8),  # nearly the same
        (64 + 4 * 1 + 0, (0.25, 0.25), (16, 16), 0.7),  # centre (4, 20): reaches beyond the left edge
        (80 + 3, (0.5, 0.5), (32, 32), 0.2),  # centre (48, 48)
    ):
        out[cell, :2], out[cell, 2:4], out[cell, 4:6] = offset, np.log(np.array(sides) / stride[cell]), (score, 0.5)
    if decoded:
        out[:, :2], out[:, 2:4] = (out[:, :2] + corner) * stride, np.exp(out[:, 2:4]) * stride
    return out


@pytest.mark.parametrize("decoded", [False, True])
def test_a_detector_s_output_becomes_boxes_in_image_pixels(tmp_path, decoded):
    detector = detect.YoloxDetector(onnx_file(tmp_path / "people.onnx", rows(decoded)), score=0.3)
    boxes = detector(np.zeros((96, 128, 3), np.uint8))  # halved to 48x64
    np.testing.assert_allclose(boxes.xywh, [[44, 20, 24, 40], [0, 24, 24, 32]], atol=1e-4)
    np.testing.assert_allclose(boxes.score, [0.45, 0.35], rtol=1e-6)
    assert boxes.source == "people.onnx"


def test_a_detector_s_thresholds_and_class(tmp_path):
    path = onnx_file(tmp_path / "people.onnx", rows())
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert len(detect.YoloxDetector(path, score=0.05)(pixels)) == 3
    assert len(detect.YoloxDetector(path, score=0.05, nms=0.99)(pixels)) == 4
    assert len(detect.YoloxDetector(path, score=0.05, category=1)(pixels)) == 0
    with pytest.raises(ValueError, match=r"people\.onnx: knows classes 0 to 1, asked for 2"):
        detect.YoloxDetector(path, category=2)


def test_a_detector_of_any_size_is_given_one(tmp_path):
    path = onnx_file(tmp_path / "any.onnx", rows(), "side")
    assert len(detect.YoloxDetector(path, size=(64, 64))(np.zeros((20, 30, 3), np.uint8))) == 2
    with pytest.raises(ValueError, match=r"output for an input of 32x32 is \[1, 21, 5 \+ classes\]; got \[1, 84, 7"):
        detect.YoloxDetector(path, size=(32, 32))


def test_other_networks_are_refused(tmp_path):
    path = onnx_file(tmp_path / "pose.onnx", np.zeros((17, 16, 12)))
    with pytest.raises(ValueError, match=r"pose\.onnx: expected a YOLOX-style detector.*got \[1, 17, 16, 12\]"):
        detect.YoloxDetector(path)
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ValueError, match=r"text\.onnx: not an ONNX network"):
        detect.YoloxDetector(tmp_path / "text.onnx")
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx"):
        detect.YoloxDetector(tmp_path / "gone.onnx")


@pytest.mark.shared
def test_a_real_detector_finds_the_people_in_real_photographs(shared):
    pytest.importorskip("onnxruntime")
    detector = detect.YoloxDetector(shared / "data/detectors/yolox_nano.onnx")
    folder = shared / "data/formats/coco"
    gt = detect.annotated(folder / "test_coco.json")
    for path in sorted(folder.glob("*.jpg")):
        people = gt.of(path).xywh
        found = detector(image.read(path, upright=False)).xywh
        near = np.maximum(people[:, None, :2], found[None, :, :2])
        far = np.minimum((people[:, :2] + people[:, 2:])[:, None], (found[:, :2] + found[:, 2:])[None])
        shared_area = np.maximum(far - near, 0).prod(-1)
        union = people[:, 2:].prod(1)[:, None] + found[:, 2:].prod(1) - shared_area
        large = people[:, 2:].prod(1) > 96**2
        assert ((shared_area / union).max(1) > 0.5)[large].all()
        assert len(found) <= len(people)
