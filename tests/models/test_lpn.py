import pytest
import torch

from posewright.models.lpn import GlobalContext


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


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("bn1.gamma", "bn1.weight"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("layer4.2.att.channel_add_conv.1.beta", "layer4.2.att.channel_add_conv.1.bias"),
    ],
)
def test_names_of_mindspore(own_name, foreign, ours):
    assert own_name("lpn-50-256x192", foreign) == ours
