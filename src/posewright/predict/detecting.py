"""A detector's boxes in many images, as COCO detections."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from posewright.predict.ahead import in_order
from posewright.predict.boxes import Detector, image_names
from posewright.predict.images import ImageFile, image_ids, images_of
from posewright.progress import Tick
from posewright.types import Boxes

PathLike = str | os.PathLike[str]


@dataclass(slots=True)
class Detections:
    """What a detector found.

    Attributes:
        detections: COCO detections {image_id, category_id, bbox, score, file_name}, image by image, best first.
        images: the ids of those that were read.
        named: the ids of all images, by name.
        failed: what is wrong with the images that could not be read.
        notes: what else there is to know, one line each.
    """

    detections: list[dict[str, Any]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def detections_in(
    detector: Detector,
    inputs: Sequence[PathLike],
    *,
    category_id: int = 1,
    annotations: PathLike | None = None,
    recursive: bool = False,
    progress: Tick = lambda done, total: None,
) -> Detections:
    """The boxes that a detector finds in images, which count pixels as they are stored, as annotations do.

    Args:
        detector: finds boxes; called by several threads.
        inputs: see `images.images_of`.
        category_id: that the detections get; 1 is COCO's person.
        annotations: a COCO annotation file that says which image has which id; see `images.image_ids`.
        recursive: take the images of sub-folders too.
        progress: called after each image.

    Raises:
        FileNotFoundError, LookupError, ValueError: an image is missing or has no id, or none can be read.
    """
    images = images_of(inputs, recursive=recursive)
    ids, about_ids = image_ids(images.files, image_names(annotations) if annotations else None)
    found = Detections(notes=[words for words in (images.unread_words(), about_ids) if words])
    found.named = {file.name: number for file, number in zip(images.files, ids)}
    for n, boxes in enumerate(_in_each(detector, images.files)):
        if isinstance(boxes, str):
            found.failed.append(boxes)
        else:
            found.images.append(ids[n])
            found.detections += [
                {
                    "image_id": ids[n],
                    "category_id": category_id,
                    "bbox": [round(float(v), 3) for v in box],
                    "score": round(float(score), 6),
                    "file_name": images.files[n].name,
                }
                for box, score in zip(boxes.xywh, boxes.score)
            ]
        progress(n + 1, len(images.files))
    if not found.images:
        raise ValueError(found.failed[0])
    return found


def _in_each(detector: Detector, files: list[ImageFile]) -> Iterator[Boxes | str]:
    """The boxes in each image, in order, or what is wrong with it; the next images are worked on meanwhile."""

    def detect(file: ImageFile) -> Boxes | str:
        try:
            return detector(file.read(upright=False))
        except (ValueError, FileNotFoundError, PermissionError) as error:
            return str(error)

    yield from in_order(detect, files, threads=4)
