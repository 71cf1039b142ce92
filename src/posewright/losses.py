"""One function per loss: supervised maps, their target and the keypoints' weights to one number.

All take `outputs`, the tuple of maps that `net.supervised` yields, and sum over it. Means and the odd factor of one
half are those of the published code, for a learning rate is only right together with them. Keyword arguments are a
loss's settings. Codecs say which losses learn their targets; `objective` picks one of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch.nn import functional

from posewright.types import Skeleton

Tensor = torch.Tensor

Loss = Callable[..., Tensor]
"""Outputs, target and weight to a number; a loss that tells hidden from visible keypoints says `visibility`."""

Objective = Callable[[Sequence[Tensor], Tensor, Tensor], Tensor]
"""Supervised maps, target and weight to the mean loss of a sample."""


class Learnable(Protocol):
    """What `objective` asks of a codec."""

    @property
    def losses(self) -> Mapping[str, Loss]:
        """The losses that learn its target, by name; the published one first."""
        ...


@dataclass(frozen=True, slots=True)
class LossSettings:
    """What papers vary in a loss. Settings that a loss does not have are refused unless left at their default.

    Attributes:
        factor: of squared errors: one half, or 1 as in mmpose 0.x.
        ohkm_topk: how many keypoints count as hard, the most where there are fewer; 0 turns the mining off.
        coarse_to_fine: whether the last stage learns finer labels than the others (MSPN, RSN).
        class_factor, offset_factor: of the class and the offset part of a loss for offsets; None: as published.
        use_target_weight: whether unlabelled keypoints are left out; if not, they are learned as empty maps.
        keypoint_weight: factors on the weights of points, by their names; the others have 1.
    """

    factor: float = 0.5
    ohkm_topk: int = 8
    coarse_to_fine: bool = True
    class_factor: float | None = None
    offset_factor: float | None = None
    use_target_weight: bool = True
    keypoint_weight: Mapping[str, float] = field(default_factory=dict)


def objective(codec: Learnable, loss: str, skeleton: Skeleton, settings: LossSettings | None = None) -> Objective:
    """A loss with its settings, known to fit the codec; it is a mean over samples whatever the loss.

    Args:
        codec: what makes the targets.
        loss: one of `codec.losses`; "" is the first of them, the published one.
        skeleton: names the keypoints.
        settings: what differs from the published loss.

    Raises:
        ValueError: the loss is for other targets than this codec's, or has no such setting, or there is no such point.
    """
    settings = settings or LossSettings()
    name = loss or next(iter(codec.losses))
    if name not in codec.losses:
        fitting = " or ".join(codec.losses)
        raise ValueError(f"loss {name!r} does not learn the targets of {type(codec).__name__}: choose {fitting}")
    function = codec.losses[name]
    parameters = inspect.signature(function).parameters
    if settings.ohkm_topk < 0:
        raise ValueError(f"ohkm_topk must be 0 (no mining) or more, got {settings.ohkm_topk}")
    chosen: dict[str, Any] = {}
    for setting in ("factor", "ohkm_topk", "coarse_to_fine", "class_factor", "offset_factor"):
        value = getattr(settings, setting)
        if setting in parameters and value is not None:
            chosen[setting] = min(value, skeleton.num_keypoints) if setting == "ohkm_topk" else value
        elif value != getattr(LossSettings(), setting):
            raise ValueError(f"loss {name!r} has no setting {setting}, got {value}; leave it at its default")
    plain = partial(function, **chosen)
    if settings.use_target_weight and not settings.keypoint_weight:
        return plain
    if "visibility" in parameters:
        raise ValueError(
            f"loss {name!r} reads from the weights who is visible: it takes no keypoint_weight, and needs "
            "use_target_weight"
        )
    factors = _factors(settings.keypoint_weight, skeleton)

    def weighted(outputs: Sequence[Tensor], target: Tensor, weight: Tensor) -> Tensor:
        known = weight if settings.use_target_weight else torch.ones_like(weight)
        return plain(outputs, target, known * weight.new_tensor(factors))

    return weighted


def _factors(by_name: Mapping[str, float], skeleton: Skeleton) -> list[float]:
    if strange := [name for name in by_name if name not in skeleton.points]:
        raise ValueError(f"keypoint_weight names {', '.join(strange)}; the points are {', '.join(skeleton.points)}")
    if not all(value >= 0 for value in by_name.values()):
        raise ValueError(f"keypoint_weight: factors must not be negative, got {dict(by_name)}")
    return [by_name.get(point, 1.0) for point in skeleton.points]


def weighted_mse(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, *, factor: float = 0.5) -> Tensor:
    """Half the mean of (weight * (output - target))^2, summed over the outputs (SimpleBaseline, HRNet, LPN, DARK, UDP).

    As published, the weight enters squared, and keypoints of weight 0 still count in the mean.

    Args:
        outputs: maps [B, K, h, w] each.
        target: [B, K, h, w].
        weight: [B, K].
        factor: one half, or 1 as in mmpose 0.x (Lite-HRNet).

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check(outputs, target, weight, target.shape)
    errors = [weight.square() * _by_point(output, target) for output in outputs]
    return factor * torch.stack([error.mean() for error in errors]).sum()


def ohkm_mse(
    outputs: Sequence[Tensor], target: Tensor, weight: Tensor, *, ohkm_topk: int = 8, factor: float = 0.5
) -> Tensor:
    """As `weighted_mse`, but of each sample only the `ohkm_topk` keypoints with the largest error count.

    Online hard keypoint mining: Chen et al., "Cascaded Pyramid Network", CVPR 2018, section 3.2.

    Args:
        outputs: maps [B, K, h, w] each.
        target: [B, K, h, w].
        weight: [B, K].
        ohkm_topk: how many keypoints count, at most K; 0: all of them, which is `weighted_mse`.
        factor: one half, or 1 as in mmpose.

    Raises:
        ValueError: shapes that do not belong together, or `ohkm_topk` out of range.
    """
    _check(outputs, target, weight, target.shape)
    errors = [weight.square() * _by_point(output, target) for output in outputs]
    return factor * torch.stack([_hardest(error, ohkm_topk) for error in errors]).sum()


def mspn(
    outputs: Sequence[Tensor],
    target: Tensor,
    visibility: Tensor,
    *,
    ohkm_topk: int = 8,
    coarse_to_fine: bool = True,
) -> Tensor:
    """The loss of MSPN and RSN: coarse-to-fine supervision with hard keypoint mining on each stage's finest output.

    Each stage yields four outputs, coarse to fine. Output j learns label j, but in the last stage label j + 1. The
    first three count a quarter each; their hidden and missing keypoints are, as published, pushed to zero instead of
    being left out, and so are those of the fourth if there is no mining.

    Li et al., "Rethinking on Multi-Stage Networks for Human Pose Estimation", arXiv 1901.00148, section 3.4.

    Args:
        outputs: 4 maps [B, K, h, w] per stage, stage by stage.
        target: [B, 5, K, h, w] labels, coarse to fine.
        visibility: [B, K] visibility 0, 1 or 2.
        ohkm_topk: how many keypoints of a stage's last output count, the hardest of the labelled; 0: all of them.
        coarse_to_fine: whether the last stage learns finer labels than the others.

    Raises:
        ValueError: shapes that do not belong together, or `ohkm_topk` out of range.
    """
    levels = 4
    stages = len(outputs) // levels
    if not outputs or len(outputs) % levels or target.ndim != 5 or target.shape[1] <= levels:
        raise ValueError(
            f"expected {levels} outputs per stage and labels [B, {levels + 1}, K, h, w], got "
            f"{len(outputs)} outputs and labels {tuple(target.shape)}"
        )
    _check(outputs, target, visibility, (target.shape[0], *target.shape[2:]))
    visible, labelled = (visibility > 1)[..., None, None], (visibility > 0).to(target.dtype)
    terms = []
    for i, output in enumerate(outputs):
        stage, level = divmod(i, levels)
        label = target[:, level + (coarse_to_fine and stage == stages - 1)]
        if level == levels - 1 and ohkm_topk:
            terms.append(_hardest(_by_point(output, label) * labelled, ohkm_topk))
        else:
            terms.append(functional.mse_loss(output, label * visible) / (1 if level == levels - 1 else levels))
    return torch.stack(terms).sum()


def cpn(outputs: Sequence[Tensor], target: Tensor, visibility: Tensor, *, ohkm_topk: int = 8) -> Tensor:
    """The loss of CPN: half mean squares on the global net's four outputs, hard keypoint mining on the refined one.

    In the global part, hidden and missing keypoints are, as published, pushed to zero instead of being left out. The
    refined output learns the finest label of all labelled keypoints.

    Chen et al., "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018, section 3.2.

    Args:
        outputs: maps [B, K, h, w]: one per label, coarse to fine, then the refined ones.
        target: [B, L, K, h, w] labels, coarse to fine (L is 4).
        visibility: [B, K] visibility 0, 1 or 2.
        ohkm_topk: how many keypoints count in the refined part, the hardest of the labelled; 0: all of them.

    Raises:
        ValueError: shapes that do not belong together, or `ohkm_topk` out of range.
    """
    if target.ndim != 5 or len(outputs) != target.shape[1] + 1:
        raise ValueError(
            f"expected labels [B, L, K, h, w] and L + 1 outputs, got labels {tuple(target.shape)} and "
            f"{len(outputs)} outputs"
        )
    _check(outputs, target, visibility, (target.shape[0], *target.shape[2:]))
    visible, labelled = (visibility > 1)[..., None, None], (visibility > 0).to(target.dtype)
    terms = [0.5 * functional.mse_loss(output, target[:, i] * visible) for i, output in enumerate(outputs[:-1])]
    terms.append(_hardest(_by_point(outputs[-1], target[:, -1]) * labelled, ohkm_topk))
    return torch.stack(terms).sum()


def udp_offset(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor,
    *,
    smooth: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
    weigh_offsets: bool = False,
    class_factor: float = 1.0,
    offset_factor: float = 1.0,
) -> Tensor:
    """The loss of UDP's offset target: half mean squares of class and offset maps, summed over the outputs.

    Offsets count inside the target's disc only, whatever the weight: as released, it enters the class part alone.

    Huang et al., "The Devil is in the Details", CVPR 2020, section 3.3.

    Args:
        outputs: maps [B, 3 K, h, w] each: class, dx and dy of each keypoint.
        target: [B, 3 K, h, w].
        weight: [B, K].
        smooth: smooth L1 (beta 1) in place of squares.
        reduction: the mean over samples, keypoints and pixels, or the sum.
        weigh_offsets: multiply the errors of offsets by the weight too, as mmpose does.
        class_factor: of the class part.
        offset_factor: of the offset part.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check(outputs, target, weight, target.shape, per_point=3)
    criterion = partial(functional.smooth_l1_loss if smooth else functional.mse_loss, reduction=reduction)
    disc, by_point = target[:, ::3], weight[..., None, None]
    inside = by_point * disc if weigh_offsets else disc
    terms = [class_factor * criterion(by_point * output[:, ::3], by_point * disc) for output in outputs]
    for output in outputs:
        errors = [criterion(inside * output[:, axis::3], inside * target[:, axis::3]) for axis in (1, 2)]
        terms += [offset_factor * error for error in errors]
    return 0.5 * torch.stack(terms).sum()


def grmi(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor,
    *,
    class_factor: float = 4.0,
    offset_factor: float = 1.0,
    delta: float = 1.0,
    reduction: Literal["mean", "sum"] = "sum",
) -> Tensor:
    """The loss of G-RMI: logistic on the discs, Huber on the length of the offset's error inside them.

    Papandreou et al., "Towards Accurate Multi-person Pose Estimation in the Wild", CVPR 2017, equations 3 and 4.

    Args:
        outputs: maps [B, 3 K, h, w] each: logit and offsets along x and y of each keypoint.
        target: [B, 3 K, h, w] discs and offsets.
        weight: [B, K]; keypoints of weight 0 are left out.
        class_factor: of the logistic part.
        offset_factor: of the offset part.
        delta: error, in input pixels, above which the Huber loss grows linearly.
        reduction: the sum over samples, keypoints and pixels, as in the paper, or that over samples and pixels as a
            mean, so that a learning rate is right for any batch and size.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check(outputs, target, weight, target.shape, per_point=3)
    by_point, disc = weight[..., None, None], target[:, ::3]
    terms = []
    for output in outputs:
        logistic = functional.binary_cross_entropy_with_logits(output[:, ::3], disc, reduction="none")
        square = (output[:, 1::3] - target[:, 1::3]).square() + (output[:, 2::3] - target[:, 2::3]).square()
        # The root's slope at 0 is infinite, and autograd would multiply it by 0; below delta it is not needed.
        length = square.clamp(min=delta**2).sqrt()
        huber = torch.where(square > delta**2, delta * (length - delta / 2), square / 2)
        terms.append((by_point * (class_factor * logistic + offset_factor * disc * huber)).sum())
    people, _, height, width = target.shape
    return torch.stack(terms).sum() / (people * height * width if reduction == "mean" else 1)


def domain(logits: Tensor, animal: Tensor, target: Tensor, *, species_factor: float = 1.0) -> Tensor:
    """The domain loss of WS-CDA: cross-entropies of whether a sample is an animal, and which animals are the target's.

    Cao et al., "Cross-Domain Adaptation for Animal Pose Estimation", ICCV 2019, section 4.2, as a mean over samples.

    Args:
        logits: [B, 2], of an animal and of an animal of the target domain, before the sigmoid.
        animal: [B], y: 1 for animals, 0 for people.
        target: [B], z: 1 for animals of the target domain; of people it is not read.
        species_factor: w1, of the first part.
    """
    animal, target = animal.to(logits.dtype), target.to(logits.dtype)
    of_species = functional.binary_cross_entropy_with_logits(logits[:, 0], animal, reduction="none")
    of_domain = functional.binary_cross_entropy_with_logits(logits[:, 1], target, reduction="none")
    return (species_factor * of_species + animal * of_domain).mean()


def scaled_gradient(values: Tensor, factor: float) -> Tensor:
    """The same values, whose gradient is multiplied on its way back: what comes before them learns `factor` times.

    With a factor of -1, what comes before maximises what comes after minimises (the gradient reversal of Ganin et al.,
    "Domain-Adversarial Training of Neural Networks", JMLR 2016).
    """
    return _ScaledGradient.apply(values, factor)  # pyright: ignore[reportReturnType]  # torch's stub says nothing


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def _by_point(output: Tensor, target: Tensor) -> Tensor:
    """Mean squares [B, K] of maps [B, K, h, w]."""
    return functional.mse_loss(output, target, reduction="none").mean((2, 3))


def _hardest(error: Tensor, top: int) -> Tensor:
    """The mean over samples of the mean of the `top` largest errors [B, K]; 0: of all of them."""
    if not 0 <= top <= error.shape[1]:
        raise ValueError(f"ohkm_topk must be 0 (no mining) to {error.shape[1]} (all keypoints), got {top}")
    return error.topk(top or error.shape[1], 1).values.mean()


def _check(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, want: Sequence[int], per_point: int = 1) -> None:
    shapes = {tuple(output.shape) for output in outputs}
    wanted_weight = (want[0], want[1] // per_point) if len(want) == 4 else None
    if shapes != {tuple(want)} or want[1] % per_point or tuple(weight.shape) != wanted_weight:
        raise ValueError(
            f"expected outputs {tuple(want)} [B, {'' if per_point == 1 else per_point} K, h, w] and weight [B, K], as "
            f"the target {tuple(target.shape)} says, got {len(outputs)} outputs of {sorted(shapes)} and weight "
            f"{tuple(weight.shape)}"
        )
