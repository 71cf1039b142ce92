import pytest
import torch
from torch.nn import functional as F

from posewright.models import find
from posewright.runtime import depthwise
from posewright.runtime.depthwise import DepthwiseBf16, train_fast_in_bf16

KINDS = [(3, 1), (3, 2), (5, 1), (5, 2)]


def fast(channels, kernel=3, stride=1):
    conv = torch.nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    assert train_fast_in_bf16(conv) == 1
    return conv


def gradients(conv, x, g, precision):
    conv.zero_grad()
    x = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", precision, enabled=precision is not None):
        y = conv(x)
    y.backward(g.to(y.dtype))
    assert x.grad is not None
    assert conv.weight.grad is not None
    return y.float(), x.grad, conv.weight.grad


@pytest.mark.parametrize(("kernel", "stride"), KINDS)
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_in_bfloat16_are_those_of_float32(kernel, stride, size, layout):
    torch.manual_seed(0)
    conv = fast(16, kernel, stride)
    x = torch.randn(4, 16, *size).to(memory_format=layout)
    g = torch.randn_like(conv(x))
    plain = gradients(conv, x, g, None)
    low = gradients(conv, x, g, torch.bfloat16)
    for expected, found in zip(plain, low):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize(("kernel", "stride"), KINDS)
def test_gradients_are_exact_where_nothing_is_rounded(kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 9, dtype=torch.float64, requires_grad=True)
    w = torch.randn(8, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x, w, None, stride, kernel // 2, 1, 8)
    g = torch.randn_like(y)
    expected = torch.autograd.grad(y, (x, w), g)
    found = torch.autograd.grad(depthwise._Depthwise.apply(x, w, stride), (x, w), g)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_evaluation_and_float32_take_torchs_own_path(monkeypatch):
    def refuse(*args):
        raise AssertionError("the hand-made gradients")

    monkeypatch.setattr(depthwise._Depthwise, "apply", refuse)
    x = torch.randn(1, 4, 5, 5)
    conv = fast(4)
    conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        conv.eval()(x)
        with pytest.raises(AssertionError, match="hand-made"):
            conv.train()(x)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 7, "padding": 3}, {"kernel_size": 3, "stride": 3, "padding": 1}, {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "bias": True}, {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2}, {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": "same"},
    ],
    ids=str,
)  # fmt: skip
def test_other_convolutions_stay(options):
    conv = torch.nn.Conv2d(4, 4, **({"groups": 4, "bias": False} | options))
    assert train_fast_in_bf16(conv) == 0
    assert type(conv) is torch.nn.Conv2d


@pytest.mark.parametrize(("name", "number"), [("lpn-18-128x96", 8), ("litebaseline-128x96", 16)])
def test_converts_any_network_without_a_change_of_names(name, number):
    net = find(name).build(2)
    assert not any(isinstance(m, DepthwiseBf16) for m in net.modules())
    state = net.state_dict()
    assert train_fast_in_bf16(net) == number
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
