"""COCO's AP and AR of a detector's boxes (Lin et al., ECCV 2014), by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from posewright.coco_format import AnyFile

METRICS = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")


def box_ap(
    truth: AnyFile, detections: Sequence[dict[str, Any]], category_id: int, images: Sequence[int]
) -> dict[str, float]:
    """The AP of boxes of one category, 0..1, by the names in `METRICS`, and "AR", with 100 boxes per image.

    Args:
        truth: annotations; those without a finite box are left out, crowds are neither right nor wrong.
        detections: COCO detections; those of other categories are left out.
        category_id: the category.
        images: the ids of the images that were looked at; no others count.

    Returns:
        -1 for what there is no annotation of.
    """
    looked_at = set(images)
    boxes = []
    for a in truth.annotations:
        box = a.bbox
        if a.category_id == category_id and a.image_id in looked_at and box and np.isfinite(box).all():
            area = box[2] * box[3] if a.area is None else a.area
            crowd, number = int(bool(a.iscrowd)), len(boxes) + 1  # an id of 0 would mean "not matched"
            row = {"id": number, "image_id": a.image_id, "category_id": 1, "bbox": box, "area": area, "iscrowd": crowd}
            boxes.append(row)
    found = [
        {"id": n, "image_id": d["image_id"], "category_id": 1, "bbox": d["bbox"], "score": d["score"]}
        | {"area": d["bbox"][2] * d["bbox"][3], "iscrowd": 0}
        for n, d in enumerate(detections, 1)
        if d["category_id"] == category_id and d["image_id"] in looked_at
    ]
    shared = {"images": [{"id": i} for i in sorted(looked_at)], "categories": [{"id": 1, "name": "one"}]}
    both = (COCO(shared | {"annotations": rows}, print_function=_silent) for rows in (boxes, found))
    matcher = COCOeval_faster(*both, iouType="bbox", print_function=_silent)
    matcher.run()
    values = [float(value) for value in matcher.stats]
    return dict(zip(METRICS, values)) | {"AR": values[8]}


def _silent(*_: Any) -> None:
    """In place of printing."""
