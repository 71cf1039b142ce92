"""fit(): the training loop, from annotations to the best checkpoint.

A run is a folder: `config.json`, `log.jsonl`, `log.csv`, `last.pt` (everything needed to resume), `best.pt` (the
best weights with their spec, skeleton and metrics), its page `index.html`, and `batch.jpg`, a look at its samples. A
run that is interrupted, by Ctrl-C, SIGTERM or a crash, is resumed by `fit(resumed(folder), resume=True)`; on a CPU the
result is bit-identical to that of an uninterrupted run, because every random choice depends on the seed, the epoch and
the sample alone, and the learning rate on the step alone.

Under `torchrun`, processes train as one: each takes its share of every batch and of every evaluation's images, and the
main process (rank 0) writes and logs. The batch, the steps and the metrics mean what they mean for one process.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from posewright.data.dataset import KeypointDataset
from posewright.data.loader import Batch
from posewright.evaluate import evaluator, printing
from posewright.evaluate.comparison import fingerprint
from posewright.evaluate.evaluator import Evaluation
from posewright.evaluate.pck import accuracy
from posewright.files import ready_folder, write_json
from posewright.predict.predictor import Predictor
from posewright.progress import Report, bar, shown, stop_signals
from posewright.report import page
from posewright.train import trackers
from posewright.train._lock import locked
from posewright.train.adapt import labelled_round
from posewright.train.config import TrainConfig, resumed
from posewright.train.distributed import TeamPredictor, team
from posewright.train.optim import rate
from posewright.train.run_log import RunLog
from posewright.train.samples import batch_sheet, heatmaps
from posewright.train.setup import prepared
from posewright.train.state import Run
from posewright.weights import checkpoint

__all__ = ["Fitted", "TrainConfig", "fit", "resumed", "rounds"]


DIVERGED = 1e4
"""Training has diverged once the loss is this many times that of the first step."""

_MOST_EVALUATIONS = 20
"""Of a run whose length is given in steps."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a run ended: where, after how many steps, whether it finished, and the metrics of its best weights."""

    out: Path
    step: int
    finished: bool
    metrics: dict[str, float]


def fit(config: TrainConfig, *, resume: bool = False, stop_at: int | None = None) -> Fitted:
    """Train, evaluate every so often, and keep the best weights.

    Args:
        config: what to do.
        resume: continue from the folder's `last.pt`.
        stop_at: save and stop after this step, as after Ctrl-C; for time-limited machines.

    Raises:
        FileExistsError: the folder holds a run already and `resume` was not asked for.
        ModuleNotFoundError: the client of one of `config.loggers` is not installed.
        ValueError, FileNotFoundError, OSError: annotations, images, weights or the folder are not what they must be.
    """
    trackers.check(config.loggers)
    out = ready_folder(Path(config.out))
    with (
        team() as members,
        nullcontext() if members.is_main else shown(False),
        locked(out) if members.is_main else nullcontext(),
        _startable(out, resume=resume),
        prepared(config, members, resume=resume) as run,
        stop_signals() as asked,
        _log(run, resume=resume) as log,
        bar("training", "steps") as report,
    ):
        report(run.step, run.total, "")
        if log and not resume:
            log.add_graph(run.net, (1, 3, *run.spec.size), run.device)
        while not run.stopped:
            if _due(run):
                _evaluate(run, log, asked)
            if run.over or run.stopped:
                break
            _epoch(run, log, report, asked, stop_at)
            run.save()
        members.wait()
    finished = run.over and run.last_eval_step == (run.step if run.val else 0)
    return Fitted(out, run.step, finished, run.best)


def rounds(config: TrainConfig, *, resume: bool = False, stop_at: int | None = None) -> list[Fitted]:
    """Train `config.rounds` times in a row, each time from the weights that the round before ended with.

    Each round is a run in a folder of its own, `round1`, `round2`, ..., with the whole schedule from the initial rate
    on: the iterative training of LPN (Zhang et al., arXiv 1911.10346). Where `config.target` names an unlabelled
    domain, each round labels it first and learns from that too (`train.adapt`). One that was interrupted resumes with
    `rounds(resumed(folder), resume=True)`; rounds that are done are not done again.

    Args:
        config: of every round; its `out` holds their folders.
        resume: continue with the first round that is not finished.
        stop_at: see `fit`; counted within each round.

    Returns:
        How each round ended; the last one of the list may have been interrupted.

    Raises:
        FileExistsError, ValueError, FileNotFoundError, OSError: see `fit`.
    """
    if config.target:
        config = replace(config, rounds=config.pseudo.rounds)
    elif config.rounds == 1:
        return [fit(config, resume=resume, stop_at=stop_at)]
    out = ready_folder(Path(config.out))
    if not resume and (out / "round1").exists():
        raise FileExistsError(f"{out} holds a run already: resume it (--resume {out}) or choose another --out")
    with team() as members:
        if members.is_main and not resume:
            write_json(out / "config.json", msgspec.to_builtins(config), indent=2)
        done: list[Fitted] = []
        while len(done) < config.rounds and (not done or done[-1].finished):
            folder = out / f"round{len(done) + 1}"
            started = any(members.gather((folder / "last.pt").exists()))
            settings = replace(config, rounds=1, out=str(folder))
            if config.target:
                settings = labelled_round(config, len(done), ready_folder(folder), members)
            done.append(fit(settings, resume=started, stop_at=stop_at))
            config = replace(config, init=str(folder / "last.pt"), reset_head=False, seed=config.seed + 1)
    return done


@contextmanager
def _startable(out: Path, *, resume: bool) -> Iterator[None]:
    """Refuse a new run over an old one, and to resume what never began; under the lock, which names a live one."""
    if not resume and (out / "last.pt").exists():
        raise FileExistsError(f"{out} holds a run already: resume it (--resume {out}) or choose another --out")
    if resume and not (out / "last.pt").exists():
        raise FileNotFoundError(
            f"{out} was stopped before its first checkpoint, so there is nothing to resume: start it again with the "
            "same recipe, --out and settings (its config.json has them)"
        )
    yield


def _log(run: Run, *, resume: bool) -> AbstractContextManager[RunLog | None]:
    """The run's log, for the process that writes it; a new run's folder gets its configuration along with it."""
    if not run.team.is_main:
        return nullcontext()
    if not resume:
        write_json(run.out / "config.json", msgspec.to_builtins(run.config), indent=2)
    return RunLog(run.out, run.step, run.config.loggers, msgspec.to_builtins(run.config))


def _epoch(run: Run, log: RunLog | None, report: Report, asked: list[int], stop_at: int | None) -> None:
    """The rest of the epoch that `run.step` lies in."""
    config = run.config
    began = run.step
    epoch, first = divmod(began, len(run.loader))
    saved = mark = time.monotonic()
    waited, steps = 0.0, 0
    for batch, wait in _timed(_surviving(run, epoch, first)):
        lr = _rate(run)
        part, maps = run.train_step(batch, lr)
        run.step += 1
        # All processes learn of a loss that is not finite, or of a wish to stop, at the same step.
        loss, stop = run.team.sum(part, bool(asked) or run.step == stop_at)
        _check_loss(run, loss)
        waited, steps = waited + wait, steps + 1
        if log and run.step == began + 1:
            log.add_sheet(run.step, batch_sheet(run, batch, maps))
        if run.step % config.log_every == 0 or run.step == run.total:
            took = time.monotonic() - mark
            row: dict[str, Any] = {
                "step": run.step,
                "epoch": epoch + 1,
                "lr": lr,
                "loss": loss,
                **_accuracy(run, batch, maps),
            }
            row |= {"samples_per_second": steps * run.people_per_step / took, "data_share": waited / took}
            row |= {"domain_loss": float(run.domain_loss)} if run.domain_loss is not None else {}
            _note(row, log, report, run.total)
            mark, waited, steps = time.monotonic(), 0.0, 0
        run.stopped = stop > 0
        if run.stopped or run.step >= run.total:
            return
        if time.monotonic() - saved > config.save_minutes * 60:
            run.save()
            saved = time.monotonic()


def _check_loss(run: Run, loss: float) -> None:
    hint = f"lower lr ({run.config.lr}), add warm-up steps or clip; {run.out / 'last.pt'} is as it was"
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} at step {run.step - 1}: {hint}")
    run.first_loss = run.first_loss or loss
    if loss > DIVERGED * run.first_loss:
        raise ValueError(
            f"the training diverged: the loss is {loss:.3g} at step {run.step - 1} and began with "
            f"{run.first_loss:.3g}; {hint}"
        )


def _surviving(run: Run, epoch: int, first: int) -> Iterator[Batch]:
    """The epoch's batches; where the system kills a worker, the run is saved and its end explained."""
    try:
        for batch in run.loader.epoch(epoch, first):
            if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
                # torch's handler would raise in the middle of a step; without it, the next batch is where it is noticed
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        run.save()
        raise OSError(
            f"a process that reads images was killed at step {run.step}, most likely because memory ran out; the run "
            f"is saved: resume it (--resume {run.out}), with less else running, or start with fewer --set workers"
        ) from None


def _rate(run: Run) -> float:
    config = run.config
    return config.lr * rate(
        run.step,
        run.total,
        schedule=config.schedule,
        milestones=config.milestones,
        factor=config.gamma,
        warmup=config.warmup,
        warmup_from=config.warmup_from,
        every=len(run.loader) if config.schedule_per == "epoch" else 1,
        floor=config.min_lr / config.lr,
    )


def _accuracy(run: Run, batch: Batch, maps: torch.Tensor) -> dict[str, Any]:
    """HRNet's logged accuracy of the whole batch: the finest maps' maxima compared, mean of points and per point.

    Of codecs with several maps per point the first is compared, as published for the offset targets of UDP. Without
    any counted point the accuracy is 0, as published.
    """
    points = run.spec.skeleton.num_keypoints
    share = accuracy(heatmaps(maps, points), heatmaps(batch.target, points))
    shares = run.team.gather((share.count * share.value.clip(0), share.count))
    correct, count = (np.sum(arrays, axis=0) for arrays in zip(*shares))
    by_point = {p: float(c / n) for p, c, n in zip(run.spec.skeleton.points, correct, count) if n}
    return {"accuracy": sum(by_point.values()) / max(len(by_point), 1), "accuracy_by_point": by_point}


def _note(row: dict[str, Any], log: RunLog | None, report: Report, total: int) -> None:
    if log:
        log.add(row)
    words = f"epoch {row['epoch']} loss {row['loss']:.5f} accuracy {row['accuracy']:.3f}"
    words += f" {row['samples_per_second']:.1f} samples/s, data {row['data_share']:.0%} of the time"
    report(row["step"], total, words)


def _due(run: Run) -> bool:
    """Whether the weights of this step are to be evaluated."""
    if run.val is None or run.step == 0 or run.last_eval_step == run.step:
        return False
    epoch, rest = divmod(run.step, len(run.loader))
    every = run.config.eval_every
    if run.config.steps:  # epochs of few images are short
        every = max(every, math.ceil(run.total / len(run.loader) / _MOST_EVALUATIONS))
    return run.step >= run.total or (rest == 0 and epoch % every == 0)


def _evaluate(run: Run, log: RunLog | None, asked: list[int]) -> None:
    """Evaluate, log, and keep the weights if they are the best so far. Leaves early once asked to stop."""
    assert run.val is not None
    people, boxes = run.val
    net = run.spec.build().to(run.device)
    net.load_state_dict(run.state())
    predictor = TeamPredictor(run.spec, net, run.team, flip=run.config.flip_test, device=run.device)
    with bar("evaluating", "images") as report:

        def progress(done: int, total: int) -> None:
            if run.team.sum(bool(asked))[0]:
                raise _Leave
            report(done, total, "")

        try:
            evaluation = evaluator.evaluate(predictor, people, boxes, progress=progress)
        except _Leave:
            run.stopped = True
            return  # last.pt was written before: a resumed run begins with this evaluation
    metrics = evaluation.metrics
    if log:
        log.add({"step": run.step, "epoch": run.step / len(run.loader)} | metrics)
        _write_page(run, people, evaluation, predictor)
    run.last_eval_step = run.step
    main = evaluator.main_metric(metrics)
    better = not run.best or metrics[main] > run.best[main]
    run.stale = 0 if better else run.stale + 1
    if better:
        run.best = metrics
    if better and run.team.is_main:
        content = run.identity() | {"model": net.state_dict(), "metrics": metrics, "step": run.step}
        checkpoint.write_checkpoint(run.out / "best.pt", content)
    run.save()


def _write_page(run: Run, people: KeypointDataset, evaluation: Evaluation, predictor: Predictor) -> None:
    """Refresh the run's page with this evaluation, and write its results, so that runs can be compared."""
    settings = msgspec.json.format(msgspec.json.encode(run.config), indent=2).decode()
    sections = page.sections(run.spec.name, people, evaluation, settings=settings, predictor=predictor)
    write_json(run.out / "results.json", evaluator.with_file_points(evaluation.results, people))
    data = {"data": fingerprint(people.annotations)} if people.annotations.is_file() else {}
    write_json(run.out / "metrics.json", printing.as_dict(evaluation, run.spec.name) | data)
    subtitle = f"step {run.step:,} of {run.total:,}"
    page.write(run.out / "index.html", f"Training of {run.spec.name}", subtitle, run.out, sections)


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds waited for it."""
    start = time.monotonic()
    for batch in batches:
        yield batch, time.monotonic() - start
        start = time.monotonic()


class _Leave(Exception):
    """Raised out of an evaluation when a signal asks the run to stop."""
