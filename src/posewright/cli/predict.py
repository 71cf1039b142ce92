"""`posewright predict`: images and videos to keypoints, drawn and as files."""

from __future__ import annotations

import argparse
import glob
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, command, existing, model_options, predictor_of, weights_file

if TYPE_CHECKING:
    from posewright.predict.boxes import BoxFile, Detector
    from posewright.predict.predictor import Predictor

DETECTOR_THRESHOLD = 0.3
"""Boxes of a detector scored below this are left out, unless --box-threshold says otherwise."""


def add(commands: Commands) -> None:
    about = "find keypoints in images and videos, draw them, and write them down"
    parser = command(commands, "predict", run, about, aliases=["infer"])
    parser.add_argument(
        "images",
        nargs="+",
        type=_input,
        help="image files, folders, patterns in quotes ('*.jpg'), .txt files with one image per line, or - for an "
        "image on standard input; video files, addresses of streams, or a camera's number",
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

    videos = parser.add_argument_group("videos")
    videos.add_argument(
        "--fps", type=float, metavar="RATE", help="take folders and patterns for the frames of a video at this rate"
    )
    videos.add_argument(
        "--detect-every",
        type=int,
        metavar="FRAMES",
        help="frames from one search for people to the next; between, they are followed (default: a third of a second)",
    )
    videos.add_argument(
        "--smooth",
        choices=("none", "one-euro", "savitzky-golay"),
        default="none",
        help="steady the points of each person (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    if options.box_threshold is not None and not (options.boxes or options.detector):
        given = "annotated boxes have no scores" if options.annotations else "no boxes are given"
        raise ValueError(f"--box-threshold: {given}; it goes with --detector or --boxes")
    from posewright.predict.frames import is_video

    videos = [path for path in options.images if is_video(path) or (options.fps and not Path(path).is_file())]
    if videos and (options.boxes or options.annotations):
        raise ValueError(f"{videos[0]}: boxes in a video come from --detector, not from --boxes or --annotations")
    predictor, boxes = predictor_of(options), _boxes(options)
    status = 0
    for path in videos:
        status = max(status, _video(options, path, predictor, boxes))
        if status > 1:
            return status
    images = [path for path in options.images if path not in videos]
    return max(status, _images(options, images, predictor, boxes)) if images else status


def _images(
    options: argparse.Namespace, images: list[str], predictor: Predictor, boxes: BoxFile | Detector | None
) -> int:
    from posewright.predict.folder import predict_images
    from posewright.predict.summary import Output

    output = Output(options.score_threshold, options.keypoint_threshold, options.csv, options.coco)
    summary = predict_images(predictor, images, Path(options.out), boxes, recursive=options.recursive, output=output)
    answer(options, str(summary), **{field.name: getattr(summary, field.name) for field in fields(summary)})
    if summary.stopped:
        return 128 + summary.stopped
    return 1 if summary.failed else 0


def _video(options: argparse.Namespace, path: str, predictor: Predictor, boxes: BoxFile | Detector | None) -> int:
    from posewright.predict.boxes import BoxFile
    from posewright.predict.frames import open_frames
    from posewright.predict.recording import predict_video

    frames = open_frames(path, rate=options.fps or 25.0)
    summary = predict_video(
        frames,
        predictor,
        Path(options.out),
        None if isinstance(boxes, BoxFile) else boxes,
        every=options.detect_every,
        smooth=options.smooth,
        keypoint_threshold=options.keypoint_threshold,
        score_threshold=options.score_threshold,
    )
    answer(options, str(summary), **{field.name: getattr(summary, field.name) for field in fields(summary)})
    return 128 + summary.stopped if summary.stopped and not frames.live else 0  # a camera runs until it is stopped


def _input(text: str) -> str:
    free = text == "-" or text.isdecimal() or "://" in text or glob.has_magic(text)
    return text if free else existing(text)


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
