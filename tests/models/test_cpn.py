import torch

from posewright.models.cpn import CPN


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
