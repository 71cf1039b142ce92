"""Runtimes: the same maps and keypoints from each, translated once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from posewright import image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.runtime import onnx_runtime, selection
from posewright.runtime.crops import Normalise
from posewright.skeletons import LSP14
from posewright.spec import Spec

CPU = torch.device("cpu")
GREY = Normalise("rgb", (128.0,) * 3, (64.0,) * 3)
SPEC = Spec("tiny-64x48", lambda k: Tiny(k), GaussianHeatmap((64, 48), (16, 12)), LSP14, (64, 48))


class Tiny(nn.Module):
    """With what networks have: a folded norm, a strided convolution, a sum in place, an upsampling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(3, 8, 5, 4, 2), nn.BatchNorm2d(8)
        self.down, self.up = nn.Conv2d(8, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.head = nn.Conv2d(8, channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(images)).relu_()
        x += self.up(self.down(x))
        return self.head(x)


class FirstPlace(nn.Module):
    """Asks what ncnn has nothing for."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + torch.nonzero(maps < 9)[0, 1]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


def needs(runtime: str) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn"}[runtime])
    if runtime == "ncnn":
        pytest.importorskip("pnnx")


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "ncnn"])
def test_keypoints_are_those_of_torch(runtime):
    needs(runtime)
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    boxes = [[5, 5, 50, 70], [40, 10, 60, 60], [0, 0, 120, 90]]
    want = Predictor(SPEC, Tiny(14))(pixels, boxes)
    predictor = Predictor(SPEC, Tiny(14), runtime=runtime, batch=2)
    assert predictor.runtime == runtime
    np.testing.assert_allclose(predictor(pixels, boxes).xy, want.xy, atol=0.05)
    np.testing.assert_allclose(predictor(pixels, boxes).score, want.score, atol=1e-4)
    with ThreadPoolExecutor(4) as pool:
        for poses in pool.map(lambda _: predictor(pixels, boxes), range(8)):
            np.testing.assert_allclose(poses.xy, want.xy, atol=0.05)


def test_a_network_is_translated_once_and_again_when_its_weights_change(cache, monkeypatch):
    needs("onnx")
    net, calls, write = Tiny(2), [], onnx_runtime.traced
    monkeypatch.setattr(selection, "traced", lambda *given: calls.append(given) or write(*given))
    for _ in range(2):
        selection.translated(net, GREY, (64, 48), "onnx")
    assert len(calls) == 1
    net.head.bias.data += 1
    selection.translated(net, GREY, (64, 48), "onnx")
    selection.translated(net, GREY, (64, 64), "onnx")
    selection.translated(net, Normalise("bgr", (1.0,) * 3, (2.0,) * 3), (64, 64), "onnx")
    assert len(calls) == 4
    assert len(list(cache.glob("*.onnx"))) == 4


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "ncnn"])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_normalisation_is_the_first_step_and_zero_padding_comes_after_it(runtime, colour):
    needs(runtime)
    net, mean, std = Tiny(2).eval(), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 48, 3), np.uint8)
    with torch.inference_mode():
        want = net(image.to_tensor(crops, colour, mean, std))
        torch.testing.assert_close(
            Normalise(colour, mean, std)(torch.from_numpy(crops)), image.to_tensor(crops, colour, mean, std)
        )
    maps = selection.translated(net, Normalise(colour, mean, std), (64, 48), runtime)(crops)
    np.testing.assert_allclose(maps, want.numpy(), atol=2e-5)


def test_a_file_that_yields_other_maps_is_not_kept(cache, monkeypatch):
    needs("onnx")
    other = Tiny(2).eval()
    nn.init.constant_(other.head.bias, 5)
    monkeypatch.setattr(selection, "traced", lambda _, *given: onnx_runtime.traced(nn.Sequential(GREY, other), *given))
    with pytest.raises(ValueError, match=r"yields other maps than the network .*use runtime 'torch'"):
        selection.translated(Tiny(2), GREY, (64, 48), "onnx")
    assert not list(cache.glob("*"))


def test_auto_is_the_fastest_that_is_installed(monkeypatch, capsys):
    monkeypatch.delenv("POSEWRIGHT_RUNTIME")
    for available, family, want in (
        (["torch", "onnx", "openvino", "ncnn"], "mspn", "openvino"),
        (["torch", "onnx", "openvino"], "hrnet", "openvino"),
        (["torch", "onnx", "openvino"], "lpn", "onnx"),
        (["torch", "openvino"], "litehrnet", "torch"),
        (["torch", "onnx"], "hrnet", "onnx"),
        (["torch"], "hrnet", "torch"),
    ):
        monkeypatch.setattr(selection, "installed", lambda available=available: available)
        selection._announce.cache_clear()
        assert selection.chosen("auto", family, CPU) == want
        assert selection.chosen("auto", family, CPU) == want  # and says so once
        assert capsys.readouterr().err.count(f"runtime: {want}") == (want != "torch")
    assert selection.fastest("hrnet", torch.device("cuda")) == "torch"
    monkeypatch.setenv("POSEWRIGHT_RUNTIME", "onnx")
    assert selection.chosen("auto", "hrnet", CPU) == "onnx"
    assert selection.chosen("torch", "hrnet", CPU) == "torch"


def test_auto_is_ncnn_where_each_thread_has_an_image(monkeypatch):
    monkeypatch.delenv("POSEWRIGHT_RUNTIME")
    monkeypatch.setattr(selection, "installed", lambda: ["torch", "openvino", "ncnn"])
    for threads, images, want in (
        (1, 1, "ncnn"),
        (2, 1, "openvino"),
        (1, 2, "ncnn"),
        (2, 2, "ncnn"),
        (4, 2, "openvino"),
    ):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert selection.chosen("auto", "hrnet", CPU, images=images) == want
    assert selection.chosen("auto", "hrnet", CPU, "bf16", 4) == "openvino"


def test_auto_does_without_what_cannot_be_translated(monkeypatch, capsys, cache):
    needs("ncnn")
    monkeypatch.setattr(selection, "chosen", lambda *_: "ncnn")
    monkeypatch.delenv("POSEWRIGHT_RUNTIME")
    net, message = nn.Sequential(Tiny(2), FirstPlace()), "this network has what ncnn cannot run: use runtime 'torch'"
    runtime, run = selection.fitted(net, GREY, (64, 48), CPU, "auto", "tiny")
    assert runtime == "torch"
    assert isinstance(run, nn.Module)
    assert f"runtime: torch instead: {message}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=message):
        selection.fitted(net, GREY, (64, 48), CPU, "ncnn", "tiny")
    assert not list(cache.glob("*"))


def test_auto_does_without_a_cache(monkeypatch, tmp_path, capsys):
    needs("onnx")
    monkeypatch.delenv("POSEWRIGHT_RUNTIME")
    (tmp_path / "file").touch()
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "file"))
    assert Predictor(SPEC, Tiny(14), runtime="auto").runtime == "torch"
    assert "runtime: torch instead, as the cache cannot be used: " in capsys.readouterr().err
    with pytest.raises(OSError, match="cannot write"):
        Predictor(SPEC, Tiny(14), runtime="onnx")


@pytest.mark.parametrize(
    ("runtime", "device", "precision", "message"),
    [
        ("fast", "cpu", "float32", "runtime: expected auto, torch, onnx, openvino, ncnn, got 'fast'"),
        ("onnx", "cpu", "bf16", "runtime 'onnx' computes in float32, not in bf16"),
        ("ncnn", "cpu", "bf16", "runtime 'ncnn' computes in float32, not in bf16"),
        ("ncnn", "meta", "float32", "runtime 'ncnn' runs on the CPU, not on meta: use runtime 'torch'"),
        ("openvino", "meta", "float32", "runtime 'openvino' runs on the CPU, not on meta: use runtime 'torch'"),
        ("torch", "cpu", "fp16", "torch computes in fp16 on GPUs"),
    ],
)
def test_what_cannot_run_is_refused(runtime, device, precision, message):
    with pytest.raises(ValueError, match=message):
        Predictor(SPEC, Tiny(14), runtime=runtime, device=device, precision=precision)


@pytest.mark.parametrize("runtime", ["openvino", "ncnn"])
def test_a_runtime_that_is_missing_names_its_extra(monkeypatch, runtime):
    monkeypatch.setattr(selection, "installed", lambda: ["torch"])
    message = rf"'{runtime}' is not installed: `pip install posewright\[{runtime}\]`"
    with pytest.raises(ModuleNotFoundError, match=message):
        Predictor(SPEC, Tiny(14), runtime=runtime)


@pytest.mark.parametrize(
    ("installed", "missing", "want"),
    [
        (["onnx", "pnnx", "ncnn"], "", ["torch", "ncnn"]),
        (["onnx", "ncnn"], "pnnx", ["torch"]),
        (["onnxruntime", "openvino"], "onnx", ["torch"]),
    ],
)
def test_what_a_runtime_needs_is_all_there(monkeypatch, installed, missing, want):
    monkeypatch.setattr(selection, "find_spec", lambda name: name in ["torch", *installed] or None)
    assert selection.installed() == want


def test_half_precision_where_this_machine_has_it():
    if not selection.torch_runtime.can_bf16(CPU):
        pytest.skip("no bf16 here")
    images = torch.randn(2, 3, 64, 48)
    want = selection.ready(Tiny(2), (64, 48), CPU)(images)
    maps = selection.ready(Tiny(2), (64, 48), CPU, "bf16")(images)
    assert maps.dtype == torch.float32
    assert 0 < (maps - want).norm() < 0.05 * want.norm()


@pytest.mark.parametrize(("name", "grouped"), [("tiny", False), ("lpn-18-128x96", True)])
def test_openvino_has_plain_convolutions_for_grouped_ones_in_bf16(cache, name, grouped):
    needs("openvino")
    import onnx
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("no bf16 here")
    size = (64, 48) if name == "tiny" else (128, 96)
    net = (Tiny(2) if name == "tiny" else find(name).build(2)).eval()
    for place, tensor in net.named_buffers():
        if place.endswith("running_mean"):
            tensor.uniform_(-0.5, 0.5)
    crops = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    want = selection.translated(net, GREY, size, "openvino")(crops)
    (float32,) = cache.glob("*.onnx")
    maps = selection.translated(net, GREY, size, "openvino", "bf16")(crops)
    others = set(cache.glob("*.onnx")) - {float32}  # without groups, both precisions read the same file
    kinds = [{node.op_type for node in onnx.load(path).graph.node} for path in (float32, *others)]
    assert ["ConvTranspose" in found for found in kinds] == ([True, False] if grouped else [True])
    assert 0 < np.linalg.norm(maps - want) < 0.05 * np.linalg.norm(want)
