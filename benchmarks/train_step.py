"""Training steps beside those of the published training loops: whole steps, their losses, and where the time goes.

    .venv/bin/python benchmarks/train_step.py --write

The published way: float32 in torch's default memory layout, losses that loop over keypoints (SimpleBaseline) or over
stages, levels and samples (MSPN), values logged every step. Ours: `Run.train_step`, as `posewright train` calls it.
Networks and their weights are the same on both sides. All ways take turns in one process; times are medians of the
turns, and factors medians of the turns' ratios.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from evaluate import loop_accuracy
from loader import PARTS as SAMPLE_PARTS
from loader import Arrays, heatmaps, ladder, make, now, parts, provenance, publish
from loops import joint_by_joint, sample_by_sample
from posewright.data import augment, coco
from posewright.data.loader import Batch
from posewright.losses import Objective
from posewright.progress import Report, bar
from posewright.runtime import depthwise as runtime_depthwise
from posewright.runtime.torch_runtime import fast_bf16
from posewright.train.distributed import team
from posewright.train.recipes import find
from posewright.train.setup import _Supervised, prepared
from posewright.train.state import Run

CPU = torch.device("cpu")
IMAGES = 128
RATE = 1e-5  # so low that the weights stay as they are for the purpose
STEP_PARTS = ("network", "loss", "optimiser", "the rest")
DEPTHWISE = ("litebaseline-160x160", "lpn-50-256x192", "litehrnet-18-256x192")


# -- the published way ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """What differs between the published training loops.

    Attributes:
        loss: of supervised maps, target and weight.
        encode: keypoints and visibility of a sample to target and weight.
        accuracy: whether the loop computes the heatmaps' accuracy in every step.
    """

    loss: Objective
    encode: Callable[[np.ndarray, np.ndarray], Arrays]
    accuracy: bool


PUBLISHED = {
    "simplebaseline-r50-256x192": Published(joint_by_joint, heatmaps, accuracy=True),
    "mspn-2stg-256x192": Published(sample_by_sample, ladder, accuracy=False),
}


def published_step(
    learner: nn.Module, optimizer: torch.optim.Optimizer, criterion: Objective, batch: Batch, *, accuracy: bool
) -> float:
    outputs = learner(batch.images)
    loss = criterion(outputs, batch.target, batch.weight)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if accuracy:
        loop_accuracy(outputs[-1].detach().numpy(), batch.target.numpy())
    return loss.item()


# -- the clocks -----------------------------------------------------------------------------------------------------


class Watch:
    """Sees where a step's time goes, from outside: by hooks on the network, on its last maps and on the optimiser.

    A gradient reaches the last maps when all of the loss's backward pass is done and none of the network's is: autograd
    goes back in the order in which things were computed.
    """

    def __init__(self, learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.at: dict[str, np.ndarray] = {}
        learner.register_forward_pre_hook(lambda *_: self.mark("forward"))
        learner.register_forward_hook(lambda *_: self.mark("maps"))
        optimizer.register_step_pre_hook(lambda *_: self.mark("gradients"))
        optimizer.register_step_post_hook(lambda *_: self.mark("stepped"))

    def mark(self, moment: str) -> None:
        """That moment is now."""
        self.at[moment] = now()

    def on(self, criterion: Objective) -> Objective:
        """The same loss, watched."""

        def watched(outputs: Any, target: Tensor, weight: Tensor) -> Tensor:
            self.mark("loss")
            outputs[-1].register_hook(lambda _: self.mark("loss's gradients"))
            loss = criterion(outputs, target, weight)
            loss.register_hook(lambda _: self.mark("back"))
            self.mark("loss done")
            return loss

        return watched

    def time(self, step: Callable[[], Any]) -> np.ndarray:
        """Seconds [STEP_PARTS, 2] of a step, by the clock and of the CPU."""
        start = now()
        step()
        whole, at = now() - start, self.at
        network = at["maps"] - at["forward"] + at["gradients"] - at["loss's gradients"]
        loss = at["loss done"] - at["loss"] + at["loss's gradients"] - at["back"]
        optimiser = at["stepped"] - at["gradients"]
        return np.stack([network, loss, optimiser, whole - network - loss - optimiser])


Way = Callable[[], np.ndarray]


def race(ways: dict[str, Way], repeats: int, report: Report, title: str) -> dict[str, np.ndarray]:
    """Let all ways take turns; what each of them returned, [repeats, ...]. The first turn warms up."""
    taken: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for n, (name, way) in enumerate(ways.items()):
            taken[name].append(way())
            report(turn * len(ways) + n + 1, (repeats + 1) * len(ways), f"{title}, {name}")
    return {name: np.array(times[1:]) for name, times in taken.items()}


# -- whole steps ----------------------------------------------------------------------------------------------------


@contextmanager
def training(system: str, people: Path, batch: int) -> Iterator[tuple[Run, Batch]]:
    """A training by the system's recipe, all of the network learning from scratch; and a batch for it."""
    recipe = replace(find(system), train=str(people), val="", init="", backbone="", freeze=(), precision="float32")
    config = replace(recipe, batch=batch, accumulate=1, augment=augment.HRNET, workers=0, device="cpu")
    with team() as members, prepared(config, members) as run:
        yield run, next(run.loader.epoch(0))


def in_precision(run: Run, precision: Any) -> Callable[[Batch], Any]:
    def train_step(batch: Batch) -> None:
        run.config = replace(run.config, precision=precision)
        run.train_step(batch, RATE)

    return train_step


def steps(run: Run, batch: Batch, published: Published) -> dict[str, Way]:
    """The ways to make a step. The published one has a network of its own, with the same weights."""
    net = run.spec.build()
    net.load_state_dict(run.net.state_dict())
    learner = _Supervised(net.train())
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, weight_decay=run.config.weight_decay)
    theirs, ours = Watch(learner, optimizer), Watch(run.learner, run.optimizer)
    criterion, run.objective = theirs.on(published.loss), ours.on(run.objective)
    plain = replace(batch, images=batch.images.contiguous())
    ways = {
        "published way, float32": lambda: theirs.time(
            lambda: published_step(learner, optimizer, criterion, plain, accuracy=published.accuracy)
        ),
        "here, float32": lambda: ours.time(lambda: in_precision(run, "float32")(batch)),
    }
    if fast_bf16(CPU):
        ways["here, bf16"] = lambda: ours.time(lambda: in_precision(run, "bf16")(batch))
    return ways


def step_rows(system: str, taken: dict[str, np.ndarray], batch: int) -> list[str]:
    """Rows of the table of steps."""
    first = next(iter(taken.values()))[..., 0].sum(1)
    rows = []
    for name, times in taken.items():
        whole = times[..., 0].sum(1)
        shares = np.median(times[..., 0] / whole[:, None], 0)
        cells = [
            f"{np.median(whole) * 1e3:.0f}",
            f"{batch / np.median(whole):.1f}",
            f"{np.median(first / whole):.2f}",
            *(f"{share:.1%}" for share in shares),
        ]
        rows.append(f"| {system} | {name} | {' | '.join(cells)} |")
    return rows


# -- losses alone ---------------------------------------------------------------------------------------------------


def losses(run: Run, batch: Batch, published: Published) -> dict[str, Way]:
    """Both losses with their gradients, on the maps that a network of the side's layout yields.

    Raises:
        RuntimeError: they differ in value or in gradient.
    """
    with torch.no_grad():
        maps = run.learner(batch.images)
    sides = {"published way": (published.loss, [m.contiguous() for m in maps]), "here": (run.objective, maps)}
    answers = [_loss(criterion, outputs, batch) for criterion, outputs in sides.values()]
    for a, b in zip(*answers):
        if (a - b).abs().max() > 1e-5 * a.abs().max():
            raise RuntimeError(f"the losses of {run.spec.name} differ, or their gradients do: {a} and {b}")

    def timing(criterion: Objective, outputs: Any) -> Way:
        def way() -> np.ndarray:
            start = now()
            for _ in range(5):
                _loss(criterion, outputs, batch)
            return (now() - start) / 5

        return way

    return {name: timing(*side) for name, side in sides.items()}


def _loss(criterion: Objective, outputs: Any, batch: Batch) -> list[Tensor]:
    """The loss, and its gradient for each of the maps."""
    leaves = [output.detach().requires_grad_() for output in outputs]
    loss = criterion(leaves, batch.target, batch.weight)
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def loss_row(system: str, taken: dict[str, np.ndarray]) -> str:
    slow, fast = (times[:, 0] for times in taken.values())
    cells = f"{np.median(slow) * 1e3:.2f} ms | {np.median(fast) * 1e3:.2f} ms | {np.median(slow / fast):.1f}"
    return f"| {system} | {cells} |"


# -- all of a training ----------------------------------------------------------------------------------------------


def training_rows(samples: np.ndarray, taken: dict[str, np.ndarray], batch: int) -> list[str]:
    """CPU time per person from the file to the step: its parts, and their shares, for each of the ways."""
    columns = []
    for name, times in taken.items():
        step = np.median(times[..., 1], 0) / batch * 1e3
        columns.append([*samples[:, 0 if name.startswith("published") else 1], *step])
    table = np.array(columns).T
    whole = table.sum(0)
    names = (*SAMPLE_PARTS[:-1], "the loader's rest", *STEP_PARTS[:-1], "the step's rest", "together")
    rows = []
    for name, row in zip(names, [*table, whole]):
        rows.append(f"| {name} | {' | '.join(f'{ms:.2f} ms, {ms / all_:.1%}' for ms, all_ in zip(row, whole))} |")
    return rows


# -- depthwise convolutions -----------------------------------------------------------------------------------------


def depthwise(run: Run, batch: Batch) -> dict[str, Way]:
    """Steps in bf16 with torch's own gradients of depthwise convolutions, and with ours."""
    watch, train_step = Watch(run.learner, run.optimizer), in_precision(run, "bf16")
    run.objective = watch.on(run.objective)

    def torchs() -> np.ndarray:
        with mock.patch.object(runtime_depthwise.DepthwiseBf16, "forward", nn.Conv2d.forward):
            return watch.time(lambda: train_step(batch))

    return {"torch's gradients": torchs, "ours": lambda: watch.time(lambda: train_step(batch))}


def depthwise_row(system: str, taken: dict[str, np.ndarray], batch: int) -> str:
    slow, fast = (times[..., 0].sum(1) for times in taken.values())
    cells = [f"{np.median(t) * 1e3:.0f} ms, {batch / np.median(t):.1f} people/s" for t in (slow, fast)]
    return f"| {system} | {' | '.join(cells)} | {np.median(slow / fast):.2f} |"


# -- the page -------------------------------------------------------------------------------------------------------


@dataclass
class Tables:
    """Rows of the page's tables."""

    steps: list[str]
    losses: list[str]
    trainings: list[str]
    depthwise: list[str]


def measure(system: str, people: Path, batch: int, repeats: int, tables: Tables) -> None:
    """Add what there is to say of a system to the tables."""
    published = PUBLISHED[system]
    with training(system, people, batch) as (run, sample):
        with bar(f"{system}: losses", "turns") as report:
            tables.losses.append(loss_row(system, race(losses(run, sample, published), repeats, report, "loss")))
        with bar(f"{system}: steps", "steps") as report:
            taken = race(steps(run, sample, published), repeats, report, "step")
        spec = run.spec
    tables.steps += step_rows(system, taken, batch)
    samples = parts(coco.read(people), spec, published.encode, batch, max(1, repeats // 2))
    head = [f"| {system}, per person | {' | '.join(taken)} |", f"|---|{'---:|' * len(taken)}"]
    tables.trainings += ["", *head, *training_rows(samples, taken, batch)]


def measure_depthwise(system: str, people: Path, batch: int, repeats: int, tables: Tables) -> None:
    with training(system, people, batch) as (run, sample):
        if not runtime_depthwise.train_fast_in_bf16(run.net):  # the run is a float32 one
            return
        with bar(f"{system}: steps in bf16", "steps") as report:
            taken = race(depthwise(run, sample), repeats, report, "step")
    tables.depthwise.append(depthwise_row(system, taken, batch))


STEPS = """
Published way: float32, torch's default memory layout, a loss that loops over keypoints (SimpleBaseline) or over stages,
levels and samples (MSPN), Adam, the loss's value and, for SimpleBaseline, the heatmaps' accuracy after every step.
Here: `Run.train_step`, which trains in channels-last layout; accuracies come every 20th step only, and are not counted.
Both sides have the same network, weights, batch and rate. "The rest" is that accuracy, and what sets a step up."""

LOSSES = """
The losses alone, with their gradients, in the layout that each side's network yields. They agree, and so do their
gradients, to 1e-5 of the largest, or the script stops."""

TRAININGS = """
From the file to the step: CPU time per person, in all threads, added up from a sample without workers (HRNet's
augmentation on either side; benchmarks/loader.md) and from the steps above."""

DEPTHWISE_TEXT = """
Depthwise convolutions in bf16: whole steps here, at {batch} people, all of the network learning, with torch's own
gradients and with ours (`runtime/depthwise.py`)."""


def page(head: list[str], tables: Tables, batch: int, repeats: int) -> list[str]:
    """All of the page's lines."""
    lines = ["# Training steps, side by side", "", *head, ""]
    lines += [f"Batches of {batch}. All ways take turns in one process, {repeats} each after one to warm up: times are",
              "medians, factors the medians of the turns' ratios to the published way."]  # fmt: skip
    if tables.steps:
        shares = " | ".join(STEP_PARTS)
        lines += [*STEPS.splitlines(), "", f"| system | step | ms | people/s | times faster | {shares} |",
                  f"|---|---|{'---:|' * 7}", *tables.steps, *LOSSES.splitlines(), "",
                  "| loss and gradient | published way | here | times faster |", "|---|---:|---:|---:|", *tables.losses,
                  *TRAININGS.splitlines(), *tables.trainings]  # fmt: skip
    if tables.depthwise:
        lines += [*DEPTHWISE_TEXT.format(batch=2 * batch).splitlines(), "",
                  "| system | torch's gradients | ours | times faster |", "|---|---:|---:|---:|",
                  *tables.depthwise]  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, help="training samples per step (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="turns that all ways take (default: %(default)s)")
    parser.add_argument("--models", nargs="*", choices=PUBLISHED, default=list(PUBLISHED), metavar="SYSTEM")
    parser.add_argument("--depthwise", nargs="*", choices=DEPTHWISE, default=list(DEPTHWISE), metavar="SYSTEM",
                        help="systems whose depthwise convolutions to time, at twice the batch")  # fmt: skip
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write train_step.md, besides printing it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    head, tables = provenance(), Tables([], [], [], [])
    with tempfile.TemporaryDirectory() as folder:
        people = make(Path(folder), max(IMAGES, 2 * options.batch))
        for system in options.models:
            measure(system, people, options.batch, options.repeats, tables)
        for system in options.depthwise if fast_bf16(CPU) else ():
            measure_depthwise(system, people, 2 * options.batch, options.repeats, tables)
    publish(
        page(head, tables, options.batch, options.repeats), Path(__file__).with_suffix(".md") if options.write else None
    )


if __name__ == "__main__":
    main()
