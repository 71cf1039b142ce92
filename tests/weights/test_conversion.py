"""Converting to other toolkits' names and formats, there and back."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from posewright.models import families, find, naming_of
from posewright.skeletons import COCO17, CROWDPOSE14, LSP14, to_category
from posewright.weights import checkpoint, conversion
from posewright.weights.state_dict import unfilled

NETWORKS = [
    "simplebaseline-r18-256x192",
    "hrnet-w32-256x192",
    "hrnet-w32-udp-256x192",
    "litebaseline-128x96",
    "litehrnet-18-256x192",
    "litehrnet-naive-18-256x192",
    "mspn-2stg-256x192",
    "rsn-18-2stg-256x192",
    "lpn-50-256x192",
    "cpn-50-256x192",
    "hourglass-1-256x256",
    "grmi-r50-353x257",
]


@cache
def net_of(name: str) -> nn.Module:
    return unfilled(find(name))


def foreign(name: str, style: conversion.Format) -> dict[str, str]:
    return conversion.foreign(naming_of(net_of(name)), net_of(name).state_dict(), style)


def state_of(name: str, num_keypoints: int = 17) -> dict[str, torch.Tensor]:
    """A state dict of random numbers, without the time that a network takes for its own."""
    with torch.device("meta"):
        blank = find(name).build(num_keypoints).state_dict()
    dice = torch.Generator().manual_seed(1)
    return {
        k: torch.rand(v.shape, generator=dice) if v.is_floating_point() else torch.tensor(9) for k, v in blank.items()
    }


def same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    return set(got) == set(want) and all(torch.equal(got[k], want[k]) for k in want)


def test_every_family_is_tried() -> None:
    assert {name.split("-")[0] for name in NETWORKS} == set(families())


@pytest.mark.parametrize("name", NETWORKS)
def test_what_mmpose_has(name: str) -> None:
    family = name.split("-")[0]
    if family in ("simplebaseline", "hrnet", "litehrnet", "mspn", "rsn") and "udp" not in name:
        assert all(v.startswith(("backbone.", "head.")) for v in foreign(name, "mmpose").values())
    else:
        with pytest.raises(ValueError, match="mmpose has no such network"):
            foreign(name, "mmpose")


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("hrnet-w32-256x192", "final_layer.weight", "head.head.weight"),
        ("hrnet-w32-256x192", "layer1.0.downsample.1.running_var", "backbone.layer1.0.down_sample.1.moving_variance"),
        ("simplebaseline-r18-256x192", "deconv_layers.1.bias", "head.deconv_layer.1.beta"),
        ("litehrnet-18-256x192", "backbone.stem.branch1.1.bn.weight", "stem.branch1.3.gamma"),
        ("litehrnet-18-256x192", "backbone.transition1.2.0.3.bias", "0.0.1.2.0.3.beta"),
        (
            "litehrnet-18-256x192",
            "backbone.stage2.1.layers.0.spatial_weighting.3.conv2.conv.bias",
            "0.0.layers.0.cross_resolution_weighting.conv1.2.1.layers.0.spatial_weighting.3.conv2.0.bias",
        ),
        (
            "litehrnet-naive-18-256x192",
            "backbone.stage1.3.layers.2.1.branch2.2.bn.running_mean",
            "0.0.layers.0.0.branch2.1.3.layers.2.1.branch2.6.moving_mean",
        ),
        ("mspn-2stg-256x192", "top.conv.bn.weight", "top.conv.bn.gamma"),
    ],
)
def test_names_as_mindspore_has_them(name: str, ours: str, theirs: str) -> None:
    """As MindSpore 2.10 listed the parameters of the published networks."""
    assert foreign(name, "mindspore")[ours] == theirs


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("mmpose1_res50_256x192", "simplebaseline-r50-256x192"),
        ("mmpose1_hrnet_w32_256x192", "hrnet-w32-256x192"),
        ("mmpose1_litehrnet_18_256x192", "litehrnet-18-256x192"),
        ("mmpose1_mspn50_2x_256x192", "mspn-2stg-256x192"),
        ("mmpose1_rsn18_256x192", "rsn-18-256x192"),
        ("mspn_mindspore_2stg", "mspn-2stg-mindspore-256x192"),
    ],
)
def test_names_are_those_of_the_published_networks(
    official_networks: dict[str, Any], reference: str, name: str
) -> None:
    facts = official_networks[reference]
    style: conversion.Format = "mindspore" if "mindspore" in reference else "mmpose"
    state = {k: torch.zeros(1) for k in net_of(name).state_dict()}
    names = foreign(name, style)
    kept = conversion.without_biases(state) if style == "mmpose" else [k for k in state if "num_batches" not in k]
    published = [key for key, _, _ in facts["state"]]
    assert {names[k] for k in kept} == set(published)
    back = conversion.ours(naming_of(net_of(name)), state, published)
    assert {names[own]: own for own in back.values()} == back


@pytest.mark.parametrize(
    ("name", "style"),
    [
        *(("litehrnet-naive-18-256x192", style) for style in get_args(conversion.Format)),
        ("lpn-50-256x192", "mindspore"),
        ("hourglass-1-256x256", "official"),
    ],
)
def test_there_and_back_to_the_bit(tmp_path: Path, name: str, style: conversion.Format) -> None:
    spec, state = find(name), state_of(name, 14)
    about = {"spec": name, "skeleton": to_category(CROWDPOSE14), "config": {"lr": 1e-3}, "metrics": {"AP": 0.5}}
    checkpoint.write_checkpoint(tmp_path / "best.pt", {"posewright": "0", "model": state, **about})
    checkpoint.convert(tmp_path / "best.pt", tmp_path / "theirs", style)
    loaded = checkpoint.convert(tmp_path / "theirs", tmp_path / "ours", "safetensors", spec)
    assert loaded.read == len(state)
    assert same(checkpoint.read(tmp_path / "ours"), state)
    described = checkpoint.describe(tmp_path / "ours")
    assert (described is None) == (style != "safetensors")
    assert described is None or (described.skeleton, described.config) == (CROWDPOSE14, {"lr": 1e-3})


def test_biases_go_into_means_for_mmpose(tmp_path: Path) -> None:
    spec, state = find("rsn-18-256x192"), state_of("rsn-18-256x192")
    torch.save(state, tmp_path / "ours.pth")
    checkpoint.convert(tmp_path / "ours.pth", tmp_path / "mmpose.pth", "mmpose", spec)
    checkpoint.convert(tmp_path / "mmpose.pth", tmp_path / "once.pth", "official", spec)
    once = checkpoint.read(tmp_path / "once.pth")
    unit = "stage0.upsample.up1.u_skip"
    assert torch.equal(once[f"{unit}.bn.running_mean"], state[f"{unit}.bn.running_mean"] - state[f"{unit}.conv.bias"])
    assert torch.equal(once[f"{unit}.conv.bias"], torch.zeros(256))
    checkpoint.convert(tmp_path / "once.pth", tmp_path / "mmpose2.pth", "mmpose", spec)
    assert same(checkpoint.read(tmp_path / "mmpose2.pth"), checkpoint.read(tmp_path / "mmpose.pth"))


def test_the_original_codes_nesting() -> None:
    state = {"a": torch.ones(1)}
    for name, wrapped in {
        "mspn-1stg-256x192": {"model": state},
        "cpn-18-128x96": {"state_dict": {"module.a": state["a"]}},
        "litehrnet-18-256x192": {"meta": {}, "state_dict": state},
        "hrnet-w8-128x96": state,
    }.items():
        assert naming_of(net_of(name)).wrap(state) == wrapped


def test_a_file_of_others_needs_the_pose_system_and_must_fit_it(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(state_of("lpn-50-256x192"), path)
    with pytest.raises(ValueError, match=r"net\.pth does not say what it is of: pass the pose system too"):
        checkpoint.convert(path, tmp_path / "out", "official")
    with pytest.raises(ValueError, match=r"net\.pth does not fit lpn-101-256x192: it looks like weights of lpn-50-"):
        checkpoint.convert(path, tmp_path / "out", "official", find("lpn-101-256x192"))
    with pytest.raises(ValueError, match="mmpose has no such network as lpn-50-256x192"):
        checkpoint.convert(path, tmp_path / "out", "mmpose", find("lpn-50-256x192"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("num_keypoints", "skeleton"), [(17, COCO17), (14, None)])
def test_a_file_of_others_gets_the_specs_skeleton_only_where_it_fits(
    tmp_path: Path, num_keypoints: int, skeleton: object
) -> None:
    torch.save(state_of("lpn-50-256x192", num_keypoints), tmp_path / "net.pth")
    checkpoint.convert(tmp_path / "net.pth", tmp_path / "out", "safetensors", find("lpn-50-256x192"))
    about = checkpoint.describe(tmp_path / "out")
    assert (about.skeleton if about else None) == skeleton


def test_half_is_half_the_size_and_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    name = "litebaseline-128x96"
    state = state_of(name, 14)
    checkpoint.save(tmp_path / "a.safetensors", state, {"spec": name, "skeleton": to_category(LSP14)})
    checkpoint.convert(tmp_path / "a.safetensors", tmp_path / "half.safetensors", "safetensors", half=True)
    half = checkpoint.read(tmp_path / "half.safetensors")
    assert same(half, {k: v.half() if v.is_floating_point() else v for k, v in state.items()})
    assert (tmp_path / "half.safetensors").stat().st_size < 0.51 * (tmp_path / "a.safetensors").stat().st_size
    about = checkpoint.describe(tmp_path / "half.safetensors")
    assert about is not None
    assert (about.spec, about.skeleton.points) == (name, LSP14.points)
    net = find(name).build(14)
    checkpoint.load(net, tmp_path / "half.safetensors", find(name))
    assert all(v.dtype != torch.float16 for v in net.state_dict().values())
    state["stem.1.running_var"][0] = 70_000
    checkpoint.save(tmp_path / "b.safetensors", state, {"spec": name, "skeleton": to_category(LSP14)})
    with pytest.raises(ValueError, match=r"float16 reaches to 65504, but stem\.1\.running_var has numbers beyond"):
        checkpoint.convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors", "safetensors", half=True)
    assert not (tmp_path / "c.safetensors").exists()
