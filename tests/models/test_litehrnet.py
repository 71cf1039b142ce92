from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from posewright.models._shuffle import ChannelWeighting, Matrix, shuffle
from posewright.models.litehrnet import NAIVE_WIDTHS, LiteHighResolutionModule, LiteHRNet
from posewright.weights import conversion
from posewright.weights.state_dict import without_values

VARIANTS = {
    "lite_hrnet_18": LiteHRNet,
    "lite_hrnet_30": partial(LiteHRNet, modules=(3, 8, 3)),
    "naive_lite_hrnet_18": partial(LiteHRNet, widths=NAIVE_WIDTHS, naive=True),
    "wider_naive_lite_hrnet_18": partial(LiteHRNet, naive=True),
}

tiny = partial(LiteHRNet, 3, (1, 1, 1), (8, 16, 32, 64))


@pytest.mark.parametrize(
    ("variant", "parameters", "gmacs"),  # the official code, which evaluates some paths twice, takes 0.242, 0.386, ...
    [
        ("lite_hrnet_18", 1_130_769, 0.198627),
        ("lite_hrnet_30", 1_763_717, 0.309451),
        ("naive_lite_hrnet_18", 760_365, 0.185518),
        ("wider_naive_lite_hrnet_18", 1_318_625, 0.302332),
    ],
)
def test_number_of_parameters_and_multiply_adds(variant, parameters, gmacs, quick_on_meta):
    net = without_values(lambda: VARIANTS[variant](17)).eval()
    with torch.device("meta"):
        assert sum(p.numel() for p in net.parameters()) == parameters
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, 256, 192))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-6)


def exchanged_in_place(module, x):
    """The exchange as the official code comes to it: sums that grow in place, the first of which is branch 0 itself."""
    x = module.layers(x)
    rectified = []
    for i, paths in enumerate(module.fuse_layers):
        total = x[0] if i == 0 else paths[0](x[0])
        for j in range(len(x)):
            total += x[j] if i == j else paths[j](x[j])
        rectified.append(F.relu(total))
    return rectified


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_exchange_is_the_official_one(naive, training):
    torch.manual_seed(0)
    ours = LiteHighResolutionModule((8, 16, 32), naive=naive).train(training)
    theirs = deepcopy(ours)
    for m in theirs.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.1
    x = [torch.randn(2, c, 32 // s, 16 // s) for c, s in ((8, 1), (16, 2), (32, 4))]
    with torch.no_grad():
        for got, want in zip(ours([b.clone() for b in x]), exchanged_in_place(theirs, x)):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    for (name, got), want in zip(ours.named_buffers(), theirs.buffers()):
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shuffle_interleaves_and_keeps_the_layout(layout):
    x = torch.arange(2 * 6 * 4 * 3.0).reshape(2, 6, 4, 3).to(memory_format=layout)
    first, second = x.chunk(2, 1)
    shuffled = shuffle(first, second.contiguous(memory_format=layout))
    assert torch.equal(shuffled, x[:, [0, 3, 1, 4, 2, 5]])
    assert shuffled.is_contiguous(memory_format=layout)


def test_untouched_half_passes():
    torch.manual_seed(0)
    x = [torch.randn(1, c, 16 // s, 16 // s) for c, s in ((8, 1), (16, 2))]
    for before, after in zip(x, ChannelWeighting((8, 16)).eval()(x)):
        assert torch.equal(after[:, ::2], before.chunk(2, 1)[0])
        assert not torch.equal(after[:, 1::2], before.chunk(2, 1)[1])


def test_matrix_is_a_convolution():
    torch.manual_seed(0)
    matrix, x = Matrix(20, 5), torch.randn(3, 20)
    torch.testing.assert_close(matrix(x), matrix.conv(x[..., None, None])[..., 0, 0])


def test_starts_small():
    net = LiteHRNet(17)
    weights = torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.001, rel=0.01)
    assert net.keypoint_head[0].bias.abs().max() == 0


def test_layouts_agree():
    torch.manual_seed(0)
    net, images = tiny().eval(), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        flat = net(images)
        last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, flat, rtol=0, atol=1e-5 * flat.std().item())


FOREIGN = {
    "head.final_layer.bias": "keypoint_head.final_layer.bias",
    "backbone.stage0.0.layers.0.depthwise_convs.0.bn.weight": "backbone.stage0.0.layers.0.depthwise_convs.0.bn.weight",
    # a backbone alone
    "stem.branch1.0.bn.running_var": "backbone.stem.branch1.0.bn.running_var",
    "stage1.3.layers.2.1.branch2.2.conv.weight": "backbone.stage1.3.layers.2.1.branch2.2.conv.weight",
    # MindSpore
    "heat_map.final_layer.weight": "keypoint_head.final_layer.weight",
    "stem.branch1.3.gamma": "backbone.stem.branch1.1.bn.weight",
    "stem.linear_conv.1.moving_mean": "backbone.stem.linear_conv.bn.running_mean",
    "0.0.2.weight": "backbone.transition0.0.2.weight",
    "0.1.0.3.beta": "backbone.transition0.1.0.3.bias",
    "0.0.1.2.0.1.gamma": "backbone.transition1.2.0.1.weight",
    "transitions.2.3.0.0.weight": "backbone.transition2.3.0.0.weight",
    "0.1.layers.1.depthwise_convs.1.1.moving_variance": "backbone.stage0.1.layers.1.depthwise_convs.1.bn.running_var",
    "0.0.layers.0.spatial_weighting.1.conv2.0.bias": "backbone.stage0.0.layers.0.spatial_weighting.1.conv2.conv.bias",
    "0.0.layers.0.cross_resolution_weighting.conv1.2.1.fuse_layers.3.0.2.3.gamma": (
        "backbone.stage2.1.fuse_layers.3.0.2.3.weight"
    ),
    "0.0.layers.0.0.branch2.1.3.layers.2.1.branch2.4.beta": "backbone.stage1.3.layers.2.1.branch2.1.bn.bias",
    "stages.1.0.layers.0.1.branch2.5.weight": "backbone.stage1.0.layers.0.1.branch2.2.conv.weight",
    "head_layer.projects.3.2.weight": "backbone.head_layer.projects.3.pointwise_conv.conv.weight",
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_names_of_other_code(own_name, foreign):
    naive = "branch2" in foreign
    assert own_name(f"litehrnet-{'naive-' * naive}18-256x192", foreign) == FOREIGN[foreign]


@pytest.mark.parametrize("naive", [False, True])
def test_backbone_alone_gets_the_same_names(naive):
    with torch.device("meta"):
        net = tiny(naive=naive)
    keys = list(net.state_dict())
    alone = {key.removeprefix("backbone.").replace("keypoint_head.", "head."): key for key in keys}
    assert conversion.ours(net.naming, keys, alone) == alone
