from typing import Any

import pytest
import torch

from posewright.models import rsn
from posewright.models.rsn import StepsBlock
from posewright.weights.state_dict import unfilled


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
def test_names_of_other_code(own_name, foreign, ours):
    assert own_name("rsn-50-2stg-256x192", foreign) == ours


def test_specs_name_depth_and_stages():
    for name, spec in rsn.SPECS.items():
        net: Any = unfilled(spec)
        stages = int(name[7]) if "stg" in name else 1
        assert (len(net.stages), spec.nms) == (stages, None)
        assert (spec.scoring, spec.colour) == (("above 0.2", "rgb") if "mmpose" in name else ("all", "bgr"))
