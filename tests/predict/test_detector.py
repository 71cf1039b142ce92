"""Detectors of every kind from ONNX files: recognised by their outputs, fed as they were trained, in image pixels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from posewright import image
from posewright.predict import boxes as detect
from posewright.predict import coco_classes
from posewright.predict.boxes import OnnxDetector

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # after importorskip

CELLS = 64 + 16 + 4  # of a 64x64 input, at strides 8, 16, 32
COLOUR = (200, 100, 50)
PICTURE = np.full((64, 64, 3), COLOUR, np.uint8)  # fills the input: no grey edges


def onnx_file(
    path: Path,
    outputs: dict[str, np.ndarray],
    shape: tuple[int | str, ...] = (1, 3, 64, 64),
    *,
    channel: int = 0,
    metadata: dict[str, str] | None = None,
    sliced: bool = False,
) -> Path:
    """A network that yields these arrays, with the mean of one channel of its input in place of their NaNs."""
    start, end = ([n] if len(shape) == 3 else [0, n] for n in (channel, channel + 1))
    end = end if len(shape) == 3 else [1, channel + 1]
    constants = {"start": np.array(start), "end": np.array(end), "zero": np.float32(0)}
    if sliced:  # as YOLOX's Focus does
        constants |= {"first": np.array([0]), "last": np.array([99]), "side": np.array([3]), "step": np.array([2])}
        nodes = [helper.make_node("Slice", ["images", "first", "last", "side", "step"], ["input"])]
    else:
        nodes = [helper.make_node("Identity", ["images"], ["input"])]
    nodes += [
        helper.make_node("Slice", ["input", "start", "end"], ["plane"]),
        helper.make_node("ReduceMean", ["plane"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["whole"], to=TensorProto.INT64),
    ]
    values = []
    for name, array in outputs.items():
        floating = array.dtype.kind == "f"
        kind = TensorProto.FLOAT if floating else TensorProto.INT64
        values.append(helper.make_tensor_value_info(name, kind, [f"{name}{n}" for n in range(array.ndim)]))
        constants[f"{name}_base"] = np.nan_to_num(array).astype(np.float32 if floating else np.int64)
        if floating:
            constants[f"{name}_share"] = np.isnan(array).astype(np.float32)
            nodes.append(helper.make_node("Mul", ["level", f"{name}_share"], [f"{name}_level"]))
            nodes.append(helper.make_node("Add", [f"{name}_base", f"{name}_level"], [name]))
        else:
            nodes.append(helper.make_node("Add", [f"{name}_base", "whole"], [name]))
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "detector", inputs, values, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


# -- YOLOX ------------------------------------------------------------------------------------------------------------


def yolox_rows(decoded: bool = False, classes: int = 80) -> np.ndarray:
    """Raw rows of a detector that sees three people, one of them twice, and decoded ones of the same boxes."""
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
    return out[None]


@pytest.mark.parametrize("decoded", [False, True])
def test_yolox_s_output_becomes_boxes_in_image_pixels(tmp_path, decoded):
    detector = OnnxDetector(onnx_file(tmp_path / "people.onnx", {"output": yolox_rows(decoded)}), score=0.3)
    boxes = detector(np.zeros((96, 128, 3), np.uint8))  # halved to 48x64
    np.testing.assert_allclose(boxes.xywh, [[44, 20, 24, 40], [0, 24, 24, 32]], atol=1e-4)
    np.testing.assert_allclose(boxes.score, [0.45, 0.35], rtol=1e-6)
    assert boxes.source == "people.onnx"


def test_thresholds_sizes_and_categories(tmp_path):
    path = onnx_file(tmp_path / "people.onnx", {"output": yolox_rows()})
    assert len(OnnxDetector(path, score=0.05)(PICTURE)) == 3
    assert len(OnnxDetector(path, score=0.05, nms=0.99)(PICTURE)) == 4
    dogs = OnnxDetector(path, score=0.05, category="dog")
    assert (len(dogs(PICTURE)), dogs.name) == (0, "people.onnx, dog")
    with pytest.raises(LookupError, match=r"people\.onnx: knows no category 'dgo'; it knows: person, bicycle, car, "):
        OnnxDetector(path, category="dgo")
    with pytest.raises(LookupError, match=r"people\.onnx: knows classes 0 to 79, asked for 80"):
        OnnxDetector(path, category=80)
    unnamed = onnx_file(tmp_path / "own.onnx", {"output": yolox_rows(classes=2)})
    assert len(OnnxDetector(unnamed, category=0)(PICTURE)) == 2
    with pytest.raises(LookupError, match=r"own\.onnx: does not name its 2 classes: give the number .*0 to 1\)"):
        OnnxDetector(unnamed)
    one = onnx_file(tmp_path / "mouse.onnx", {"output": yolox_rows(classes=1)})
    assert len(OnnxDetector(one, category="mouse")(PICTURE)) == 2
    any_size = onnx_file(tmp_path / "any.onnx", {"output": yolox_rows()}, (1, 3, "h", "w"))
    assert len(OnnxDetector(any_size, size=(64, 64))(np.zeros((20, 30, 3), np.uint8))) == 2


# -- the other kinds --------------------------------------------------------------------------------------------------

NAN = np.nan  # the level of the channel that is looked at


def yolov8(classes: int = 80, wanted: int = 0) -> np.ndarray:
    """For an input of 96x96, whose 189 cells are not taken for the 84 = 4 + 80 of the other axis."""
    columns = np.zeros((4 + classes, 189))
    columns[:4, 3], columns[4 + wanted, 3] = (48, 48, 30, 60), NAN  # centre and sides
    columns[:4, 4], columns[4 + wanted, 4] = (49, 48, 30, 60), 0.31  # nearly the same, with a lower score
    return columns[None]


def rows_of_six(label: int) -> np.ndarray:
    rows = np.zeros((300, 6))
    rows[0], rows[1] = (22, 12, 42, 52, NAN, label), (22, 12, 42, 52, 0.9, label + 1)
    return rows[None]


CORNERS = np.array([[22, 12, 42, 52], [0, 0, 9, 9]], float)
DETS = np.concatenate([CORNERS, [[NAN], [0.9]]], 1)[None]
LARGER = (1, 3, 96, 96)
BOX = [22, 12, 20, 40]
KINDS = {
    "yolov8": ({"output0": yolov8()}, {"shape": LARGER}, 200 / 255),
    "yolov8 with names": (
        {"output0": yolov8(2, 1)}, {"shape": LARGER, "metadata": {"names": "{0: 'cat', 1: 'person'}"}}, 200 / 255,
    ),
    "yolo end to end": ({"output0": rows_of_six(0)}, {}, 200 / 255),
    "rtmdet": ({"dets": DETS, "labels": np.array([[0, 1]])}, {"channel": 2}, (200 - 123.675) / 58.395),
    "rtmdet, labels first": ({"a": np.array([[0, 1]]), "b": DETS}, {"channel": 2}, (200 - 123.675) / 58.395),
    "yolox end to end": ({"dets": DETS, "labels": np.array([[0, 1]])}, {"sliced": True}, 50),
    "faster r-cnn": (
        {"boxes": CORNERS, "labels": np.array([1, 2]), "scores": np.array([NAN, 0.9])}, {"shape": (3, 64, 64)},
        200 / 255,
    ),
    "faster r-cnn of any size": (
        {"3": CORNERS, "5": np.array([1, 2]), "4": np.array([NAN, 0.9]), "masks": np.zeros((2, 1, 8, 8))},
        {"shape": (3, "h", "w"), "channel": 1}, 100 / 255,
    ),
    "batched boxes": (
        {"scores": np.array([[NAN, 0.9]]), "labels": np.array([[1, 2]]), "boxes": CORNERS[None]}, {}, 200 / 255,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_is_recognised_and_fed_as_it_was_trained(tmp_path, kind):
    outputs, options, score = KINDS[kind]
    boxes = OnnxDetector(onnx_file(tmp_path / "any.onnx", outputs, **options), score=0.3)(PICTURE)
    np.testing.assert_allclose(boxes.xywh, [BOX], atol=1e-4)
    np.testing.assert_allclose(boxes.score, [score], rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_image_without_a_batch_axis_is_not_split_among_threads(tmp_path, threads):
    outputs, options, score = KINDS["faster r-cnn"]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        detector = OnnxDetector(onnx_file(tmp_path / "any.onnx", outputs, **options), score=0.3)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(detector(PICTURE).score, [score], rtol=1e-4)


def test_boxes_come_back_from_where_the_image_lay_in_the_input(tmp_path):
    wide = np.full((64, 128, 3), COLOUR, np.uint8)
    centred = OnnxDetector(onnx_file(tmp_path / "a.onnx", {"output0": yolov8()}, LARGER))(wide)  # rows 24 to 72
    np.testing.assert_allclose(centred.xywh, [[44, 0, 40, 64]], atol=1e-4)
    at_top = OnnxDetector(onnx_file(tmp_path / "b.onnx", {"dets": DETS, "labels": np.array([[0, 1]])}, channel=2))(wide)
    np.testing.assert_allclose(at_top.xywh, [[44, 24, 40, 40]], atol=1e-4)


def test_coco_s_categories_are_those_of_its_annotations():
    assert len(coco_classes.NAMES) == len(set(coco_classes.NAMES)) == 80
    known = {"person": 1, "stop sign": 13, "dog": 18, "backpack": 27, "dining table": 67, "toothbrush": 90}
    assert {name: coco_classes.IDS[name] for name in known} == known


def test_a_category_has_coco_s_id_by_name_and_by_number(tmp_path):
    path = onnx_file(tmp_path / "yolox.onnx", {"output": yolox_rows()})
    assert [OnnxDetector(path, category=wanted).coco_id for wanted in ("person", "dog", 16)] == [1, 18, 18]
    unnamed = onnx_file(tmp_path / "five.onnx", {"output": yolox_rows(classes=5)})
    assert OnnxDetector(unnamed, category=2).coco_id == 1  # not COCO's third


def test_other_networks_are_refused_with_what_they_are_and_what_is_understood(tmp_path):
    understood = re.escape(
        "understood are YOLOX's [1, 84 or 85, 5 + classes], YOLOv8's [1, 4 + classes, 84 or 85] and [1, N, 6], "
        "RTMDet's dets [1, N, 5] with labels [1, N], and boxes [N, 4] with labels [N] and scores [N]"
    )
    for outputs, options, message in (
        ({"maps": np.zeros((1, 17, 16, 12))}, {}, "expected a detector, got maps [1, 17, 16, 12] float32; "),
        ({"boxes": CORNERS, "scores": np.zeros(2)}, {}, "got boxes [2, 4] float32, scores [2] float32; "),
        ({"a": yolox_rows()}, {"metadata": {"task": "pose"}}, "84, 85] float32, a network for the task 'pose'; "),
    ):
        path = onnx_file(tmp_path / "other.onnx", outputs, **options)
        with pytest.raises(ValueError, match=rf"other\.onnx: .*{re.escape(message)}.*{understood}"):
            OnnxDetector(path)
    path = onnx_file(tmp_path / "tall.onnx", {"output": yolox_rows()}, (1, 3, "h", "w"))
    with pytest.raises(
        ValueError, match=r"got output \[1, 84, 85\] float32; for an input of 32x32 understood are YOLOX's"
    ):
        OnnxDetector(path, size=(32, 32))
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ValueError, match=r"text\.onnx: not an ONNX network"):
        OnnxDetector(tmp_path / "text.onnx")
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx"):
        OnnxDetector(tmp_path / "gone.onnx")


# -- files of boxes ---------------------------------------------------------------------------------------------------


def test_the_command_measures_boxes_and_evaluation_names_detector_and_ap(tmp_path, capsys):
    from posewright.cli import main

    path = onnx_file(tmp_path / "dets.onnx", {"output0": yolov8(wanted=16)}, LARGER)
    for n in (1, 2):
        image.write(tmp_path / "in" / f"{n}.png", PICTURE)
    annotations = [
        {"id": 0, "image_id": 1, "category_id": 18, "bbox": BOX, "iscrowd": 0},
        {"id": 1, "image_id": 2, "category_id": 18, "bbox": BOX, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 0},
        {"id": 3, "image_id": 3, "category_id": 18, "bbox": [0, 0, 9, 9], "iscrowd": 0},  # nobody looked there
    ]
    truth = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in (1, 2, 3)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    out = tmp_path / "boxes.json"
    words = ["boxes", tmp_path / "in", "--detector", path, "--category", "dog", "--out", out]
    assert main([str(w) for w in [*words, "--annotations", tmp_path / "gt.json"]]) == 0
    text = capsys.readouterr().out
    assert "boxes: AP 1.000, AP50 1.000, " in text
    assert f"2 images, 2 boxes scored 0.05 or more by dets.onnx, dog: {out}" in text
    assert {d["category_id"] for d in json.loads(out.read_text())} == {18}
    found = detect.detections(out, category=18, threshold=0.1)
    assert found.source == "boxes.json (dets.onnx, dog, box AP 1.000), score >= 0.1"
    assert found.of_id(1).source == found.source
    out.write_text(out.read_text().replace(" ", "") + "\n")  # another file than the note is about
    assert detect.detections(out, category=18).source == "boxes.json"
    assert main([str(w) for w in words]) == 0  # nothing to measure against
    capsys.readouterr()
    assert detect.detections(out, category=18).source == "boxes.json (dets.onnx, dog)"
    truth["categories"] = [{"id": 5, "name": "cat"}, {"id": 6, "name": "cow"}]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    assert main([str(w) for w in [*words, "--annotations", tmp_path / "gt.json"]]) == 2
    assert "gt.json: has no category 'dog'; it has: cat, cow" in capsys.readouterr().err


def test_box_ap_is_that_of_pycocotools():
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    from posewright import coco_format
    from posewright.evaluate.box_ap import METRICS, box_ap

    rng = np.random.default_rng(0)
    boxes = rng.uniform(5, 300, (60, 4))
    annotations = [
        {"id": n + 1, "image_id": n // 5, "category_id": 1, "bbox": box.tolist(), "area": box[2] * box[3] * 0.6}
        | {"iscrowd": int(n % 11 == 0)}
        for n, box in enumerate(boxes)
    ]
    truth = {
        "images": [{"id": n} for n in range(12)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}],
    }
    moved = boxes + rng.normal(0, 12, boxes.shape)
    found = [
        {"image_id": n // 5, "category_id": 1, "bbox": np.maximum(box, 1).tolist(), "score": float(rng.uniform())}
        for n, box in enumerate(moved)
    ]
    ours = box_ap(coco_format.read_annotations(truth), found, 1, range(10))
    theirs = pycocotools.COCO()
    theirs.dataset = truth
    theirs.createIndex()
    matcher = COCOeval(theirs, theirs.loadRes(found), "bbox")
    matcher.params.imgIds = list(range(10))
    for step in (matcher.evaluate, matcher.accumulate, matcher.summarize):
        step()
    np.testing.assert_allclose(
        [ours[name] for name in (*METRICS, "AR")], matcher.stats[[0, 1, 2, 3, 4, 5, 8]], atol=1e-12
    )
    assert 0.1 < ours["AP"] < 0.9


@pytest.mark.shared
def test_a_real_detector_finds_the_people_in_real_photographs(shared):
    detector = OnnxDetector(shared / "data/detectors/yolox_nano.onnx")
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
