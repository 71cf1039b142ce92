"""Each codec says which losses learn its target: each is a mean over samples, all others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posewright import losses
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.grmi import OffsetHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpMultiScaleHeatmap, UdpOffsetHeatmap
from posewright.losses import LossSettings, objective
from posewright.models import find, names
from posewright.types import Skeleton

SKELETON = Skeleton("insect", ("head", "left_wing", "right_wing"))
SIZES = ((64, 48), (16, 12))
LEVELS = {"coarse-to-fine": 4, "cpn": 5}

CODECS = [
    GaussianHeatmap(*SIZES),
    DarkHeatmap(*SIZES),
    UdpHeatmap(*SIZES),
    HourglassHeatmap(*SIZES),
    MultiScaleHeatmap(*SIZES),
    MmposeMultiScaleHeatmap(*SIZES),
    UdpMultiScaleHeatmap(*SIZES),
    CpnMultiScaleHeatmap(*SIZES),
    UdpOffsetHeatmap(*SIZES),
    OffsetHeatmap((65, 49), (33, 25)),
]
PAIRS = [(codec, loss) for codec in CODECS for loss in codec.losses]


def batch(codec, people=4):
    """Outputs, targets and weights of random people."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, np.array(codec.size[::-1]) - 1, (people, 3, 2))
    target, weight = map(torch.from_numpy, codec.encode(xy, rng.integers(0, 3, (people, 3))))
    maps = torch.randn(people, codec.channels(3), *codec.map_size, generator=torch.Generator().manual_seed(0))
    return maps, target, weight


@pytest.mark.parametrize(("codec", "loss"), PAIRS, ids=lambda x: x if isinstance(x, str) else type(x).__name__)
def test_every_pair_is_a_mean_over_samples(codec, loss):
    learned = objective(codec, loss, SKELETON)
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
        (MultiScaleHeatmap(*SIZES), "mse", "'mse' does not learn the targets of MultiScaleHeatmap: choose coarse-to-f"),
        (
            UdpOffsetHeatmap(*SIZES),
            "grmi",
            "does not learn the targets of UdpOffsetHeatmap: choose udp-offset or udp-offset-smooth",
        ),
        (GaussianHeatmap(*SIZES), "cpn", "loss 'cpn' does not learn the targets of GaussianHeatmap: choose mse or oh"),
        (CpnMultiScaleHeatmap(*SIZES), "coarse-to-fine", "not learn the targets of CpnMultiScaleHeatmap: choose cpn"),
    ],
)
def test_wrong_pairs_are_refused(codec, loss, message):
    with pytest.raises(ValueError, match=message):
        objective(codec, loss, SKELETON)


def test_every_pose_system_can_be_learned():
    for spec in map(find, names()):
        assert objective(spec.codec, "", spec.skeleton)


def test_no_name_is_the_published_loss():
    codec = UdpOffsetHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    loss = objective(codec, "", SKELETON)([maps], target, weight)
    torch.testing.assert_close(loss, losses.udp_offset([maps], target, weight))


def test_factors_weigh_points_by_name():
    codec = GaussianHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    learned = objective(codec, "mse", SKELETON, LossSettings(factor=1.0, keypoint_weight={"left_wing": 1.5}))
    expected = losses.weighted_mse([maps], target, weight * torch.tensor([1, 1.5, 1]), factor=1.0)
    torch.testing.assert_close(learned([maps], target, weight), expected)


@pytest.mark.parametrize(
    ("codec", "settings", "message"),
    [
        (GaussianHeatmap(*SIZES), {"keypoint_weight": {"tail": 1.0}}, "names tail; the points are head, left_wing, ri"),
        (GaussianHeatmap(*SIZES), {"keypoint_weight": {"head": -1}}, "factors must not be negative"),
        (GaussianHeatmap(*SIZES), {"ohkm_topk": -1}, r"ohkm_topk must be 0 \(no mining\) or more, got -1"),
        (GaussianHeatmap(*SIZES), {"ohkm_topk": 4}, "loss 'mse' has no setting ohkm_topk, got 4"),
        (GaussianHeatmap(*SIZES), {"offset_factor": 2.0}, "loss 'mse' has no setting offset_factor, got 2"),
        (CpnMultiScaleHeatmap(*SIZES), {"coarse_to_fine": False}, "loss 'cpn' has no setting coarse_to_fine"),
        (CpnMultiScaleHeatmap(*SIZES), {"keypoint_weight": {"head": 1.0}}, "'cpn' reads from the weights who is vis"),
        (MultiScaleHeatmap(*SIZES), {"use_target_weight": False}, "reads from the weights who is visible: it .* needs"),
        (OffsetHeatmap((65, 49), (33, 25)), {"factor": 1.0}, "loss 'grmi' has no setting factor, got 1"),
    ],
)
def test_settings_that_a_loss_does_not_have_are_refused(codec, settings, message):
    with pytest.raises(ValueError, match=message):
        objective(codec, "", SKELETON, LossSettings(**settings))


def test_a_small_skeleton_has_fewer_hard_points():
    codec = GaussianHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    eight = objective(codec, "ohkm", SKELETON, LossSettings(ohkm_topk=8))([maps], target, weight)
    torch.testing.assert_close(eight, losses.ohkm_mse([maps], target, weight, ohkm_topk=3))


def test_without_mining_all_labelled_keypoints_count_in_cpns_refined_maps():
    codec = CpnMultiScaleHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    outputs = [torch.zeros_like(maps)] * 4 + [maps]
    error = (maps - target[:, -1]).square().mean((2, 3)) * (weight > 0)
    pushed = [0.5 * (target[:, i] * (weight > 1)[..., None, None]).square().mean() for i in range(4)]
    off = objective(codec, "", SKELETON, LossSettings(ohkm_topk=0))(outputs, target, weight)
    torch.testing.assert_close(off, sum(pushed) + error.mean())
    assert objective(codec, "", SKELETON, LossSettings(ohkm_topk=1))(outputs, target, weight) > off


def test_without_coarse_to_fine_the_last_stage_learns_the_labels_of_the_others():
    codec = MultiScaleHeatmap(*SIZES)
    _, target, weight = batch(codec)
    outputs = [target[:, i] * (weight > 0)[..., None, None] for i in range(4)]
    visible = torch.where(weight > 0, 2.0, 0.0)
    off = objective(codec, "", SKELETON, LossSettings(coarse_to_fine=False, ohkm_topk=0))
    assert off(outputs, target, visible) == 0
    assert objective(codec, "", SKELETON, LossSettings(ohkm_topk=0))(outputs, target, visible) > 1


def test_without_target_weight_unlabelled_keypoints_are_learned_as_empty_maps():
    codec = GaussianHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    plain = objective(codec, "mse", SKELETON, LossSettings(use_target_weight=False))([maps], target, weight)
    torch.testing.assert_close(plain, 0.5 * (maps - target).square().mean())


def test_factors_of_class_and_offset_parts():
    codec = UdpOffsetHeatmap(*SIZES)
    maps, target, weight = batch(codec)
    only = [
        objective(codec, "", SKELETON, LossSettings(class_factor=c, offset_factor=o))([maps], target, weight)
        for c, o in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0))
    ]
    torch.testing.assert_close(only[2], 2 * only[0] + 3 * only[1])
    torch.testing.assert_close(objective(codec, "", SKELETON)([maps], target, weight), only[0] + only[1])


def test_mmpose_weighs_offsets_too():
    codec = UdpOffsetHeatmap(*SIZES)
    maps, target, _ = batch(codec)
    weight = torch.zeros(len(maps), 3)
    assert objective(codec, "udp-offset", SKELETON)([maps], target, weight) > 0
    assert objective(codec, "udp-offset-mmpose", SKELETON)([maps], target, weight) == 0
    full = torch.ones_like(weight)
    same = [objective(codec, loss, SKELETON)([maps], target, full) for loss in ("udp-offset", "udp-offset-mmpose")]
    torch.testing.assert_close(*same)
