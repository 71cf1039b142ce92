"""`posewright eval`: weights or a results file against annotations."""

from __future__ import annotations

import argparse
from pathlib import Path

from posewright.cli._options import Commands, answer, command, existing, model_options, predictor_of


def add(commands: Commands) -> None:
    about = "evaluate weights, or a results file, with the ten COCO metrics (or PCK where a skeleton has no sigmas)"
    parser = command(commands, "eval", run, about, aliases=["val", "test"])
    parser.add_argument("--data", required=True, metavar="JSON", type=existing, help="COCO-format annotations")
    parser.add_argument(
        "--images", metavar="FOLDER", type=existing, help="folder of their images, where it is not beside them"
    )
    parser.add_argument(
        "--boxes",
        default="gt",
        metavar="gt|JSON",
        type=lambda text: text if text == "gt" else existing(text),
        help="annotated boxes, or a detections JSON",
    )
    parser.add_argument(
        "--results", metavar="JSON", type=existing, help="evaluate this results file instead of running weights"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", default="runs/eval", help="folder for results.json (default: %(default)s)"
    )
    parser.add_argument(
        "--contact-sheets", action="store_true", help="also draw sheets of the worst, random and best cases"
    )
    model_options(parser)


def run(options: argparse.Namespace) -> int:
    from posewright.evaluate import evaluator

    if options.results:
        measured = evaluator.measure(options.data, options.results, boxes=f"of {options.results}")
        lines = evaluator.summary(measured, Path(options.results).stem)
        answer(options, "\n".join(lines), metrics=measured.figures, boxes=measured.boxes, results=options.results)
        return 0
    from posewright.data.skeleton_file import people_for
    from posewright.files import write_json
    from posewright.progress import bar, tick

    predictor = predictor_of(options)
    people = people_for(predictor.spec.skeleton, options.data, options.images)
    boxes = evaluator.boxes_for(people, "" if options.boxes == "gt" else options.boxes)
    with bar("evaluating", "images") as show:
        evaluation = evaluator.evaluate(predictor, people, boxes, progress=tick(show))
    results = Path(options.out) / "results.json"
    write_json(results, evaluator.of_file(evaluation.results, people))
    lines = [people.summary()]
    if people.skeleton.sigmas and people.channels and not people.channels.sigmas:
        lines += [f"{options.data} has no OKS sigmas: AP is by those of {options.weights or predictor.spec.name}"]
    lines += [*evaluation.lines(predictor.spec.name), "", f"results: {results}"]
    if options.contact_sheets:
        from posewright.report.page import write_sheets

        lines += [f"contact sheets: {', '.join(map(str, write_sheets(results.parent, people, evaluation)))}"]
    said = {"metrics": evaluation.figures, "boxes": evaluation.boxes, "results": results}
    answer(options, "\n".join(lines), model=predictor.spec.name, **said)
    return 0
