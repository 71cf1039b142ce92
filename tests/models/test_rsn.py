from functools import partial

import pytest
import torch

from posewright.models import rsn
from posewright.models.rsn import PRM, RSN, RSNUdp, StepsBlock


@pytest.mark.parametrize(
    ("name", "depth", "stages"),
    [
        ("rsn18_256x192", 18, 1),
        ("rsn18_4x_256x192", 18, 4),
        ("rsn50_256x192", 50, 1),
        ("rsn50_2x_256x192", 50, 2),
        ("rsn50_4x_256x192", 50, 4),
    ],
)
def test_is_the_official_network(check_official, name, depth, stages):
    check_official(partial(RSN, 17, depth, stages=stages), name, rsn.rename)


def test_is_udps_network(check_official):
    check_official(partial(RSNUdp, 17), "udp_rsn18_se_prm_256x192", rsn.rename)


def test_prm_is_the_official_one(check_official):
    check_official(partial(PRM, 17), "rsn_prm17")


@pytest.mark.parametrize(("name", "depth"), [("mmpose1_rsn18_256x192", 18), ("mmpose1_rsn50_256x192", 50)])
def test_is_mmposes_network_but_for_the_biases(check_official, name, depth):
    check_official(partial(RSN, 17, depth), name, rsn.rename, rsn.OPTIONAL)


@pytest.mark.parametrize(
    ("depth", "stages", "parameters"),
    [(18, 1, 9_159_072), (18, 4, 38_456_256), (50, 1, 19_355_132), (50, 2, 39_316_920), (50, 4, 79_240_496)],
)
def test_number_of_parameters(depth, stages, parameters):
    with torch.device("meta"):
        net = RSN(17, depth, stages=stages)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_number_of_parameters_of_udps():
    with torch.device("meta"):
        net = RSNUdp(17)
    assert sum(p.numel() for p in net.parameters()) == 14_634_324


def test_a_slice_hears_of_the_slices_before_it_only():
    torch.manual_seed(0)
    block = StepsBlock(64, 64).eval()
    reached = {}
    for i in range(4):
        heard = []
        hook = block.conv_bn_relu3.register_forward_pre_hook(lambda _, args, heard=heard: heard.append(args[0]))
        for value in (0.0, 1.0):
            slices = torch.zeros(1, 104, 5, 5)
            slices[:, 26 * i : 26 * (i + 1)] = value
            block.conv_bn_relu1.forward = lambda _, slices=slices: slices
            block(torch.zeros(1, 64, 5, 5))
        hook.remove()
        changed = (heard[0] != heard[1]).reshape(4, 26 * 25).any(1)
        reached[i] = changed.tolist()
    assert reached == {
        0: [True, True, True, True],
        1: [False, True, True, True],
        2: [False, False, True, True],
        3: [False, False, False, True],
    }


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (
            "backbone.multi_stage_rsn.1.downsample.layer2.0.conv_bn3.bn.weight",
            "stage1.downsample.layer2.0.conv_bn_relu3.bn.weight",
        ),
        (
            "backbone.multi_stage_rsn.0.downsample.layer1.0.conv_bn_relu2_4_1.conv.weight",
            "stage0.downsample.layer1.0.conv_bn_relu2_4_1.conv.weight",
        ),
        (
            "stage0.upsample.up4.prm.conv_bn_relu_prm_3_2.bn.bias",
            "stage0.upsample.up4.prm.conv_bn_relu_prm_3_2.bn.bias",
        ),
    ],
)
def test_rename(foreign, ours):
    assert rsn.rename([foreign]) == {foreign: ours}


def test_specs_name_depth_and_stages():
    for name, spec in rsn.SPECS.items():
        with torch.device("meta"):
            net = spec.build()
        stages = int(name[7]) if "stg" in name else 1
        assert (len(net.stages), spec.nms) == (stages, None)
        assert (spec.scoring, spec.colour) == (("above 0.2", "rgb") if "mmpose" in name else ("all", "bgr"))
