"""One self-contained HTML page per run or evaluation: curves, metrics, losses, calibration, and a gallery.

Everything is inside the file: it opens from disk, without a network. The charts are drawn by uPlot (MIT licence, see
assets/uPlot-LICENSE), the rest by assets/page.js, from the JSON that this module puts into the page.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import draw
from posewright.data.dataset import KeypointDataset
from posewright.evaluate.diagnosis import MENDED, POINT_KINDS, Diagnosis, diagnose
from posewright.evaluate.evaluator import Evaluation
from posewright.evaluate.printing import explain, loss_lines, markdown_row, published_row
from posewright.files import write_text
from posewright.predict.predictor import Predictor
from posewright.report import charts
from posewright.report.cases import gallery

_DRAWN = 1000.0  # units across the drawn skeleton


@dataclass(frozen=True, slots=True)
class Content:
    """What a page shows of an evaluation.

    Attributes:
        about: lines about the data.
        metrics: rows of cells, the heads first; the published row, where there is one, last.
        losses: the largest losses in plain words, or why there is no failure analysis.
        charts: of the evaluation.
        errors: rows of kind, count, what mending it after those above adds, and what mending it alone would add.
        groups: rows of group, people, and what mending their errors adds, by the name of what groups them.
        skeleton: points with names, places and shares of errors, and bones, to be drawn; None without a diagnosis.
        cases: of the gallery.
        shown: how many of all those are.
        settings: JSON.
        diagnosis: the failure analysis that all of this is from, if any; the page does not hold it.
    """

    about: list[str] = field(default_factory=list)
    metrics: list[list[str]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    charts: list[charts.Chart] = field(default_factory=list)
    errors: list[list[str]] = field(default_factory=list)
    groups: dict[str, list[list[str]]] = field(default_factory=dict)
    skeleton: dict[str, Any] | None = None
    cases: list[dict[str, Any]] = field(default_factory=list)
    shown: str = ""
    settings: str = ""
    diagnosis: Diagnosis | None = None


def write(path: Path, title: str, subtitle: str, run: Path, content: Content) -> None:
    """Write the page: the run's curves, where it has a log, then the evaluation.

    Args:
        path: the HTML file, written atomically.
        title: heading.
        subtitle: one line under it.
        run: folder with a run's log; without one the page has no curves.
        content: the evaluation.
    """
    data = {name: getattr(content, name) for name in Content.__slots__ if name not in ("charts", "diagnosis")}
    data |= {"curves": [c.content() for c in charts.curves(run)], "charts": [c.content() for c in content.charts]}
    asset = {path.name: path.read_text(encoding="utf-8") for path in (files("posewright.report") / "assets").iterdir()}
    parts = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "style": asset["uPlot.min.css"] + asset["page.css"],
        "script": asset["uPlot.iife.min.js"] + "\n" + asset["page.js"],
        "data": msgspec.json.encode(data).decode().replace("<", "\\u003c"),  # so that no text can end the script
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], asset["page.html"])
    write_text(path, text)


def sections(
    name: str, people: KeypointDataset, evaluation: Evaluation, *, settings: str, predictor: Predictor | None = None
) -> Content:
    """What a page shows of a pose system, or of results, evaluated on a data set.

    Args:
        name: of the pose system, or of the results.
        people: the data set.
        evaluation: of `evaluator.evaluate`, with its results.
        settings: JSON, shown as it is.
        predictor: what found the results, for heatmaps in the gallery.
    """
    try:
        d = diagnose(people, evaluation.results, evaluation.pck.threshold if evaluation.pck else None)
    except ValueError as error:  # people of several files, which PCK can do
        return summary(name, evaluation, people, reason=str(error), settings=settings)
    cases, shown = gallery(d, evaluation.results, people.paths, predictor=predictor)
    return replace(
        summary(name, evaluation, people, settings=settings),
        losses=loss_lines(d),
        charts=charts.of_evaluation(evaluation, d, evaluation.results),
        errors=_errors(d),
        groups=_groups(d),
        skeleton=_drawn(d),
        cases=cases,
        shown=shown,
        diagnosis=d,
    )


def summary(
    name: str, evaluation: Evaluation, people: KeypointDataset | None = None, *, reason: str = "", settings: str = ""
) -> Content:
    """The metrics alone, beside what was published; `reason` says why there is no failure analysis."""
    table = markdown_row(evaluation.metrics, name, evaluation.boxes).splitlines()
    heads, _, row = (line.strip("| ").split(" | ") for line in table)
    published = published_row(name, evaluation.boxes, list(evaluation.metrics)) if evaluation.measured else ""
    rows = [heads, row, *([published.strip("| ").split(" | ")] if published else [])]
    about = [*(explain(evaluation.measured) if evaluation.measured else [evaluation.rule]), *evaluation.notes]
    losses = [f"no failure analysis: {reason}"] if reason else []
    return Content([people.summary(), *about] if people else about, rows, losses, settings=settings)


def _errors(d: Diagnosis) -> list[list[str]]:
    counts = d.counts()
    unit = dict.fromkeys(MENDED, "points") | dict.fromkeys(("duplicate", "background"), "detections")
    unit |= {"score order": "people", "missed person": "people"}
    names = {"good": "good, but not exact"}
    rows = [["error", "count", f"{d.metric} added", "alone"]]
    for kind in MENDED:
        gains = [f"{100 * gain:.1f}" for gain in (d.gains[kind], d.alone[kind])]
        rows.append([names.get(kind, kind), f"{counts[kind]:,} {unit[kind]}", *gains])
    return [*rows, [f"{d.metric} now, and with all mended", "", f"{100 * d.value:.1f}", "100.0"]]


def _groups(d: Diagnosis) -> dict[str, list[list[str]]]:
    rows = {}
    for name, group in d.groups.items():
        rows[name] = [[name, "people", "points good", f"{d.metric} lost to them"]]
        for n, label in enumerate(group.labels):
            kind = d.kind[group.index == n]
            labelled = int((kind > 0).sum())
            good = f"{(kind == POINT_KINDS.index('good')).sum() / labelled:.0%}" if labelled else "–"
            if len(kind):
                rows[name].append([label, f"{len(kind):,}", good, f"{100 * d.by_group[name][label]:.1f}"])
    return {name: table for name, table in rows.items() if len(table) > 1}


def _drawn(d: Diagnosis) -> dict[str, Any]:
    """The skeleton in its people's middle pose, and what share of each point's labels is of each kind of error."""
    labelled = d.kind > 0
    kinds = ("jitter", "inversion", "swap", "miss", "missed person")
    total = np.maximum(labelled.sum(0), 1)
    share = {kind: ((d.kind == POINT_KINDS.index(kind)).sum(0) / total).round(4).tolist() for kind in kinds}
    return {
        "points": list(d.skeleton.points),
        "xy": _layout(d).round(1).tolist(),
        "bones": d.skeleton.bone_index.tolist(),
        "boneColours": _css(draw.bone_colours(d.skeleton)),
        "pointColours": _css(draw.point_colours(d.skeleton)),
        "shares": share,
        "gains": (100 * d.points).round(2).tolist(),
        "labelled": labelled.sum(0).tolist(),
        "metric": d.metric,
        "measure": "OKS" if d.metric == "AP" else "similarity",
    }


def _layout(d: Diagnosis, near: float = 95.0) -> np.ndarray:
    """Places [K, 2] of the points: their medians in the box, of people seen from the front, pushed apart."""
    front = d.groups["view"].index == 0
    chosen = front if front.any() else np.ones(len(d.people), bool)
    box = d.people.box[chosen]
    xy = (d.people.keypoints[chosen, :, :2] - box[:, None, :2]) / np.maximum(box[:, None, 2:].max(2, keepdims=True), 1)
    xy = np.where(d.kind[chosen, :, None] > 0, xy, np.nan)
    known = np.isfinite(xy).any((0, 2))
    middle = np.full((d.kind.shape[1], 2), 0.5)
    middle[known] = np.nanmedian(xy[:, known], axis=0)
    turn = np.linspace(0, 2 * np.pi, len(middle), endpoint=False)
    place = middle * _DRAWN + np.stack([np.cos(turn), np.sin(turn)], 1)  # no two points at one place
    for _ in range(60):
        between = place[:, None] - place
        length = np.maximum(np.linalg.norm(between, axis=2), 1e-6)
        np.fill_diagonal(length, np.inf)
        push = np.maximum(near - length, 0) / 2
        place = place + (between / length[..., None] * push[..., None]).sum(1) * 0.5
    return place - place.min(0)


def _css(colours: list[tuple[int, int, int]]) -> list[str]:
    return [f"rgb({r},{g},{b})" for r, g, b in colours]
