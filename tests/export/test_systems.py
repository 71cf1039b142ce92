"""Every system is exported, with its own preprocessing, flip rule and decoding inside of the file."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from posewright import geometry, image
from posewright.export import network_file
from posewright.export.quantisation import Calibration
from posewright.models import find
from posewright.predict.predictor import Predictor, load
from posewright.synthetic.people import Scene, draw_scene
from posewright.types import Boxes

QUICK = ("cpn-18-128x96", "grmi-r18-129x97", "lpn-18-128x96")
SMALL = (
    "cpn-18-128x96", "grmi-r18-129x97", "hourglass-1-128x96", "hrnet-w8-udp-offset-128x96", "litebaseline-128x96",
    "litehrnet-naive-18-128x96", "lpn-18-128x96", "mspn-2stg-slim-128x96", "rsn-18-slim-128x96",
    "simplebaseline-r18-slim-dark-128x96",
)  # fmt: skip
"""A small system of every family; all crop rules, colour orders and flip rules."""
PUBLISHED = (
    "cpn-50-256x192", "grmi-r50-353x257", "hourglass-4-256x256", "hrnet-w32-256x192", "hrnet-w32-dark-256x192",
    "hrnet-w32-udp-256x192", "hrnet-w32-udp-offset-256x192", "litehrnet-18-256x192", "lpn-50-256x192",
    "mspn-2stg-256x192", "mspn-2stg-mmpose-256x192", "rsn-18-256x192", "rsn-18-udp-256x192", "litebaseline-192x192",
    "simplebaseline-r50-256x192",
)  # fmt: skip


def trained(name: str) -> Predictor:
    """A system as after training: its norms have factors of their own, and the statistics of what they normalise.

    With those, rounding errors do not grow from layer to layer, which they would by another amount on another CPU.
    """
    torch.manual_seed(0)
    spec = find(name)
    net = spec.build()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of all batches alike
            for tensor, low, high in ((module.weight, 0.1, 0.3), (module.bias, -0.1, 0.1)):
                nn.init.uniform_(tensor, low, high)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, 0.5)
    picture = draw_scene(np.random.default_rng(2), Scene())[0]
    boxes = Boxes(np.array([[10.0, 20, 150, 200], [100, 5, 80, 160], [0, 60, 90, 90]]), np.ones(3), "here")
    crop = geometry.crop(boxes, spec.size, padding=spec.padding, rule=spec.crop_rule)
    with torch.no_grad():
        net.train()(image.to_tensor(image.warp_all(picture, crop, spec.border), spec.colour, spec.mean, spec.std))
    return Predictor(spec, net, device="cpu")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SMALL]
)
def small(request):
    return trained(request.param)


@pytest.fixture(scope="module", autouse=True)
def traced_once(tmp_path_factory):
    """A network is traced once for both runtimes: that is most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        graph, trace = network_file.PoseGraph, network_file.traced
        same = functools.lru_cache(1)(lambda net, spec, flip, raw: graph(net, spec, flip=flip, raw=raw))
        patch.setattr(network_file, "PoseGraph", lambda net, spec, *, flip, raw: same(net, spec, flip, raw))
        once = functools.lru_cache(1)(
            lambda net, takes, yields, shape: trace(net, torch.zeros(shape, dtype=torch.uint8), takes, yields)
        )
        patch.setattr(
            network_file, "traced", lambda net, example, takes, yields: once(net, takes, yields, tuple(example.shape))
        )
        yield


def check(predictor: Predictor, target: network_file.Target, folder, *, raw: bool = False) -> None:
    picture = draw_scene(np.random.default_rng(1), Scene())[0]
    path = folder / f"net{network_file.SUFFIX[target]}"
    done = network_file.write(predictor, path, target, images=[picture], flip=predictor.flip, raw=raw)
    assert done.parity.undecided <= 0.2 * predictor.spec.skeleton.num_keypoints
    other = load(str(path))
    assert other.flip == predictor.flip
    boxes = [[10, 20, 150, 200], [0, 0, picture.shape[1], picture.shape[0]], [100, 5, 80, 160]]
    want, found = predictor(picture, boxes), other(picture, boxes)
    off = np.abs(want.xy - found.xy).max(-1) / np.maximum(np.abs(want.xy).max(-1) / 640, 1)
    assert (off > 0.05).sum() <= 1, off.max()  # what rounding may decide
    close = off <= 0.05
    np.testing.assert_allclose(found.score[close], want.score[close], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_small_system_of_every_family(small, target, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[target])
    check(small, target, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_maps_of_published_systems(name, tmp_path, monkeypatch):
    """Of weights that learned nothing, rounding decides where maps are largest: so the maps themselves are compared."""
    for package in ("onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    monkeypatch.setattr(network_file, "TOLERANCE", np.inf)
    predictor = trained(name)
    predictor.flip = False
    height, width = predictor.spec.size
    picture = draw_scene(np.random.default_rng(1), Scene())[0]
    crops = cv2.resize(picture, (width, height))[None]
    want = np.asarray(predictor.maps(crops))
    for target, suffix in network_file.SUFFIX.items():
        path = network_file.write(predictor, tmp_path / f"net{suffix}", target, images=[picture], raw=True).path
        (found,) = load(str(path)).net(crops)
        assert found.shape == want.shape
        assert np.abs(found - want).max() < 2e-3 * np.abs(want).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_small_system_of_every_family_in_int8(name, tmp_path):
    for package in ("onnx", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(package)
    predictor = trained(name)
    pictures = []
    for number in range(2):
        pictures.append(tmp_path / f"{number}.png")
        image.write(pictures[-1], draw_scene(np.random.default_rng(number), Scene())[0])
    for target, suffix in network_file.SUFFIX.items():
        path = tmp_path / f"net{suffix}"
        done = network_file.write(predictor, path, target, flip=True, int8=Calibration(images=pictures))
        assert done.change is not None
        assert np.isfinite([done.change.median, done.change.p95]).all()
        assert load(str(path), precision="int8")(pictures[0]).xy.shape == (1, predictor.spec.skeleton.num_keypoints, 2)
