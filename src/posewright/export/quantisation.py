"""Networks in int8: calibrated on given images, and what that costs, in pixels and in points of AP or PCK."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from posewright.evaluate import evaluator
from posewright.predict.predictor import Predictor
from posewright.progress import bar, tick
from posewright.runtime.exported import ExportedNetwork
from posewright.runtime.graph import CROPS
from posewright.runtime.onnx_runtime import int8_model

if TYPE_CHECKING:
    from posewright.data.coco import KeypointDataset

MAX_LOSS = 0.5
"""Points of AP or PCK that int8 may cost, unless said otherwise."""
_MOST = 300
"""Crops to calibrate on; more change little."""


@dataclass(frozen=True, slots=True)
class Change:
    """What int8 changed.

    Attributes:
        median, p95: of the distance, in pixels of the crop, between keypoints of the same crops at float32 and in int8.
        crops: how many crops these are of.
        metric: "AP" or "PCK"; "" where no annotations were given.
        before: the metric at float32, 0..100.
        after: the metric in int8.
    """

    median: float
    p95: float
    crops: int
    metric: str = ""
    before: float = 0.0
    after: float = 0.0

    def __str__(self) -> str:
        moved = f"int8 moves keypoints by {self.median:.2f} pixels of the crop (median; 95 % by at most {self.p95:.2f})"
        if not self.metric:
            return f"{moved}; its loss was not measured: the images have no annotations"
        return f"{moved}; {self.metric} {self.before:.2f} at float32, {self.after:.2f} in int8"


@dataclass(frozen=True, slots=True)
class Before:
    """A predictor on the images to calibrate on, at float32."""

    crops: np.ndarray
    xy: np.ndarray
    flip: bool
    predictor: Predictor
    evaluation: evaluator.Evaluation | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What int8 is calibrated and evaluated on.

    Attributes:
        images: files, whose people are found as by `Predictor`, without boxes.
        people: annotated people, on whom the loss is measured as well; instead of images or beside them.
        max_loss: points of AP or PCK that int8 may cost.
    """

    images: Sequence[Path] = ()
    people: KeypointDataset | None = field(default=None, repr=False)
    max_loss: float = MAX_LOSS

    def run(self, predictor: Predictor, *, flip: bool) -> Before:
        """Run the predictor on all, and keep the crops.

        Raises:
            ValueError: there are no people in them.
        """
        recorder = _Recorder(predictor, flip=flip)
        with bar("calibrating", "images") as show:
            for done, _ in enumerate(recorder.many(self.images)):
                show(done + 1, len(self.images), "")
                if recorder.is_full:
                    break
        evaluation = self._evaluated(recorder, "at float32")
        if not recorder.kept:
            raise ValueError("int8 needs images to calibrate on, with people in them: none were given")
        crops, xy = (np.concatenate(arrays)[:_MOST] for arrays in zip(*recorder.kept))
        return Before(crops, xy, flip, predictor, evaluation)

    def compare(self, before: Before, network: ExportedNetwork, path: Path) -> Change:
        """What changed from a predictor to a file in int8.

        Raises:
            ValueError: it costs more than it may; the message names `path`, which is not written then.
        """
        spec = before.predictor.spec
        parts = [before.crops[start : start + 16] for start in range(0, len(before.crops), 16)]
        xy = np.concatenate([network.keypoints(part, spec, flip=before.flip)[0] for part in parts])
        moved = np.linalg.norm(xy - before.xy, axis=-1)
        median, p95 = np.quantile(moved, (0.5, 0.95)).tolist()
        after = self._evaluated(Predictor(spec, network, flip=before.flip, device="cpu"), "in int8")
        if before.evaluation is None or after is None:
            return Change(median, p95, len(xy))
        metric = evaluator.main_metric(after.metrics)
        points = [100 * evaluation.metrics[metric] for evaluation in (before.evaluation, after)]
        change = Change(median, p95, len(xy), metric, *points)
        if not change.before - change.after <= self.max_loss:
            raise ValueError(
                f"{path}: not written: {change}; at most {self.max_loss:g} points may be lost: calibrate on more "
                "images like those it is for, or raise --max-loss"
            )
        return change

    def _evaluated(self, predictor: Predictor, precision: str) -> evaluator.Evaluation | None:
        """The metrics of a predictor on the annotated people; None without any."""
        if self.people is None:
            return None
        with bar(f"evaluating {precision}", "images") as show:
            boxes = evaluator.boxes_for(self.people)
            return evaluator.evaluate(predictor, self.people, boxes, progress=tick(show))


class _Recorder(Predictor):
    """A predictor that keeps the first crops that it sees, and their keypoints."""

    def __init__(self, predictor: Predictor, *, flip: bool) -> None:
        net: Any = predictor.net
        super().__init__(predictor.spec, net.__call__, flip=flip, batch=predictor.batch, device=predictor.device)
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []

    def keypoints(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xy, score = super().keypoints(crops)
        if not self.is_full:
            self.kept.append((crops.copy(), xy))
        return xy, score

    @property
    def is_full(self) -> bool:
        return sum(len(crops) for crops, _ in self.kept) >= _MOST


def quantised(model: Any, target: Literal["onnx", "openvino"], crops: np.ndarray) -> Any:
    """A model whose network computes in int8, and all around it at float32.

    Args:
        model: of `graph.PoseGraph`, as onnx or openvino have it.
        target: which of them.
        crops: [N, H, W, 3] uint8 RGB to calibrate on.

    Raises:
        ModuleNotFoundError: nncf, or ONNX Runtime, is not installed; the message says how to get it.
    """
    items = [crops[place : place + 1] for place in range(len(crops))]
    try:
        with _quiet():
            return _by_onnx_runtime(model, items) if target == "onnx" else _by_nncf(model, items)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"int8 for {target} needs {error.name}: `pip install posewright[{target}]`") from None


def _by_nncf(model: Any, items: list[np.ndarray]) -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers
    import nncf

    nncf.set_log_level(logging.ERROR)
    outside = nncf.IgnoredScope(patterns=["^(?!/net/).*"], validate=False)
    return nncf.quantize(model, nncf.Dataset(items), ignored_scope=outside, subset_size=len(items))


def _by_onnx_runtime(model: Any, items: list[np.ndarray]) -> Any:
    outside = [node.name for node in model.graph.node if not node.name.startswith("/net/")]
    return int8_model(model, ({CROPS: item} for item in items), outside)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and log lines of other libraries."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
