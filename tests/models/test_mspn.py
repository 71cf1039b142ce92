import pytest
import torch

from posewright.models.mspn import MSPN, SPECS


def test_forward_is_the_last_supervised_map():
    torch.manual_seed(0)
    net = MSPN(5, 2, width=8).eval()
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        maps = net.supervised(images)
        torch.testing.assert_close(net(images), maps[-1], rtol=0, atol=0)
    assert [m.shape for m in maps] == [(1, 5, 16, 8)] * 8


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("stage0.upsample.up1.skip1.conv.bias", "stage0.upsample.up1.skip1.conv.bias"),
        ("stage1.downsample.layer1.0.conv_bn_relu1.bn.gamma", "stage1.downsample.layer1.0.conv_bn_relu1.bn.weight"),
        ("top.conv.bn.moving_mean", "top.conv.bn.running_mean"),
        ("backbone.top.top.0.conv.weight", "top.conv.conv.weight"),
        (
            "backbone.multi_stage_mspn.1.downsample.layer3.5.conv2.weight",
            "stage1.downsample.layer3.5.conv_bn_relu2.conv.weight",
        ),
        ("keypoint_head.predict_layers.6.conv_layers.1.bn.bias", "stage1.upsample.up3.res_conv2.bn.bias"),
    ],
)
def test_names_of_other_code(own_name, foreign, ours):
    assert own_name("mspn-2stg-256x192", foreign) == ours


def test_input_of_the_mindspore_variant():
    # Its pipeline: (grey level - mean of 0..1) / std of 0..1, and then a division by 255.
    spec, grey = SPECS["mspn-2stg-mindspore-256x192"], 200.0
    got = [(grey - mean) / std for mean, std in zip(spec.mean, spec.std)]
    want = [(grey - m) / s / 255 for m, s in ((0.406, 0.225), (0.456, 0.224), (0.485, 0.229))]
    assert got == pytest.approx(want)
    assert spec.colour == "bgr"


def test_scores_and_crops_are_megviis_or_mmposes():
    for name, spec in SPECS.items():
        rest = ("above 0.2", "rgb", (1.25, 1.25)) if "mmpose" in name else ("all", "bgr", spec.padding)
        assert (spec.scoring, spec.colour, spec.padding) == rest
        assert spec.nms is None
    assert SPECS["mspn-2stg-256x192"].padding == (1.09, 1.135)
