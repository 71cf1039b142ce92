"""Metrics of distances on a data set: which pose is whose, what they are measured by, and the metric itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from posewright import geometry
from posewright.evaluate.ground_truth import check_images
from posewright.evaluate.pck import Pck, animal_auc, auc, box_size, epe, head_size, nme, pck, pckh, segment

if TYPE_CHECKING:
    from posewright.data.dataset import KeypointDataset

TORSO = ("right_shoulder", "left_hip")
"""The torso that PCK is measured by where nothing else is said."""

HEAD = ("upper_neck", "head_top")
"""The head that PCKh is measured by where there are no head boxes."""

P_CUTOFF = 0.6
"""DeepLabCut's own p-cutoff."""

ANIMAL_CROP = 1.5
"""The side of an animal's crop in longest extents of its points, as CC-SSL crops real images."""


def matched(people: KeypointDataset, results: list[dict[str, Any]]) -> np.ndarray:
    """The results [N, K, 3] of N people, x, y and score, as `matched_rows` pairs them; NaN where there is none."""
    rows = matched_rows(people, results)
    predicted = np.full((*people.xy.shape[:2], 3), np.nan)
    for person in np.flatnonzero(rows >= 0):
        predicted[person] = np.reshape(results[rows[person]]["keypoints"], (-1, 3))
    return predicted


def matched_rows(people: KeypointDataset, results: list[dict[str, Any]]) -> np.ndarray:
    """Which result [N] is of each of N people: in each image and category that of the most overlapping box; -1 if none.

    The pairs of largest overlap (IoU) are taken first, and every result once. A result's box is its `box` or `bbox`,
    else the extent of its keypoints.

    Raises:
        ValueError: a result is of an image that the people's file does not have, or has another number of points.
    """
    check_images("the results", np.array([result["image_id"] for result in results], np.int64), people.image_id)
    found: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
    for row, result in enumerate(results):
        xy = np.reshape(result["keypoints"], (-1, 3))[:, :2]
        if xy.shape[0] != people.skeleton.num_keypoints:
            raise ValueError(
                f"a result of image {result['image_id']} has {xy.shape[0]} keypoints, expected "
                f"{people.skeleton.num_keypoints}, those of {people.annotations}"
            )
        box = result.get("box") or result.get("bbox") or [*xy.min(0), *np.ptp(xy, axis=0)]
        found.setdefault((result["image_id"], result["category_id"]), []).append((row, np.asarray(box, float)))
    rows = np.full(len(people), -1)
    for image, group in people.by_image().items():
        for category in np.unique(people.category_id[group]).tolist():
            places = group[people.category_id[group] == category]
            if entries := found.get((image, category)):
                overlap = geometry.box_iou(people.box[places], np.array([box for _, box in entries]))
                while overlap.size and overlap.max() > 0:
                    person, entry = np.unravel_index(overlap.argmax(), overlap.shape)
                    rows[places[person]] = entries[int(entry)][0]
                    overlap[person], overlap[:, entry] = 0, 0
    return rows


def pck_norm(people: KeypointDataset) -> tuple[np.ndarray, str, float]:
    """What PCK is measured by where nothing else is said: lengths [N], their name, and the usual threshold.

    That is the torso and 0.2 of it, or the box's longer side and 0.05 of it where the skeleton has no torso.
    """
    if set(TORSO) <= set(people.skeleton.points):
        norm = segment(people.xy, people.visibility, people.skeleton, *TORSO)
        return norm, f"the torso, {TORSO[0]} to {TORSO[1]}", 0.2
    return box_size(people.box), "the box's longer side", 0.05


def measured(
    metric: str,
    predicted: np.ndarray,
    people: KeypointDataset,
    threshold: float | None = None,
    p_cutoff: float = P_CUTOFF,
) -> tuple[dict[str, float], Pck | None, str]:
    """A metric of distances: its values by name, the shares per point where it has any, and its rule in words.

    Args:
        metric: "PCK", "PCKh", "AUC", "EPE", "NME", "animal" or "RMSE".
        predicted: [N, K, 2] pixels, or [N, K, 3] with scores, the people's poses in order; NaN for those not found.
        people: N annotated people.
        threshold: of PCK; None is 0.2 of the torso, or 0.05 of the box's longer side where there is no torso.
        p_cutoff: the lowest score of the points that "RMSE_cutoff" counts, as DeepLabCut's pcutoff.

    Raises:
        ValueError: the skeleton lacks the points that the metric is measured by.
    """
    xy, found = predicted[..., :2], people.visibility * ~np.isnan(predicted[..., :2]).any(-1)
    annotated, visibility = people.xy.astype(np.float64), people.visibility
    if metric == "PCK":
        norm, words, default = pck_norm(people)
        default = default if threshold is None else threshold
        share = pck(xy, annotated, visibility, norm, default)
        return {"PCK": share.mean}, share, f"PCK@{default:g} of {words}"
    if metric == "PCKh":
        return _pckh(xy, people)
    if metric == "animal":
        return _animal(xy, people)
    side = box_size(people.box)
    if metric == "AUC":
        return {"AUC": auc(xy, annotated, visibility, side)}, None, "AUC of PCK up to the box's longer side"
    lost = f"; {int((visibility.any(1) & ~found.any(1)).sum())} people without a result are left out"
    if metric == "RMSE":
        values, rule = _rmse(predicted, found, people, p_cutoff)
        return values, None, rule + lost
    if metric == "EPE":
        return {"EPE": epe(xy, annotated, found)}, None, f"EPE in pixels{lost}"
    return {"NME": nme(xy, annotated, found, side)}, None, f"NME in units of the box's longer side{lost}"


def _pckh(xy: np.ndarray, people: KeypointDataset) -> tuple[dict[str, float], None, str]:
    """MPII's; see `measured`."""
    if missing := {*HEAD, "left_shoulder", "right_ankle"} - set(people.skeleton.points):
        raise ValueError(
            f"{people.annotations}: PCKh is MPII's and measured by the head; the points lack "
            f"{', '.join(sorted(missing))}"
        )
    annotated = people.xy.astype(np.float64)
    if people.head_box is not None:
        head, words = head_size(people.head_box), "0.6 of the head box's diagonal"
    else:
        head, words = segment(annotated, people.visibility, people.skeleton, *HEAD), f"the head, {HEAD[0]} to {HEAD[1]}"
    values = pckh(xy, annotated, people.visibility, head, people.skeleton)
    return values, None, f"PCKh@0.5 in percent, of {words}"


def _animal(xy: np.ndarray, people: KeypointDataset) -> tuple[dict[str, float], Pck, str]:
    """CC-SSL's and UDA-Animal's; see `measured`."""
    annotated, labelled = people.xy.astype(np.float64), people.visibility > 0
    high = np.max(annotated, axis=1, where=labelled[..., None], initial=-np.inf)
    low = np.min(annotated, axis=1, where=labelled[..., None], initial=np.inf)
    norm = ANIMAL_CROP * (high - low).max(1)
    share = pck(xy, annotated, people.visibility, norm, 0.05)
    error = np.linalg.norm(xy - annotated, axis=-1) / np.where(norm > 0, norm, np.nan)[:, None]
    error = np.where(np.isnan(error), np.inf, error)[labelled]
    words = f"PCK@0.05 of the crop's side, {ANIMAL_CROP:g} times the longest extent of an animal's points"
    return {"PCK": share.mean, "AUC": animal_auc(error)}, share, words


def _rmse(
    predicted: np.ndarray, found: np.ndarray, people: KeypointDataset, p_cutoff: float
) -> tuple[dict[str, float], str]:
    """DeepLabCut's, of all points, of the confident ones and of each; `found` [N, K] are above 0."""
    points = people.skeleton.points
    score = predicted[..., 2] if predicted.shape[-1] == 3 else np.ones(predicted.shape[:2])
    away = np.linalg.norm(predicted[..., :2] - people.xy.astype(np.float64), axis=-1)
    counted = {"RMSE": found > 0, "RMSE_cutoff": (found > 0) & (score >= p_cutoff)}
    counted |= {f"RMSE_{point}": (found > 0) & (np.arange(len(points)) == k) for k, point in enumerate(points)}
    means = {name: float(away[chosen].mean()) if chosen.any() else -1.0 for name, chosen in counted.items()}
    return means, f"DeepLabCut's RMSE, the mean distance in pixels; cutoff at a score of {p_cutoff:g}"
