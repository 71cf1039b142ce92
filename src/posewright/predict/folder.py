"""Images in, drawings and one COCO results file out: what `posewright predict` does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posewright import draw, image
from posewright.files import ready_folder, write_json
from posewright.predict import boxes as detect
from posewright.predict.predictor import Predictor
from posewright.progress import bar
from posewright.types import Poses

PathLike = str | os.PathLike[str]


@dataclass(slots=True)
class Summary:
    """What came of a run over images.

    Attributes:
        out: the folder with the drawings and `results.json`.
        images: how many were read.
        poses: how many people were found in them.
        drawn: how many of these were drawn.
        source: where the boxes came from.
        outside: how many boxes of a file were left out because they do not touch their image.
        seconds: it took.
        failed: what is wrong with the images that could not be read.
    """

    out: Path
    images: int = 0
    poses: int = 0
    drawn: int = 0
    source: str = "none"
    outside: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rate = self.images / self.seconds if self.seconds else 0.0
        lines = [f"skipped: {reason}" for reason in self.failed]
        if self.source.startswith("whole image"):
            lines.append(
                "no boxes were given: each image was taken for one person, looked for in the whole of it and then "
                "closer. For several people, or small ones: `posewright weights pull yolox-nano`, then --detector "
                "yolox-nano; or --boxes FILE"
            )
        if self.outside:
            lines.append(f"skipped: {self.outside} boxes that do not touch their image")
        lines.append(
            f"{self.images} images, {self.poses} people, {self.drawn} drawn (boxes: {self.source}; "
            f"{rate:.1f} images/s); drawings and results.json are in {self.out}"
        )
        return "\n".join(lines)


def predict_images(
    predictor: Predictor,
    inputs: Sequence[PathLike],
    out: Path,
    boxes: detect.BoxFile | detect.Detector | None = None,
    *,
    score_threshold: float = 0.0,
    keypoint_threshold: float = 0.3,
) -> Summary:
    """Find, draw and write the poses in images.

    An image that cannot be read is skipped and named in the summary, unless nothing else could be read either. When
    interrupted, the results so far are written before leaving.

    Args:
        predictor: finds the poses.
        inputs: what `detect.images_of` takes: files, folders, lists.
        out: folder for a drawing of each image, `<name>_pose.jpg`, and `results.json`, COCO results with the image's
            `file_name`; `image_id` is the number an image is named by, else its place in the run, from 1.
        boxes: boxes by image, a detector, or None for whole images.
        score_threshold: only poses scored above it are drawn; the results hold all.
        keypoint_threshold: only keypoints scored above it are drawn.

    Raises:
        FileNotFoundError, ValueError, LookupError, OSError: inputs, boxes or the folder are not what they must be.
    """
    paths = detect.images_of(inputs)
    summary, results = Summary(ready_folder(out)), list[dict[str, Any]]()
    from_file = isinstance(boxes, detect.BoxFile)
    items = [
        (path, detect.FixedBoxes(boxes.of(path)) if isinstance(boxes, detect.BoxFile) else boxes) for path in paths
    ]
    start = time.monotonic()
    try:
        with bar("predicting", "images") as report:
            # Boxes of a file count the pixels as stored; nobody turned the image before annotating it.
            for place, poses in _each(predictor, items, summary.failed, upright=not from_file):
                pixels = image.read(paths[place], upright=not from_file)
                shown = poses[poses.instance_score > score_threshold]
                drawing = draw.draw(pixels, shown, threshold=keypoint_threshold)
                image.write(out / f"{paths[place].stem}_pose.jpg", drawing)
                number = _image_id(paths[place], place, boxes)
                results += [r | {"file_name": paths[place].name} for r in poses.to_coco(number)]
                summary.images, summary.source = summary.images + 1, poses.boxes.source
                summary.poses, summary.drawn = summary.poses + len(poses), summary.drawn + len(shown)
                if isinstance(boxes, detect.BoxFile):
                    summary.outside += len(boxes.of(paths[place])) - len(poses)
                report(place + 1, len(paths), f"{summary.poses} people")
    finally:
        write_json(out / "results.json", results)
    if summary.failed and not summary.images:
        raise ValueError(summary.failed[0])
    summary.seconds = time.monotonic() - start
    return summary


def _each(
    predictor: Predictor, items: list[tuple[Path, Any]], failed: list[str], *, upright: bool
) -> Iterator[tuple[int, Poses]]:
    """The poses of each image that can be read, with its place; why the others cannot goes into `failed`."""
    place = 0
    while place < len(items):
        try:
            for poses in predictor.many(items[place:], upright=upright):
                yield place, poses
                place += 1
        except (ValueError, FileNotFoundError) as error:  # of the image at `place`: results come in order
            failed.append(str(error))
            place += 1


def _image_id(path: Path, place: int, boxes: Any) -> int:
    if isinstance(boxes, detect.BoxFile):
        return boxes.id_of(path)
    try:
        return detect.image_id_of(path)
    except ValueError:
        return place + 1
