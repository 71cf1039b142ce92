"""Loading into networks: strict, with renaming, new heads and backbones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from posewright.codecs.heatmap import GaussianHeatmap
from posewright.models import find, mspn, naming_of
from posewright.models._multistage import MultiStage, Top
from posewright.models._network import Naming, PoseNetwork
from posewright.models._resnet import Bottleneck, ResNet
from posewright.models.hrnet import HRNet
from posewright.models.litehrnet import LiteHRNet
from posewright.skeletons import COCO17
from posewright.spec import Spec
from posewright.weights import checkpoint, conversion


class Toy(PoseNetwork):
    """A network with all that matters here: a backbone, a counter, an optional bias and a head of two tensors."""

    naming = Naming(mmpose=((r"^(?=final)", "head."), (r"^(?!head)", "backbone.")), optional=r"conv1\.bias")

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(nn.Conv2d(width, width, 1, bias=False))
        self.final_layer = nn.Conv2d(width, channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.layer1(self.bn1(self.conv1(images))))


TOY = Spec("toy-64x48", Toy, GaussianHeatmap((64, 48), (16, 12)), COCO17, (64, 48))


def filled(net: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict of other values than the net's own."""
    dice = torch.Generator().manual_seed(seed)
    return {
        k: torch.rand(v.shape, generator=dice) if v.is_floating_point() else torch.tensor(9)
        for k, v in net.state_dict().items()
    }


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path


def equal(net: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_official_names_load_as_they_are(tmp_path: Path) -> None:
    net = TOY.build()
    state = filled(net)
    loaded = checkpoint.load(net, saved(tmp_path / "net.pth", {f"module.{k}": v for k, v in state.items()}), TOY)
    assert equal(net, state)
    assert loaded.read == len(state)
    assert not loaded.renamed
    assert loaded.summary() == f"{tmp_path / 'net.pth'}: 10 tensors read"


def test_foreign_names_are_renamed(tmp_path: Path) -> None:
    net = TOY.build()
    state = filled(net)
    theirs = {("head." if "final" in k else "backbone.") + k: v for k, v in state.items()}
    loaded = checkpoint.load(net, saved(tmp_path / "net.pth", theirs), TOY)
    assert equal(net, state)
    assert loaded.renamed["head.final_layer.bias"] == "final_layer.bias"
    assert "10 tensors read, 10 renamed" in loaded.summary()


def test_a_mindspore_file_without_counter_and_with_its_optimiser(tmp_path: Path) -> None:
    net = TOY.build()
    state = filled(net)
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    theirs = {f"bn1.{names[k[4:]]}" if k[4:] in names and k[:2] == "bn" else k: v for k, v in state.items()}
    del theirs["bn1.num_batches_tracked"]
    extra = {"global_step": torch.tensor(5), "moments.conv1.weight": theirs["conv1.weight"]}
    checkpoint.write_mindspore(tmp_path / "net.ckpt", theirs | extra)
    loaded = checkpoint.load(net, tmp_path / "net.ckpt", TOY)
    assert equal(net, state | {"bn1.num_batches_tracked": torch.tensor(0)})
    assert loaded.dropped == ("global_step", "moments.conv1.weight")
    assert loaded.zero_filled == ("bn1.num_batches_tracked",)
    assert "2 not used (global_step, moments.conv1.weight), 1 absent and zero (bn1.num" in loaded.summary()


def test_optional_parameters_may_be_absent(tmp_path: Path) -> None:
    net = TOY.build()
    state = filled(net)
    path = saved(tmp_path / "net.pth", {k: v for k, v in state.items() if k != "conv1.bias"})
    assert checkpoint.load(net, path, TOY).zero_filled == ("conv1.bias",)
    assert equal(net, state | {"conv1.bias": torch.zeros(4)})


def test_all_that_does_not_fit_is_told_at_once_and_the_network_stays(tmp_path: Path) -> None:
    net = TOY.build()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = filled(net) | {"conv1.weight": torch.zeros(4, 3, 5, 5), "more": torch.ones(1), "bn1.bias": torch.tensor(1)}
    del state["bn1.weight"]
    message = (
        r"net\.pth does not fit toy-64x48: .*1 parameters missing \(bn1\.weight\); 1 unexpected \(more\); "
        r"2 of another shape or kind \(conv1\.weight is 4x3x5x5, expected 4x3x3x3, bn1\.bias is a single number, exp"
    )
    with pytest.raises(ValueError, match=message):
        checkpoint.load(net, saved(tmp_path / "net.pth", state), TOY)
    assert equal(net, before)


def test_whole_numbers_for_weights_are_refused(tmp_path: Path) -> None:
    state = filled(TOY.build()) | {"bn1.bias": torch.ones(4, dtype=torch.int8)}
    with pytest.raises(ValueError, match=r"bn1\.bias is 4 int8, expected 4 float32"):
        checkpoint.load(TOY.build(), saved(tmp_path / "net.pth", state), TOY)


def test_another_number_of_keypoints(tmp_path: Path) -> None:
    state = filled(TOY.build())
    path = saved(tmp_path / "net.pth", state)
    net = TOY.build(14)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"the file has 17 keypoints, the network 14: pass reset_head=True / --reset-head"
    ):
        checkpoint.load(net, path, TOY)
    loaded = checkpoint.load(net, path, TOY, reset_head=True)
    assert loaded.new == ("final_layer.weight", "final_layer.bias")
    assert "2 re-initialised (final_layer.weight, final_layer.bias)" in loaded.summary()
    assert equal(net, state | {k: before[k] for k in loaded.new})


def test_a_new_head_is_new_even_for_as_many_keypoints(tmp_path: Path) -> None:
    net = TOY.build()
    head = net.state_dict()["final_layer.weight"].clone()
    checkpoint.load(net, saved(tmp_path / "net.pth", filled(net)), TOY, reset_head=True)
    assert torch.equal(net.state_dict()["final_layer.weight"], head)


def test_a_new_head_excuses_nothing_else(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", filled(Toy(17, width=8)))
    with pytest.raises(ValueError, match=r"conv1\.weight is 8x3x3x3, expected 4x3x3x3"):
        checkpoint.load(TOY.build(14), path, TOY, reset_head=True)


def test_two_names_for_one_parameter(tmp_path: Path) -> None:
    state = filled(TOY.build())
    path = saved(tmp_path / "net.pth", state | {"head.final_layer.bias": state["final_layer.bias"]})
    with pytest.raises(ValueError, match=r"net\.pth: final_layer\.bias and head\.final_layer\.bias are both names for"):
        checkpoint.load(TOY.build(), path, TOY)


def test_a_file_of_another_system_is_named(tmp_path: Path) -> None:
    other = find("simplebaseline-r18-256x192")
    path = saved(tmp_path / "net.pth", other.build(14).state_dict())
    with pytest.raises(ValueError, match=r"does not fit toy-64x48: it looks like weights of simplebaseline-r18-"):
        checkpoint.load(TOY.build(14), path, TOY)


def classifier(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    body = {k: v for k, v in state.items() if "final" not in k}
    return body | {"fc.weight": torch.ones(1000, 4), "fc.bias": torch.ones(1000)}


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_an_imagenet_backbone(tmp_path: Path, prefix: str) -> None:
    net = TOY.build()
    state, head = filled(net), net.state_dict()["final_layer.bias"].clone()
    theirs = {prefix * ("fc" not in k) + k: v for k, v in classifier(state).items() if "tracked" not in k}
    loaded = checkpoint.load_backbone(net, saved(tmp_path / "resnet.pth", theirs))
    assert torch.equal(net.state_dict()["layer1.0.weight"], state["layer1.0.weight"])
    assert torch.equal(net.state_dict()["final_layer.bias"], head)
    assert loaded.read == 7
    assert loaded.dropped == ("fc.weight", "fc.bias")
    assert loaded.zero_filled == ("bn1.num_batches_tracked",)
    assert loaded.new == ("final_layer.weight", "final_layer.bias")


def test_a_backbone_goes_into_a_network_that_keeps_it_under_a_prefix(tmp_path: Path) -> None:
    net = nn.ModuleDict({"resnet": Toy(17), "refine_net": nn.Conv2d(1, 1, 1)})
    state = filled(Toy(17))
    checkpoint.load_backbone(net, saved(tmp_path / "resnet.pth", classifier(state)))
    assert torch.equal(net.state_dict()["resnet.conv1.weight"], state["conv1.weight"])


def test_a_backbone_must_be_whole(tmp_path: Path) -> None:
    state = classifier(filled(TOY.build())) | {"conv1.weight": torch.ones(1)}
    del state["bn1.weight"]
    path = saved(tmp_path / "resnet.pth", state)
    message = r"resnet\.pth does not cover the backbone of this Toy: 1 .*bn1\.weight.*conv1\.weight is 1, expected 4x3"
    with pytest.raises(ValueError, match=message):
        checkpoint.load_backbone(TOY.build(), path)
    with pytest.raises(ValueError, match=r"no part of it has a backbone's names"):
        checkpoint.load_backbone(nn.Linear(1, 1), path)


SMALL = {"counts": (1, 1, 1, 1), "outputs": (16, 24, 32, 40)}


def small_resnet() -> dict[str, torch.Tensor]:
    """A classifier with torchvision's names, saved before PyTorch counted batches."""
    state = filled(ResNet((Bottleneck,) * 4, **SMALL), 1)
    state = {k: v for k, v in state.items() if not k.endswith("tracked")}
    return state | {"fc.weight": torch.ones(9, 40), "fc.bias": torch.ones(9)}


def small_mspn(stages: int) -> nn.Module:
    net = MultiStage(3, stages=stages, block=mspn.UnitBottleneck, top=Top(), width=8, **SMALL)
    net.naming = mspn.MSPN.naming
    return net


def test_a_resnet_goes_into_every_stage_of_mspn(tmp_path: Path) -> None:
    net, theirs = small_mspn(stages=2), small_resnet()
    loaded = checkpoint.load_backbone(net, saved(tmp_path / "resnet.pth", theirs))
    ours = net.state_dict()
    for key, name in (
        ("top.conv.conv.weight", "conv1.weight"),
        ("top.conv.bn.running_var", "bn1.running_var"),
        ("stage0.downsample.layer1.0.conv_bn_relu1.conv.weight", "layer1.0.conv1.weight"),
        ("stage1.downsample.layer4.0.conv_bn_relu3.bn.bias", "layer4.0.bn3.bias"),
        ("stage1.downsample.layer2.0.downsample.conv.weight", "layer2.0.downsample.0.weight"),
        ("stage0.downsample.layer3.0.downsample.bn.weight", "layer3.0.downsample.1.weight"),
    ):
        assert torch.equal(ours[key], theirs[name]), key
    assert loaded.dropped == ("fc.weight", "fc.bias")
    assert loaded.read == 2 * (len(theirs) - 2) - 5  # the stem goes in once
    assert all(k.endswith((".conv.bias", "tracked")) and not ours[k].any() for k in loaded.zero_filled)
    assert all(".upsample." in k for k in loaded.new)


def test_mspn_s_own_renamed_resnet_is_taken_too(tmp_path: Path) -> None:
    net = small_mspn(stages=1)
    state = {k: v for k, v in filled(net, 1).items() if ".upsample." not in k}
    loaded = checkpoint.load_backbone(net, saved(tmp_path / "resnet-50_rename.pth", state))
    assert loaded.read == len(state)
    assert not loaded.renamed
    assert all(torch.equal(net.state_dict()[k], v) for k, v in state.items())


@pytest.mark.parametrize(
    "name", ["simplebaseline-r50-256x192", "cpn-50-256x192", "grmi-r50-353x257", "mspn-2stg-256x192"]
)
def test_names_and_shapes_of_resnet_50_are_those_of_the_backbone(name: str) -> None:
    with torch.device("meta"):
        net = find(name).build(1)
        resnet = ResNet((Bottleneck,) * 4, (3, 4, 6, 3), (256, 512, 1024, 2048)).state_dict()
    ours = net.state_dict()
    names = conversion.backbone(naming_of(net), ours)
    assert {names[k]: ours[k].shape for k in names if names[k] in resnet} == {k: v.shape for k, v in resnet.items()}
    assert all(k.endswith(".conv.bias") for k in names if names[k] not in resnet)  # of convolutions before norms


@pytest.mark.parametrize("name", ["rsn-18-256x192", "lpn-50-256x192"])
def test_a_resnet_is_no_backbone_of_other_blocks(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):
        net = find(name).build(1)
    message = r"resnet\.pth does not cover the backbone of this (RSN|LPN): \d+ parameters missing"
    with pytest.raises(ValueError, match=message):
        checkpoint.load_backbone(net, saved(tmp_path / "resnet.pth", small_resnet()))


@pytest.mark.parametrize("widened", [False, True])
def test_hrnet_s_imagenet_classifier(tmp_path: Path, widened: bool) -> None:
    state = filled(HRNet(1, 8)) | {
        "stage4.2.fuse_layers.3.0.0.0.weight": torch.ones(8, 8, 3, 3),
        "incre_modules.0.0.conv1.weight": torch.ones(32, 8, 1, 1),
        "classifier.weight": torch.ones(1000, 64),
    }
    state = {k: v for k, v in state.items() if not k.startswith("final_layer.")}
    net = HRNet(5, 8, widened=widened)
    loaded = checkpoint.load_backbone(net, saved(tmp_path / "hrnet.pth", state))
    key = "stage4.1.fuse_layers.0.3.0.weight"
    assert torch.equal(net.state_dict()[key], state[key])
    assert {k.split(".")[0] for k in loaded.new} == ({"stage4", "final_layer"} if widened else {"final_layer"})
    assert set(loaded.dropped) >= {"incre_modules.0.0.conv1.weight", "classifier.weight"}


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_lite_hrnet_without_its_head(tmp_path: Path, prefix: str) -> None:
    net = LiteHRNet(3, modules=(1, 1, 1))
    head = ("backbone.head_layer.", "keypoint_head.")
    theirs = {k: v for k, v in filled(net, 1).items() if not k.startswith(head)}
    path = saved(tmp_path / "lite.pth", {k.replace("backbone.", prefix): v for k, v in theirs.items()})
    loaded = checkpoint.load_backbone(net, path)
    assert loaded.read == len(theirs)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in theirs.items())
    assert all(k.startswith(head) for k in loaded.new)


def test_a_classifier_is_not_mistaken_for_a_pose_network(tmp_path: Path) -> None:
    path = saved(tmp_path / "resnet.pth", classifier(filled(TOY.build())))
    with pytest.raises(ValueError, match=r"it looks like an ImageNet classifier, which load_backbone / --backbone"):
        checkpoint.load(TOY.build(), path, TOY)


FOREIGN = {
    "mmpose1_res50_256x192": "simplebaseline-r50-256x192",
    "mmpose1_rsn18_256x192": "rsn-18-256x192",
    "lpn50_256x192": "lpn-50-256x192",
}


@pytest.mark.parametrize("reference", FOREIGN)
def test_published_layouts_load(
    tmp_path: Path, official_shapes: Callable[[str], dict[str, tuple[int, ...]]], reference: str
) -> None:
    shapes = official_shapes(reference)
    state = {k: torch.rand(s) if "tracked" not in k else torch.tensor(1) for k, s in shapes.items()}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "net")
    spec = find(FOREIGN[reference])
    net = spec.build()
    loaded = checkpoint.load(net, tmp_path / "net", spec)
    assert loaded.read == len(state)
    for key, value in state.items():
        assert torch.equal(net.state_dict()[loaded.renamed.get(key, key)], value)


@pytest.fixture
def official_shapes(official_networks: dict[str, Any]) -> Callable[[str], dict[str, tuple[int, ...]]]:
    def shapes(reference: str) -> dict[str, tuple[int, ...]]:
        return {key: tuple(shape) for key, shape, _ in official_networks[reference]["state"]}

    return shapes
