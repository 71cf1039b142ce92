"""`posewright predict`: images to keypoints, drawn and as COCO results."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from posewright.cli._options import Commands, answer, command, existing, model_options, predictor_of, weights_file


def add(commands: Commands) -> None:
    about = "find keypoints in images, draw them, and write them as COCO results"
    parser = command(commands, "predict", run, about, aliases=["infer"])
    parser.add_argument(
        "images", nargs="+", type=existing, help="image files, folders, or .txt files with one image per line"
    )
    model_options(parser)
    parser.add_argument(
        "--out", metavar="FOLDER", default="runs/predict", help="folder for drawings and results (default: %(default)s)"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--boxes", metavar="JSON", type=existing, help="detections: a list of {image_id, category_id, bbox, score}"
    )
    source.add_argument("--annotations", metavar="JSON", type=existing, help="take the boxes of a COCO annotation file")
    source.add_argument(
        "--detector", metavar="ONNX", type=weights_file, help="YOLOX-style detector of people: a file, or yolox-nano"
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="SCORE",
        default=0.0,
        help="draw poses scored above this (default: %(default)s)",
    )
    parser.add_argument(
        "--keypoint-threshold",
        type=float,
        metavar="SCORE",
        default=0.3,
        help="draw keypoints scored above this (default: %(default)s)",
    )
    parser.add_argument(
        "--box-threshold",
        type=float,
        metavar="SCORE",
        default=0.0,
        help="leave out boxes scored below this (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    from posewright.predict import boxes as detect
    from posewright.predict.folder import predict_images
    from posewright.weights import hub

    predictor = predictor_of(options)
    boxes: detect.BoxFile | detect.Detector | None = None
    if options.boxes:
        boxes = detect.detections(options.boxes, threshold=options.box_threshold)
    elif options.annotations:
        boxes = detect.annotated(options.annotations)
    elif options.detector:
        boxes = detect.YoloxDetector(hub.resolve(options.detector), score=options.box_threshold or 0.3)
    summary = predict_images(
        predictor,
        options.images,
        Path(options.out),
        boxes,
        score_threshold=options.score_threshold,
        keypoint_threshold=options.keypoint_threshold,
    )
    answer(options, str(summary), **{field.name: getattr(summary, field.name) for field in fields(summary)})
    return 1 if summary.failed else 0
