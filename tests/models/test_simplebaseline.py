import pytest
import torch

from posewright.models import simplebaseline
from posewright.models.simplebaseline import SimpleBaseline


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 15_376_721), (34, 25_484_881), (50, 33_999_697), (101, 52_991_825), (152, 68_635_473)],
)
def test_number_of_parameters(depth, parameters):
    with torch.device("meta"):
        net = SimpleBaseline(17, depth)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_caffe_style_moves_the_stride():
    with torch.device("meta"):
        caffe, torch_style = SimpleBaseline(17, 50, caffe=True), SimpleBaseline(17, 50)
    assert [caffe.layer2[0].get_submodule(f"conv{i}").stride for i in (1, 2)] == [(2, 2), (1, 1)]
    assert [torch_style.layer2[0].get_submodule(f"conv{i}").stride for i in (1, 2)] == [(1, 1), (2, 2)]


def test_same_pool_pads_at_the_right_and_bottom():
    maps = torch.arange(36.0).reshape(1, 1, 6, 6)
    with torch.device("meta"):
        net = SimpleBaseline(17, 18, same_pool=True)
    padded = torch.nn.functional.pad(maps, (0, 1, 0, 1), value=float("-inf"))
    expected = torch.nn.functional.max_pool2d(padded, 3, 2)
    torch.testing.assert_close(net.maxpool(maps), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("depth", "caffe", "message"),
    [(20, False, "18, 34, 50, 101, 152 layers, got 20"), (18, True, "ResNet-18 has only basic blocks")],
)
def test_refuses_resnets_that_are_not(depth, caffe, message):
    with pytest.raises(ValueError, match=message):
        SimpleBaseline(17, depth, caffe=caffe)


def test_head_starts_small():
    net = SimpleBaseline(17, 18)
    for part in (net.deconv_layers[0], net.deconv_layers[3], net.final_layer):
        assert part.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert net.final_layer.bias.abs().max() == 0
    assert net.conv1.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("layer1.0.bn3.weight", "layer1.0.bn3.weight"),
        ("backbone.layer1.0.downsample.1.running_var", "layer1.0.downsample.1.running_var"),
        ("keypoint_head.deconv_layers.3.weight", "deconv_layers.3.weight"),
        ("head.final_layer.bias", "final_layer.bias"),
        ("backbone.layer2.0.down_sample.1.moving_variance", "layer2.0.downsample.1.running_var"),
        ("head.deconv_layer.1.gamma", "deconv_layers.1.weight"),
        ("head.deconv_layer.0.weight", "deconv_layers.0.weight"),
    ],
)
def test_names_of_other_code(own_name, foreign, ours):
    assert own_name("simplebaseline-r50-256x192", foreign) == ours


def test_sigma_goes_with_the_size_of_the_map():
    sigmas = {spec.size: spec.codec.sigma for spec in simplebaseline.SPECS.values()}
    middle = dict.fromkeys([(256, 192), (256, 256), (320, 256)], 2.0)
    assert sigmas == {(128, 96): 1.0, (128, 128): 1.0, (384, 288): 3.0} | middle


def test_channel_order_is_the_weights_own():
    colours = {name: spec.colour for name, spec in simplebaseline.SPECS.items()}
    # Whatever mmpose trained, all of its own data sets among it, sees RGB; the papers' own code sees BGR.
    rgb = ("r18-", "r34-", "mmpose", "mindpose", "mpii", "crowdpose", "aic", "ap10k", "animalpose", "wscda")
    assert colours == {name: "rgb" if any(word in name for word in rgb) else "bgr" for name in colours}
    assert {spec.mean for spec in simplebaseline.SPECS.values()} == {(123.675, 116.28, 103.53)}


def test_dark_and_udp_are_the_same_networks_with_other_coordinates():
    plain, dark, udp = (simplebaseline.SPECS[f"simplebaseline-r50-{v}256x192"] for v in ("", "dark-", "udp-"))
    assert str(plain.builder) == str(dark.builder) == str(udp.builder)
    assert [(s.crop_rule, type(s.codec).__name__) for s in (plain, dark, udp)] == [
        ("standard", "GaussianHeatmap"),
        ("dark", "DarkHeatmap"),
        ("udp", "UdpHeatmap"),
    ]
    assert simplebaseline.SPECS["simplebaseline-r50-dark-128x96"].codec.blur == 3
