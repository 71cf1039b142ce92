"""`posewright boxes`: a detector's boxes in images, as a detections file for `eval --boxes` and `predict --boxes`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, category_option, command, existing, weights_file

if TYPE_CHECKING:
    from posewright.coco_format import AnyFile

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
    category_option(parser)
    parser.add_argument("--recursive", action="store_true", help="take the images of sub-folders too")
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=existing,
        help="COCO annotations: the boxes' AP is measured against theirs, and they say which image has which id "
        "(default: the number that an image's name ends in)",
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
    from posewright import coco_format
    from posewright.evaluate.box_ap import box_ap
    from posewright.predict import detections_file
    from posewright.predict.boxes import OnnxDetector
    from posewright.predict.detecting import detections_in
    from posewright.progress import bar, tick
    from posewright.weights import hub

    truth = coco_format.read_annotations(options.annotations) if options.annotations else None
    detector = OnnxDetector(hub.resolve(options.detector), score=options.box_threshold, category=options.category)
    category_id = detector.coco_id if truth is None else _category_id(options.category, truth, options.annotations)
    out = Path(options.out or f"runs/boxes/{Path(options.detector).stem}.json")
    with bar("detecting", "images") as report:
        found = detections_in(
            detector,
            options.images,
            category_id=category_id,
            annotations=options.annotations,
            recursive=options.recursive,
            progress=tick(report),
        )
    metrics = box_ap(truth, found.detections, category_id, found.images) if truth else {}
    category, annotations = str(options.category), Path(options.annotations or "").name
    note = detections_file.Note(
        detector.name, detector.checksum, category, options.box_threshold, metrics, annotations, found.named
    )
    detections_file.write(out, found.detections, note)
    lines = [*found.notes, *(f"skipped: {reason}" for reason in found.failed)]
    if metrics:
        lines.append("boxes: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    lines.append(
        f"{len(found.images)} images, {len(found.detections)} boxes scored {options.box_threshold:g} or more by "
        f"{detector.name}: {out}"
    )
    answer(
        options,
        "\n".join(lines),
        out=out,
        detector=detector.name,
        images=len(found.images),
        boxes=len(found.detections),
        metrics=metrics,
        failed=found.failed,
        notes=found.notes,
    )
    return 1 if found.failed else 0


def _category_id(category: str | int, truth: AnyFile, path: str) -> int:
    """The id of a category in the annotations."""
    ids = {c.name: c.id for c in truth.categories}
    if category not in ids and len(ids) != 1:
        raise ValueError(f"{path}: has no category {category!r}; it has: {', '.join(ids) or 'none'}")
    return ids.get(str(category), next(iter(ids.values())))
