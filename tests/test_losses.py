"""Losses against slow loops over samples, keypoints and pixels, and their gradients against finite differences."""

import math

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
    assert losses.ohkm_mse(outputs, target, FACTOR, ohkm_topk=2).item() == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("coarse_to_fine", [True, False])
@pytest.mark.parametrize("ohkm", [3, 0])
@pytest.mark.parametrize("stages", [1, 2])
def test_coarse_to_fine_equals_slow_rule(stages, ohkm, coarse_to_fine):
    outputs = tuple(maps(10 + i, B, K, H, W) for i in range(4 * stages))
    target = maps(6, B, 5, K, H, W)
    slow = 0
    for i in range(stages):
        for j in range(4):
            label = target[:, j + 1 if coarse_to_fine and i == stages - 1 else j]
            if j == 3 and ohkm:
                error = slow_error(outputs[4 * i + j], label)
                kept = [[error[b][k] / (H * W) * (WEIGHT[b, k].item() > 0) for k in range(K)] for b in range(B)]
                slow += slow_hardest(kept, ohkm)
            else:
                pushed = label.clone()
                pushed[WEIGHT <= 1] = 0
                error = slow_error(outputs[4 * i + j], pushed)
                slow += sum(map(sum, error)) / (B * K * H * W) / (4 if j < 3 else 1)
    loss = losses.mspn(outputs, target, WEIGHT, ohkm_topk=ohkm, coarse_to_fine=coarse_to_fine)
    assert loss.item() == pytest.approx(slow, rel=1e-12)


def test_coarse_to_fine_pushes_hidden_keypoints_to_zero_except_in_the_mined_output():
    # One hidden keypoint, outputs equal to the labels: only the three plain outputs err, a quarter of 100 each.
    label = torch.full((1, 1, 1, 1), 10.0)
    target, hidden = label[:, None].expand(1, 5, 1, 1, 1), torch.tensor([[1.0]])
    assert losses.mspn((label,) * 4, target, hidden, ohkm_topk=1).item() == 75
    assert losses.mspn((label,) * 4, target, hidden, ohkm_topk=0).item() == 175
    assert losses.mspn((label,) * 4, target, hidden * 2, ohkm_topk=1).item() == 0


def test_cpn_equals_slow_rule():
    outputs, target = tuple(maps(50 + i, B, K, H, W) for i in range(5)), maps(6, B, 4, K, H, W)
    slow = 0
    for i in range(4):
        pushed = target[:, i].clone()
        pushed[WEIGHT < 1.1] = 0
        slow += 0.5 * sum(map(sum, slow_error(outputs[i], pushed))) / (B * K * H * W)
    error = slow_error(outputs[4], target[:, 3])
    slow += slow_hardest([[error[b][k] / (H * W) * (WEIGHT[b, k].item() > 0.1) for k in range(K)] for b in range(B)], 3)
    assert losses.cpn(outputs, target, WEIGHT, ohkm_topk=3).item() == pytest.approx(slow, rel=1e-12)


def offset_target(seed):
    target = maps(seed, B, 3 * K, H, W)
    target[:, ::3] = (target[:, ::3] > 0.5).double()
    return target


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smooth", [True, False])
def test_udp_offset_equals_slow_rule(smooth, reduction):
    output, target = 2 * maps(60, B, 3 * K, H, W), offset_target(61)

    def part(p, t):
        d = abs(p - t)
        return d**2 if not smooth else 0.5 * d**2 if d < 1 else d - 0.5

    slow = 0
    for b, k, y, x in np.ndindex(B, K, H, W):
        p0, p1, p2 = output[b, 3 * k : 3 * k + 3, y, x].tolist()
        t0, t1, t2 = target[b, 3 * k : 3 * k + 3, y, x].tolist()
        w = FACTOR[b, k].item()
        slow += 0.5 * (part(w * p0, w * t0) + part(t0 * p1, t0 * t1) + part(t0 * p2, t0 * t2))
    slow /= B * K * H * W if reduction == "mean" else 1
    loss = losses.udp_offset((output, output), target, FACTOR, smooth=smooth, reduction=reduction)
    assert loss.item() == pytest.approx(2 * slow, rel=1e-12)


def test_udp_offsets_count_inside_the_disc_whatever_the_weight():
    target = torch.tensor([1.0, 0.5, -0.5, 0.0, 0.25, 0.25]).reshape(1, 6, 1, 1)
    output = torch.tensor([1.0, 1.5, -0.5, 0.0, 9.0, 9.0]).reshape(1, 6, 1, 1)
    assert losses.udp_offset((output,), target, torch.zeros(1, 2)).item() == 0.5 / 2


def test_grmi_equals_slow_rule():
    output, target = 3 * maps(70, B, 3 * K, H, W), offset_target(71)
    slow = 0
    for b, k, y, x in np.ndindex(B, K, H, W):
        logit, dx, dy = output[b, 3 * k : 3 * k + 3, y, x].tolist()
        disc, tx, ty = target[b, 3 * k : 3 * k + 3, y, x].tolist()
        probability = 1 / (1 + math.exp(-logit))
        logistic = -math.log(probability if disc else 1 - probability)
        length = math.hypot(dx - tx, dy - ty)
        huber = 0.5 * length**2 if length < 2 else 2 * (length - 1)
        slow += FACTOR[b, k].item() * (4 * logistic + disc * huber)
    assert losses.grmi((output,), target, FACTOR, delta=2.0).item() == pytest.approx(slow, rel=1e-12)


def test_grmi_has_a_gradient_where_the_offset_is_exact():
    output = torch.zeros(1, 3, 1, 1, requires_grad=True)
    losses.grmi((output,), torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1), torch.ones(1, 1)).backward()
    assert output.grad.ravel().tolist() == [-2, 0, 0]


def test_factors_of_mmpose():
    outputs, target = (maps(0, B, K, H, W),), maps(1, B, K, H, W)
    for loss, more in ((losses.weighted_mse, {}), (losses.ohkm_mse, {"ohkm_topk": 2})):
        twice = loss(outputs, target, FACTOR, factor=1.0, **more)
        assert twice.item() == pytest.approx(2 * loss(outputs, target, FACTOR, **more).item())


def triple(a, b):
    return torch.stack([a, b, a * b], 2).reshape(B, 3 * K, H, W)


CASES = {
    "weighted_mse": lambda a, b: losses.weighted_mse((a, b), maps(20, B, K, H, W), FACTOR),
    "ohkm_mse": lambda a, b: losses.ohkm_mse((a, b), maps(20, B, K, H, W), FACTOR, ohkm_topk=2),
    "mspn": lambda a, b: losses.mspn((a, b, a, b), maps(21, B, 5, K, H, W), WEIGHT, ohkm_topk=2),
    "cpn": lambda a, b: losses.cpn((a, b, a, b, a), maps(21, B, 4, K, H, W), WEIGHT, ohkm_topk=2),
    "udp_offset": lambda a, b: losses.udp_offset((triple(a, b),), offset_target(22), FACTOR),
    "udp_offset_smooth": lambda a, b: losses.udp_offset((triple(a, b),), offset_target(22), FACTOR, smooth=True),
    "grmi": lambda a, b: losses.grmi((triple(a, b),), offset_target(22), FACTOR),
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
    with pytest.raises(ValueError, match=r"L \+ 1 outputs, got labels \(3, 4, 5, 4, 3\) and 4 outputs"):
        losses.cpn((good,) * 4, good[:, None].expand(B, 4, K, H, W), WEIGHT)
    with pytest.raises(ValueError, match=r"\[B, 3 K, h, w\] and weight \[B, K\]"):
        losses.udp_offset((good,), good, WEIGHT)
    with pytest.raises(ValueError, match="got 0 outputs"):
        losses.weighted_mse((), good, WEIGHT)
    with pytest.raises(ValueError, match=r"must be 0 \(no mining\) to 5 \(all keypoints\), got 8"):
        losses.ohkm_mse((good,), good, WEIGHT)
    with pytest.raises(ValueError, match=r"4 outputs per stage.*got 3 outputs"):
        losses.mspn((good,) * 3, good[:, None].expand(B, 5, K, H, W), WEIGHT)
    with pytest.raises(ValueError, match=r"labels \[B, 5, K, h, w\].*\(3, 4, 5, 4, 3\)"):
        losses.mspn((good,) * 4, good[:, None].expand(B, 4, K, H, W), WEIGHT)
