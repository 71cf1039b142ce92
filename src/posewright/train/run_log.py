"""A run's log: one row per line, as JSON and as CSV, and for TensorBoard where that is installed."""

from __future__ import annotations

import csv
import importlib
import math
import warnings
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from posewright.files import write_bytes, write_text
from posewright.image import write as write_image
from posewright.report.run_folder import read_log

COLUMNS: tuple[str, ...] = (
    "step", "epoch", "lr", "loss", "accuracy", "samples_per_second", "data_share",
    "AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L", "PCK",
)  # fmt: skip
"""The CSV's columns; training rows fill the first ones, evaluation rows the last ones."""

TAGS = {
    "loss": "train_loss", "accuracy": "train_acc", "lr": "lr", "PCK": "PCK",
    "samples_per_second": "samples_per_second", "data_share": "data_share",
    "AP": "coco/AP", "AP50": "coco/AP .5", "AP75": "coco/AP .75", "AP_M": "coco/AP (M)", "AP_L": "coco/AP (L)",
    "AR": "coco/AR", "AR50": "coco/AR .5", "AR75": "coco/AR .75", "AR_M": "coco/AR (M)", "AR_L": "coco/AR (L)",
}  # fmt: skip
"""TensorBoard's name of each metric: HRNet's for training, mmpose's for COCO."""


class RunLog:
    """Appends rows to `log.jsonl` and `log.csv`, and to TensorBoard's events if tensorboard or tensorboardX is there.

    A resumed run continues at the step of its checkpoint; rows of steps beyond it, which it will do again, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        rows = [row for row in read_log(folder) if row["step"] <= step]
        self._json, self._csv = folder / "log.jsonl", folder / "log.csv"
        write_bytes(self._json, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        write_text(self._csv, ",".join(COLUMNS) + "\n" + "".join(map(_csv_line, rows)))
        self._files = self._json.open("ab", buffering=0), self._csv.open("ab", buffering=0)
        self._board = _board(folder, step)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; it is on disk when this returns."""
        finite = {k: v for k, v in row.items() if not (isinstance(v, float) and not math.isfinite(v))}
        for file, line in zip(self._files, (msgspec.json.encode(finite) + b"\n", _csv_line(finite).encode())):
            try:
                file.write(line)  # unbuffered, so that nothing is left to fail when the file is closed
            except OSError as error:
                raise OSError(error.errno, f"cannot write {file.name}: {error.strerror}") from None
        for name in finite if self._board else ():
            if name in TAGS:
                self._board.add_scalar(TAGS[name], finite[name], finite["step"])

    def add_sheet(self, step: int, sheet: np.ndarray) -> None:
        """Keep the latest sheet of training samples, [H, W, 3] uint8 RGB, as `batch.jpg`, and all in TensorBoard."""
        write_image(self._json.with_name("batch.jpg"), sheet)
        if self._board:
            self._board.add_image("samples: image, target, prediction", sheet, step, dataformats="HWC")

    def add_graph(self, net: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
        """Give TensorBoard the network's graph, traced with an input of that shape; it is left in evaluation mode."""
        if self._board:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tracing warns of every size that is read
                self._board.add_graph(net.eval(), torch.zeros(shape, device=device))

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        if self._board:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    """Writes TensorBoard's events, as torch or tensorboardX does it; None where neither can."""
    for module in ("torch.utils.tensorboard", "tensorboardX"):
        try:
            return importlib.import_module(module).SummaryWriter(str(folder), purge_step=step + 1)
        except ImportError:
            continue
    return None


def _csv_line(row: dict[str, Any]) -> str:
    text = StringIO()
    csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n").writerow(row)
    return text.getvalue()
