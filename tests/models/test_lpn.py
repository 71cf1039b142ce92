from functools import partial

import pytest
import torch

from posewright.models import lpn
from posewright.models.lpn import LPN, GlobalContext


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_is_the_official_network(check_official, depth):
    check_official(partial(LPN, 17, depth), f"lpn{depth}_256x192", lpn.rename)


@pytest.mark.parametrize(("depth", "parameters"), [(50, 2_911_153), (101, 5_353_458), (152, 7_377_459)])
def test_number_of_parameters(depth, parameters):
    with torch.device("meta"):
        net = LPN(17, depth)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_global_context_adds_the_same_to_every_pixel():
    torch.manual_seed(0)
    x = torch.randn(2, 32, 5, 4)
    added = GlobalContext(32)(x) - x
    torch.testing.assert_close(added, added[:, :, :1, :1].expand_as(added), rtol=0, atol=1e-6)
    assert added.abs().max() > 0.01


def test_uniform_attention_is_the_mean():
    torch.manual_seed(0)
    x = torch.randn(2, 32, 5, 4)
    context = GlobalContext(32)
    torch.nn.init.zeros_(context.conv_mask.weight)
    expected = x + context.channel_add_conv(x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(context(x), expected)


def test_rename_knows_mindspore():
    assert lpn.rename(["bn1.gamma", "layer1.0.conv1.weight"]) == {
        "bn1.gamma": "bn1.weight",
        "layer1.0.conv1.weight": "layer1.0.conv1.weight",
    }
