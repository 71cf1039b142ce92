"""One function a loss: supervised maps, their target and the keypoints' weights to one number.

All take `outputs`, the tuple of maps that `net.supervised` yields, and sum over it. Means and the odd factor of one
half are those of the published code, for a learning rate is only right together with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch.nn import functional

Tensor = torch.Tensor


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


def ohkm_mse(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, *, top: int = 8, factor: float = 0.5) -> Tensor:
    """As `weighted_mse`, but of each sample only the `top` keypoints with the largest error count.

    Online hard keypoint mining: Chen et al., "Cascaded Pyramid Network", CVPR 2018, section 3.2.

    Args:
        outputs: maps [B, K, h, w] each.
        target: [B, K, h, w].
        weight: [B, K].
        top: how many keypoints count, at most K.
        factor: one half, or 1 as in mmpose.

    Raises:
        ValueError: shapes that do not belong together, or `top` out of range.
    """
    _check(outputs, target, weight, target.shape)
    errors = [weight.square() * _by_point(output, target) for output in outputs]
    return factor * torch.stack([_hardest(error, top) for error in errors]).sum()


def coarse_to_fine(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor,
    *,
    stages: int,
    ohkm: int = 8,
    ladder: bool = True,
) -> Tensor:
    """The loss of MSPN and RSN: coarse-to-fine supervision with hard keypoint mining on each stage's finest output.

    Each stage yields four outputs, coarse to fine. Output j learns label j, but in the last stage label j + 1. The
    first three count a quarter each; their hidden and missing keypoints are, as published, pushed to zero instead of
    being left out, and so are those of the fourth if there is no mining.

    Li et al., "Rethinking on Multi-Stage Networks for Human Pose Estimation", arXiv 1901.00148, section 3.4.

    Args:
        outputs: 4 * stages maps [B, K, h, w], stage by stage.
        target: [B, 5, K, h, w] labels, coarse to fine.
        weight: [B, K] visibility 0, 1 or 2.
        stages: of the network.
        ohkm: how many keypoints of a stage's last output count, the hardest of the labelled; 0: all of them.
        ladder: whether the last stage learns finer labels than the others.

    Raises:
        ValueError: shapes that do not belong together, or `ohkm` out of range.
    """
    levels = 4
    if len(outputs) != levels * stages or target.ndim != 5 or target.shape[1] <= levels:
        raise ValueError(
            f"expected {levels} outputs for each of {stages} stages and labels [B, {levels + 1}, K, h, w], got "
            f"{len(outputs)} outputs and labels {tuple(target.shape)}"
        )
    _check(outputs, target, weight, (target.shape[0], *target.shape[2:]))
    visible, labelled = (weight > 1)[..., None, None], (weight > 0).to(target.dtype)
    terms = []
    for i, output in enumerate(outputs):
        stage, level = divmod(i, levels)
        label = target[:, level + (ladder and stage == stages - 1)]
        if level == levels - 1 and ohkm:
            terms.append(_hardest(_by_point(output, label) * labelled, ohkm))
        else:
            terms.append(functional.mse_loss(output, label * visible) / (1 if level == levels - 1 else levels))
    return torch.stack(terms).sum()


def cpn(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, *, top: int = 8) -> Tensor:
    """The loss of CPN: half mean squares on the global net's four outputs, hard keypoint mining on the refined one.

    In the global part, hidden and missing keypoints are, as published, pushed to zero instead of being left out. The
    refined output learns the finest label of all labelled keypoints.

    Chen et al., "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018, section 3.2.

    Args:
        outputs: maps [B, K, h, w]: one a label, coarse to fine, then the refined ones.
        target: [B, L, K, h, w] labels, coarse to fine (L is 4).
        weight: [B, K] visibility 0, 1 or 2.
        top: how many keypoints count in the refined part.

    Raises:
        ValueError: shapes that do not belong together, or `top` out of range.
    """
    if target.ndim != 5 or len(outputs) != target.shape[1] + 1:
        raise ValueError(
            f"expected labels [B, L, K, h, w] and L + 1 outputs, got labels {tuple(target.shape)} and "
            f"{len(outputs)} outputs"
        )
    _check(outputs, target, weight, (target.shape[0], *target.shape[2:]))
    visible, labelled = (weight > 1)[..., None, None], (weight > 0).to(target.dtype)
    terms = [0.5 * functional.mse_loss(output, target[:, i] * visible) for i, output in enumerate(outputs[:-1])]
    terms.append(_hardest(_by_point(outputs[-1], target[:, -1]) * labelled, top))
    return torch.stack(terms).sum()


def udp_offset(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor,
    *,
    smooth: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """The loss of UDP's offset target: half mean squares of class and offset maps, summed over the outputs.

    Offsets count inside the target's disc only, whatever the weight: as published, it enters the class part alone.

    Huang et al., "The Devil is in the Details", CVPR 2020, section 3.3.

    Args:
        outputs: maps [B, 3 K, h, w] each: class, dx and dy of each keypoint.
        target: [B, 3 K, h, w].
        weight: [B, K].
        smooth: smooth L1 (beta 1) in place of squares.
        reduction: the mean over samples, keypoints and pixels, or the sum.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check(outputs, target, weight, target.shape, per_point=3)
    criterion = partial(functional.smooth_l1_loss if smooth else functional.mse_loss, reduction=reduction)
    disc, by_point = target[:, ::3], weight[..., None, None]
    terms = [criterion(by_point * output[:, ::3], by_point * disc) for output in outputs]
    for output in outputs:
        terms += [criterion(disc * output[:, axis::3], disc * target[:, axis::3]) for axis in (1, 2)]
    return 0.5 * torch.stack(terms).sum()


def grmi(
    outputs: Sequence[Tensor],
    target: Tensor,
    weight: Tensor,
    *,
    class_factor: float = 4.0,
    offset_factor: float = 1.0,
    delta: float = 1.0,
) -> Tensor:
    """The loss of G-RMI: logistic on the discs, Huber on the length of the offset's error inside them; plain sums.

    Papandreou et al., "Towards Accurate Multi-person Pose Estimation in the Wild", CVPR 2017, equations 3 and 4.

    Args:
        outputs: maps [B, 3 K, h, w] each: logit and offsets along x and y of each keypoint.
        target: [B, 3 K, h, w] discs and offsets.
        weight: [B, K]; keypoints of weight 0 are left out.
        class_factor: of the logistic part.
        offset_factor: of the offset part.
        delta: error, in input pixels, above which the Huber loss grows linearly.

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
    return torch.stack(terms).sum()


def _by_point(output: Tensor, target: Tensor) -> Tensor:
    """Mean squares [B, K] of maps [B, K, h, w]."""
    return functional.mse_loss(output, target, reduction="none").mean((2, 3))


def _hardest(error: Tensor, top: int) -> Tensor:
    """The mean over samples of the mean of the `top` largest errors [B, K]."""
    if not 1 <= top <= error.shape[1]:
        raise ValueError(f"the number of hardest keypoints must be 1 to {error.shape[1]} (all of them), got {top}")
    return error.topk(top, 1).values.mean()


def _check(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, want: Sequence[int], per_point: int = 1) -> None:
    shapes = {tuple(output.shape) for output in outputs}
    wanted_weight = (want[0], want[1] // per_point) if len(want) == 4 else None
    if shapes != {tuple(want)} or want[1] % per_point or tuple(weight.shape) != wanted_weight:
        raise ValueError(
            f"expected outputs {tuple(want)} [B, {'' if per_point == 1 else per_point} K, h, w] and weight [B, K], as "
            f"the target {tuple(target.shape)} says, got {len(outputs)} outputs of {sorted(shapes)} and weight "
            f"{tuple(weight.shape)}"
        )
