"""Fixtures of the networks' tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from posewright.models import find, naming_of
from posewright.models._network import Naming
from posewright.weights import conversion
from posewright.weights.state_dict import unfilled


@pytest.fixture
def quick_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch normalisation does nothing: on the meta device it takes most of the time and changes no shape."""
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: x)


@cache
def parameters(spec: str) -> tuple[Naming, list[str]]:
    """A network's naming and the names of its parameters."""
    net = unfilled(find(spec), 1)
    return naming_of(net), list(net.state_dict())


@pytest.fixture
def own_name() -> Callable[[str, str], str]:
    """`own_name(spec, foreign)`: what a spec's network calls the parameter that other code calls `foreign`."""

    def look_up(spec: str, foreign: str) -> str:
        naming, own = parameters(spec)
        return conversion.ours(naming, own, [foreign])[foreign]

    return look_up


@pytest.fixture
def onnx_outputs(tmp_path: Path) -> Callable[[nn.Module, Tensor], np.ndarray]:
    """`onnx_outputs(net, images)`: what ONNX Runtime makes of the network, exported from a batch of two."""

    def run(net: nn.Module, images: Tensor) -> np.ndarray:
        example, batch = images[:1].expand(2, -1, -1, -1), torch.export.Dim("batch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of what it does itself
            program = torch.onnx.export(net, (example,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},))
        assert program is not None
        program.save(tmp_path / "net.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
        (maps,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        return np.asarray(maps)

    return run
