"""Experiment trackers: a run's scalars and sheets through their own clients, as TensorBoard, W&B and MLflow take them.

Where they send what they get is theirs to say: `WANDB_PROJECT`, `WANDB_MODE`, `MLFLOW_TRACKING_URI`,
`MLFLOW_EXPERIMENT_NAME` and so on. A resumed run continues in the tracker's own run, whose id is kept in
`trackers.json`.
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from posewright.files import read_json, write_json
from posewright.image import write as write_image

Name = Literal["tensorboard", "wandb", "mlflow"]
"""The trackers, by the name of the package that holds their client."""

SHEETS = "samples: image, target, prediction"
"""What sheets of training samples are called."""


class Tracker(Protocol):
    """What takes a run's scalars and sheets."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Take scalars by their names."""
        ...

    def add_sheet(self, sheet: np.ndarray, step: int) -> None:
        """Take a sheet [H, W, 3] uint8 RGB."""
        ...

    def close(self, *, failed: bool) -> None:
        """Send what is left; the run has ended, or failed."""
        ...


def check(names: Sequence[Name]) -> None:
    """Import the clients of trackers, so that a missing one is reported before anything else is done.

    Raises:
        ModuleNotFoundError: one is not installed; the message names its package.
    """
    for name in names:
        if _client(name) is None:
            raise ModuleNotFoundError(
                f"loggers={name}: its client is not installed: pip install {name}, or leave it out of --set loggers"
            )


def opened(names: Sequence[Name], folder: Path, step: int, settings: Mapping[str, Any]) -> list[Tracker]:
    """The trackers named, and TensorBoard where it is installed, ready for a run.

    Args:
        names: see `Name`.
        folder: the run's.
        step: after which the run begins, or resumes.
        settings: of the run, as plain values.

    Raises:
        ModuleNotFoundError: see `check`.
        OSError: a client cannot start or resume its run; the message has the client's reason.
    """
    check(names)
    board, place = _client("tensorboard"), folder / "trackers.json"
    trackers: list[Tracker] = [TensorBoard(board.SummaryWriter(str(folder), purge_step=step + 1))] if board else []
    ids = read_json(place, dict[str, str], "the ids of a run in its trackers") if place.exists() and step else {}
    for name, kind in (("wandb", Wandb), ("mlflow", MLflow)):
        if name not in names:
            continue
        try:
            trackers.append(own := kind(folder, settings, ids.get(name)))
        except Exception as error:  # of any kind that the client has: no key, no server, a run that was deleted
            raise OSError(f"loggers={name}: its client cannot start or resume a run: {error}") from error
        ids[name] = own.id
    if ids:
        write_json(place, ids)
    return trackers


class TensorBoard:
    """TensorBoard's events, in the run's folder.

    Args:
        writer: a `SummaryWriter` of torch or tensorboardX.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def add_sheet(self, sheet: np.ndarray, step: int) -> None:
        """See `Tracker`."""
        self._writer.add_image(SHEETS, sheet, step, dataformats="HWC")

    def add_graph(self, net: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
        """Trace the network with an input of that shape; it is left in evaluation mode."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of every size that is read
            self._writer.add_graph(net.eval(), torch.zeros(shape, device=device))

    def close(self, *, failed: bool) -> None:
        """See `Tracker`."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases; see `opened`.

    Attributes:
        id: of the run.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], known: str | None) -> None:
        self._wandb = _client("wandb")
        self._run = self._wandb.init(
            name=str(folder), dir=str(folder), config=dict(settings), id=known, resume="allow" if known else None
        )
        self.id = str(self._run.id)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def add_sheet(self, sheet: np.ndarray, step: int) -> None:
        """See `Tracker`."""
        self._run.log({SHEETS: self._wandb.Image(sheet)}, step=step)

    def close(self, *, failed: bool) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=int(failed))


class MLflow:
    """A run of MLflow; see `opened`. Names keep what MLflow allows: "coco/AP (M)" becomes "coco/AP M".

    Attributes:
        id: of the run.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], known: str | None) -> None:
        self._client = _client("mlflow").MlflowClient()
        if known:
            self.id = known
            self._client.update_run(known, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "posewright")
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self.id = str(self._client.create_run(number, run_name=str(folder)).info.run_id)
        for setting, value in settings.items():
            self._client.log_param(self.id, setting, str(value)[:500])

    def add(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._client.log_metric(self.id, re.sub(r"[^\w\-. :/]", "", name), value, step=step)

    def add_sheet(self, sheet: np.ndarray, step: int) -> None:
        """See `Tracker`."""
        with tempfile.TemporaryDirectory() as folder:
            write_image(path := Path(folder, f"step{step}.jpg"), sheet)
            self._client.log_artifact(self.id, str(path), "samples")

    def close(self, *, failed: bool) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


def _client(name: Name) -> Any:
    """The module of a tracker's client, or None; TensorBoard's events are written by torch or by tensorboardX."""
    written_by = {"tensorboard": ("torch.utils.tensorboard", "tensorboardX")}
    for module in ("torch.utils.tensorboard", "tensorboardX", "wandb", "mlflow"):
        try:
            if module in written_by.get(name, (name,)):
                return importlib.import_module(module)
        except ImportError:
            continue
    return None
