"""TrainConfig and fit(): the training loop, from annotations to the best checkpoint.

A run is a folder: `config.json`, `log.jsonl`, `log.csv`, `last.pt` (everything needed to go on) and `best.pt` (the best
weights with their spec, skeleton and figures). A run that is interrupted, by Ctrl-C, SIGTERM or a crash, goes on with
`fit(resumed(folder), resume=True)`; on a CPU it ends in the very bits of a run that never stopped, because every
random choice depends on the seed, the epoch and the sample alone, and the learning rate on the step alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import nn

from posewright import __version__, evaluate, losses, weights
from posewright.data import augment, coco
from posewright.data.loader import Loader
from posewright.files import ready_folder, write_json
from posewright.optim import Ema, optimizer, rate
from posewright.predict import Predictor
from posewright.progress import Report, bar, say, tick
from posewright.runlog import RunLog
from posewright.skeletons import to_category
from posewright.spec import Spec, find
from posewright.types import Batch, Boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything a training run depends on: plain values, saved with the run, and enough to replay it.

    Attributes:
        model: name of a pose system (`posewright models`).
        train: COCO-format annotations to learn from; the skeleton is read from its `categories`.
        train_images: where their images are; empty looks around the annotation file.
        val: COCO-format annotations to choose the best weights on; empty keeps the last.
        val_images: where their images are.
        val_boxes: detections JSON to evaluate with; empty takes the annotated boxes.
        out: the run's folder.
        init: weights to start from, of any toolkit; empty starts from scratch.
        new_head: start the last layer anew where the number of keypoints differs.
        backbone: ImageNet weights for the backbone alone.
        epochs: passes over the training people.
        steps: optimiser steps instead of `epochs`; 0 counts epochs.
        batch: people a step.
        loss: "mse" (weighted mean squared error), "ohkm" (the same over each person's hardest keypoints) or
            "coarse-to-fine" (MSPN, RSN: a label width for each output, hardest keypoints in the finest).
        hardest: how many keypoints count as hard.
        optimizer, lr, weight_decay: see `optim.optimizer`.
        schedule, drops, warmup: see `optim.rate`; drops are fractions of the run, the warm-up is in steps.
        clip: largest gradient norm; 0 does not clip.
        ema: decay of the moving average of the weights, which is then what is evaluated; 0 is without.
        precision: "float32", or "bf16" for the network's arithmetic.
        augment: random changes to the training crops.
        flip_test: average with the mirrored image when evaluating.
        seed: of weights, order and augmentation.
        workers: processes that read and crop images.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        eval_every: epochs between evaluations.
        save_minutes: minutes between checkpoints within an epoch; each epoch ends with one anyway.
        log_every: steps between log rows.
    """

    model: str
    train: str
    train_images: str = ""
    val: str = ""
    val_images: str = ""
    val_boxes: str = ""
    out: str = "runs/train"
    init: str = ""
    new_head: bool = False
    backbone: str = ""
    epochs: int = 210
    steps: int = 0
    batch: int = 32
    loss: Literal["mse", "ohkm", "coarse-to-fine"] = "mse"
    hardest: int = 8
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["step", "linear", "cosine"] = "step"
    drops: tuple[float, ...] = (170 / 210, 200 / 210)
    warmup: int = 0
    clip: float = 0.0
    ema: float = 0.0
    precision: Literal["float32", "bf16"] = "float32"
    augment: augment.Augment = field(default=augment.HRNET)
    flip_test: bool = True
    seed: int = 0
    workers: int = 2
    device: str = "auto"
    eval_every: int = 1
    save_minutes: float = 10.0
    log_every: int = 20

    def __post_init__(self) -> None:
        for name, least in {"batch": 1, "epochs": 1, "steps": 0, "workers": 0, "eval_every": 1, "log_every": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a run ended: where, after how many steps, whether it finished, and the figures of its best weights."""

    out: Path
    step: int
    finished: bool
    figures: dict[str, float]


@dataclass(slots=True)
class _Run:
    """What changes while a run goes on, with what it needs to go on."""

    config: TrainConfig
    spec: Spec
    net: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    loader: Loader
    val: tuple[coco.People, dict[int, Boxes]] | None
    device: torch.device
    total: int
    step: int = 0
    judged: int = 0  # the step of the last evaluation
    best: dict[str, float] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return Path(self.config.out)


def fit(config: TrainConfig, *, resume: bool = False, stop_at: int | None = None) -> Fitted:
    """Train, evaluate every so often, and keep the best weights.

    Args:
        config: what to do.
        resume: go on from the folder's `last.pt`.
        stop_at: save and leave after this step, as after Ctrl-C; for machines lent by the hour.

    Raises:
        FileExistsError: the folder holds a run already and `resume` was not asked for.
        ValueError, FileNotFoundError, OSError: annotations, images, weights or the folder are not what they must be.
    """
    out = ready_folder(Path(config.out))
    if not resume and (out / "last.pt").exists():
        raise FileExistsError(f"{out} holds a run already: resume it (--resume {out}) or choose another --out")
    run = _prepare(config)
    if resume:
        _restore(run)
    else:
        write_json(out / "config.json", msgspec.to_builtins(config), indent=2)
    with (
        closing(run.loader),
        _stop_signals() as asked,
        RunLog(out, run.step) as log,
        bar("training", "steps") as report,
    ):
        report(run.step, run.total, "")
        while True:
            if _due(run):
                _judge(run, log, asked)
            if run.step >= run.total or asked:
                break
            _epoch(run, log, report, asked, stop_at)
            _save(run)
    finished = run.step >= run.total and run.judged == (run.step if run.val else 0)
    return Fitted(out, run.step, finished, run.best)


def resumed(folder: str | Path) -> TrainConfig:
    """The configuration that a run's folder was trained with."""
    path = Path(folder) / "config.json"
    try:
        return msgspec.convert(msgspec.json.decode(path.read_bytes()), TrainConfig)
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no run: there is no {path.name} in it") from None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: not a run's configuration: {error}") from None


def _prepare(config: TrainConfig) -> _Run:
    people = coco.read(config.train, config.train_images or None)
    say(people.summary())
    spec = find(config.model).with_skeleton(people.skeleton)
    torch.manual_seed(config.seed)
    net = spec.build()
    if config.init:
        say(weights.load(net, config.init, spec, new_head=config.new_head).summary())
    elif config.backbone:
        say(weights.load_backbone(net, config.backbone).summary())
    device = _device(config.device)
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
    loader = Loader(people, spec, config.augment, config.batch, seed=config.seed, workers=config.workers)
    return _Run(
        config,
        spec,
        net,
        optimizer(net, config.optimizer, lr=config.lr, weight_decay=config.weight_decay),
        Ema(net, config.ema) if config.ema else None,
        loader,
        _validation(config, people),
        device,
        total=config.steps or config.epochs * len(loader),
    )


def _validation(config: TrainConfig, people: coco.People) -> tuple[coco.People, dict[int, Boxes]] | None:
    if not config.val:
        return None
    val = coco.read(config.val, config.val_images or None)
    say(val.summary())
    if val.skeleton.points != people.skeleton.points:
        raise ValueError(
            f"{config.train} and {config.val} name different keypoints: {people.skeleton.points} and "
            f"{val.skeleton.points}"
        )
    return val, evaluate.boxes_for(val, config.val_boxes)


def _epoch(run: _Run, log: RunLog, report: Report, asked: list[int], stop_at: int | None) -> None:
    """The rest of the epoch that `run.step` lies in."""
    config = run.config
    epoch, first = divmod(run.step, len(run.loader))
    saved = mark = time.monotonic()
    waited, people = 0.0, 0
    for batch, wait in _timed(run.loader.epoch(epoch, first)):
        loss, outputs = _step(run, batch)
        run.step += 1
        waited, people = waited + wait, people + len(batch.images)
        if run.step % config.log_every == 0 or run.step == run.total:
            row = _row(run, epoch, loss, outputs, batch)
            row |= {"samples_per_second": people / (time.monotonic() - mark)}
            row |= {"data_share": waited / (time.monotonic() - mark)}
            log.add(row)
            note = f"epoch {epoch + 1} loss {row['loss']:.5f} accuracy {row['accuracy']:.3f}"
            note += f" {row['samples_per_second']:.1f} people/s, data {row['data_share']:.0%} of the time"
            report(run.step, run.total, note)
            mark, waited, people = time.monotonic(), 0.0, 0
        if run.step == stop_at:
            asked.append(0)
        if asked or run.step >= run.total:
            return
        if time.monotonic() - saved > config.save_minutes * 60:
            _save(run)
            saved = time.monotonic()


def _step(run: _Run, batch: Batch) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """One optimiser step; the loss and the supervised maps."""
    config = run.config
    for group in run.optimizer.param_groups:
        group["lr"] = config.lr * rate(
            run.step, run.total, schedule=config.schedule, drops=config.drops, warmup=config.warmup
        )
    run.net.train()
    images = batch.images.to(run.device, memory_format=torch.channels_last, non_blocking=True)
    target, weight = batch.target.to(run.device), batch.weight.to(run.device)
    bf16 = config.precision == "bf16"
    with torch.autocast(run.device.type, torch.bfloat16) if bf16 else nullcontext():
        outputs: tuple[torch.Tensor, ...] = run.net.supervised(images)  # pyright: ignore[reportCallIssue]
    outputs = tuple(o.float() for o in outputs)
    loss = _loss(config, outputs, target, weight)
    if not torch.isfinite(loss):
        raise ValueError(
            f"the loss is {loss.item()} at step {run.step}: lower lr ({config.lr}), add warm-up steps or clip; "
            f"{run.out / 'last.pt'} is as it was"
        )
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.clip:
        nn.utils.clip_grad_norm_(run.net.parameters(), config.clip)
    run.optimizer.step()
    if run.ema:
        run.ema.update(run.net)
    return loss.detach(), outputs


def _loss(
    config: TrainConfig, outputs: tuple[torch.Tensor, ...], target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    if config.loss == "mse":
        return losses.weighted_mse(outputs, target, weight)
    if config.loss == "ohkm":
        return losses.ohkm_mse(outputs, target, weight, top=config.hardest)
    return losses.coarse_to_fine(outputs, target, weight, stages=len(outputs) // 4, ohkm=config.hardest)


def _row(run: _Run, epoch: int, loss: torch.Tensor, outputs: tuple[torch.Tensor, ...], batch: Batch) -> dict[str, Any]:
    """A log row; accuracy is the share of keypoints within a twentieth of the crop, as HRNet's log has it."""
    xy, _ = run.spec.codec.decode(outputs[-1].detach())
    size = np.array([[run.spec.size[1], run.spec.size[0]]])
    accuracy = evaluate.pck(xy, batch.xy, batch.seen, size, 0.05).mean
    lr = run.optimizer.param_groups[0]["lr"]
    return {"step": run.step, "epoch": epoch + 1, "lr": lr, "loss": loss.item(), "accuracy": accuracy}


def _due(run: _Run) -> bool:
    """Whether the weights of this step want evaluating."""
    if run.val is None or run.step == 0 or run.judged == run.step:
        return False
    epoch, rest = divmod(run.step, len(run.loader))
    return run.step >= run.total or (rest == 0 and epoch % run.config.eval_every == 0)


def _judge(run: _Run, log: RunLog, asked: list[int]) -> None:
    """Evaluate, log, and keep the weights if they are the best so far. Leaves early once asked to stop."""
    assert run.val is not None
    people, boxes = run.val
    net = run.spec.build().to(run.device)
    net.load_state_dict(run.ema.state if run.ema else run.net.state_dict())
    predictor = Predictor(run.spec, net, flip=run.config.flip_test, device=str(run.device))
    with bar("evaluating", "images") as report:
        show = tick(report)

        def progress(done: int, total: int) -> None:
            if asked:
                raise _Leave
            show(done, total)

        try:
            figures = evaluate.judge(predictor, people, boxes, progress=progress).figures
        except _Leave:
            return  # last.pt was written before: a resumed run begins with this evaluation
    log.add({"step": run.step, "epoch": run.step / len(run.loader)} | figures)
    run.judged = run.step
    main = evaluate.main_figure(figures)
    if not run.best or figures[main] > run.best[main]:
        run.best = figures
        content = _identity(run) | {"model": net.state_dict(), "metrics": figures, "step": run.step}
        weights.write_checkpoint(run.out / "best.pt", content)
    _save(run)


def _save(run: _Run) -> None:
    """Write `last.pt`: all that `_restore` needs."""
    content = _identity(run) | {
        "model": run.net.state_dict(),
        "ema": None if run.ema is None else {"state": run.ema.state, "updates": run.ema.updates},
        "optimizer": run.optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "step": run.step,
        "judged": run.judged,
        "best": run.best,
    }
    weights.write_checkpoint(run.out / "last.pt", content)


def _restore(run: _Run) -> None:
    """Go on where `last.pt` stopped."""
    path = run.out / "last.pt"
    content = weights.read_checkpoint(path)
    if content.get("spec") != run.spec.name:
        raise ValueError(f"{path}: holds a run of {content.get('spec')!r}, not of {run.spec.name!r}")
    run.net.load_state_dict(content["model"])
    run.optimizer.load_state_dict(content["optimizer"])
    if run.ema:
        run.ema.state, run.ema.updates = content["ema"]["state"], content["ema"]["updates"]
    torch.set_rng_state(content["rng"])
    run.step, run.judged, run.best = content["step"], content["judged"], content["best"]


def _identity(run: _Run) -> dict[str, Any]:
    """What every checkpoint says of itself."""
    return {
        "posewright": __version__,
        "spec": run.spec.name,
        "skeleton": to_category(run.spec.skeleton),
        "config": msgspec.to_builtins(run.config),
    }


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds waited for it."""
    start = time.monotonic()
    for batch in batches:
        yield batch, time.monotonic() - start
        start = time.monotonic()


class _Leave(Exception):
    """Raised out of an evaluation when a signal asks the run to stop."""


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that gets the number of the first Ctrl-C or SIGTERM; a second one acts at once, as usual."""
    asked: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for number_, handler in before.items():
            signal.signal(number_, handler)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:
        before.clear()  # not the main thread: signals are not ours to take
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
