"""`posewright predict`: images to keypoints, drawn and as COCO results."""

from __future__ import annotations

import argparse
import glob
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, command, existing, model_options, predictor_of, weights_file

if TYPE_CHECKING:
    from posewright.predict.boxes import BoxFile, Detector

DETECTOR_THRESHOLD = 0.3
"""Boxes of a detector scored below this are left out, unless --box-threshold says otherwise."""


def add(commands: Commands) -> None:
    about = "find keypoints in images, draw them, and write them as COCO results"
    parser = command(commands, "predict", run, about, aliases=["infer"])
    parser.add_argument(
        "images",
        nargs="+",
        type=_input,
        help="image files, folders, patterns in quotes ('*.jpg'), .txt files with one image per line, or - for an "
        "image on standard input",
    )
    parser.add_argument("--recursive", action="store_true", help="take the images of sub-folders too")
    model_options(parser)
    parser.add_argument(
        "--out", metavar="FOLDER", default="runs/predict", help="folder for drawings and results (default: %(default)s)"
    )
    parser.add_argument("--csv", action="store_true", help="also write predictions.csv: one row per keypoint")
    parser.add_argument(
        "--coco",
        action="store_true",
        help="also write results_coco.json, for COCO's evaluator: no boxes, no names",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--boxes", metavar="JSON", type=existing, help="detections: a list of {image_id, category_id, bbox, score}"
    )
    source.add_argument("--annotations", metavar="JSON", type=existing, help="take the boxes of a COCO annotation file")
    source.add_argument(
        "--detector", metavar="ONNX", type=weights_file, help="YOLOX-style detector of people: a file, or yolox-nano"
    )
    for flag, default, what in (("score", 0.0, "poses scored at least"), ("keypoint", 0.3, "keypoints scored above")):
        parser.add_argument(
            f"--{flag}-threshold",
            type=float,
            metavar="SCORE",
            default=default,
            help=f"draw {what} this (default: %(default)s)",
        )
    parser.add_argument(
        "--box-threshold",
        type=float,
        metavar="SCORE",
        help=f"leave out boxes scored below this (default: {DETECTOR_THRESHOLD} with --detector, none with --boxes)",
    )


def run(options: argparse.Namespace) -> int:
    if options.box_threshold is not None and not (options.boxes or options.detector):
        given = "annotated boxes have no scores" if options.annotations else "no boxes are given"
        raise ValueError(f"--box-threshold: {given}; it goes with --detector or --boxes")
    from posewright.predict.folder import predict_images
    from posewright.predict.summary import Output

    output = Output(options.score_threshold, options.keypoint_threshold, options.csv, options.coco)
    predictor, boxes = predictor_of(options), _boxes(options)
    summary = predict_images(
        predictor, options.images, Path(options.out), boxes, recursive=options.recursive, output=output
    )
    answer(options, str(summary), **{field.name: getattr(summary, field.name) for field in fields(summary)})
    if summary.stopped:
        return 128 + summary.stopped
    return 1 if summary.failed else 0


def _input(text: str) -> str:
    return text if text == "-" or glob.has_magic(text) else existing(text)


def _boxes(options: argparse.Namespace) -> BoxFile | Detector | None:
    from posewright.data import formats
    from posewright.predict import boxes
    from posewright.weights import hub

    if options.boxes and formats.recognised(options.boxes) == "coco":
        return boxes.detections(options.boxes, threshold=options.box_threshold or 0.0)
    if source := options.boxes or options.annotations:
        found = formats.read(source)
        return boxes.annotated(found.path, found.file)
    if options.detector:
        threshold = DETECTOR_THRESHOLD if options.box_threshold is None else options.box_threshold
        return boxes.YoloxDetector(hub.resolve(options.detector), score=threshold)
    return None
