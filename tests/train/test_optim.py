"""Schedules are pure functions with the papers' values; the moving average follows its formula."""

import math

import pytest
import torch
from torch import nn

from posewright.train import optim


def test_step_schedule_drops_exactly_at_the_published_epochs():
    steps = 1171  # an epoch of COCO at batch 128
    rates = [optim.rate(e * steps + s, 210 * steps, milestones=(170 / 210, 200 / 210)) for e, s in
             ((0, 0), (169, steps - 1), (170, 0), (199, steps - 1), (200, 0), (209, steps - 1))]  # fmt: skip
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_linear_schedule_is_mspns():
    rate = [
        optim.rate(s, 96_000, schedule="linear", warmup=2400, warmup_from=0.1) for s in (0, 1200, 2400, 49_200, 96_000)
    ]
    assert rate == pytest.approx([0.1, 0.55, 1.0, 0.5, 0.0])


def test_cosine_goes_from_one_to_zero_and_warm_up_multiplies():
    assert optim.rate(0, 100, schedule="cosine") == 1
    assert optim.rate(50, 100, schedule="cosine") == pytest.approx(0.5)
    assert optim.rate(100, 100, schedule="cosine") == pytest.approx(0)
    warm = optim.rate(5, 100, schedule="cosine", warmup=10, warmup_from=0.0)
    assert warm == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi * 0.05)))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="schedule must be 'step', 'linear' or 'cosine', got 'poly'"):
        optim.rate(0, 1, schedule="poly")
    with pytest.raises(ValueError, match="optimizer must be one of adam, adamw, sgd, rmsprop, got 'lion'"):
        optim.optimizer(nn.Linear(1, 1), "lion", lr=1)
    with pytest.raises(ValueError, match="adamw has its own kind of momentum: leave momentum at 0, got"):
        optim.optimizer(nn.Linear(1, 1), "adamw", lr=1, momentum=0.9)


@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
def test_momentum_and_decay_go_where_they_should(kind):
    group = optim.optimizer(nn.Linear(2, 2), kind, lr=0.1, weight_decay=0.01, momentum=0.9).param_groups[0]
    assert (group["lr"], group["weight_decay"], group["momentum"], len(group["params"])) == (0.1, 0.01, 0.9, 2)


def test_drops_have_a_factor_of_their_own():
    rates = [optim.rate(step, 32, milestones=(6 / 32, 12 / 32), factor=0.5) for step in (5, 6, 11, 12)]
    assert rates == [1, 0.5, 0.5, 0.25]


def test_adamw_spares_vectors_and_adam_decays_all():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    adamw = optim.optimizer(net, "adamw", lr=1e-3, weight_decay=0.1)
    assert [(len(g["params"]), g["weight_decay"]) for g in adamw.param_groups] == [(1, 0.1), (3, 0.0)]
    adam = optim.optimizer(net, "adam", lr=1e-3, weight_decay=0.1)
    assert [(len(g["params"]), g["weight_decay"]) for g in adam.param_groups] == [(4, 0.1)]


def test_ema_follows_its_formula_and_leaves_the_network_alone():
    net = nn.BatchNorm1d(2)
    ema = optim.Ema(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(11.0)
        net.num_batches_tracked.fill_(7)
    ema.update(net)  # decay min(0.9, 1 / 10)
    assert ema.state["weight"].tolist() == pytest.approx([0.1 * 1 + 0.9 * 11] * 2)
    assert ema.state["num_batches_tracked"].item() == 7
    assert net.weight.tolist() == [11.0, 11.0]
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        optim.Ema(net, 1.0)


def test_a_cosine_may_step_once_per_epoch_and_end_above_zero():
    rates = [optim.rate(n, 12, schedule="cosine", every=4) for n in range(12)]
    assert rates == [optim.rate(n // 4 * 4, 12, schedule="cosine") for n in range(12)]
    assert len(set(rates)) == 3
    assert optim.rate(12, 12, schedule="cosine", floor=0.1) == pytest.approx(0.1)
    assert optim.rate(12, 12, schedule="linear", floor=0.1) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="nesterov is for sgd with a momentum above 0, got adam"):
        optim.optimizer(torch.nn.Linear(1, 1), "adam", lr=1.0, nesterov=True)
    (group,) = optim.optimizer(torch.nn.Linear(1, 1), "sgd", lr=1.0, momentum=0.9, nesterov=True).param_groups
    assert group["nesterov"]
