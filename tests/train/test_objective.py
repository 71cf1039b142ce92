"""Each codec is learned by the losses that can read its targets, and by no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posewright import losses
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import Dark
from posewright.codecs.grmi import OffsetHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.codecs.softargmax import SoftArgmax
from posewright.codecs.udp import Udp, UdpMultiScaleHeatmap, UdpOffset
from posewright.models import find, names
from posewright.train.objective import objective
from posewright.types import Skeleton

SKELETON = Skeleton("insect", ("head", "left_wing", "right_wing"))
SIZES = ((64, 48), (16, 12))
LEVELS = {"coarse-to-fine": 4, "cpn": 5}

PAIRS = [
    (GaussianHeatmap(*SIZES), "mse"),
    (GaussianHeatmap(*SIZES), "ohkm"),
    (SoftArgmax(*SIZES), "mse"),
    (Dark(*SIZES), "mse"),
    (Udp(*SIZES), "ohkm"),
    (HourglassHeatmap(*SIZES), "mse"),
    (MultiScaleHeatmap(*SIZES), "coarse-to-fine"),
    (MmposeMultiScaleHeatmap(*SIZES), "coarse-to-fine"),
    (UdpMultiScaleHeatmap(*SIZES), "coarse-to-fine"),
    (CpnMultiScaleHeatmap(*SIZES), "cpn"),
    (UdpOffset(*SIZES), "udp-offset"),
    (UdpOffset(*SIZES), "udp-offset-smooth"),
    (OffsetHeatmap((65, 49), (33, 25)), "grmi"),
]


def batch(codec, people=4):
    """Outputs, targets and weights of random people."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, np.array(codec.size[::-1]) - 1, (people, 3, 2))
    target, weight = map(torch.from_numpy, codec.encode(xy, rng.integers(0, 3, (people, 3))))
    maps = torch.randn(people, codec.channels(3), *codec.map_size, generator=torch.Generator().manual_seed(0))
    return maps, target, weight


@pytest.mark.parametrize(("codec", "loss"), PAIRS, ids=lambda x: x if isinstance(x, str) else type(x).__name__)
def test_every_pair_is_a_mean_over_samples(codec, loss):
    learned = objective(loss, codec, SKELETON)
    maps, target, weight = batch(codec)
    outputs = [maps.requires_grad_()] * LEVELS.get(loss, 1)
    whole = learned(outputs, target, weight)
    whole.backward()
    assert torch.isfinite(maps.grad).all()
    assert maps.grad.abs().sum() > 0
    parts = [learned([o[i::2] for o in outputs], target[i::2], weight[i::2]) for i in (0, 1)]
    torch.testing.assert_close(whole, sum(parts) / 2)


@pytest.mark.parametrize(
    ("codec", "loss", "message"),
    [
        (
            MultiScaleHeatmap(*SIZES),
            "mse",
            "does not learn the targets of MultiScaleHeatmap: coarse-to-fine",
        ),
        (UdpOffset(*SIZES), "grmi", "does not learn the targets of UdpOffset: udp-offset or udp-offset-smooth"),
        (GaussianHeatmap(*SIZES), "cpn", "loss 'cpn' does not learn the targets of GaussianHeatmap: mse or ohkm"),
        (CpnMultiScaleHeatmap(*SIZES), "coarse-to-fine", "does not learn the targets of CpnMultiScaleHeatmap: cpn"),
        (GaussianHeatmap(*SIZES), "l1", "loss must be one of mse, ohkm, .*, got 'l1'"),
    ],
)
def test_wrong_pairs_are_refused(codec, loss, message):
    with pytest.raises(ValueError, match=message):
        objective(loss, codec, SKELETON)


def test_every_pose_systems_codec_has_a_loss():
    published = {type(codec): loss for codec, loss in reversed(PAIRS)}
    specs = {type(spec.codec): spec for spec in map(find, names())}
    for kind, spec in specs.items():
        assert objective(published[kind], spec.codec, spec.skeleton)


def test_factors_weigh_points_by_name():
    codec = GaussianHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    learned = objective("mse", codec, SKELETON, factor=1.0, keypoint_weight={"left_wing": 1.5})
    expected = losses.weighted_mse([maps], target, weight * torch.tensor([1, 1.5, 1]), factor=1.0)
    torch.testing.assert_close(learned([maps], target, weight), expected)
    with pytest.raises(ValueError, match="keypoint_weight names tail; the points are head, left_wing, right_wing"):
        objective("mse", codec, SKELETON, keypoint_weight={"tail": 1.0})
    with pytest.raises(ValueError, match="factors must not be negative"):
        objective("mse", codec, SKELETON, keypoint_weight={"head": -1})
    with pytest.raises(ValueError, match="'cpn' reads from the weights who is visible: it takes no keypoint_weight"):
        objective("cpn", CpnMultiScaleHeatmap(*SIZES), SKELETON, keypoint_weight={"head": 1.0})
    with pytest.raises(ValueError, match="'grmi' has no loss_factor, it was published with its own; got 1"):
        objective("grmi", OffsetHeatmap((65, 49), (33, 25)), SKELETON, factor=1.0)


def test_a_small_skeleton_has_fewer_hard_points():
    codec = GaussianHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    eight = objective("ohkm", codec, SKELETON, ohkm_topk=8)([maps], target, weight)
    torch.testing.assert_close(eight, losses.ohkm_mse([maps], target, weight, top=3))
