import pytest
import torch

from posewright.models import hourglass
from posewright.models.hourglass import PreactivatedBottleneck, StackedHourglass
from posewright.skeletons import TIGDOG18


@pytest.mark.parametrize(
    ("channels", "stacks", "blocks", "parameters"),
    [
        (17, 1, 1, 3_587_217),
        (17, 2, 1, 6_731_682),
        (17, 4, 1, 13_020_612),
        (18, 4, 1, 13_022_408),
        (17, 8, 1, 25_598_472),
        (17, 2, 2, 12_738_466),
    ],
)
def test_number_of_parameters(channels, stacks, blocks, parameters):
    with torch.device("meta"):
        net = StackedHourglass(channels, stacks, blocks)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_every_stack_is_supervised():
    torch.manual_seed(0)
    net, images = StackedHourglass(3, 2).eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        first, second = net.supervised(images)
        net.score_[0].bias += 1  # what the first stack found must reach the second
        again, changed = net.supervised(images)
    assert torch.equal(first, again)
    assert not torch.allclose(second, changed)


def test_shortcut_is_bare_and_nothing_follows_the_sum():
    torch.manual_seed(0)
    block, x = PreactivatedBottleneck(8, 16).eval(), torch.randn(1, 8, 4, 4)
    torch.nn.init.zeros_(block.conv3.weight)
    torch.nn.init.zeros_(block.conv3.bias)
    torch.testing.assert_close(block(x), block.downsample[0](x))
    assert block(x).min() < 0


def test_odd_sizes_come_back_to_the_side_branch():
    """At 128x96 the innermost level halves 4x3 to 2x1 and must return to 4x3, as DARK's fixed size has it."""
    torch.manual_seed(0)
    innermost = hourglass.Hourglass(1).eval()
    sizes = []
    innermost.hg[0][2].register_forward_hook(lambda path, args, output: sizes.append(tuple(output.shape[-2:])))
    with torch.inference_mode():
        assert innermost(torch.randn(1, 256, 32, 24)).shape == (1, 256, 32, 24)
    assert sizes == [(2, 1)]


@pytest.mark.parametrize("size", [(32, 64), (64, 32), (96, 80)])
def test_refuses_sizes_that_cannot_be_halved(size):
    with torch.device("meta"), pytest.raises(ValueError, match=r"multiples of 32.*; got HxW"):
        StackedHourglass(3, 1)(torch.empty(1, 3, *size))


def test_specs_read_maps_as_their_papers():
    specs = hourglass.SPECS
    assert specs["hourglass-4-dark-128x96"].crop_rule == "dark"
    assert specs["hourglass-4-dark-128x96"].colour == "bgr"
    assert [specs[f"hourglass-{stacks}-dark-128x96"].codec.sigma for stacks in (4, 8)] == [1, 2]
    assert type(specs["hourglass-4-animals-256x256"].codec).__name__ == "HourglassHeatmap"
    assert specs["hourglass-4-animals-256x256"].skeleton is TIGDOG18
    means = {name: round(specs[f"hourglass-4-{name}-256x256"].mean[2] / 255, 4) for name in hourglass._MEANS}
    assert means == {"real-horse": 0.4206, "real-tiger": 0.2593, "synthetic-horse": 0.3925, "synthetic-tiger": 0.3818}


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("hg.0.hg.3.2.0.bn1.weight", "hg.0.hg.3.2.0.bn1.weight"),
        ("fc.1.1.gamma", "fc.1.1.weight"),
        ("layer2.0.bn2.moving_variance", "layer2.0.bn2.running_var"),
    ],
)
def test_names_of_other_code(own_name, foreign, ours):
    assert own_name("hourglass-4-256x256", foreign) == ours
