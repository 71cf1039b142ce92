"""One function a loss: supervised maps, their target and the keypoints' weights to one number.

All take `outputs`, the tuple of maps that `net.supervised` yields, and sum over it. Means and the odd factor of one
half are those of the published code, for a learning rate is only right together with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

Tensor = torch.Tensor


def weighted_mse(outputs: Sequence[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """Half the mean of (weight * (output - target))^2, summed over the outputs (SimpleBaseline, HRNet, LPN, DARK, UDP).

    As published, the weight enters squared, and keypoints of weight 0 still count in the mean.

    Args:
        outputs: maps [B, K, h, w] each.
        target: [B, K, h, w].
        weight: [B, K].

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check(outputs, target, weight, target.shape)
    factor = weight[..., None, None]
    return torch.stack([0.5 * (factor * (output - target)).square().mean() for output in outputs]).sum()


def ohkm_mse(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, *, top: int = 8) -> Tensor:
    """As `weighted_mse`, but of each sample only the `top` keypoints with the largest error count.

    Online hard keypoint mining: Chen et al., "Cascaded Pyramid Network", CVPR 2018, section 3.2.

    Args:
        outputs: maps [B, K, h, w] each.
        target: [B, K, h, w].
        weight: [B, K].
        top: how many keypoints count, at most K.

    Raises:
        ValueError: shapes that do not belong together, or `top` out of range.
    """
    _check(outputs, target, weight, target.shape)
    factor = weight[..., None, None]
    errors = [0.5 * (factor * (output - target)).square().mean((2, 3)) for output in outputs]
    return torch.stack([_hardest(error, top) for error in errors]).sum()


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
            terms.append(_hardest((output - label).square().mean((2, 3)) * labelled, ohkm))
        else:
            terms.append((output - label * visible).square().mean() / (1 if level == levels - 1 else levels))
    return torch.stack(terms).sum()


def _hardest(error: Tensor, top: int) -> Tensor:
    """The mean over samples of the mean of the `top` largest errors [B, K]."""
    if not 1 <= top <= error.shape[1]:
        raise ValueError(f"the number of hardest keypoints must be 1 to {error.shape[1]} (all of them), got {top}")
    return error.topk(top, 1).values.mean()


def _check(outputs: Sequence[Tensor], target: Tensor, weight: Tensor, want: Sequence[int]) -> None:
    shapes = {tuple(output.shape) for output in outputs}
    if shapes != {tuple(want)} or len(want) != 4 or tuple(weight.shape) != tuple(want[:2]):
        raise ValueError(
            f"expected outputs {tuple(want)} [B, K, h, w] and weight [B, K], as the target {tuple(target.shape)} says, "
            f"got {len(outputs)} outputs of {sorted(shapes)} and weight {tuple(weight.shape)}"
        )
