import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from posewright.models.grmi import GRMI


@pytest.fixture(scope="module")
def net() -> GRMI:
    with torch.device("meta"):
        return GRMI(51, 101).eval()


def test_size_and_cost(net):
    """42.6 million parameters without the auxiliary layer, as HRNet's paper (table 2) says of G-RMI."""
    auxiliary = sum(p.numel() for p in net.auxiliary_layer.parameters())
    assert sum(p.numel() for p in net.parameters()) - auxiliary == 42_604_659
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        net(torch.empty(1, 3, 353, 257))
    assert counter.get_total_flops() // 2 == 64_369_017_024


def test_features_stay_at_an_eighth(net):
    features = net.features(torch.empty(1, 3, 353, 257, device="meta"))
    assert [f.shape[2:] for f in features] == [(89, 65), (45, 33), (45, 33), (45, 33)]


def test_maps_are_as_large_as_the_images(net):
    maps = net.supervised(torch.empty(2, 3, 65, 49, device="meta"))
    assert [m.shape for m in maps] == [(2, 51, 65, 49)] * 2


def test_forward_is_the_last_supervised_map():
    torch.manual_seed(0)
    net = GRMI(6, 50).eval()
    images = torch.randn(1, 3, 33, 25)
    with torch.inference_mode():
        torch.testing.assert_close(net(images), net.supervised(images)[-1], rtol=0, atol=0)


def test_size_refused_names_the_nearest(net):
    with pytest.raises(ValueError, match=r"multiples of 8, plus 1; got HxW 352x256, the nearest is 353x257"):
        net(torch.empty(1, 3, 352, 256, device="meta"))
