"""Optimisers, the learning rate as a function of the step, and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn

Kind = Literal["adam", "adamw", "sgd", "rmsprop"]
Schedule = Literal["step", "linear", "cosine"]


def optimizer(
    net: nn.Module, kind: Kind, *, lr: float, weight_decay: float = 0.0, momentum: float = 0.0, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Adam, SGD or RMSprop as the papers use them, or AdamW.

    Their weight decay is an L2 term on every parameter, as in the published training scripts. AdamW's (Loshchilov &
    Hutter, ICLR 2019) is decoupled and spares biases and norms, whose size carries no capacity.

    Args:
        net: whose parameters are trained.
        kind: see above.
        lr: base learning rate.
        weight_decay: see above.
        momentum: of SGD and RMSprop.
        nesterov: Nesterov's momentum, of SGD.

    Raises:
        ValueError: there is no such optimiser, or momentum is given to one that has its own.
    """
    if momentum and kind in ("adam", "adamw"):
        raise ValueError(f"{kind} has its own kind of momentum: leave momentum at 0, got {momentum}")
    if nesterov and (kind != "sgd" or not momentum):
        raise ValueError(f"nesterov is for sgd with a momentum above 0, got {kind} with momentum {momentum}")
    match kind:
        case "adam":
            return torch.optim.Adam(net.parameters(), lr=lr, weight_decay=weight_decay)
        case "adamw":
            return torch.optim.AdamW(groups(net, weight_decay), lr=lr)
        case "sgd":
            return torch.optim.SGD(
                net.parameters(), lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov
            )
        case "rmsprop":
            return torch.optim.RMSprop(net.parameters(), lr=lr, weight_decay=weight_decay, momentum=momentum)
    raise ValueError(f"optimizer must be one of {', '.join(get_args(Kind))}, got {kind!r}")


def groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two parameter groups: matrices and kernels, which decay, and vectors (biases, norms), which do not."""
    trained = [p for p in net.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def rate(
    step: int,
    total: int,
    *,
    schedule: Schedule = "step",
    milestones: Sequence[float] = (),
    factor: float = 0.1,
    warmup: int = 0,
    warmup_from: float = 0.001,
    every: int = 1,
    floor: float = 0.0,
) -> float:
    """The learning rate of a step, as a multiple of the base rate: a pure function, so resuming needs no state.

    Args:
        step: 0-based step.
        total: steps of the whole run.
        schedule: "step" multiplies by `factor` at each of `milestones`; "linear" goes straight down to 0 from the end
            of the warm-up; "cosine" goes down to 0 along half a cosine.
        milestones: fractions of the run.
        factor: see above.
        warmup: steps of linear growth from `warmup_from` to 1, multiplied on top.
        warmup_from: where the warm-up starts.
        every: steps that share a value of the schedule, such as those of an epoch; the warm-up grows at every step.
        floor: where "linear" and "cosine" end.
    """
    at = step // every * every
    if schedule == "step":
        # The rounding keeps 170 / 210 of 210 epochs at exactly epoch 170.
        value = factor ** sum(at >= round(d * total) for d in milestones)
    elif schedule == "linear":
        value = floor + (1 - floor) * (1 - max(0, at - warmup) / max(1, total - warmup))
    elif schedule == "cosine":
        value = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, at / max(1, total))))
    else:
        raise ValueError(f"schedule must be 'step', 'linear' or 'cosine', got {schedule!r}")
    if step < warmup:
        value *= warmup_from + (1 - warmup_from) * step / warmup
    return value


class Ema:
    """An exponential moving average of a network's weights and running statistics (Polyak averaging).

    The decay starts low and grows to `decay`, min(decay, (1 + n) / (10 + n)) at update n, so that short runs are not
    dominated by the random start.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"EMA decay must lie between 0 and 1, got {decay}")
        self.decay = decay
        self.updates = 0
        self.state = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move the average towards the network's present values."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        live = net.state_dict()
        for name, value in self.state.items():
            if value.is_floating_point():
                value.lerp_(live[name], 1 - decay)
            else:
                value.copy_(live[name])
