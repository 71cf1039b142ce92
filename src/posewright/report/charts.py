"""What the charts of a page show: the curves of a run, and what an evaluation's diagnosis adds; drawn by uPlot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posewright.evaluate._groups import parts_of
from posewright.evaluate.calibration import outcomes
from posewright.evaluate.diagnosis import Diagnosis
from posewright.evaluate.evaluator import Evaluation
from posewright.report.run_folder import read_log

Points = list[tuple[float, float]]

_MOST = 2000  # points per curve: more cannot be told apart
_WORST_PARTS = 3
_BINS = 12  # of scores


@dataclass(frozen=True, slots=True)
class Chart:
    """Several series of (x, y) points over one axis.

    Attributes:
        title: what y is.
        x_label: what x is.
        series: points by name, from the left to the right.
        note: one line below the chart.
    """

    title: str
    x_label: str
    series: dict[str, Points]
    note: str = ""

    def content(self) -> dict[str, Any]:
        """As the page's script wants it: all x once, and for each series a y, or None, at each."""
        xs = sorted({x for points in self.series.values() for x, _ in points})
        columns = [[dict(points).get(x) for x in xs] for points in self.series.values()]
        columns = [[y if y is None or math.isfinite(y) else None for y in column] for column in columns]
        return {"title": self.title, "x": self.x_label, "names": list(self.series), "data": [xs, *columns]} | (
            {"note": self.note} if self.note else {}
        )


def curves(run: Path) -> list[Chart]:
    """Of a run's log: loss, accuracy while training, learning rate, and AP (or PCK) of the evaluations."""
    rows = read_log(run)
    drawn = []
    for title, keys in (
        ("loss", ("loss",)),
        ("accuracy on training crops", ("accuracy",)),
        ("AP", ("AP", "AP50", "AP75")),
        ("PCK", ("PCK",)),
        ("learning rate", ("lr",)),
    ):
        series = {key: [(float(r["step"]), float(r[key])) for r in rows if key in r] for key in keys}
        series = {key: _thinned(points) for key, points in series.items() if points}
        if series:
            drawn.append(Chart(title, "step", series))
    return drawn


def of_evaluation(evaluation: Evaluation, diagnosis: Diagnosis, results: list[dict[str, Any]]) -> list[Chart]:
    """Precision over recall, people over OKS, points over distance, and what scores say."""
    d = diagnosis
    charts = []
    if evaluation.measured and evaluation.measured.metrics["AP"] >= 0:
        recall = np.linspace(0, 1, 101)
        lines = {f"OKS {0.5 + n / 20:.2f}": evaluation.measured.precision[n] for n in (0, 3, 5, 7, 9)}
        series = {name: list(zip(recall.tolist(), line.tolist())) for name, line in lines.items()}
        charts.append(Chart("precision", "recall", series))
    measure = "OKS" if d.metric == "AP" else "mean similarity"
    limits = np.linspace(0, 1, 101)
    share = (d.similarity[:, None] >= limits).mean(0) if len(d.people) else np.zeros(101)
    share[0] = (d.result >= 0).mean() if len(d.people) else 0
    named = {"people": list(zip(limits.tolist(), share.tolist()))}
    charts.append(Chart(f"share of people found with that {measure} or more", measure, named))
    charts.append(_points_over_distance(d, results))
    if len(d.results):
        charts.append(_reliability(d, results))
    return charts


def _points_over_distance(d: Diagnosis, results: list[dict[str, Any]]) -> Chart:
    """PCK over its threshold, in longer sides of the box: of all points, and of the worst parts."""
    xy = np.full((len(d.people), len(d.skeleton.points), 2), np.inf)
    for n in np.flatnonzero(d.result >= 0):
        xy[n] = np.reshape(results[d.result[n]]["keypoints"], (-1, 3))[:, :2]
    away = (
        np.hypot(*np.moveaxis(xy - d.people.keypoints[..., :2], -1, 0))
        / np.maximum(d.people.box[:, 2:].max(1), 1)[:, None]
    )
    limits = np.linspace(0, 0.3, 61)

    def line(points: np.ndarray) -> Points:
        counted = away[:, points][d.kind[:, points] > 0]
        share = (counted[:, None] < limits).mean(0) if len(counted) else np.zeros(len(limits))
        return list(zip(limits.tolist(), share.tolist()))

    parts = {name: line(mask) for name, mask in parts_of(d.skeleton).items() if (d.kind[:, mask] > 0).any()}
    worst = sorted(parts, key=lambda name: sum(y for _, y in parts[name]))[:_WORST_PARTS]
    series = {"all points": line(np.ones(len(d.skeleton.points), bool))} | {name: parts[name] for name in worst}
    return Chart("PCK", "threshold, in longer sides of the box", series, "Of all points, and of the worst parts.")


def _reliability(d: Diagnosis, results: list[dict[str, Any]]) -> Chart:
    """How often detections of a score are right (`calibration.outcomes`), in bins of equally many."""
    score, right, _ = outcomes(d, results)
    order = np.argsort(score, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order))) if len(order) else []
    found = [(float(score[b].mean()), float(right[b].mean())) for b in bins]
    top = max((x for x, _ in found), default=1.0)
    measure = "OKS" if d.metric == "AP" else "similarity"
    series = {f"share with {measure} > 0.5": sorted(dict(found).items()), "as a probability": [(0.0, 0.0), (1.0, 1.0)]}
    note = "" if top <= 1 else "Scores above 1 are no probabilities: posewright calibrate makes them ones."
    return Chart("share of right detections", "score", series, note)


def _thinned(points: Points) -> Points:
    step = -(-len(points) // _MOST)
    return points[::step] + points[-1:] * ((len(points) - 1) % step > 0)
