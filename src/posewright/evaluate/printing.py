"""Metrics in words: pycocotools' lines, Markdown tables, and what explains a metric of 0 or -1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from posewright.evaluate.coco_ap import LEVELS, METRICS, CocoMetrics
from posewright.evaluate.diagnosis import MENDED, MISPLACED, POINT_KINDS, Diagnosis
from posewright.evaluate.evaluator import Evaluation
from posewright.evaluate.ground_truth import MOST, SIZES
from posewright.weights import hub

_HEADINGS = {"AP50": "Ap .5", "AP75": "AP .75", "AP_M": "AP (M)", "AP_L": "AP (L)"}
_HEADINGS |= {"AR50": "AR .5", "AR75": "AR .75", "AR_M": "AR (M)", "AR_L": "AR (L)"}

_PUBLISHED = {"AP_M": "APM", "AP_L": "APL", "AR_M": "ARM", "AR_L": "ARL"}

_LOSSES = {
    "miss": "points found nowhere near (misses)",
    "swap": "points on another person (swaps)",
    "inversion": "left taken for right (inversions)",
    "jitter": "points near their place but not on it (jitter)",
    "score order": "scores that rank worse detections above better ones",
    "duplicate": "second detections of one person",
    "background": "detections of no person",
    "missed person": "people who were not found",
}
_WHERE = {"size": "in {} people", "visible keypoints": "in people with {} visible", "view": "in people seen {}"}
_WHERE |= {"crowding": "in people with {}"}
_LEAST_LOSS, _LEAST_LIFT = 0.0005, 1.2


def loss_lines(diagnosis: Diagnosis, count: int = 3) -> list[str]:
    """The largest losses in plain words, each with what mending it alone would bring; nothing where all is well.

    A group of people is named where it has more than half of the errors, and clearly more than its share of points.
    """
    d = diagnosis
    ranked = sorted((kind for kind in MENDED if kind in _LOSSES), key=lambda kind: -d.alone[kind])
    lines = [_loss_line(d, kind) for kind in ranked[:count] if d.alone[kind] >= _LEAST_LOSS]
    return [f"largest losses of {d.metric} (what mending each alone would add):", *lines] if lines else []


def _loss_line(d: Diagnosis, kind: str) -> str:
    counts = d.counts()
    line = f"  {100 * d.alone[kind]:4.1f}  {_LOSSES[kind]}"
    if kind == "score order":  # within an image or between images; only the former can be counted
        return line + (f"; {counts[kind]} people have a better detection" if counts[kind] else "")
    line += f": {counts[kind]}"
    if kind in ("duplicate", "background"):
        return line
    share = f" of {len(d.people)} people"
    weight = np.sum(d.kind == POINT_KINDS.index(kind), axis=1)
    if kind in MISPLACED:
        part, gain = max(d.parts[kind].items(), key=lambda item: item[1])
        share = f" of {int((d.kind > 0).sum())} points"
        share += f", {100 * gain:.1f} of it by the {part.replace('_', ' ')}" if gain >= _LEAST_LOSS else ""
    telling = ((*g.telling(weight, np.sum(d.kind > 0, axis=1)), name) for name, g in d.groups.items())
    label, lift, name = max(telling, key=lambda found: found[1] * bool(found[0]))
    return line + share + (f", mostly {_WHERE[name].format(label)}" if label and lift >= _LEAST_LIFT else "")


def published_row(spec: str, boxes: str, names: list[str]) -> str:
    """The row of a Markdown table with what was published for a pose system with such boxes; empty where nothing was.

    Args:
        spec: its name.
        boxes: where they come from; "gt" are annotated boxes, all others are detected ones.
        names: of the metrics that are the columns.
    """
    found = hub.published(spec, "gt" if boxes == "gt" else "detected") if spec else None  # some published have no name
    if not found:
        return ""
    values = [found.metrics.get(_PUBLISHED.get(name, name)) for name in names]
    data = hub.table()[found.weights].data if found.weights in hub.table() else "its own data"
    cells = [f"published on {data} ({found.source})", *("–" if v is None else f"{v:.3f}" for v in values)]
    return f"| {' | '.join([*cells, found.detector or found.boxes])} |"


def coco_lines(metrics: dict[str, float]) -> list[str]:
    """The ten COCO metrics in the words and the layout of pycocotools' summary; those of CrowdPose's levels follow."""
    lines = []
    for name in METRICS:
        title = "Average Precision" if name.startswith("AP") else "Average Recall"
        overlap = {"50": "0.50", "75": "0.75"}.get(name[2:], "0.50:0.95")
        size = {"_M": "medium", "_L": "large"}.get(name[2:], "all")
        where = f"IoU={overlap:<9} | area={size:>6} | maxDets={MOST:>3}"
        lines.append(f" {title:<18} ({name[:2]}) @[ {where} ] = {metrics[name]:.3f}")
    for level in LEVELS:
        if (name := f"AP_{level}") in metrics:
            where = f"IoU=0.50:0.95 | type={level:>6} | maxDets={MOST:>3}"
            lines.append(f" Average Precision  (AP) @[ {where} ] = {metrics[name]:.3f}")
    return lines


def markdown_row(metrics: dict[str, float], name: str, boxes: str) -> str:
    """A Markdown table of one row, as HRNet's evaluation ends with, and where the boxes came from in a last column.

    Args:
        metrics: any, by name; below 0 stands for none and is shown as a dash.
        name: of what was evaluated.
        boxes: where its boxes came from: metrics with annotated and with detected boxes do not compare.
    """
    heads = ["Arch", *(_HEADINGS.get(f, f) for f in metrics), "Boxes"]
    cells = [name, *("–" if v < 0 else f"{v:.3f}" for v in metrics.values()), boxes or "not given"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), cells))


def explain(measured: CocoMetrics) -> list[str]:
    """What lies behind metrics of -1 or 0, and what was left out; nothing where all is well."""
    m = measured
    lines = []
    if not m.people["all"]:
        lines.append("all metrics are -1: no person is annotated with a keypoint, crowds apart")
    elif not m.results:
        lines.append(f"AP is 0: there are no results for the {m.people['all']} annotated people")
    elif not m.found:
        lines.append(
            f"AP is 0: no result is of any of the {m.images} images with annotated people; compare the image ids"
        )
    elif m.metrics["AP"] <= 0:
        lines.append(
            f"AP is 0: {m.found} of {m.images} images with people have results, but the best result for each person "
            f"has a mean OKS of {m.best_oks:.3f}; is the network trained, are boxes x, y, width, height, and keypoints "
            "in pixels of the image and in the annotation's order?"
        )
    elif m.found < m.images / 2:
        lines.append(f"only {m.found} of {m.images} images with people have results; the others count as missed")
    if m.people["all"]:
        for size in ("medium", "large"):
            if not m.people[size]:
                name, (least, most) = size[0].upper(), SIZES[size]
                between = f"{least:.0f} to {most:.0f}" if most < 1e10 else f"{least:.0f} or more"
                lines.append(
                    f"AP_{name} and AR_{name} are -1: no ground truth of {size} size ({between} square pixels)"
                )
    return [*lines, *m.notes]


def summary(measured: CocoMetrics, name: str, notes: Sequence[str] = ()) -> list[str]:
    """All of it to print: the ten lines, what explains them, and the table row that ends with the boxes."""
    row = markdown_row(measured.metrics, name, measured.boxes).splitlines()
    return [*coco_lines(measured.metrics), *explain(measured), *notes, "", *row]


def lines(evaluation: Evaluation, name: str) -> list[str]:
    """An evaluation to print: AP's lines or why there is no AP, PCK per keypoint, and the table row.

    Args:
        evaluation: of `evaluator.evaluate` or `evaluator.evaluate_results`.
        name: of what was evaluated.
    """
    e = evaluation
    table = e.pck.markdown(e.points).splitlines() if e.pck else []
    if e.measured:
        return [*summary(e.measured, name, e.notes), *(["", f"{e.rule}:", *table] if table else [])]
    return [e.rule, *e.notes, *table, "", *markdown_row(e.metrics, name, e.boxes).splitlines()]


def as_dict(evaluation: Evaluation, name: str) -> dict[str, Any]:
    """An evaluation as it goes into metrics.json: its metrics, boxes, rule, PCK per point and precision-recall curves.

    Args:
        evaluation: of `evaluator.evaluate` or `evaluator.evaluate_results`.
        name: of what was evaluated.
    """
    e = evaluation
    content: dict[str, Any] = {"name": name, "metrics": e.metrics, "boxes": e.boxes, "rule": e.rule}
    if e.pck:
        content["pck"] = {"threshold": e.pck.threshold, "points": dict(zip(e.points, e.pck.value.tolist()))}
    if e.measured:
        content["notes"] = [*explain(e.measured), *e.notes]
        content["precision"] = {
            "recall": np.linspace(0, 1, 101).round(2).tolist(),
            **{f"OKS {t:.2f}": row for t, row in zip(np.arange(0.5, 1, 0.05), e.measured.precision.round(4).tolist())},
        }
    return content
