from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from posewright.models import hrnet
from posewright.models.hrnet import HRNet, Receive


@pytest.mark.parametrize(
    ("build", "parameters", "entries"),
    [
        (partial(HRNet, 17), 28_536_113, 1754),
        (partial(HRNet, 17, 48), 63_595_745, 1754),
        (partial(HRNet, 51), 28_537_235, 1754),
        (partial(HRNet, 17, widened=True), 28_585_425, 1755),
        (partial(HRNet, 51, widened=True), 28_589_811, 1755),
    ],
)
def test_number_of_parameters(build, parameters, entries):
    with torch.device("meta"):
        net = build()
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == entries


@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_branch_receives_the_sum_of_all(target):
    torch.manual_seed(0)
    receive = Receive((4, 8, 16), target).eval()
    x = [torch.randn(2, c, 16 // s, 8 // s) for c, s in ((4, 1), (8, 2), (16, 4))]
    before = [branch.clone() for branch in x]
    with torch.inference_mode():
        expected = torch.stack([path(branch) for path, branch in zip(receive, x)]).sum(0).relu()
        torch.testing.assert_close(receive(x), expected)
    assert all(map(torch.equal, x, before)), "the branches themselves must stay as they are: others read them"


def test_layouts_agree():
    torch.manual_seed(0)
    net, images = HRNet(3, 8).eval(), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        flat = net(images)
        last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, flat, rtol=0, atol=1e-5 * flat.std().item())


def test_starts_small():
    net = HRNet(17, 8)
    weights = torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.001, rel=0.01)
    assert net.final_layer.bias.abs().max() == 0


FOREIGN = {
    "stage2.0.branches.1.3.bn2.running_mean": "stage2.0.branches.1.3.bn2.running_mean",
    "backbone.stage4.2.fuse_layers.0.3.1.weight": "stage4.2.fuse_layers.0.3.1.weight",
    "head.final_layer.weight": "final_layer.weight",
    "keypoint_head.final_layer.bias": "final_layer.bias",
    # mindpose
    "head.head.bias": "final_layer.bias",
    "backbone.layer1.0.down_sample.1.gamma": "layer1.0.downsample.1.weight",
    "backbone.stage3.3.fuse_layers.2.0.0.1.moving_variance": "stage3.3.fuse_layers.2.0.0.1.running_var",
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_names_of_other_code(own_name, foreign):
    assert own_name("hrnet-w32-256x192", foreign) == FOREIGN[foreign]


def test_specs_have_the_networks_and_rules_of_their_papers():
    specs = hrnet.SPECS
    widened = {name for name, spec in specs.items() if spec.builder.keywords["widened"]}
    published = {f"hrnet-w{w}-udp-{v}{s}" for w in (32, 48) for v in ("", "offset-") for s in ("256x192", "384x288")}
    assert widened == published | {"hrnet-w8-udp-128x96", "hrnet-w8-udp-offset-128x96"}
    assert {spec.crop_rule for name, spec in specs.items() if "udp" in name} == {"udp"}
    assert specs["hrnet-w32-dark-256x192"].crop_rule == "dark"
    assert specs["hrnet-w32-dark-mmpose-256x192"].crop_rule == "standard"
    assert specs["hrnet-w32-udp-regress-256x192"].codec.channels(17) == 51
    assert specs["hrnet-w32-mindpose-256x192"].std != specs["hrnet-w32-256x192"].std


@pytest.mark.slow
def test_runs_as_onnx(onnx_outputs):
    torch.manual_seed(0)
    net, images = HRNet(3, 8, widened=True).eval(), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        want = net(images).numpy()
    np.testing.assert_allclose(onnx_outputs(net, images), want, rtol=0, atol=1e-4 * want.std())
