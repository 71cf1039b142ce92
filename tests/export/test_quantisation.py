"""int8: calibrated on images, its loss measured on annotated people, refused above a limit, nothing half-written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from posewright import image
from posewright.cli import main
from posewright.data.skeleton_file import people_for
from posewright.export import network_file, quantisation
from posewright.export.quantisation import Calibration
from posewright.models import find
from posewright.predict import timing
from posewright.predict.predictor import Predictor, load
from posewright.runtime.graph import CROPS, DECODED, PoseGraph
from posewright.runtime.onnx_runtime import traced
from posewright.skeletons import COCO17
from posewright.spec import Spec
from posewright.synthetic import people as synthetic

from ..runtime.test_decoders import CASES

NAME = "simplebaseline-r18-slim-128x96"
PICTURES = [np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return synthetic.make(tmp_path_factory.mktemp("drawn"), 2, split="val", workers=1)


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return Predictor(find(NAME), find(NAME).build(), device="cpu", flip=False)


def needs(target: str) -> None:
    for package in ("onnx", "onnxruntime") if target == "onnx" else ("onnx", "openvino", "nncf"):
        pytest.importorskip(package)


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def written(request, predictor, drawn, tmp_path_factory):
    """A float32 file and an int8 one."""
    needs(request.param)
    folder, suffix = tmp_path_factory.mktemp(request.param), network_file.SUFFIX[request.param]
    plain = network_file.write(predictor, folder / f"plain{suffix}", request.param, images=PICTURES)
    calibration = Calibration(people=people_for(predictor.spec.skeleton, drawn))
    small = network_file.write(predictor, folder / f"int8{suffix}", request.param, images=PICTURES, int8=calibration)
    return plain, small


def weights_bytes(path) -> int:
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.stem}.*"))


def test_an_int8_file_is_small_says_so_and_finds_nearly_the_same(written, predictor, drawn):
    plain, small = written
    assert weights_bytes(small.path) < 0.5 * weights_bytes(plain.path)
    change = small.change
    assert plain.change is None
    assert change is not None
    assert 0 <= change.median <= change.p95
    assert (change.metric, change.crops) == ("AP", len(people_for(predictor.spec.skeleton, drawn).xy))
    assert "pixels of the crop (median; 95 % by at most" in str(change)
    other = load(str(small.path), precision="int8")
    assert other.net.precision == "int8"
    images = np.concatenate([PICTURES[0][None, :80, :96].repeat(3, 0), np.zeros((3, 48, 96, 3), np.uint8)], 1)
    (xy, score), (want, want_score) = other.keypoints(images), load(str(plain.path)).keypoints(images)
    assert not np.array_equal(score, want_score)  # it is another network
    assert np.median(np.abs(score - want_score)) < 0.5 * np.abs(want_score).max()
    assert xy.shape == want.shape


def test_an_int8_file_is_measured_beside_the_peak_in_int8(written, tmp_path, monkeypatch, capsys):
    _, small = written
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, padding=1))
    monkeypatch.setattr(timing, "large_convolutions", lambda: (net, np.zeros((2, 8, 8, 3), np.uint8), 1e6))
    image.write(tmp_path / "a.png", PICTURES[0])
    command = ["bench", str(small.path), "--image", str(tmp_path / "a.png"), "--turns", "1", "--batch", "1"]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (row,) = said["rows"]
    peak = said["surroundings"]["peak_multiply_adds_per_second"]["int8"]
    assert row["precision"] == "int8"
    assert row["peak_share"] == pytest.approx(timing.multiply_adds(find(NAME)) / (row["network"] / 1000) / peak)
    assert main([*command, "--precision", "float32"]) == 2
    assert "computes in int8, as it was exported: leave --precision out" in capsys.readouterr().err


def test_a_float32_file_is_not_taken_for_int8(written):
    with pytest.raises(
        ValueError, match=r"computes in float32; int8 needs a file that was exported so, with images to"
    ):
        load(str(written[0].path), precision="int8")


def test_a_loss_above_the_limit_is_refused_and_nothing_is_left(predictor, drawn, tmp_path, monkeypatch):
    needs("onnx")
    people = people_for(predictor.spec.skeleton, drawn)
    ap = iter([0.7, 0.69])
    evaluate = quantisation.evaluator.evaluate

    def falling(*given, **settings):
        evaluation = evaluate(*given, **settings)
        evaluation.metrics["AP"] = next(ap)
        return evaluation

    monkeypatch.setattr(quantisation.evaluator, "evaluate", falling)
    monkeypatch.setattr(quantisation, "quantised", lambda model, target, crops: model)
    (tmp_path / "net.onnx").write_text("what was there before")
    with pytest.raises(
        ValueError,
        match=r"net\.onnx: not written: int8 moves .* AP 70\.00 at float32, 69\.00 in int8; at most 0\.5 points",
    ):
        network_file.write(predictor, tmp_path / "net.onnx", "onnx", images=PICTURES, int8=Calibration(people=people))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_text() == "what was there before"


def test_images_without_annotations_calibrate_too(drawn, tmp_path, capsys, monkeypatch):
    needs("onnx")
    monkeypatch.setattr(quantisation, "quantised", lambda model, target, crops: model)
    torch.save(find(NAME).build(17).state_dict(), tmp_path / "net.pth")
    words = ["export", NAME, "--weights", str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx"), "--json"]
    words += ["--precision", "int8", "--calibrate", str(drawn.parents[1] / "val")]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)["int8"]
    assert said["metric"] == ""
    assert said["crops"] >= 2
    assert "its loss was not measured: the images have no annotations" in str(quantisation.Change(0.1, 0.2, 3))


def test_what_int8_needs_is_said(predictor, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"int8 needs an exported file, calibrated on images: `posewright export NAME"):
        Predictor(predictor.spec, find(NAME).build(), precision="int8")
    image.write(tmp_path / "photo.png", PICTURES[0])
    assert main(["predict", str(tmp_path / "photo.png"), "--precision", "int8", "--out", str(tmp_path / "out")]) == 2
    assert "int8 needs an exported file, calibrated on images: `posewright export NAME" in capsys.readouterr().err
    assert main(["export", NAME, "--precision", "int8"]) == 2
    assert "--precision int8 and --calibrate IMAGES|JSON go together" in capsys.readouterr().err
    assert main(["export", NAME, "--max-loss", "3"]) == 2
    assert "--max-loss is of --precision int8" in capsys.readouterr().err
    with pytest.raises(ValueError, match="int8 needs images to calibrate on, with people in them: none were given"):
        Calibration().run(predictor, flip=False)


def test_a_missing_quantiser_names_its_extra(monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"int8 for openvino needs nncf: `pip install posewright\[openvino\]`"
    ):
        quantisation.quantised(None, "openvino", np.zeros((1, 4, 4, 3), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("flip", [False, True])
def test_openvino_compiles_every_codec_in_int8(name, flip):
    """It takes factors of the decoder for scales of its own, and moves them to where it fails."""
    needs("openvino")
    import openvino

    codec, core = CASES[name], openvino.Core()
    torch.manual_seed(0)
    strides = [round(side / map_side) for side, map_side in zip(codec.size, codec.map_size)]
    last = nn.Conv2d(8, codec.channels(17), 3, strides, 1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), last).eval()
    spec = Spec("any", nn.Identity, codec, COCO17, codec.size, crop_rule=codec.crop_rules[0])
    graph = PoseGraph(net, spec, flip=flip).eval()
    data = traced(graph, torch.zeros(2, *codec.size, 3, dtype=torch.uint8), CROPS, DECODED)
    model, crops = core.read_model(data), np.random.default_rng(0).integers(0, 255, (2, *codec.size, 3), np.uint8)
    plain, small = (
        core.compile_model(each, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([crops])
        for each in (model, quantisation.quantised(model, "openvino", crops))
    )
    assert small[0].shape == (2, 17, 2)
    assert np.median(np.abs(small[1] - plain[1])) <= 0.02 * np.abs(plain[1]).max()
