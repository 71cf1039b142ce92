"""Fixtures that compare networks with the official ones; see `check_official`."""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Rename = Callable[[list[str]], dict[str, str]]

TOLERANCE = 1e-3
"""Of an output's standard deviation; rounding makes less than 1e-4, any mistake in the structure far more."""


@pytest.fixture
def check_official(shared: Path) -> Callable[..., None]:
    """`check_official(build, id, rename, optional)`: the network is the official one of that id.

    Names and shapes of the parameters, their number and the multiply-adds are compared; where outputs were recorded,
    the network is given the official parameters and must yield the same. `build()` makes the network, `rename` is its
    family's, and parameters that the official file lacks must match `optional`; they are set to 0.
    """

    def check(build: Callable[[], nn.Module], name: str, rename: Rename = _same, optional: str = "(?!)") -> None:
        folder = shared / "reference" / "models"
        facts = json.loads((folder / f"{name}.json").read_text())
        with torch.device("meta"):
            blank = build()
        _check_structure(blank, facts, rename, optional)
        if (outputs := folder / f"{name}.npz").is_file():
            _check_outputs(build().eval(), facts, np.load(outputs), rename, _deterministic(folder.parent / "det.py"))

    return check


def _same(keys: list[str]) -> dict[str, str]:
    return {key: key for key in keys}


def _check_structure(net: nn.Module, facts: dict[str, Any], rename: Rename, optional: str) -> None:
    names = rename([key for key, _, _ in facts["state"]])
    assert len(set(names.values())) == len(names), "two of the official parameters got the same name"
    theirs = {names[key]: tuple(shape) for key, shape, _ in facts["state"]}
    ours = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    added = [key for key in ours.keys() - theirs.keys() if re.fullmatch(optional, key)]
    lacking = sum(net.get_parameter(key).numel() for key in added)
    if not any(key.endswith("num_batches_tracked") for key in theirs):  # MindSpore has no such tensors
        added += [key for key in ours if key.endswith("num_batches_tracked")]
    assert {key: shape for key, shape in ours.items() if key not in added} == theirs
    assert sum(p.numel() for p in net.parameters()) - lacking == facts["num_params"]
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        all_maps(net.eval(), torch.empty(1, *facts["input_shape"][1:]))
    assert counter.get_total_flops() / 2e9 == pytest.approx(facts["gmacs"], rel=0.005, abs=1e-4)


def _check_outputs(
    net: nn.Module, facts: dict[str, Any], recorded: Mapping[str, np.ndarray], rename: Rename, det: ModuleType
) -> None:
    state = net.state_dict()
    official = det.det_state(facts["state"])
    names = rename(list(official))
    zeros = {key: torch.zeros_like(value) for key, value in state.items() if key not in names.values()}
    net.load_state_dict({names[key]: value for key, value in official.items()} | zeros)
    _, channels, height, width = facts["input_shape"]
    # The first of the two recorded images is enough for a match and half the time.
    with torch.inference_mode():
        outputs = all_maps(net, torch.from_numpy(det.det_input(1, height, width, c=channels)))
    assert len(outputs) == len(facts["outputs"])
    for name, output in zip(facts["outputs"], outputs):
        want = recorded[name][:1]
        error = np.abs(output.numpy()[:, : want.shape[1]] - want).max()
        assert error <= TOLERANCE * facts["output_std"][name], f"{name} is off by {error}"
        mean = output.mean((2, 3)).numpy()[0]
        np.testing.assert_allclose(mean, recorded[f"{name}.mean"][0], atol=TOLERANCE * facts["output_std"][name])


def all_maps(net: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Every supervised map, or what a part of a network yields."""
    return net.supervised(images) if hasattr(net, "supervised") else (net(images),)


def _deterministic(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("det", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
