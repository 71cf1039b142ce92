"""A detector's boxes become a file that evaluation and prediction take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posewright import image
from posewright.predict import boxes as detect
from posewright.predict import detections_file
from posewright.predict.detecting import detections_in
from posewright.types import Boxes


def detector(pixels: np.ndarray) -> Boxes:
    height, width = pixels.shape[:2]
    return Boxes.of([[0, 0, width, height], [1, 2, 3.00049, 4]], [0.75, 0.25], "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in (3, 1):
        image.write(tmp_path / f"{n}.png", np.zeros((8 + n, 9, 3), np.uint8))
    return tmp_path


def test_the_file_is_read_back(folder, tmp_path):
    ticks = []
    found = detections_in(detector, [folder], progress=lambda done, total: ticks.append((done, total)))
    assert found.detections[2] == {
        "image_id": 3, "category_id": 1, "bbox": [0, 0, 9, 11], "score": 0.75, "file_name": "3.png",
    }  # fmt: skip
    assert (found.images, ticks) == ([1, 3], [(1, 2), (2, 2)])
    path = tmp_path / "det.json"
    path.write_text(json.dumps(found.detections))
    boxes = detect.detections(path).of("3.png")
    assert boxes.xywh.tolist() == [[0, 0, 9, 11], [1, 2, 3, 4]]
    assert boxes.score.tolist() == [0.75, 0.25]


def test_ids_come_from_annotations(folder, tmp_path):
    listing = {
        "images": [{"id": 30, "file_name": "3.png"}, {"id": 10, "file_name": "1.png"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(listing))
    found = detections_in(detector, [folder], annotations=tmp_path / "gt.json")
    assert [d["image_id"] for d in found.detections] == [10, 10, 30, 30]


def test_images_without_boxes_are_known_by_the_note(folder, tmp_path):
    image.write(folder / "sub" / "1.png", np.zeros((20, 9, 3), np.uint8))
    found = detections_in(lambda pixels: detector(pixels)[: len(pixels) > 10], [folder], recursive=True)
    assert found.named == {"1.png": 1, "3.png": 2, "sub/1.png": 3}
    detections_file.write(
        tmp_path / "det.json", found.detections, detections_file.Note("d", 0, "person", 0.3, images=found.named)
    )
    boxes = detect.detections(tmp_path / "det.json")
    assert [len(boxes.of(folder / name)) for name in ("1.png", "3.png", "sub/1.png")] == [0, 1, 1]


def test_images_that_cannot_be_read_are_named_unless_there_are_no_others(folder):
    (folder / "2.png").write_bytes(b"broken")
    found = detections_in(detector, [folder])
    assert [d["image_id"] for d in found.detections] == [1, 1, 3, 3]
    assert "2.png: not an image" in found.failed[0]
    with pytest.raises(ValueError, match=r"2\.png: not an image"):
        detections_in(detector, [folder / "2.png"])


@pytest.mark.shared
def test_the_command_writes_what_eval_reads(shared, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    from posewright.cli import main

    images, file = shared / "data/formats/coco", shared / "data/detectors/yolox_nano.onnx"
    out = tmp_path / "boxes.json"
    assert main(["boxes", str(images), "--detector", str(file), "--out", str(out)]) == 0
    assert f"boxes scored 0.05 or more by yolox_nano.onnx: {out}" in capsys.readouterr().out
    boxes, gt = detect.detections(out), detect.annotated(images / "test_coco.json")
    for path in images.glob("*.jpg"):
        assert len(boxes.of(path)) >= min(1, len(gt.of(path)))
