import pytest
import torch
from torch.nn import functional as F

from posewright.models import _depthwise
from posewright.models._depthwise import Depthwise
from posewright.runtime.torch_runtime import fold

KINDS = [(3, 1), (3, 2), (5, 1), (5, 2)]


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
    conv = Depthwise(16, kernel, stride)
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
    found = torch.autograd.grad(_depthwise._Depthwise.apply(x, w, stride), (x, w), g)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_evaluation_and_float32_take_torchs_own_path(monkeypatch):
    def refuse(*args):
        raise AssertionError("the hand-made gradients")

    monkeypatch.setattr(_depthwise._Depthwise, "apply", refuse)
    x = torch.randn(1, 4, 5, 5)
    conv = Depthwise(4)
    conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        conv.eval()(x)
        with pytest.raises(AssertionError, match="hand-made"):
            conv.train()(x)


@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (3, 3)])
def test_refuses_what_has_no_rule(kernel, stride):
    with pytest.raises(ValueError, match=f"3x3 or 5x5, of stride 1 or 2: got {kernel}, {stride}"):
        Depthwise(4, kernel, stride)


@pytest.mark.parametrize(("kernel", "stride"), KINDS)
def test_norms_are_folded_into_it(kernel, stride):
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(8)
    norm.running_mean = torch.rand(8)
    net = torch.nn.Sequential(Depthwise(8, kernel, stride), norm).eval()
    x = torch.randn(1, 8, 9, 9)
    expected = net(x)
    assert fold(net, x.shape) == 1
    torch.testing.assert_close(net(x), expected)
