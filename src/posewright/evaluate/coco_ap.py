"""COCO's AP and AR for keypoints (Lin et al., ECCV 2014), equal to pycocotools', from arrays.

The similarities are computed here, for all images at once and to pycocotools' last bit; faster-coco-eval matches and
accumulates them. It gets numbers of our own for images, annotations and results, because the common evaluators take an
annotation's id of 0 for "not matched", evaluate annotations that share an id wrongly, and stop at a missing field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from posewright.coco_format import Source
from posewright.evaluate.ground_truth import SIZES, Category, GroundTruth, Results, paired
from posewright.evaluate.oks import Sigmas, chunks, oks, ranges, starts

METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
"""The ten COCO metrics, in pycocotools' order."""

LEVELS = ("easy", "medium", "hard")
"""Of CrowdPose's images, by crowd index."""

LIMITS = (0.2, 0.8)
"""Crowd indices from which on an image is medium and hard in the released evaluation, which all published metrics are
from. The paper (Li et al., CVPR 2019, section 3.3) says 0.1 and 0.8."""


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """The ten COCO metrics with what is needed to read them rightly.

    Attributes:
        metrics: by the names in `METRICS`, 0..1; -1 where there was no ground truth. Where every image has a crowd
            index, as CrowdPose's have, the AP of those of each of the `LEVELS` follows: "AP_easy", "AP_medium",
            "AP_hard".
        boxes: where the boxes came from, as the caller said.
        people: how many annotated people were counted, by the names in `SIZES`.
        results: how many results there were for the annotated categories.
        images: how many images show people that count.
        found: how many of those images have results.
        best_oks: mean over the counted people of the best OKS that any result in their image has with them; -1 without
            people.
        notes: what was left out, or taken in place of something missing.
        precision: [10, 101] precision at the OKS thresholds 0.50, 0.55, ... 0.95 and the recalls 0, 0.01, ... 1, mean
            over categories, people of all sizes; -1 without people.
    """

    metrics: dict[str, float]
    boxes: str
    people: dict[str, int]
    results: int
    images: int
    found: int
    best_oks: float
    notes: tuple[str, ...]
    precision: np.ndarray = field(repr=False, compare=False, default_factory=lambda: np.full((10, 101), -1.0))


def coco(truth: Source, results: Source, *, sigmas: Sigmas | None = None) -> dict[str, float]:
    """The ten COCO keypoint metrics, 0..1, named and ordered as `METRICS`; -1 where there is no ground truth.

    Of CrowdPose's images, "AP_easy", "AP_medium" and "AP_hard" follow. `measure` gives them with what explains them.

    Args:
        truth: COCO annotations of any skeleton, a JSON file or its content.
        results: COCO keypoint results, a JSON file or its content.
        sigmas: K OKS sigmas, instead of the categories' own or those of the published skeleton with the same points.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be, or OKS is undefined because no sigmas are known; the message names
            file and entry.
    """
    return measure(GroundTruth.read(truth, sigmas), Results.of(results)).metrics


def measure(
    truth: GroundTruth,
    results: Results,
    *,
    boxes: str = "",
    limits: tuple[float, float] = LIMITS,
    drop_unconfident: bool = False,
) -> CocoMetrics:
    """The COCO metrics of keypoint results, and what explains them.

    Every category is evaluated by itself and the metrics are means over the categories that have annotations. Where
    results carry a `bbox`, its area decides the size range of an unmatched result, as in
    pycocotools; else the extent of its keypoints does.

    Args:
        truth: annotations of any skeleton.
        results: keypoint results of the same images.
        boxes: where the boxes came from, to be named beside the metrics.
        limits: crowd indices from which on an image counts as medium and as hard.
        drop_unconfident: leave out results all of whose keypoints have a confidence of 0, as xtcocotools does and
            pycocotools does not.

    Raises:
        ValueError: truth and results do not go together; the message names the entry.
    """
    notes = list(truth.notes)
    if drop_unconfident and len(results):
        confident = np.any(results.keypoints[..., 2], axis=1)
        if not confident.all():
            notes.append(f"{results.name}: left out {int((~confident).sum())} results without any confidence")
            results = results[confident]
    with np.errstate(over="ignore"):  # out-of-range coordinates have infinite squares, and the OKS is then 0
        categories, more = paired(truth, results)
        overlaps = [Overlap.of(category) for category in categories]
        metrics, precision = _metrics(overlaps, len(truth.image_id))
        metrics |= _by_level(overlaps, truth, limits)
    counted = [c.counted("all") for c in categories]
    shown = {row for c, these in zip(categories, counted) for row in np.unique(c.people_image[these]).tolist()}
    found = {row for c in categories for row in np.unique(c.image).tolist()}
    best = np.concatenate([o.best() for o in overlaps]) if overlaps else np.zeros(0)
    return CocoMetrics(
        metrics=metrics,
        boxes=boxes,
        people={size: sum(int(c.counted(size).sum()) for c in categories) for size in SIZES},
        results=int(np.isin(results.category_id, list(truth.people)).sum()),
        images=len(shown),
        found=len(shown & found),
        best_oks=float(best.mean()) if len(best) else -1.0,
        notes=(*notes, *more),
        precision=precision,
    )


@dataclass(frozen=True, slots=True)
class Overlap:
    """OKS of every result with every person of its category in the same image: P pairs."""

    category: Category
    pose: np.ndarray  # [P] sorted
    person: np.ndarray  # [P] rising for each pose
    oks: np.ndarray  # [P]

    @staticmethod
    def of(category: Category) -> Overlap:
        """The pairs of a category, image by image."""
        first, stop = (np.searchsorted(category.people_image, category.image, side) for side in ("left", "right"))
        pose, person = ranges(first, stop)
        return Overlap(category, pose, person, _oks(category, pose, person))

    def within(self, images: np.ndarray) -> Overlap:
        """What of it is in the images that a mask picks."""
        people, poses = images[self.category.people_image], images[self.category.image]
        pairs = poses[self.pose]
        pose, person = (np.cumsum(kept) - 1 for kept in (poses, people))
        kept = self.category.within(images)
        return Overlap(kept, pose[self.pose[pairs]], person[self.person[pairs]], self.oks[pairs])

    def best(self) -> np.ndarray:
        """Best OKS of each person that counts."""
        best = np.zeros(len(self.category.people))
        np.maximum.at(best, self.person, self.oks)
        return best[self.category.counted("all")]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Image and OKS [poses, people], of every image that has both."""
        image = self.category.image[self.pose]
        at = starts(image)
        for start, stop in zip(at, np.append(at, len(image))[1:]):
            poses = self.pose[stop - 1] - self.pose[start] + 1
            yield int(image[start]), self.oks[start:stop].reshape(poses, -1)


def _oks(category: Category, pose: np.ndarray, person: np.ndarray) -> np.ndarray:
    """OKS [P] of pairs of poses and people.

    People with the same number of labelled points are taken together, so that every sum runs over those points alone
    and in order, and is bit-identical to pycocotools' own.
    """
    people, sigmas = category.people, category.sigmas
    xy, visibility = people.keypoints[..., :2].astype(np.float64), people.keypoints[..., 2] > 0
    labelled = visibility.sum(1)
    columns = np.argsort(~visibility, axis=1, kind="stable")
    value = np.empty(len(pose))
    for number in np.unique(labelled[person]):
        alike = np.flatnonzero(labelled[person] == number)
        for part in chunks(len(alike)):
            i, j = pose[alike[part]], person[alike[part]]
            if number:
                point = columns[j, :number]
                near = category.xy[i[:, None], point], xy[j[:, None], point]
                value[alike[part]] = oks(*near, people.area[j], sigmas[point])
            else:
                away = _outside(category.xy[i], people.box[j])
                value[alike[part]] = oks(away, np.zeros(2), people.area[j], sigmas)
    return value


def _outside(xy: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How far [P, K, 2] points lie outside three times their boxes [P, 4], for people without a labelled point."""
    low, size = box[:, None, :2], box[:, None, 2:]
    return np.maximum(0, low - size - xy) + np.maximum(0, xy - (low + size * 2))


class _Matcher(COCOeval_faster):
    """faster-coco-eval with the similarities known already, and silent."""

    def __init__(self, truth: dict[str, Any], found: dict[str, Any], known: dict[tuple[int, int], np.ndarray]) -> None:
        both = (COCO(data, print_function=_silent) for data in (truth, found))
        super().__init__(*both, iouType="keypoints", print_function=_silent)
        self.known = known

    def computeOks(self, imgId: int, catId: int) -> Any:
        """OKS [poses, people] of an image and category; the name is the base class's."""
        return self.known.get((imgId, catId), [])


def _silent(*_: Any) -> None:
    """In place of printing."""


def _metrics(overlaps: list[Overlap], images: int) -> tuple[dict[str, float], np.ndarray]:
    """The ten metrics and the precision-recall curves [10, 101], by faster-coco-eval."""
    if not overlaps:
        return dict.fromkeys(METRICS, -1.0), np.full((10, 101), -1.0)
    known: dict[tuple[int, int], np.ndarray] = {}
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, o in enumerate(overlaps, 1):
        c = o.category
        known |= {(image, number): block for image, block in o.blocks()}
        crowd, counted = c.people.crowd.astype(int), (~c.ignored).astype(int)
        truth += _rows(
            number, len(truth), image_id=c.people_image, area=c.people.area, iscrowd=crowd, num_keypoints=counted
        )
        found += _rows(number, len(found), image_id=c.image, area=c.area, score=c.score)
    shared = {"images": [{"id": i} for i in range(images)], "categories": [{"id": c + 1} for c in range(len(overlaps))]}
    matcher = _Matcher(shared | {"annotations": truth}, shared | {"annotations": found}, known)
    matcher.run()
    each = np.asarray(matcher.eval["precision"])[:, :, :, 0, -1]  # thresholds, recalls, categories; all sizes
    valid = each > -1
    precision = np.where(valid.any(2), (each * valid).sum(2) / np.maximum(valid.sum(2), 1), -1.0)
    return dict(zip(METRICS, map(float, matcher.stats))), precision


def _by_level(overlaps: list[Overlap], truth: GroundTruth, limits: tuple[float, float]) -> dict[str, float]:
    """AP of the images of each level of crowding, where that is known."""
    if truth.crowding is None:
        return {}
    level = np.digitize(truth.crowding, limits)
    parts = ([o.within(level == n) for o in overlaps] for n in range(len(LEVELS)))
    kept = ([o for o in part if len(o.category.people)] for part in parts)
    return {f"AP_{name}": _metrics(part, len(truth.image_id))[0]["AP"] for name, part in zip(LEVELS, kept)}


def _rows(category: int, before: int, **columns: np.ndarray) -> list[dict[str, Any]]:
    """One dictionary per row, with ids from 1 on, for 0 would mean "not matched"."""
    rows = zip(*(c.tolist() for c in columns.values()))
    return [{"id": before + n, "category_id": category, **dict(zip(columns, row))} for n, row in enumerate(rows, 1)]
