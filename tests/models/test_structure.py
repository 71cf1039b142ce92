"""Settings of the structure, as the papers and their configurations vary it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from posewright.models.lpn import LPN, Attention, GlobalContext
from posewright.models.mspn import MSPN
from posewright.models.simplebaseline import SimpleBaseline


def blank(build: Any) -> Any:
    with torch.device("meta"):
        return build().eval()


@pytest.mark.parametrize("net", [LPN, SimpleBaseline])
def test_defaults_are_the_published_head(net):
    shapes = {k: tuple(v.shape) for k, v in blank(partial(net, 17, 18)).state_dict().items() if "layer" not in k[:5]}
    said = blank(partial(net, 17, 18, kernel=4, final_kernel=1, deconvolutions=2 if net is LPN else 3))
    assert shapes == {k: tuple(v.shape) for k, v in said.state_dict().items() if "layer" not in k[:5]}


@pytest.mark.parametrize(
    ("attention", "names"),
    [
        ("gc", {"conv_mask", "channel_add_conv"}), ("gc-multiply", {"conv_mask", "channel_mul_conv"}), ("se", {"fc"}),
        ("none", set()),
    ],
)  # fmt: skip
def test_attentions_of_lpn(attention: Attention, names):
    net = blank(partial(LPN, 17, 18, attention=attention))
    assert {k.split(".")[3] for k in net.state_dict() if ".att." in k} == names
    assert net(torch.empty(1, 3, 64, 48, device="meta")).shape == (1, 17, 16, 12)


def test_multiplied_context_scales_every_pixel_alike():
    torch.manual_seed(0)
    x = torch.rand(2, 32, 5, 4) + 1
    factor = GlobalContext(32, multiply=True)(x) / x
    torch.testing.assert_close(factor, factor[:, :, :1, :1].expand_as(factor))
    assert 0 < factor.min() < factor.max() < 1


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize(("net", "number", "reduction"), [
    (LPN, 2, 4), (LPN, 3, 2), (LPN, 4, 1), (SimpleBaseline, 2, 8), (SimpleBaseline, 3, 4), (SimpleBaseline, 4, 2),
])  # fmt: skip
def test_every_deconvolution_doubles_the_maps(net, number, reduction, kernel):
    made = blank(partial(net, 5, 18, deconvolutions=number, kernel=kernel, final_kernel=3))
    assert made(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 5, 64 // reduction, 96 // reduction)
    assert made.final_layer.weight.shape[2:] == (3, 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(LPN, 17, deconvolutions=1), "2, 3 or 4 deconvolutions"),
        (partial(SimpleBaseline, 17, deconvolutions=5), "2, 3 or 4 deconvolutions"),
        (partial(SimpleBaseline, 17, 18, slim=True, deconvolutions=2), "3 deconvolutions only"),
        (partial(LPN, 17, kernel=5), "kernel of 2, 3 or 4, got 5"),
        (partial(SimpleBaseline, 17, 18, final_kernel=2), "kernel of 1 or 3, got 2"),
        (partial(LPN, 17, attention="cbam"), "attention: expected gc, gc-multiply, se, none, got 'cbam'"),
    ],
)
def test_what_cannot_be_right_is_refused(build, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build()


@pytest.mark.parametrize(
    ("build", "last"),
    [
        (partial(LPN, 2, 18), r"bn3"),
        (partial(SimpleBaseline, 2, 18, slim=True), r"bn2"),
        (partial(MSPN, 2, 2, width=8, slim=True), r"conv_bn_relu3.bn"),
    ],
)
def test_last_norms_start_at_zero_when_asked(build, last):
    def zeros(net: nn.Module) -> set[str]:
        return {n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d) and not m.weight.any()}

    assert not zeros(build())
    net = build(zero_init=True)
    blocks = {n for n, _ in net.named_modules() if "layer" in n and "upsample" not in n and n.endswith(f".{last}")}
    assert zeros(net) == blocks
    assert blocks


def test_decoder_width_and_stages_of_mspn():
    net = blank(partial(MSPN, 17, 3, width=32, same_pool=True))
    assert [stage.upsample.up4.u_skip.conv.out_channels for stage in net.stages] == [32, 32, 32]
