"""Which loss learns which codec's targets, and with what settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

from torch import Tensor

from posewright import losses
from posewright.codecs import Codec
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import Dark
from posewright.codecs.grmi import OffsetHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.codecs.softargmax import SoftArgmax
from posewright.codecs.udp import Udp, UdpMultiScaleHeatmap, UdpOffset
from posewright.types import Skeleton

Loss = Literal["mse", "ohkm", "coarse-to-fine", "cpn", "udp-offset", "udp-offset-smooth", "grmi"]

Objective = Callable[[Sequence[Tensor], Tensor, Tensor], Tensor]
"""Supervised maps, target and weight to the mean loss of a sample."""

_OF_CODEC: dict[type, tuple[Loss, ...]] = {
    GaussianHeatmap: ("mse", "ohkm"),
    SoftArgmax: ("mse", "ohkm"),
    Dark: ("mse", "ohkm"),
    Udp: ("mse", "ohkm"),
    HourglassHeatmap: ("mse", "ohkm"),
    MultiScaleHeatmap: ("coarse-to-fine",),
    MmposeMultiScaleHeatmap: ("coarse-to-fine",),
    UdpMultiScaleHeatmap: ("coarse-to-fine",),
    CpnMultiScaleHeatmap: ("cpn",),
    UdpOffset: ("udp-offset", "udp-offset-smooth"),
    OffsetHeatmap: ("grmi",),
}
"""The losses that know how to read a codec's targets and weights; the first is the published one."""


def objective(
    loss: Loss,
    codec: Codec,
    skeleton: Skeleton,
    *,
    factor: float = 0.5,
    ohkm_topk: int = 8,
    keypoint_weight: Mapping[str, float] | None = None,
) -> Objective:
    """A loss with its settings, known to fit the codec; it is a mean over samples whatever the loss.

    Args:
        loss: "mse" (weighted mean squared error); "ohkm" (the same over each person's hardest keypoints);
            "coarse-to-fine" (MSPN, RSN: a label width for each output, hardest keypoints in the finest); "cpn" (squares
            in the global net, hardest keypoints in the refined maps); "udp-offset" and "udp-offset-smooth" (class
            and offsets by squares, or by smooth L1); "grmi" (logistic and Huber, a mean over pixels as well).
        codec: what makes the targets.
        skeleton: names the keypoints.
        factor: see `losses.weighted_mse`.
        ohkm_topk: how many keypoints count as hard; all of them where there are fewer.
        keypoint_weight: factors on the weights of points, by name.

    Raises:
        ValueError: the loss is for other targets than this codec's, or has no such setting, or there is no such point.
    """
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be one of {', '.join(get_args(Loss))}, got {loss!r}")
    if loss not in (fitting := _OF_CODEC[type(codec)]):
        raise ValueError(f"loss {loss!r} does not learn the targets of {type(codec).__name__}: {' or '.join(fitting)}")
    if factor != 0.5 and loss not in ("mse", "ohkm"):
        raise ValueError(f"loss {loss!r} has no loss_factor, it was published with its own; got {factor}")
    ohkm_topk = min(ohkm_topk, skeleton.num_keypoints)
    plain: dict[Loss, Objective] = {
        "mse": partial(losses.weighted_mse, factor=factor),
        "ohkm": partial(losses.ohkm_mse, top=ohkm_topk, factor=factor),
        "coarse-to-fine": partial(_coarse_to_fine, ohkm_topk=ohkm_topk),
        "cpn": partial(losses.cpn, top=ohkm_topk),
        "udp-offset": losses.udp_offset,
        "udp-offset-smooth": partial(losses.udp_offset, smooth=True),
        "grmi": _grmi,
    }
    if not keypoint_weight:
        return plain[loss]
    if loss in ("coarse-to-fine", "cpn"):
        raise ValueError(f"loss {loss!r} reads from the weights who is visible: it takes no keypoint_weight")
    return partial(_weighted, plain[loss], _factors(keypoint_weight, skeleton))


def _coarse_to_fine(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, *, ohkm_topk: int) -> Tensor:
    return losses.coarse_to_fine(outputs, target, weight, stages=len(outputs) // 4, ohkm=ohkm_topk)


def _grmi(outputs: Sequence[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """The paper's sums over samples and pixels as means, so that a rate is right for any batch and size."""
    people, _, height, width = target.shape
    return losses.grmi(outputs, target, weight) / (people * height * width)


def _weighted(
    plain: Objective, factors: list[float], outputs: Sequence[Tensor], target: Tensor, weight: Tensor
) -> Tensor:
    return plain(outputs, target, weight * weight.new_tensor(factors))


def _factors(by_name: Mapping[str, float], skeleton: Skeleton) -> list[float]:
    if strange := [name for name in by_name if name not in skeleton.points]:
        raise ValueError(f"keypoint_weight names {', '.join(strange)}; the points are {', '.join(skeleton.points)}")
    if not all(value >= 0 for value in by_name.values()):
        raise ValueError(f"keypoint_weight: factors must not be negative, got {dict(by_name)}")
    return [by_name.get(point, 1.0) for point in skeleton.points]
