"""Whether boxes are corners, x1, y1, x2, y2, where x, y, width, height are expected: told by what they surround."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from posewright.geometry import box_iou

if TYPE_CHECKING:
    from posewright.data.coco import KeypointDataset

_ENOUGH, _CLEARLY = 0.5, 0.2  # overlaps
_SEVERAL, _MOST = 6, 2000  # points of a person, and people


def note_on_corners(name: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[str, ...]:
    """A sentence where boxes fit what they should surround far better when they are read as corners; else nothing.

    Args:
        name: what the sentence calls the boxes.
        pairs: boxes [N, 4], and x, y, width, height [M, 4] of what each of some of them should surround.
    """
    plain, corners = [np.zeros(0)], [np.zeros(0)]
    for boxes, wanted in pairs:
        if len(boxes) and len(wanted):
            sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
            plain.append(box_iou(wanted, boxes).max(1))
            corners.append(box_iou(wanted, np.concatenate([boxes[:, :2], sides], 1)).max(1))
    as_sides, as_corners = (
        float(np.concatenate(found).mean()) if len(found) > 1 else 0.0 for found in (plain, corners)
    )
    if as_corners < _ENOUGH or as_corners < as_sides + _CLEARLY:
        return ()
    return (
        f"the boxes {name} look like corners, x1, y1, x2, y2: read so, they overlap the people by {as_corners:.2f}, as "
        f"x, y, width, height, which is expected, by {as_sides:.2f}",
    )


def note_on_annotations(people: KeypointDataset) -> tuple[str, ...]:
    """The same of annotated boxes, which are around the person's keypoints; of people with several labelled ones."""
    if (every := people.annotated) is None:  # of several files, or of a format whose boxes are made
        return ()
    labelled = every.keypoints[..., 2:] > 0
    rows = np.flatnonzero((labelled.sum((1, 2)) >= _SEVERAL) & np.isfinite(every.box).all(1))[:_MOST]
    low = np.min(every.keypoints[rows, :, :2], axis=1, where=labelled[rows], initial=np.inf)
    high = np.max(every.keypoints[rows, :, :2], axis=1, where=labelled[rows], initial=-np.inf)
    around = np.concatenate([low, high - low], 1)
    return note_on_corners(f"in {people.annotations}", zip(every.box[rows, None], around[:, None]))


def note_on_results(name: str, results: list[dict[str, Any]]) -> tuple[str, ...]:
    """The same of the boxes that results carry, which are around their own keypoints."""
    boxed = [entry for entry in results[:_MOST] if entry["keypoints"] and (entry.get("box") or entry.get("bbox"))]
    triples = [np.reshape(entry["keypoints"], (-1, 3)) for entry in boxed]
    xy = [each[each[:, 2] > 0, :2] if (each[:, 2] > 0).any() else each[:, :2] for each in triples]
    around = [np.array([[*points.min(0), *np.ptp(points, axis=0)]]) for points in xy]
    boxes = [np.array([entry.get("box") or entry["bbox"]], float) for entry in boxed]
    return note_on_corners(f"of {name}", zip(boxes, around))
