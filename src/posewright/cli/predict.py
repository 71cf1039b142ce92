"""`posewright predict`: images and videos to keypoints, drawn and as files."""

from __future__ import annotations

import argparse
import glob
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import (
    Commands,
    answer,
    category_option,
    command,
    existing,
    model_options,
    predictor_of,
    weights_file,
)

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
    _box_options(parser)
    _output_options(parser)
    _video_options(parser)
    _collection_options(parser)


def _box_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--boxes",
        metavar="FILE",
        type=existing,
        help="detections, a list of {image_id, category_id, bbox, score}; or annotations of any format",
    )
    source.add_argument("--annotations", metavar="JSON", type=existing, help="take the boxes of a COCO annotation file")
    source.add_argument(
        "--detector",
        metavar="ONNX",
        type=weights_file,
        help="detector: a file (YOLOX, YOLOv8 and later, RTMDet, Faster R-CNN), or yolox-nano",
    )
    category_option(parser)
    parser.add_argument(
        "--box-threshold",
        type=float,
        metavar="SCORE",
        help=f"leave out boxes scored below this (default: {DETECTOR_THRESHOLD} with --detector, none with --boxes)",
    )


def _output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="FOLDER", default="runs/predict", help="folder for drawings and results (default: %(default)s)"
    )
    parser.add_argument("--csv", action="store_true", help="also write predictions.csv: one row per keypoint")
    parser.add_argument(
        "--coco",
        action="store_true",
        help="also write results_coco.json, for COCO's evaluator: no boxes, no names",
    )
    for flag, default, what in (("score", 0.0, "poses scored at least"), ("keypoint", 0.3, "keypoints scored above")):
        parser.add_argument(
            f"--{flag}-threshold",
            type=float,
            metavar="SCORE",
            default=default,
            help=f"draw {what} this (default: %(default)s)",
        )


def _video_options(parser: argparse.ArgumentParser) -> None:
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


def _collection_options(parser: argparse.ArgumentParser) -> None:
    collections = parser.add_argument_group("very large collections (docs/collections.md)")
    collections.add_argument(
        "--shards",
        metavar="FOLDER",
        help="write results in shards into this folder or address (s3://...), draw nothing, and resume after any "
        "interruption; tar shards ('train-{0000..0146}.tar') and addresses are taken, too",
    )
    collections.add_argument(
        "--shard-format", choices=("parquet", "coco"), default="parquet", help="(default: %(default)s)"
    )
    collections.add_argument(
        "--shard-size", type=int, metavar="IMAGES", default=1000, help="images per shard (default: %(default)s)"
    )
    collections.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="spread the shards over a Ray cluster: auto, ray://HOST:10001; without an address, one started here",
    )
    collections.add_argument(
        "--ray-workers", type=int, metavar="NUMBER", default=0, help="processes (default: one per GPU, or two cores)"
    )


def run(options: argparse.Namespace) -> int:
    if options.box_threshold is not None and not (options.boxes or options.detector):
        given = "annotated boxes have no scores" if options.annotations else "no boxes are given"
        raise ValueError(f"--box-threshold: {given}; it goes with --detector or --boxes")
    if options.shards:
        return _collection(options)
    if options.ray:
        raise ValueError("--ray goes with --shards FOLDER, where the results are written")
    from posewright.predict.frames import distinct_stems

    inputs = [path for given in options.images for path in _videos_of_pattern(given) or [given]]
    videos = list(dict.fromkeys(path for path in inputs if _is_video(path, options)))
    if videos and (options.boxes or options.annotations):
        raise ValueError(f"{videos[0]}: boxes in a video come from --detector, not from --boxes or --annotations")
    predictor, boxes = predictor_of(options), _boxes(options)
    status = 0
    for path, stem in zip(videos, distinct_stems(videos)):
        try:
            status = max(status, _video(options, path, stem, predictor, boxes))
        except (ValueError, FileNotFoundError, PermissionError) as error:
            if len(inputs) == 1:
                raise
            answer(options, f"skipped: {error}", failed=[str(error)])
            status = 1
        if status > 1:
            return status
    images = [path for path in inputs if path not in videos]
    return max(status, _images(options, images, predictor, boxes)) if images else status


def _is_video(path: str, options: argparse.Namespace) -> bool:
    from posewright.predict.frames import is_video

    return is_video(path) or (options.fps is not None and not Path(path).is_file())


def _videos_of_pattern(given: str) -> list[str]:
    """The files that a pattern means, where these are videos."""
    from posewright.predict.frames import is_video

    pattern = glob.has_magic(given) and not Path(given).exists()
    found = sorted(glob.glob(given, recursive=True)) if pattern else []  # noqa: PTH207  # Path wants no absolute ones
    return found if all(map(is_video, found)) else []


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


def _video(
    options: argparse.Namespace, path: str, stem: str, predictor: Predictor, boxes: BoxFile | Detector | None
) -> int:
    from posewright.predict.boxes import BoxFile
    from posewright.predict.frames import open_frames
    from posewright.predict.recording import predict_video

    frames = open_frames(path, rate=25.0 if options.fps is None else options.fps)
    if stem != Path(path).stem:
        frames.stem = stem
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


def _collection(options: argparse.Namespace) -> int:
    from posewright.predict.collection import predict_collection

    if options.csv or options.coco or options.fps is not None:
        raise ValueError("--csv, --coco and --fps do not go with --shards, which writes shards of results of images")
    plain = {name: value for name, value in vars(options).items() if name not in ("run", "parser")}
    summary = predict_collection(
        partial(_tools, argparse.Namespace(**plain)),
        options.images,
        options.shards,
        recursive=options.recursive,
        shard_format=options.shard_format,
        shard_size=options.shard_size,
        ray=options.ray,
        workers=options.ray_workers,
    )
    values = {field.name: getattr(summary, field.name) for field in fields(summary)}
    answer(options, str(summary), **values)
    return 128 + summary.stopped if summary.stopped else int(summary.counts.failed > 0)


def _tools(options: argparse.Namespace) -> tuple[Predictor, BoxFile | Detector | None]:
    """What a process that predicts shards needs; called in each worker of a cluster, too."""
    return predictor_of(options), _boxes(options)


def _input(text: str) -> str:
    free = text == "-" or text.isdecimal() or "://" in text or glob.has_magic(text) or "{" in text
    return text if free else existing(text)


def _boxes(options: argparse.Namespace) -> BoxFile | Detector | None:
    from posewright import coco_format
    from posewright.data import formats
    from posewright.predict import boxes, coco_classes
    from posewright.weights import hub

    if options.boxes and formats.recognised(options.boxes) == "coco" and not coco_format.is_object(options.boxes):
        wanted = options.category if isinstance(options.category, int) else coco_classes.IDS.get(options.category)
        if wanted is None:
            raise ValueError(
                f"--category {options.category}: {options.boxes} numbers its categories as COCO does, and COCO has not "
                "this one; give its number"
            )
        return boxes.detections(options.boxes, category=wanted, threshold=options.box_threshold or 0.0)
    if source := options.boxes or options.annotations:
        if options.box_threshold is not None:
            raise ValueError(f"--box-threshold: annotated boxes, such as those of {source}, have no scores")
        found = formats.read(source)
        return boxes.annotated(found.path, found.file, None if options.category == "person" else options.category)
    if options.detector:
        threshold = DETECTOR_THRESHOLD if options.box_threshold is None else options.box_threshold
        return boxes.OnnxDetector(hub.resolve(options.detector), score=threshold, category=options.category)
    return None
