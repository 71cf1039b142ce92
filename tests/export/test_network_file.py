"""Exported files: they say what they are, find the same keypoints, and are written only then."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from posewright.cli import main
from posewright.export import network_file
from posewright.models import find
from posewright.predict.predictor import Predictor, load
from posewright.skeletons import LSP14

NAME = "simplebaseline-r18-slim-128x96"
PICTURES = [np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)]


@pytest.fixture(scope="module")
def predictor():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    spec = find(NAME).with_skeleton(LSP14)
    return Predictor(spec, spec.build(), device="cpu", flip=False)


@pytest.fixture(scope="module")
def exported(predictor, tmp_path_factory):
    return network_file.write(
        predictor, tmp_path_factory.mktemp("export") / "net.onnx", "onnx", images=PICTURES, licence="Apache-2.0"
    )


def test_a_file_needs_nothing_beside_it(exported, predictor):
    assert exported.parity.off <= 0.05
    assert [p.name for p in exported.path.parent.iterdir()] == ["net.onnx"]
    back = load(str(exported.path))
    assert back.spec.name == NAME
    assert back.spec.skeleton == predictor.spec.skeleton
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    boxes = [[5, 5, 50, 70], [40, 10, 60, 60], [0, 0, 120, 90]]
    np.testing.assert_allclose(back(pixels, boxes).xy, predictor(pixels, boxes).xy, atol=0.05)


def test_a_changed_codec_goes_into_the_file(predictor, tmp_path):
    spec = predictor.spec.with_codec({"quarter": False, "flip_shift": False})
    changed = Predictor(spec, predictor.net, device="cpu")
    path = network_file.write(changed, tmp_path / "net.onnx", "onnx", images=PICTURES, raw=True).path
    assert load(str(path)).spec.codec == spec.codec
    assert load(str(path), codec={"quarter": True}).spec.codec == predictor.spec.with_codec({"flip_shift": False}).codec


def test_what_it_says_of_itself(exported):
    onnx = pytest.importorskip("onnx")
    said = {entry.key: json.loads(entry.value) for entry in onnx.load(exported.path).metadata_props}["posewright"]
    assert said["spec"] == NAME
    assert said["licence"] == "Apache-2.0"
    assert said["skeleton"]["keypoints"] == list(LSP14.points)
    rules = said["rules"]
    assert (rules["size"], rules["colour"], rules["crop_rule"]) == ([128, 96], "rgb", "standard")
    assert rules["codec"]["type"] == "GaussianHeatmap"
    assert {"mean", "std", "padding", "scoring"} <= rules.keys()


def changed(path, copy, change):
    """A copy of an ONNX file that says something else of itself."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    said = json.loads(model.metadata_props[0].value)
    change(said)
    model.metadata_props[0].value = json.dumps(said)
    onnx.save(model, copy)
    return str(copy)


def test_the_colour_outside_of_the_image_is_a_rule_that_older_files_leave_out(exported, tmp_path):
    from posewright.runtime.exported import rules_of

    assert rules_of(find(NAME))["border"] == [0, 0, 0]
    assert rules_of(find("cpn-50-256x192"))["border"] == [123, 116, 103]
    older = changed(exported.path, tmp_path / "older.onnx", lambda said: said["rules"].pop("border"))
    assert load(older).spec.name == NAME
    other = changed(exported.path, tmp_path / "net.onnx", lambda said: said["rules"].update(border=[1, 2, 3]))
    with pytest.raises(ValueError, match=r"net\.onnx: was exported with another border than"):
        load(other)


def test_a_file_that_yields_something_else_than_it_says_is_refused(exported, raw, tmp_path):
    maps = changed(raw.path, tmp_path / "maps.onnx", lambda said: said.update(decoded=True))
    points = changed(exported.path, tmp_path / "points.onnx", lambda said: said.update(decoded=False))
    crops = np.zeros((1, 128, 96, 3), np.uint8)
    with pytest.raises(
        ValueError,
        match=r"maps\.onnx: says that it yields keypoints and scores, but yields arrays of shape \(1, 14, 32, 24\)",
    ):
        load(maps).keypoints(crops)
    with pytest.raises(
        ValueError, match=r"points\.onnx: says that it yields maps, but yields arrays of shape \(\d, 14"
    ):
        load(points).keypoints(crops)


def test_another_precision_has_another_fingerprint(exported):
    from posewright.runtime.exported import ExportedNetwork, metadata_of

    said = metadata_of(find(NAME), decoded=False, flip=False)
    plain, half = (ExportedNetwork(exported.path, said, lambda crops: [crops], name) for name in ("float32", "bf16"))
    assert plain.fingerprint == load(str(exported.path)).net.fingerprint != half.fingerprint


def test_openvino_files(predictor, tmp_path):
    pytest.importorskip("openvino")
    done = network_file.write(predictor, tmp_path / "net.xml", "openvino", images=PICTURES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert done.parity.off <= 0.05
    assert load(str(done.path)).spec.skeleton == predictor.spec.skeleton


def test_a_file_that_finds_other_keypoints_is_not_written(predictor, tmp_path, monkeypatch):
    torch.manual_seed(1)
    other = find(NAME).build(14).eval()
    graph = network_file.PoseGraph
    monkeypatch.setattr(network_file, "PoseGraph", lambda net, spec, **settings: graph(other, spec, **settings))
    with pytest.raises(ValueError, match=r"net\.onnx: not written: its keypoints differ by up to .* pixels"):
        network_file.write(predictor, tmp_path / "net.onnx", "onnx", images=PICTURES)
    assert not list(tmp_path.iterdir())


def test_files_of_others_and_of_other_rules_are_refused(exported, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported.path)
    said = json.loads(model.metadata_props[0].value)
    said["rules"]["mean"] = [0, 0, 0]
    model.metadata_props[0].value = json.dumps(said)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(
        ValueError, match=rf"other\.onnx: was exported with another mean than {NAME} has.*export it again"
    ):
        load(str(tmp_path / "other.onnx"))
    model.metadata_props[0].value = "{"
    onnx.save(model, tmp_path / "cut.onnx")
    with pytest.raises(ValueError, match=r"cut\.onnx: expected what an exported file says of itself, this is not JSON"):
        load(str(tmp_path / "cut.onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match=r"foreign\.onnx: does not say what it finds: it was not written by"):
        load(str(tmp_path / "foreign.onnx"))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match=r"text\.onnx: "):
        load(str(tmp_path / "text.onnx"))
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx: no such exported network's file"):
        load(str(tmp_path / "gone.onnx"))
    with pytest.raises(ValueError, match="an exported file holds weights and skeleton: leave them out"):
        load(str(exported.path), skeleton=LSP14)
    with pytest.raises(ValueError, match=r"net\.pb: files for onnx end in \.onnx"):
        network_file.write(load(str(exported.path)), "net.pb", "onnx")
    with pytest.raises(ValueError, match="cannot export a network that onnx runs"):
        network_file.write(load(str(exported.path)), tmp_path / "net.onnx", "onnx")


@pytest.fixture(scope="module")
def raw(predictor, tmp_path_factory):
    return network_file.write(predictor, tmp_path_factory.mktemp("raw") / "raw.onnx", "onnx", images=PICTURES, raw=True)


def test_raw_files_yield_maps_of_uint8_crops(raw, predictor):
    other = load(str(raw.path), flip=False)
    crops = np.random.default_rng(0).integers(0, 255, (3, 128, 96, 3), np.uint8)
    (maps,) = other.net(crops)
    assert maps.shape == (3, 14, 32, 24)
    xy, score = other.keypoints(crops)
    want, want_score = predictor.keypoints(crops)
    np.testing.assert_allclose(xy, want, atol=0.05)
    np.testing.assert_allclose(score, want_score, atol=1e-4)
    assert [array.shape for array in other.keypoints(crops[:0])] == [(0, 14, 2), (0, 14)]


def test_the_flip_test_of_raw_files_is_done_around_them(raw, predictor):
    crops = np.random.default_rng(1).integers(0, 255, (2, 128, 96, 3), np.uint8)
    flipped = Predictor(predictor.spec, predictor.net.__call__, flip=True, device="cpu")
    np.testing.assert_allclose(load(str(raw.path)).keypoints(crops)[0], flipped.keypoints(crops)[0], atol=0.05)


def test_what_is_fixed_in_a_file_cannot_be_asked_for_otherwise(exported, raw, predictor, tmp_path):
    assert load(str(exported.path)).flip is False
    with pytest.raises(
        ValueError, match=r"net\.onnx: whether it averages with the mirrored image is fixed: export it with"
    ):
        load(str(exported.path), flip=True)
    with pytest.raises(
        ValueError, match=r"net\.onnx: decodes by itself, as it was exported: quarter cannot be changed"
    ):
        load(str(exported.path), codec={"quarter": False})
    with pytest.raises(
        ValueError, match=r"net\.onnx: ONNX files compute in the precision they were exported in, not in bf16"
    ):
        load(str(exported.path), precision="bf16")
    with pytest.raises(ValueError, match=r"net\.onnx: runs by onnx on the CPU, got runtime 'torch' and device 'auto'"):
        load(str(exported.path), runtime="torch")
    assert load(str(exported.path), runtime="onnx", device="cpu").runtime == "onnx"
    assert load(str(raw.path), codec={"quarter": False}).spec.codec.quarter is False
    flipped = network_file.write(predictor, tmp_path / "flip.onnx", "onnx", images=PICTURES, flip=True).path
    assert load(str(flipped)).flip is True
    with pytest.raises(ValueError, match="is fixed: export it without --flip"):
        load(str(flipped), flip=False)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_full_disk_leaves_what_was_there(predictor, target, tmp_path, monkeypatch):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[target])
    suffixes = [".onnx"] if target == "onnx" else [".bin", ".xml"]
    for suffix in suffixes:
        (tmp_path / f"net{suffix}").write_text("before")

    def full(*_, **__):
        raise OSError(28, "No space left on device") if target == "onnx" else RuntimeError("iostream error")

    monkeypatch.setattr(*(("pathlib.Path.write_bytes", full) if target == "onnx" else ("openvino.save_model", full)))
    reason = (
        "No space left on device; free some space" if target == "onnx" else r"OpenVINO could not .*is the disk full\?"
    )
    with pytest.raises(OSError, match=rf"cannot write .*net\{suffixes[-1]}: {reason}.*; nothing was changed"):
        network_file.write(predictor, tmp_path / f"net{suffixes[-1]}", target, images=PICTURES)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"net{s}": "before" for s in suffixes}


def test_openvino_files_without_their_weights_are_refused(predictor, tmp_path):
    pytest.importorskip("openvino")
    path = network_file.write(predictor, tmp_path / "net.xml", "openvino", images=PICTURES).path
    with pytest.raises(ValueError, match=r"net\.xml: files that decode compute in the precision .*not in bf16"):
        load(str(path), precision="bf16")
    path.with_suffix(".bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.bin: no such weights that go with net\.xml"):
        load(str(path))


def test_a_network_that_yields_nan_is_reported(predictor, tmp_path, monkeypatch):
    path = network_file.write(predictor, tmp_path / "net.onnx", "onnx", images=PICTURES).path
    broken = load(str(path))
    monkeypatch.setattr(broken.net, "_run", lambda crops: [np.full((1, 14, 2), np.nan), np.zeros((1, 14))])
    with pytest.raises(ValueError, match=r"net\.onnx: yields NaN or infinity; its weights are unusable"):
        broken.keypoints(np.zeros((1, 128, 96, 3), np.uint8))


def test_undecided_keypoints_are_counted_and_all_of_them_refused(predictor, tmp_path):
    flat = find(NAME).with_skeleton(LSP14).build()
    for tensor in flat.final_layer.parameters():
        torch.nn.init.constant_(tensor, 0.5)  # equal channels, so that nothing but rounding differs from 0.5 there
    torch.nn.init.zeros_(flat.final_layer.weight)
    with pytest.raises(ValueError, match="cannot compare keypoints: rounding decides where all 14 of 1 images lie"):
        network_file.write(
            Predictor(predictor.spec, flat, device="cpu", flip=False), tmp_path / "net.onnx", "onnx", images=PICTURES
        )
    assert not list(tmp_path.iterdir())


def test_the_commands(tmp_path, capsys, predictor):
    spec = predictor.spec
    torch.save(find(NAME).build(17).state_dict(), tmp_path / "net.pth")
    file = tmp_path / "net.onnx"
    assert main(["export", NAME, "--weights", str(tmp_path / "net.pth"), "--out", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["model"], said["file"]) == (spec.name, str(file))
    from posewright import image

    image.write(tmp_path / "7.png", np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "7.png"), "--model", str(file), "--out", str(out), "--quiet"]) == 0
    (result,) = json.loads((out / "results.json").read_text())
    assert len(result["keypoints"]) == 17 * 3
