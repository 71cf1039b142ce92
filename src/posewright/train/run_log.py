"""A run's log: one row per line, as JSON and as CSV, and what experiment trackers get of it."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
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
from posewright.progress import say
from posewright.report.run_folder import read_log
from posewright.train import trackers

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
"""Trackers' name of each metric: HRNet's for training, mmpose's for COCO."""


class RunLog:
    """Appends rows to `log.jsonl` and `log.csv`, and gives their numbers to the trackers; TensorBoard if installed.

    A resumed run continues at the step of its checkpoint; rows of steps beyond it, which it will do again, are dropped.
    A tracker that fails while the run goes on is left out from then on, and that is reported: the files have all.

    Args:
        folder: the run's.
        step: after which it begins.
        loggers: further trackers.
        settings: of the run, for them.

    Raises:
        ModuleNotFoundError, OSError: see `trackers.opened`.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        loggers: Sequence[trackers.Name] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._trackers = trackers.opened(loggers, folder, step, settings or {})
        rows = [row for row in read_log(folder) if row["step"] <= step]
        self._json, self._csv = folder / "log.jsonl", folder / "log.csv"
        write_bytes(self._json, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        write_text(self._csv, ",".join(COLUMNS) + "\n" + "".join(map(_csv_line, rows)))
        self._files = self._json.open("ab", buffering=0), self._csv.open("ab", buffering=0)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; it is on disk when this returns."""
        finite = {k: v for k, v in row.items() if not (isinstance(v, float) and not math.isfinite(v))}
        for file, line in zip(self._files, (msgspec.json.encode(finite) + b"\n", _csv_line(finite).encode())):
            try:
                file.write(line)  # unbuffered, so that nothing is left to fail when the file is closed
            except OSError as error:
                raise OSError(error.errno, f"cannot write {file.name}: {error.strerror}") from None
        values = {TAGS[name]: finite[name] for name in finite if name in TAGS}
        step: int = row["step"]
        self._track(lambda tracker: tracker.add(values, step))

    def add_sheet(self, step: int, sheet: np.ndarray) -> None:
        """Keep the latest sheet of training samples, [H, W, 3] uint8 RGB, as `batch.jpg`, and all in the trackers."""
        write_image(self._json.with_name("batch.jpg"), sheet)
        self._track(lambda tracker: tracker.add_sheet(sheet, step))

    def add_graph(self, net: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
        """Give TensorBoard the network's graph, traced with an input of that shape; it is left in evaluation mode."""
        for board in self._trackers:
            if isinstance(board, trackers.TensorBoard):
                board.add_graph(net, shape, device)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        self._track(lambda tracker: tracker.close(failed=error is not None))

    def _track(self, give: Callable[[trackers.Tracker], None]) -> None:
        for tracker in tuple(self._trackers):
            try:
                give(tracker)
            except Exception as error:  # a server that is down must not end days of training
                self._trackers.remove(tracker)
                say(f"{type(tracker).__name__} gets no more of this run: {error}; log.jsonl has all")


def _csv_line(row: dict[str, Any]) -> str:
    text = StringIO()
    csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n").writerow(row)
    return text.getvalue()
