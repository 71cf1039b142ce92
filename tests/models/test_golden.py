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
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from posewright.models import cpn, hourglass, hrnet, litehrnet, lpn, mspn, rsn, simplebaseline
from posewright.models.cpn import CPN
from posewright.models.hourglass import StackedHourglass
from posewright.models.hrnet import HRNet
from posewright.models.litehrnet import NAIVE_WIDTHS, LiteHRNet, Receive
from posewright.models.lpn import LPN
from posewright.models.mspn import MSPN
from posewright.models.rsn import PRM, RSN, RSNUdp
from posewright.models.simplebaseline import SimpleBaseline

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

TOLERANCE = 1e-3
"""Of an output's standard deviation; rounding makes less than 1e-4, any mistake in the structure far more."""


class Ours(NamedTuple):
    """The network that must be the official one, its family's `rename`, and the parameters that theirs may lack."""

    build: Callable[..., nn.Module]
    rename: Callable[[list[str]], dict[str, str]]
    optional: str = "(?!)"


NAIVE = partial(LiteHRNet, 17, widths=NAIVE_WIDTHS, naive=True)

OURS = {
    "simplebaseline_r50_256x192": Ours(partial(SimpleBaseline, 17, 50), simplebaseline.rename),
    "simplebaseline_r50_384x288": Ours(partial(SimpleBaseline, 17, 50), simplebaseline.rename),
    "simplebaseline_r50_caffe_256x192": Ours(partial(SimpleBaseline, 17, 50, caffe=True), simplebaseline.rename),
    "simplebaseline_r101_256x192": Ours(partial(SimpleBaseline, 17, 101), simplebaseline.rename),
    "simplebaseline_r152_256x192": Ours(partial(SimpleBaseline, 17, 152), simplebaseline.rename),
    "mmpose1_res50_256x192": Ours(partial(SimpleBaseline, 17, 50), simplebaseline.rename),
    "hrnet_w32_256x192": Ours(partial(HRNet, 17), hrnet.rename),
    "hrnet_w48_256x192": Ours(partial(HRNet, 17, 48), hrnet.rename),
    "hrnet_w48_384x288": Ours(partial(HRNet, 17, 48), hrnet.rename),
    "udp_hrnet_w32_256x192_offset": Ours(partial(HRNet, 51, widened=True), hrnet.rename),
    "udp_hrnet_w32_256x192_gaussian": Ours(partial(HRNet, 17, widened=True), hrnet.rename),
    "mmpose1_hrnet_w32_256x192": Ours(partial(HRNet, 17), hrnet.rename),
    "mmpose1_hrnet_w32_udp_regress_256x192": Ours(partial(HRNet, 51), hrnet.rename),
    "lpn50_256x192": Ours(partial(LPN, 17, 50), lpn.rename),
    "lpn101_256x192": Ours(partial(LPN, 17, 101), lpn.rename),
    "lpn152_256x192": Ours(partial(LPN, 17, 152), lpn.rename),
    "mspn_1stg_256x192": Ours(partial(MSPN, 17, 1), mspn.rename),
    "mspn_2stg_256x192": Ours(partial(MSPN, 17, 2), mspn.rename),
    "mspn_3stg_256x192": Ours(partial(MSPN, 17, 3), mspn.rename),
    "mspn_4stg_256x192": Ours(partial(MSPN, 17, 4), mspn.rename),
    "mspn_mindspore_2stg": Ours(partial(MSPN, 17, 2, same_pool=True), mspn.rename),
    "mmpose1_mspn50_256x192": Ours(partial(MSPN, 17, 1), mspn.rename, mspn.OPTIONAL),
    "mmpose1_mspn50_2x_256x192": Ours(partial(MSPN, 17, 2), mspn.rename, mspn.OPTIONAL),
    "rsn18_256x192": Ours(partial(RSN, 17, 18), rsn.rename),
    "rsn18_4x_256x192": Ours(partial(RSN, 17, 18, stages=4), rsn.rename),
    "rsn50_256x192": Ours(partial(RSN, 17, 50), rsn.rename),
    "rsn50_2x_256x192": Ours(partial(RSN, 17, 50, stages=2), rsn.rename),
    "rsn50_4x_256x192": Ours(partial(RSN, 17, 50, stages=4), rsn.rename),
    "rsn_prm17": Ours(partial(PRM, 17), lambda keys: {key: key for key in keys}),
    "udp_rsn18_se_prm_256x192": Ours(partial(RSNUdp, 17), rsn.rename),
    "mmpose1_rsn18_256x192": Ours(partial(RSN, 17, 18), rsn.rename, rsn.OPTIONAL),
    "mmpose1_rsn50_256x192": Ours(partial(RSN, 17, 50), rsn.rename, rsn.OPTIONAL),
    "lite_hrnet_18_256x192": Ours(partial(LiteHRNet, 17), litehrnet.rename),
    "lite_hrnet_30_256x192": Ours(partial(LiteHRNet, 17, modules=(3, 8, 3)), litehrnet.rename),
    "naive_lite_hrnet_18_256x192": Ours(NAIVE, litehrnet.rename),
    "wider_naive_lite_hrnet_18_256x192": Ours(partial(LiteHRNet, 17, naive=True), litehrnet.rename),
    "mmpose1_litehrnet_18_256x192": Ours(partial(LiteHRNet, 17), litehrnet.rename),
    "cpn50_256x192": Ours(partial(CPN, 17, 50), cpn.rename),
    "cpn50_384x288": Ours(partial(CPN, 17, 50), cpn.rename),
    "cpn101_384x288": Ours(partial(CPN, 17, 101), cpn.rename),
    "hourglass_s4b1_18_256x256": Ours(partial(StackedHourglass, 18, 4), hourglass.rename),
    "dark_hourglass_s4b1_128x96": Ours(partial(StackedHourglass, 17, 4), hourglass.rename),
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


@pytest.mark.parametrize("name", OURS)
def test_structure_is_the_official_one(name, quick_on_meta):
    """Names and shapes of the parameters, their number, and the multiply-adds."""
    facts, (build, rename, optional) = golden()[name], OURS[name]
    with torch.device("meta"):
        net = build().eval()
    names = rename([key for key, _, _ in facts["state"]])
    assert len(set(names.values())) == len(names), "two of the official parameters got the same name"
    theirs = {names[key]: tuple(shape) for key, shape, _ in facts["state"]}
    ours = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    added = {key for key in ours.keys() - theirs.keys() if re.fullmatch(optional, key)}
    lacking = sum(net.get_parameter(key).numel() for key in added)
    if "mindspore" in name:  # which counts no batches
        added |= {key for key in ours if key.endswith("num_batches_tracked")}
    assert {key: shape for key, shape in ours.items() if key not in added} == theirs
    assert sum(p.numel() for p in net.parameters()) - lacking == facts["num_params"]
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        all_maps(as_official(net), torch.empty(1, *facts["input_shape"][1:]))
    assert counter.get_total_flops() / 2e9 == pytest.approx(facts["gmacs"], rel=0.005, abs=1e-4)


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
    facts, (build, rename, _) = golden()[name], OURS[name]
    deterministic = loaded("deterministic")
    with torch.device("meta"):
        net = build().eval()
    official = {key: deterministic.parameter(key, tuple(shape), kind) for key, shape, kind in facts["state"]}
    names = rename(list(official))
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
    """The generator yields the very bits that the official code was run with."""
    facts, digest = golden()["lpn50_256x192"], hashlib.sha256()
    for key, shape, kind in sorted(facts["state"]):
        digest.update(key.encode() + loaded("deterministic").parameter(key, tuple(shape), kind).numpy().tobytes())
    assert digest.hexdigest() == facts["state_sha256"]


@pytest.mark.shared
def test_golden_numbers_are_those_of_the_reference(shared):
    assert loaded("make_models").networks(shared / "reference/models") == golden()
