"""Losses against slow loops over samples, keypoints and pixels, and their gradients against finite differences."""

import numpy as np
import pytest
import torch

from posewright import losses

B, K, H, W = 3, 5, 4, 3


def maps(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


WEIGHT = torch.tensor([[0, 1, 2, 2, 1], [2, 2, 0, 1, 0], [1, 0, 0, 0, 2]], dtype=torch.float64)
FACTOR = torch.tensor([[0, 1, 1.5, 1.2, 1], [1, 1, 0, 1, 0], [1, 0, 0, 0, 1.5]], dtype=torch.float64)


def slow_error(output, target):
    """Sums of squares [B][K], pixel by pixel."""
    out, want = output.tolist(), target.tolist()
    return [
        [sum((out[b][k][y][x] - want[b][k][y][x]) ** 2 for y in range(H) for x in range(W)) for k in range(K)]
        for b in range(B)
    ]


def slow_hardest(error, top):
    return sum(sum(sorted(row, reverse=True)[:top]) / top for row in error) / B


def test_weighted_mse_squares_the_weight_halves_and_counts_the_unlabelled():
    outputs, target = (maps(0, B, K, H, W), maps(1, B, K, H, W)), maps(2, B, K, H, W)
    slow = 0
    for output in outputs:
        error = slow_error(output, target)
        slow += sum(0.5 * FACTOR[b, k].item() ** 2 * error[b][k] for b in range(B) for k in range(K)) / (B * K * H * W)
    assert losses.weighted_mse(outputs, target, FACTOR).item() == pytest.approx(slow, rel=1e-12)


def test_weighted_mse_by_number():
    loss = losses.weighted_mse((torch.full((1, 2, 1, 2), 3.0),), torch.ones(1, 2, 1, 2), torch.tensor([[1.5, 0.0]]))
    assert loss.item() == 0.5 * (1.5 * 2) ** 2 / 2


def test_ohkm_takes_the_hardest_of_each_sample():
    outputs, target = (maps(3, B, K, H, W), maps(4, B, K, H, W)), maps(5, B, K, H, W)
    slow = 0
    for output in outputs:
        error = slow_error(output, target)
        slow += slow_hardest(
            [[0.5 * FACTOR[b, k].item() ** 2 * error[b][k] / (H * W) for k in range(K)] for b in range(B)], 2
        )
    assert losses.ohkm_mse(outputs, target, FACTOR, top=2).item() == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("ladder", [True, False])
@pytest.mark.parametrize("ohkm", [3, 0])
@pytest.mark.parametrize("stages", [1, 2])
def test_coarse_to_fine_equals_slow_rule(stages, ohkm, ladder):
    outputs = tuple(maps(10 + i, B, K, H, W) for i in range(4 * stages))
    target = maps(6, B, 5, K, H, W)
    slow = 0
    for i in range(stages):
        for j in range(4):
            label = target[:, j + 1 if ladder and i == stages - 1 else j]
            if j == 3 and ohkm:
                error = slow_error(outputs[4 * i + j], label)
                kept = [[error[b][k] / (H * W) * (WEIGHT[b, k].item() > 0) for k in range(K)] for b in range(B)]
                slow += slow_hardest(kept, ohkm)
            else:
                pushed = label.clone()
                pushed[WEIGHT <= 1] = 0
                error = slow_error(outputs[4 * i + j], pushed)
                slow += sum(map(sum, error)) / (B * K * H * W) / (4 if j < 3 else 1)
    loss = losses.coarse_to_fine(outputs, target, WEIGHT, stages=stages, ohkm=ohkm, ladder=ladder)
    assert loss.item() == pytest.approx(slow, rel=1e-12)


def test_coarse_to_fine_pushes_hidden_keypoints_to_zero_except_in_the_mined_output():
    # One hidden keypoint, outputs equal to the labels: only the three plain outputs err, a quarter of 100 each.
    label = torch.full((1, 1, 1, 1), 10.0)
    target, hidden = label[:, None].expand(1, 5, 1, 1, 1), torch.tensor([[1.0]])
    assert losses.coarse_to_fine((label,) * 4, target, hidden, stages=1, ohkm=1).item() == 75
    assert losses.coarse_to_fine((label,) * 4, target, hidden, stages=1, ohkm=0).item() == 175
    assert losses.coarse_to_fine((label,) * 4, target, hidden * 2, stages=1, ohkm=1).item() == 0


CASES = {
    "weighted_mse": lambda a, b: losses.weighted_mse((a, b), maps(20, B, K, H, W), FACTOR),
    "ohkm_mse": lambda a, b: losses.ohkm_mse((a, b), maps(20, B, K, H, W), FACTOR, top=2),
    "coarse_to_fine": lambda a, b: losses.coarse_to_fine(
        (a, b, a, b), maps(21, B, 5, K, H, W), WEIGHT, stages=1, ohkm=2
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_finite_differences(name):
    inputs = tuple(maps(30 + i, B, K, H, W).requires_grad_() for i in range(2))
    assert torch.autograd.gradcheck(CASES[name], inputs, eps=1e-6, atol=1e-7)


def test_weighted_mse_gradient_in_closed_form():
    output, target = maps(40, B, K, H, W).requires_grad_(), maps(41, B, K, H, W)
    losses.weighted_mse((output,), target, FACTOR).backward()
    want = FACTOR[..., None, None] ** 2 * (output - target) / output.numel()
    torch.testing.assert_close(output.grad, want.detach(), rtol=1e-12, atol=1e-15)


def test_wrong_shapes_are_refused():
    good = torch.zeros(B, K, H, W)
    with pytest.raises(ValueError, match=r"expected outputs \(3, 5, 4, 3\).*got 1 outputs of \[\(3, 5, 8, 6\)\]"):
        losses.weighted_mse((torch.zeros(B, K, 8, 6),), good, WEIGHT)
    with pytest.raises(ValueError, match=r"weight \[B, K\].*weight \(3, 5, 1\)"):
        losses.weighted_mse((good,), good, WEIGHT[..., None])
    with pytest.raises(ValueError, match="got 0 outputs"):
        losses.weighted_mse((), good, WEIGHT)
    with pytest.raises(ValueError, match=r"must be 1 to 5 \(all of them\), got 8"):
        losses.ohkm_mse((good,), good, WEIGHT)
    with pytest.raises(ValueError, match=r"4 outputs for each of 2 stages.*got 4 outputs"):
        losses.coarse_to_fine((good,) * 4, good[:, None].expand(B, 5, K, H, W), WEIGHT, stages=2)
    with pytest.raises(ValueError, match=r"labels \[B, 5, K, h, w\].*\(3, 4, 5, 4, 3\)"):
        losses.coarse_to_fine((good,) * 4, good[:, None].expand(B, 4, K, H, W), WEIGHT, stages=1)
