"""`posewright bench`: a row for each runtime and batch size, with every step."""

import json

import numpy as np
import pytest
import torch

from posewright import image
from posewright.export import network_file
from posewright.models import find
from posewright.predict import detector, timing
from posewright.predict.predictor import Predictor
from posewright.runtime import selection
from posewright.skeletons import COCO17
from posewright.types import Boxes

NAME = "simplebaseline-r18-slim-128x96"


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "peak", lambda device, precision: 1e12)
    image.write(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8))
    return ("bench", NAME, "--image", tmp_path / "a.jpg", "--runtime", "torch", "--turns", 1)


def test_bench_states_every_step_of_each_runtime(run, options):
    status, out, _ = run(*options, "--batch", 1, 2, "--json")
    assert status == 0
    said = json.loads(out)
    assert [(row["runtime"], row["precision"], row["batch"]) for row in said["rows"]] == [
        ("torch", "float32", 1),
        ("torch", "float32", 2),
    ]
    for row in said["rows"]:
        steps = [row[step] for step in ("read", "warp", "network", "decode", "draw")]
        assert all(step > 0 for step in steps)
        assert np.isclose(sum(steps), row["all"])
        assert np.isclose(row["peak_share"], timing.multiply_adds(find(NAME)) / row["network"] / 1e9)
    assert {"torch", "numpy"} <= said["surroundings"]["versions"].keys()
    assert said["surroundings"]["peak_multiply_adds_per_second"] == {"float32": 1e12}
    status, out, _ = run(*options, "--batch", 1)
    columns = ["runtime", "precision", "batch", "read", "warp", "network", "decode", "draw", "all", "of", "peak"]
    assert out.splitlines()[1].split() == columns
    assert "1000 billion multiply-adds per second in float32" in out


def test_a_network_is_translated_once(run, options, monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "cache"))
    for seed in range(2):
        torch.manual_seed(seed)
        assert run(*options[:4], "--runtime", "onnx", "--turns", 1, "--batch", 1)[0] == 0
    assert len(list((tmp_path / "cache/networks").iterdir())) == 1


def test_a_detector_is_a_step_of_its_own(run, options, monkeypatch, tmp_path):
    class Found:
        def __init__(self, path):
            self.path = path

        def __call__(self, pixels):
            return np.zeros((0, 4))

    monkeypatch.setattr(detector, "OnnxDetector", Found)
    (tmp_path / "people.onnx").write_bytes(b"")
    status, out, _ = run(*options, "--batch", 2, "--detector", tmp_path / "people.onnx", "--json")
    assert status == 0
    assert list(json.loads(out)["rows"][0])[3:] == [*timing.STEPS, "all", "peak_share"]


def test_what_a_runtime_does_not_compute_is_left_out_and_said(run, options):
    status, out, _ = run(*options, "--batch", 1, "--precision", "float32", "fp16")
    assert status == 0
    assert out.splitlines()[-1].startswith("left out: torch computes in fp16 on GPUs")
    status, _, err = run(*options, "--batch", 1, "--precision", "fp16")
    assert (status, "torch computes in fp16 on GPUs" in err) == (2, True)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("raw", [False, True])
def test_an_exported_file_is_measured_as_it_is(run, options, tmp_path, suffix, raw):
    for package in ("onnx", "onnxruntime") if suffix == ".onnx" else ("onnx", "openvino"):
        pytest.importorskip(package)
    predictor = Predictor(find(NAME), find(NAME).build(), device="cpu", flip=False)
    path, target = tmp_path / f"net{suffix}", "onnx" if suffix == ".onnx" else "openvino"
    network_file.write(predictor, path, target, raw=raw, images=[np.zeros((60, 50, 3), np.uint8)])
    status, out, err = run("bench", path, "--image", tmp_path / "a.jpg", "--turns", 1, "--batch", 2, "--json")
    assert (status, err.count("error")) == (0, 0)
    said = json.loads(out)
    (row,) = said["rows"]
    assert (said["model"], row["runtime"], row["precision"], row["batch"]) == (NAME, target, "float32", 2)
    assert (row["decode"] > 0) == raw  # else the network's step holds it
    assert np.isclose(row["peak_share"], timing.multiply_adds(find(NAME)) / row["network"] / 1e9)
    status, out, err = run("bench", path, "--image", tmp_path / "a.jpg", "--turns", 1, "--batch", 2, "--flip-test")
    assert status == (0 if raw else 2)
    assert "whether it averages with the mirrored image is fixed" in err or raw
    status, _, err = run("bench", path, "--runtime", "torch")
    assert (status, "on the CPU, got runtime 'torch'" in err) == (2, True)


def test_each_step_runs_once(monkeypatch, tmp_path):
    calls = []

    def maps(images):
        calls.append(len(images))
        return torch.ones(len(images), 17, 32, 24)

    image.write(tmp_path / "a.jpg", np.zeros((60, 50, 3), np.uint8))
    predictor = Predictor(find(NAME).with_skeleton(COCO17), maps, device="cpu", flip=True, batch=2)
    timing.measure({"one": predictor}, tmp_path / "a.jpg", Boxes.of([[5, 5, 30, 40]] * 3), turns=1)
    assert calls == [4, 2, 4, 2]  # mirrored images, too; a turn to warm up, and one that counts


def test_the_peak_is_measured(monkeypatch):
    monkeypatch.setattr(selection, "installed", lambda: ["torch"])
    assert timing.peak() > 1e6
    with pytest.raises(ValueError, match="cpu does not compute in fp16: use float32"):
        timing.peak("cpu", "fp16")


def test_multiply_adds_are_those_of_one_image():
    assert timing.multiply_adds(find("simplebaseline-r50-256x192")) == pytest.approx(5.4e9, rel=0.05)


def test_numbers_below_one_are_refused(run):
    status, _, err = run("bench", NAME, "--batch", 0)
    assert (status, err) == (2, "posewright: --batch and --turns expect numbers from 1 on\n")
