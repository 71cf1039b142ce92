"""The networks are the official ones: numbers of the official code, kept in tests/golden/ (see its README)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import lzma
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from posewright.models import naming_of
from posewright.models.cpn import CPN
from posewright.models.hourglass import StackedHourglass
from posewright.models.hrnet import HRNet
from posewright.models.litehrnet import NAIVE_WIDTHS, LiteHRNet, Receive
from posewright.models.lpn import LPN
from posewright.models.mspn import MSPN
from posewright.models.rsn import PRM, RSN, RSNUdp
from posewright.models.simplebaseline import SimpleBaseline
from posewright.weights import conversion
from posewright.weights.state_dict import without_values

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

TOLERANCE = 1e-3
"""Of an output's standard deviation; rounding makes less than 1e-4, any mistake in the structure far more."""


NAIVE = partial(LiteHRNet, 17, widths=NAIVE_WIDTHS, naive=True)

OURS: dict[str, Callable[[], nn.Module]] = {
    "simplebaseline_r50_256x192": partial(SimpleBaseline, 17, 50),
    "simplebaseline_r50_384x288": partial(SimpleBaseline, 17, 50),
    "simplebaseline_r50_caffe_256x192": partial(SimpleBaseline, 17, 50, caffe=True),
    "simplebaseline_r101_256x192": partial(SimpleBaseline, 17, 101),
    "simplebaseline_r152_256x192": partial(SimpleBaseline, 17, 152),
    "mmpose1_res50_256x192": partial(SimpleBaseline, 17, 50),
    "hrnet_w32_256x192": partial(HRNet, 17),
    "hrnet_w48_256x192": partial(HRNet, 17, 48),
    "hrnet_w48_384x288": partial(HRNet, 17, 48),
    "udp_hrnet_w32_256x192_offset": partial(HRNet, 51, widened=True),
    "udp_hrnet_w32_256x192_gaussian": partial(HRNet, 17, widened=True),
    "mmpose1_hrnet_w32_256x192": partial(HRNet, 17),
    "mmpose1_hrnet_w32_udp_regress_256x192": partial(HRNet, 51),
    "lpn50_256x192": partial(LPN, 17, 50),
    "lpn101_256x192": partial(LPN, 17, 101),
    "lpn152_256x192": partial(LPN, 17, 152),
    "mspn_1stg_256x192": partial(MSPN, 17, 1),
    "mspn_2stg_256x192": partial(MSPN, 17, 2),
    "mspn_3stg_256x192": partial(MSPN, 17, 3),
    "mspn_4stg_256x192": partial(MSPN, 17, 4),
    "mspn_mindspore_2stg": partial(MSPN, 17, 2, same_pool=True),
    "mmpose1_mspn50_256x192": partial(MSPN, 17, 1),
    "mmpose1_mspn50_2x_256x192": partial(MSPN, 17, 2),
    "rsn18_256x192": partial(RSN, 17, 18),
    "rsn18_4x_256x192": partial(RSN, 17, 18, stages=4),
    "rsn50_256x192": partial(RSN, 17, 50),
    "rsn50_2x_256x192": partial(RSN, 17, 50, stages=2),
    "rsn50_4x_256x192": partial(RSN, 17, 50, stages=4),
    "rsn_prm17": partial(PRM, 17),
    "udp_rsn18_se_prm_256x192": partial(RSNUdp, 17),
    "mmpose1_rsn18_256x192": partial(RSN, 17, 18),
    "mmpose1_rsn50_256x192": partial(RSN, 17, 50),
    "lite_hrnet_18_256x192": partial(LiteHRNet, 17),
    "lite_hrnet_30_256x192": partial(LiteHRNet, 17, modules=(3, 8, 3)),
    "naive_lite_hrnet_18_256x192": NAIVE,
    "wider_naive_lite_hrnet_18_256x192": partial(LiteHRNet, 17, naive=True),
    "mmpose1_litehrnet_18_256x192": partial(LiteHRNet, 17),
    "cpn50_256x192": partial(CPN, 17, 50),
    "cpn50_384x288": partial(CPN, 17, 50),
    "cpn101_384x288": partial(CPN, 17, 101),
    "hourglass_s4b1_18_256x256": partial(StackedHourglass, 18, 4),
    "dark_hourglass_s4b1_128x96": partial(StackedHourglass, 17, 4),
}


@cache
def golden() -> dict[str, dict[str, Any]]:
    return json.loads(lzma.decompress((GOLDEN / "models.json.xz").read_bytes()))


@cache
def loaded(name: str) -> ModuleType:
    """A module of tests/golden."""
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_official_network_is_compared():
    assert OURS.keys() == golden().keys()


@cache
def ours(name: str) -> nn.Module:
    """Our network, without values."""
    return without_values(OURS[name]).eval()


DEEPER = {
    "simplebaseline_r101_256x192", "simplebaseline_r152_256x192", "mmpose1_res50_256x192", "simplebaseline_r50_384x288",
    "hrnet_w48_256x192", "hrnet_w48_384x288", "mmpose1_hrnet_w32_256x192", "lpn101_256x192", "lpn152_256x192",
    "mspn_3stg_256x192", "mspn_4stg_256x192", "mmpose1_mspn50_2x_256x192", "rsn18_4x_256x192", "rsn50_4x_256x192",
    "mmpose1_rsn50_256x192", "mmpose1_litehrnet_18_256x192", "cpn101_384x288", "cpn50_384x288",
}  # fmt: skip
"""Networks that have more blocks or larger images than another one, left to the slow tests."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in DEEPER)) for n in OURS])
def test_structure_is_the_official_one(name, quick_on_meta):
    """Names and shapes of the parameters, their number, and the multiply-adds."""
    facts, net = golden()[name], ours(name)
    names = conversion.ours(naming_of(net), net.state_dict(), [key for key, _, _ in facts["state"]])
    theirs = {names[key]: tuple(shape) for key, shape, _ in facts["state"]}
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    added = {key for key in shapes.keys() - theirs.keys() if re.fullmatch(naming_of(net).optional, key)}
    lacking = sum(net.get_parameter(key).numel() for key in added)
    if "mindspore" in name:  # which counts no batches
        added |= {key for key in shapes if key.endswith("num_batches_tracked")}
    assert {key: shape for key, shape in shapes.items() if key not in added} == theirs
    assert sum(p.numel() for p in net.parameters()) - lacking == facts["num_params"]
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        all_maps(as_official(net), torch.empty(1, *facts["input_shape"][1:]))
    assert counter.get_total_flops() / 2e9 == pytest.approx(facts["gmacs"], rel=0.005, abs=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_official_names_are_written_as_they_are_read(name):
    """From the names in the published file to ours and back."""
    keys = [key for key, _, _ in golden()[name]["state"]]
    net = ours(name)
    own, naming = net.state_dict(), naming_of(net)
    style: conversion.Format = "mindspore" if "mindspore" in name else "mmpose" if "mmpose" in name else "official"
    foreign = conversion.foreign(naming, own, style)
    names = conversion.ours(naming, own, keys)
    assert set(names.values()) <= own.keys()
    assert [foreign[own_name] for own_name in names.values()] == keys


def all_maps(net: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Every supervised map, or what a part of a network yields."""
    return net.supervised(images) if hasattr(net, "supervised") else (net(images),)


def as_official(net: nn.Module) -> nn.Module:
    """Let Lite-HRNet's paths from branch 0 run a second time, for nothing, as in the official code."""
    for module in net.modules():
        if isinstance(module, Receive) and module.target:
            module[0].register_forward_hook(lambda path, args, _: path.forward(*args))
    return net


def with_outputs() -> list[Any]:
    """Official networks whose outputs were recorded; those like another one are left to the slow tests."""
    again = {"mmpose1_hrnet_w32_256x192", "mmpose1_litehrnet_18_256x192", "mspn_mindspore_2stg"}
    recorded = [name for name, facts in golden().items() if "outputs" in facts]
    return [pytest.param(name, marks=pytest.mark.slow) if name in again else name for name in recorded]


@pytest.mark.parametrize("name", with_outputs())
def test_outputs_are_the_official_ones(name):
    """The official parameters give the official outputs, at every recorded place and on average over each channel."""
    facts, deterministic = golden()[name], loaded("deterministic")
    net = without_values(OURS[name]).eval()
    official = {key: deterministic.parameter(key, tuple(shape), kind) for key, shape, kind in facts["state"]}
    names = conversion.ours(naming_of(net), net.state_dict(), official)
    zeros = {key: torch.zeros_like(value, device="cpu") for key, value in net.state_dict().items()}
    net.load_state_dict(zeros | {names[key]: value for key, value in official.items()}, assign=True)
    with torch.inference_mode():
        outputs = all_maps(net, deterministic.image(*facts["input_shape"][1:]))
    assert len(outputs) == len(facts["outputs"])
    for output, want in zip(outputs, facts["outputs"]):
        allowed = TOLERANCE * want["std"]
        got = output[0].numpy()
        np.testing.assert_allclose(got.ravel()[want["places"]], want["values"], rtol=0, atol=allowed)
        np.testing.assert_allclose(got.mean((1, 2)), want["means"], rtol=0, atol=allowed)


def test_weights_are_those_of_the_official_runs():
    """The generator is bit-identical to the one that the official code was run with."""
    facts, digest = golden()["lpn50_256x192"], hashlib.sha256()
    for key, shape, kind in sorted(facts["state"]):
        digest.update(key.encode() + loaded("deterministic").parameter(key, tuple(shape), kind).numpy().tobytes())
    assert digest.hexdigest() == facts["state_sha256"]


@pytest.mark.shared
def test_golden_numbers_are_those_of_the_reference(shared):
    assert loaded("make_models").networks(shared / "reference/models") == golden()
