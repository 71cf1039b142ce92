"""ncnn: the maps of torch from a small system of every family, or a clear refusal; whatever threads there are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from posewright.models import find
from posewright.runtime import ncnn_runtime, selection
from posewright.runtime.crops import Normalise
from posewright.runtime.ncnn_runtime import NcnnModel, Untranslated

for package in ("onnx", "ncnn", "pnnx"):
    pytest.importorskip(package)

SLOW = (
    "cpn-18-128x96", "grmi-r18-129x97", "hourglass-1-128x96", "hrnet-w8-udp-offset-128x96",
    "litehrnet-naive-18-128x96", "mspn-2stg-slim-128x96", "rsn-18-slim-128x96",
    "simplebaseline-r18-slim-dark-128x96",
)  # fmt: skip
GREY = Normalise("rgb", (128.0,) * 3, (64.0,) * 3)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


def learned(name: str) -> nn.Module:
    """A network whose norms have the statistics of what they normalise: rounding errors do not grow in it."""
    torch.manual_seed(0)
    spec = find(name)
    net = spec.build()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.1, 0.3)
            nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, 0.5)
    with torch.no_grad():
        net.train()(torch.randn(2, 3, *spec.size))
    return net.eval()


@pytest.mark.parametrize("name", ["litebaseline-128x96", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_maps_are_those_of_torch(name, cache):
    spec, net = find(name), learned(name)
    normalise = Normalise(spec.colour, spec.mean, spec.std)
    run = selection.translated(net, normalise, spec.size, "ncnn")
    crops = np.random.default_rng(1).integers(0, 256, (3, *spec.size, 3), np.uint8)
    with torch.inference_mode():
        want = net(normalise(torch.from_numpy(crops))).numpy()
    found = run(crops)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=1e-4 * np.abs(want).max())
    assert sorted(file.suffix for file in cache.iterdir()) == [".bin", ".param"]


def test_other_maps_are_refused_and_leave_nothing_behind(cache):
    """pnnx normalises LPN's attention along another axis."""
    spec = find("lpn-18-128x96")
    with pytest.raises(Untranslated, match=r"yields other maps than the network .*: use runtime 'torch'"):
        selection.translated(learned(spec.name), GREY, spec.size, "ncnn")
    assert not list(cache.iterdir())


def test_threads_share_a_network(monkeypatch, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1)).eval()
    ncnn_runtime.write(net, (32, 24), tmp_path / "net.param")
    crops = np.random.default_rng(0).integers(0, 256, (7, 32, 24, 3), np.uint8)
    want = NcnnModel(tmp_path / "net.param", GREY)(crops)[0]
    with torch.inference_mode():
        np.testing.assert_allclose(want, net(GREY(torch.from_numpy(crops))).numpy(), atol=1e-5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    model = NcnnModel(tmp_path / "net.param", GREY)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model(crops)[0], range(8)):
            np.testing.assert_array_equal(found, want)


def test_a_translator_that_fails_is_named(monkeypatch, tmp_path):
    import pnnx

    monkeypatch.setattr(pnnx, "EXEC_PATH", "false")
    with pytest.raises(Untranslated, match="pnnx cannot translate this network for ncnn"):
        ncnn_runtime.write(nn.Conv2d(3, 2, 1), (8, 8), tmp_path / "net.param")
    assert not list(tmp_path.iterdir())
