"""A page from what lies in a folder: a run's log, results, and what was written beside them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from posewright import coco_format
from posewright.data import formats
from posewright.data import sources as annotated
from posewright.evaluate import evaluator
from posewright.evaluate.comparison import Contender
from posewright.files import read_json
from posewright.predict.predictor import load
from posewright.report import page
from posewright.weights.checkpoint import describe


def write_page(
    source: Path,
    annotations: str = "",
    images: str | os.PathLike[str] | None = None,
    out: Path | None = None,
    weights: str | os.PathLike[str] = "",
) -> Path:
    """Write the page of a run's folder, an evaluation's folder, or a results file; its path.

    Args:
        source: a folder with `results.json` and `metrics.json`, one with a run's log, or a results file. Of a run of
            several rounds, the last round that was evaluated, or else the last.
        annotations: the file, where the folder does not say it.
        images: the folder of its images; images that are not found are left out of the gallery.
        out: the page; by default `index.html` beside the results.
        weights: what found the results, for heatmaps in the gallery; by default a run's `best.pt`, where its metrics
            are those of the results.

    Raises:
        FileNotFoundError: there is no such file, or neither results nor a log.
        ValueError: a file is not what it should be, or nothing says which annotations the results are of.
    """
    source = _round(source)
    folder = source if source.is_dir() else source.parent
    out = out or folder / "index.html"
    if source.is_dir() and not (source / "results.json").is_file() and (source / "log.jsonl").is_file():
        page.write(out, f"Run {source.name}", "not evaluated yet", folder, page.Content())
        return out
    contender = Contender.of(source)
    path = Path(annotations or contender.annotations)
    if not path.name:
        raise ValueError(f"{source}: nothing says which annotations it is of: name them with --data")
    people = annotated.with_images_found(formats.read(path), images)
    results = [msgspec.to_builtins(entry) for entry in coco_format.read_results(contender.results)]
    evaluation = evaluator.evaluate_found(people, results, boxes=contender.boxes or "not stated")
    about = contender.results.with_name("metrics.json")
    told = read_json(about, dict[str, object], "the metrics.json of an evaluation") if about.is_file() else {}
    name = Path(str(told.get("name", contender.name))).stem
    best = folder / "best.pt"
    own = best.is_file() and (said := describe(best)) is not None and said.metrics == told.get("metrics")
    predictor = load(None, weights or best) if weights or own else None
    if predictor and predictor.spec.skeleton.points != people.skeleton.points:
        raise ValueError(f"{weights or best}: finds other points than {path} has; heatmaps need the same, in its order")
    content = page.sections(name, people, evaluation, settings="", predictor=predictor)
    page.write(out, f"Evaluation of {name}", f"{contender.results} on {path}", folder, content)
    return out


def _round(source: Path) -> Path:
    """The folder of the round to report where a folder has nothing but rounds, else the source."""
    if not source.is_dir() or any((source / name).is_file() for name in ("results.json", "log.jsonl")):
        return source
    numbered = [p for p in source.glob("round*") if p.name.removeprefix("round").isdecimal()]
    rounds = sorted(numbered, key=lambda p: int(p.name.removeprefix("round")))
    evaluated = [folder for folder in rounds if (folder / "results.json").is_file()]
    return (evaluated or rounds or [source])[-1]
