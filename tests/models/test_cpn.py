from functools import partial

import pytest
import torch

from posewright.models import cpn
from posewright.models.cpn import CPN


@pytest.mark.parametrize(("name", "depth"), [("cpn50_256x192", 50), ("cpn50_384x288", 50), ("cpn101_384x288", 101)])
def test_is_the_official_network(check_official, name, depth):
    check_official(partial(CPN, 17, depth), name, cpn.rename)


@pytest.mark.parametrize(("depth", "parameters"), [(50, 27_406_826), (101, 46_398_954)])
def test_number_of_parameters(depth, parameters):
    with torch.device("meta"):
        net = CPN(17, depth)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_forward_is_the_last_supervised_map():
    torch.manual_seed(0)
    net = CPN(5).eval()
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        maps = net.supervised(images)
        torch.testing.assert_close(net(images), maps[-1], rtol=0, atol=0)
    assert [m.shape for m in maps] == [(1, 5, 16, 8)] * 5


def test_no_convolution_has_a_bias():
    with torch.device("meta"):
        net = CPN(17)
    assert all(m.bias is None for m in net.modules() if isinstance(m, torch.nn.Conv2d))
