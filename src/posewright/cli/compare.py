"""`posewright compare`: several results on the same ground truth and boxes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, command, existing

if TYPE_CHECKING:
    from posewright.evaluate.comparison import Difference


def add(commands: Commands) -> None:
    about = "compare results on the same ground truth and boxes: metrics, points, and the cases that changed most"
    parser = command(commands, "compare", run, about)
    parser.add_argument(
        "results", nargs="+", metavar="FOLDER|JSON", type=existing, help="folders that `eval` has written, or results"
    )
    parser.add_argument(
        "--data", default="", metavar="JSON", type=existing, help="the annotations, where the folders do not say it"
    )
    parser.add_argument("--cases", type=int, default=10, metavar="N", help="cases to list (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from posewright.evaluate import comparison, printing

    if len(options.results) < 2:
        raise ValueError(f"expected two results or more to compare, got {len(options.results)}")
    contenders = comparison.distinct([comparison.Contender.of(path) for path in options.results])
    found = comparison.compare(contenders, options.data)
    boxes = next((c.boxes for c in contenders if c.boxes), "not stated")
    rows = [printing.markdown_row(d.metrics, d.name, boxes).splitlines() for d in found]
    lines = [*rows[0], *(row[-1] for row in rows[1:])]
    if unstated := [c.name for c in contenders if not c.boxes]:
        lines += ["", f"where the boxes of {', '.join(unstated)} are from is not known: a difference may be theirs"]
    lines += [line for other in found[1:] for line in _differences(found[0], other, options.cases)]
    values = {"metrics": {d.name: d.metrics for d in found}, "boxes": boxes}
    values |= {"differences": {d.name: d.main for d in found[1:]}}
    answer(options, "\n".join(lines), **values)
    return 0


def _differences(first: Difference, other: Difference, count: int) -> list[str]:
    import numpy as np

    d = other.diagnosis
    lines = ["", f"{other.name} against {first.name} (95 % intervals of a bootstrap over images):", ""]
    lines += [f"| what | difference of {d.metric} or of the share of good points | interval | |", "|---|---:|---:|---|"]
    named = [(d.metric, np.array(other.main)), *zip(d.skeleton.points, other.points)]
    for name, (change, low, high) in named:
        told = "" if low <= 0 <= high else "better" if change > 0 else "worse"
        lines.append(f"| {name} | {change:+.3f} | {low:+.3f} to {high:+.3f} | {told} |")
    order = np.argsort(-np.abs(other.changes), kind="stable")[:count]
    changed = [n for n in order if other.changes[n]]
    lines += ["", f"changed most ({'OKS' if d.metric == 'AP' else 'mean similarity'}):"] if changed else []
    for n in changed:
        was, now = first.diagnosis.similarity[n], d.similarity[n]
        lines.append(f"  image {d.people.image_id[n]}, person {d.people.id[n]}: {was:.2f} -> {now:.2f}")
    return lines
