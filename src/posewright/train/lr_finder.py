"""find_lr(): a learning rate for a network and its data, from one sweep over rates (Smith, "Cyclical Learning Rates for
Training Neural Networks", WACV 2017, section 3.3).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posewright.files import ready_folder, write_json, write_text
from posewright.progress import bar
from posewright.report.svg import curve
from posewright.train.config import TrainConfig
from posewright.train.distributed import Team
from posewright.train.setup import prepared

WORSE = 4.0
"""The sweep ends once the loss is this many times its best: beyond, it only gets worse."""

_SMOOTH = 0.9  # of the losses before, in the running mean


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found.

    Attributes:
        lr: the rates tried, rising.
        loss: the running mean of the loss after a step at each.
        best: the rate at which the loss falls steepest.
    """

    lr: np.ndarray
    loss: np.ndarray
    best: float


def find_lr(config: TrainConfig, *, low: float = 1e-6, high: float = 1.0, steps: int = 100) -> Sweep:
    """Train for a few steps at exponentially rising rates, and suggest the one at which the loss falls steepest.

    Everything else is as in `config`, but nothing is evaluated or saved: only `find-lr.json` and `find-lr.svg` are
    written into its folder. The sweep ends early once the loss explodes.

    Args:
        config: what to find a rate for; its own rate and schedule do not matter.
        low: first rate.
        high: last rate.
        steps: how many rates.

    Raises:
        ValueError: see `train.fit`; or the rates do not rise, or the loss is not finite from the beginning.
    """
    if not 0 < low < high or steps < 10:
        raise ValueError(f"expected rates above 0 that rise, in 10 steps or more, got {low} to {high} in {steps}")
    out = ready_folder(Path(config.out))
    rates = np.geomspace(low, high, steps)
    losses: list[float] = []
    with prepared(config, Team()) as run, bar("trying rates", "steps") as report:
        batches = itertools.chain.from_iterable(map(run.loader.epoch, itertools.count()))
        for lr, batch in zip(rates, batches):
            loss, _ = run.train_step(batch, lr)
            if not math.isfinite(loss) or (len(losses) > 10 and loss > WORSE * min(losses)):
                break
            losses.append(loss)
            report(len(losses), steps, f"rate {lr:.1e} loss {loss:.5f}")
    if len(losses) < 3:
        raise ValueError(f"the loss is not finite at rates from {low} on: try lower ones, or look at the data")
    smooth = smoothed(np.array(losses))
    sweep = Sweep(rates[: len(smooth)], smooth, steepest(rates[: len(smooth)], smooth))
    _write(out, sweep)
    return sweep


def smoothed(losses: np.ndarray) -> np.ndarray:
    """The running mean of losses, freed of its bias to the zero that it starts from."""
    mean, out = 0.0, []
    for n, loss in enumerate(losses, 1):
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        out.append(mean / (1 - _SMOOTH**n))
    return np.array(out)


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate, up to that of the lowest loss, at which the loss falls most per factor of the rate."""
    falling = slice(0, max(int(np.argmin(losses)), 1) + 1)
    return float(rates[falling][np.argmin(np.gradient(losses[falling], np.log(rates[falling])))])


def _write(out: Path, sweep: Sweep) -> None:
    found = {"suggested": sweep.best, "lr": sweep.lr.tolist(), "loss": sweep.loss.tolist()}
    write_json(out / "find-lr.json", found, indent=2)
    points = list(zip(np.log10(sweep.lr).tolist(), sweep.loss.tolist()))
    chosen = math.log10(sweep.best)
    mark = [(chosen, 0.0), (chosen, float(sweep.loss.max()))]
    picture = curve("loss", {"loss": points, "suggested": mark}, x_label="learning rate, power of ten")
    write_text(out / "find-lr.svg", picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
