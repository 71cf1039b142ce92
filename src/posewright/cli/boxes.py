"""`posewright boxes`: a detector's boxes in images, as a detections file for `eval --boxes` and `predict --boxes`."""

from __future__ import annotations

import argparse
from pathlib import Path

from posewright.cli._options import Commands, answer, command, existing, weights_file

LOWEST = 0.05


def add(commands: Commands) -> None:
    about = "find people in images with a detector, and write a detections file for `eval --boxes`"
    parser = command(commands, "boxes", run, about, aliases=["detect"])
    parser.add_argument(
        "images", nargs="+", type=existing, help="image files, folders, or .txt files with one image per line"
    )
    parser.add_argument(
        "--detector", metavar="ONNX", required=True, type=weights_file, help="a detector's file, or yolox-nano"
    )
    parser.add_argument("--recursive", action="store_true", help="take the images of sub-folders too")
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=existing,
        help="COCO annotations that say which image has which id (default: the number that an image's name ends in)",
    )
    parser.add_argument(
        "--box-threshold",
        type=float,
        metavar="SCORE",
        default=LOWEST,
        help="leave out boxes scored below this (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="JSON", help="file to write (default: runs/boxes/DETECTOR.json)")


def run(options: argparse.Namespace) -> int:
    from posewright.files import write_json
    from posewright.predict.boxes import YoloxDetector
    from posewright.predict.detecting import detections_in
    from posewright.progress import bar, tick
    from posewright.weights import hub

    detector = YoloxDetector(hub.resolve(options.detector), score=options.box_threshold)
    out = Path(options.out or f"runs/boxes/{Path(detector.name).stem}.json")
    with bar("detecting", "images") as report:
        found = detections_in(
            detector,
            options.images,
            annotations=options.annotations,
            recursive=options.recursive,
            progress=tick(report),
        )
    write_json(out, found.detections)
    lines = [*found.notes, *(f"skipped: {reason}" for reason in found.failed)]
    lines.append(
        f"{found.images} images, {len(found.detections)} boxes scored {options.box_threshold:g} or more by "
        f"{detector.name}: {out}"
    )
    answer(
        options,
        "\n".join(lines),
        out=out,
        detector=detector.name,
        images=found.images,
        boxes=len(found.detections),
        failed=found.failed,
        notes=found.notes,
    )
    return 1 if found.failed else 0
