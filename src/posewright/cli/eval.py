"""`posewright eval`: weights or a results file against annotations."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posewright.cli._options import Commands, answer, command, existing, model_options, predictor_of

if TYPE_CHECKING:
    from posewright.evaluate.evaluator import Options
    from posewright.report.page import Content

METRICS = ("AP", "PCK", "PCKh", "AUC", "EPE", "NME", "animal", "RMSE")


_OF_WEIGHTS = (
    "weights", "device", "runtime", "flip_test", "precision", "max_pixels", "contact_sheets", "box_threshold",
    "box_nms", "keypoint_threshold", "oks_threshold", "oks_visibility", "codec", "soft_nms",
)  # fmt: skip
"""Options of how weights are run and of what is kept of their poses, which mean nothing where a file has the poses."""


def add(commands: Commands) -> None:
    about = "evaluate weights, or a results file, with the ten COCO metrics (or PCK where a skeleton has no sigmas)"
    parser = command(commands, "eval", run, about, aliases=["val", "test"])
    parser.add_argument(
        "--data",
        required=True,
        metavar="JSON",
        type=existing,
        help="annotations: COCO's, MPII's, or any of `posewright data formats`",
    )
    parser.add_argument(
        "--images", metavar="FOLDER", type=existing, help="folder of their images, where it is not beside them"
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="take images whose names lead out of the folder of the images"
    )
    parser.add_argument(
        "--boxes",
        default="",
        metavar="gt|JSON",
        type=lambda text: text if text == "gt" else existing(text),
        help="annotated boxes, or a detections JSON (default: gt); with --results what they were found with, which "
        "`compare` asks for",
    )
    parser.add_argument(
        "--results", metavar="JSON", type=existing, help="evaluate this results file instead of running weights"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="runs/eval",
        help="folder for metrics.json, results.json and index.html, their page (default: %(default)s)",
    )
    parser.add_argument(
        "--contact-sheets", action="store_true", help="also draw sheets of the worst, random and best cases"
    )
    model_options(parser)
    _add_rules(parser.add_argument_group("what evaluations vary (by default as published)"))


def _add_rules(rules: argparse._ArgumentGroup) -> None:  # the class has no public name
    rules.add_argument("--metric", choices=METRICS, default="", help="instead of AP, or PCK where there are no sigmas")
    for flag, help_text in (
        ("pck-threshold", "PCK per keypoint beside AP, at this threshold; or the threshold of PCK"),
        ("box-threshold", "leave out boxes with a lower score"),
        ("box-nms", "of boxes with a larger overlap (IoU) keep the best-scored"),
        ("keypoint-threshold", "keypoints with a higher score make a pose's score (published: 0.2)"),
        ("oks-threshold", "of poses with a larger OKS keep the best-scored (published: 0.9)"),
        ("oks-visibility", "in that OKS, count only keypoints with a higher score"),
    ):
        rules.add_argument(f"--{flag}", type=float, metavar="NUMBER", help=help_text)
    rules.add_argument(
        "--p-cutoff", type=float, metavar="NUMBER", default=0.6, help="with RMSE: DeepLabCut's (default: %(default)s)"
    )
    rules.add_argument(
        "--codec",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change how maps are decoded and mirrored, such as quarter=false; a wrong key is answered with right ones",
    )
    rules.add_argument("--soft-nms", action="store_true", help="soft OKS-NMS instead of the greedy one")
    rules.add_argument(
        "--drop-unconfident", action="store_true", help="leave out poses without any confidence, as xtcocotools does"
    )


def run(options: argparse.Namespace) -> int:
    from posewright.evaluate import comparison, evaluator

    fields = evaluator.Options.__dataclass_fields__
    rules = evaluator.Options(**{name: getattr(options, name) for name in fields})
    data = {"data": comparison.fingerprint(options.data)}
    (_of_results if options.results else _of_weights)(options, rules, data)
    return 0


def _of_results(options: argparse.Namespace, rules: Options, data: dict[str, Any]) -> None:
    from posewright.data import formats, sources
    from posewright.evaluate import evaluator, printing
    from posewright.files import write_bytes
    from posewright.report import page

    given = [name for name in _OF_WEIGHTS if getattr(options, name) != options.parser.get_default(name)]
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"--results has poses already, and no weights are run: leave out {named}, or --results")
    name, read = options.results, formats.read(options.data)
    evaluation = evaluator.evaluate_results(read, name, options=rules, boxes=options.boxes)
    model = options.model or Path(name).stem
    try:
        people = sources.with_images_found(read, options.images, allow_outside=options.allow_outside)
        content = page.sections(model, people, evaluation, settings="")
    except ValueError as error:  # such as categories with different points, which AP can do
        content = page.summary(model, evaluation, reason=str(error))
    lines = printing.lines(evaluation, Path(name).stem)
    saved = printing.as_dict(evaluation, name) | data
    copy = Path(options.out, "results.json")  # so that `compare` and `report` find them beside their metrics
    if copy.resolve() != Path(name).resolve():
        write_bytes(copy, Path(name).read_bytes())
    _finish(options, content, lines, saved, str(copy))


def _of_weights(options: argparse.Namespace, rules: Options, data: dict[str, Any]) -> None:
    from posewright.data.skeleton_file import people_for
    from posewright.evaluate import evaluator, printing
    from posewright.files import write_json
    from posewright.models import codec_changes
    from posewright.progress import bar, tick
    from posewright.report import gallery, page
    from posewright.train.settings import parsed

    predictor = predictor_of(options, dict(parsed(change, "--codec") for change in options.codec))
    name, changed = predictor.spec.name, codec_changes(predictor.spec)
    people = people_for(predictor.spec.skeleton, options.data, options.images, allow_outside=options.allow_outside)
    detections = "" if options.boxes == "gt" else options.boxes
    boxes = evaluator.boxes_for(people, detections, options.box_threshold or 0.0)
    with bar("evaluating", "images") as show:
        evaluation = evaluator.evaluate(predictor, people, boxes, options=rules, progress=tick(show))
    write_json(results := Path(options.out, "results.json"), evaluator.with_file_points(evaluation.results, people))
    plain = {k: v for k, v in vars(options).items() if isinstance(v, (str, int, float)) and k not in ("quiet", "json")}
    settings = json.dumps(plain | {"codec": changed}, indent=2)
    content = page.sections(name, people, evaluation, settings=settings, predictor=predictor)
    lines = [people.summary()]
    if changed:
        lines += [f"codec not as published: {', '.join(f'{k}={json.dumps(v)}' for k, v in changed.items())}"]
    if options.flip_test is None and not predictor.flip:
        lines += [f"no flip test, because {predictor.spec.skeleton.name} has no mirror pairs (--flip-test does it)"]
    if len(people.skeleton.points) < len(predictor.spec.skeleton.points):
        alone = [p for p in predictor.spec.skeleton.points if p not in people.skeleton.points]
        lines += [
            f"evaluated on the {len(people.skeleton.points)} points that both name; {name} alone finds "
            f"{', '.join(alone)}: not comparable with metrics of all points"
        ]
    if people.skeleton.sigmas and people.channels and not people.channels.sigmas:
        lines += [f"{options.data} has no OKS sigmas: AP is by those of {options.weights or name}"]
    lines += printing.lines(evaluation, name)
    saved = printing.as_dict(evaluation, name) | data | ({"codec": changed} if changed else {})
    contact_sheets = gallery.write_sheets(results.parent, people, evaluation) if options.contact_sheets else []
    _finish(options, content, lines, saved, str(results), contact_sheets)


def _finish(
    options: argparse.Namespace,
    content: Content,
    lines: list[str],
    saved: dict[str, Any],
    results: str,
    contact_sheets: Sequence[Path] = (),
) -> None:
    """Write metrics.json and the page, and print the metrics' lines, the published row and the largest losses."""
    from posewright.files import write_json
    from posewright.report import page

    metrics, index = Path(options.out, "metrics.json"), Path(options.out, "index.html")
    lines += [f"| {' | '.join(row)} |" for row in content.metrics[2:]]  # what was published stands below the own row
    if saved["metrics"].keys() & {"AP", "PCK"}:
        lines += ["", *content.losses] if content.losses else []
        found = content.diagnosis
        saved |= {"losses": found.alone, "errors": found.counts()} if found else {}
    write_json(metrics, saved)
    page.write(index, f"Evaluation of {content.metrics[1][0]}", f"on {options.data}", Path(options.out), content)
    lines += ["", f"metrics: {metrics}, results: {results}, page: {index}"]
    lines += [f"contact sheets: {', '.join(map(str, contact_sheets))}"] if contact_sheets else []
    told = {name: saved[name] for name in ("metrics", "boxes", "rule", "pck", "codec") if name in saved}
    answer(options, "\n".join(lines), model=content.metrics[1][0], **told, results=results, page=index)
