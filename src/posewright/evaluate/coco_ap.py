"""COCO's AP and AR for keypoints (Lin et al., ECCV 2014), equal to pycocotools'; `evaluate` is the door to it.

The similarities are computed here, for all images at once and to pycocotools' last bit; faster-coco-eval matches and
accumulates them. It gets numbers of our own for images, annotations and results, because the common evaluators take an
annotation's id of 0 for "not matched", judge annotations that share an id wrongly, and stop at a missing field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from posewright.evaluate.ground_truth import SIZES, Category, GroundTruth, Pair, Results, Source, load
from posewright.evaluate.oks import Sigmas, chunks, oks, ranges, starts

FIGURES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
"""The ten figures, in pycocotools' order."""

LEVELS = ("easy", "medium", "hard")
"""Of CrowdPose's images, by crowd index."""

LIMITS = (0.2, 0.8)
"""Crowd indices from which on an image is medium and hard in the released evaluation, which all published figures are
from. The paper (Li et al., CVPR 2019, section 3.3) says 0.1 and 0.8."""


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """The ten figures with what is needed to read them rightly.

    Attributes:
        figures: by the names in `FIGURES`, 0..1; -1 where there was no ground truth. Where every image has a crowd
            index, as CrowdPose's have, the AP of those of each of the `LEVELS` follows: "AP_easy", "AP_medium",
            "AP_hard".
        boxes: where the boxes came from, as the caller said.
        people: how many annotated people were judged, by the names in `SIZES`.
        results: how many results there were for the annotated categories.
        images: how many images show people to judge.
        found: how many of those images have results.
        best_oks: mean over the judged people of the best OKS that any result in their image has with them; -1 without
            people.
        notes: what was left out, or taken in place of something missing.
    """

    figures: dict[str, float]
    boxes: str
    people: dict[str, int]
    results: int
    images: int
    found: int
    best_oks: float
    notes: tuple[str, ...]


def measure(
    truth: Source,
    results: Source,
    *,
    sigmas: Sigmas | None = None,
    boxes: str = "",
    limits: tuple[float, float] = LIMITS,
) -> CocoMetrics:
    """The COCO figures of keypoint results, and what explains them.

    Every category is judged by itself and the figures are means over the categories that have annotations. Annotations
    without `num_keypoints` have as many as are labelled, those without `iscrowd` are no crowds; where no annotation has
    an `area`, 0.53 of its box is taken, and noted. Where results carry a `bbox`, its area decides which size range a
    result belongs to that matches nobody, as in pycocotools; else the extent of its keypoints does.

    Args:
        truth: COCO annotations of any skeleton.
        results: COCO keypoint results, a list of {image_id, category_id, keypoints: [x, y, score] * K, score}.
        sigmas: K OKS sigmas, instead of the categories' own or those of the published skeleton with the same points.
        boxes: where the boxes came from, to be named beside the figures.
        limits: crowd indices from which on an image counts as medium and as hard.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be, or OKS is undefined for want of sigmas; the message names file and
            entry.
    """
    with np.errstate(over="ignore"):  # coordinates may be absurd: their squares are then infinite, and the OKS is 0
        pair = load(truth, results, sigmas)
        return _measured(pair, [_Overlap.of(category) for category in pair.categories], boxes, limits)


@dataclass(frozen=True, slots=True)
class _Overlap:
    """OKS of every pose with every person of its category in the same image: P pairs."""

    people: GroundTruth
    poses: Results
    pose: np.ndarray  # [P] sorted
    person: np.ndarray  # [P] rising for each pose
    oks: np.ndarray  # [P]

    @staticmethod
    def of(category: Category) -> _Overlap:
        people, poses = category.people, category.poses
        first, stop = (np.searchsorted(people.image, poses.image, side) for side in ("left", "right"))
        pose, person = ranges(first, stop)
        return _Overlap(people, poses, pose, person, _oks(category, pose, person))

    def within(self, images: np.ndarray) -> _Overlap:
        """What of it is in the images that a mask picks."""
        people, poses = images[self.people.image], images[self.poses.image]
        pairs = poses[self.pose]
        pose, person = (np.cumsum(kept) - 1 for kept in (poses, people))
        return _Overlap(
            self.people[people], self.poses[poses], pose[self.pose[pairs]], person[self.person[pairs]], self.oks[pairs]
        )

    def best(self) -> np.ndarray:
        """Best OKS of each person to be judged."""
        best = np.zeros(len(self.people.image))
        np.maximum.at(best, self.person, self.oks)
        return best[self.people.judged("all")]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Image and OKS [poses, people], of every image that has both."""
        image = self.poses.image[self.pose]
        at = starts(image)
        for start, stop in zip(at, np.append(at, len(image))[1:]):
            poses = self.pose[stop - 1] - self.pose[start] + 1
            yield int(image[start]), self.oks[start:stop].reshape(poses, -1)


def _oks(category: Category, pose: np.ndarray, person: np.ndarray) -> np.ndarray:
    """OKS [P] of pairs of poses and people.

    People with the same number of labelled points are taken together, so that every sum runs over those points alone
    and in order, and ends in the bits of pycocotools' own.
    """
    people, poses, sigmas = category.people, category.poses, category.sigmas
    labelled = people.visibility.sum(1)
    columns = np.argsort(~people.visibility, axis=1, kind="stable")
    value = np.empty(len(pose))
    for many in np.unique(labelled[person]):
        alike = np.flatnonzero(labelled[person] == many)
        for part in chunks(len(alike)):
            i, j = pose[alike[part]], person[alike[part]]
            if many:
                point = columns[j, :many]
                here, there = poses.xy[i[:, None], point], people.xy[j[:, None], point]
                value[alike[part]] = oks(here, there, people.area[j], sigmas[point])
            else:
                away = _outside(poses.xy[i], people.box[j])
                value[alike[part]] = oks(away, np.zeros(2), people.area[j], sigmas)
    return value


def _outside(xy: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How far [P, K, 2] points lie outside three times their boxes [P, 4], for people without a labelled point."""
    low, size = box[:, None, :2], box[:, None, 2:]
    return np.maximum(0, low - size - xy) + np.maximum(0, xy - (low + size * 2))


class _Matcher(COCOeval_faster):
    """faster-coco-eval with the similarities already at hand, and silent."""

    def __init__(self, truth: dict[str, Any], found: dict[str, Any], known: dict[tuple[int, int], np.ndarray]) -> None:
        both = (COCO(data, print_function=_silent) for data in (truth, found))
        super().__init__(*both, iouType="keypoints", print_function=_silent)
        self.known = known

    def computeOks(self, imgId: int, catId: int) -> Any:
        """OKS [poses, people] of an image and category; the name is the base class's."""
        return self.known.get((imgId, catId), [])


def _silent(*_: Any) -> None:
    """In place of printing."""


def _measured(pair: Pair, overlaps: list[_Overlap], boxes: str, limits: tuple[float, float]) -> CocoMetrics:
    judged = [o.people.judged("all") for o in overlaps]
    shown = {row for o, these in zip(overlaps, judged) for row in np.unique(o.people.image[these]).tolist()}
    found = {row for o in overlaps for row in np.unique(o.poses.image).tolist()}
    best = np.concatenate([o.best() for o in overlaps]) if overlaps else np.zeros(0)
    return CocoMetrics(
        figures=_figures(overlaps, pair.images) | _by_level(overlaps, pair, limits),
        boxes=boxes,
        people={size: sum(int(o.people.judged(size).sum()) for o in overlaps) for size in SIZES},
        results=pair.results,
        images=len(shown),
        found=len(shown & found),
        best_oks=float(best.mean()) if len(best) else -1.0,
        notes=pair.notes,
    )


def _figures(overlaps: list[_Overlap], images: int) -> dict[str, float]:
    """The ten figures, by faster-coco-eval."""
    if not overlaps:
        return dict.fromkeys(FIGURES, -1.0)
    known: dict[tuple[int, int], np.ndarray] = {}
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for category, o in enumerate(overlaps, 1):
        known |= {(image, category): block for image, block in o.blocks()}
        crowd, counted = o.people.crowd.astype(int), (~o.people.ignored).astype(int)
        truth += _rows(
            category, len(truth), image_id=o.people.image, area=o.people.area, iscrowd=crowd, num_keypoints=counted
        )
        found += _rows(category, len(found), image_id=o.poses.image, area=o.poses.area, score=o.poses.score)
    shared = {"images": [{"id": i} for i in range(images)], "categories": [{"id": c + 1} for c in range(len(overlaps))]}
    matcher = _Matcher(shared | {"annotations": truth}, shared | {"annotations": found}, known)
    matcher.run()
    return dict(zip(FIGURES, map(float, matcher.stats)))


def _by_level(overlaps: list[_Overlap], pair: Pair, limits: tuple[float, float]) -> dict[str, float]:
    """AP of the images of each level of crowding, where that is known."""
    if pair.crowding is None:
        return {}
    level = np.digitize(pair.crowding, limits)
    parts = ([o.within(level == n) for o in overlaps] for n in range(len(LEVELS)))
    kept = ([o for o in part if len(o.people.image)] for part in parts)
    return {f"AP_{name}": _figures(part, pair.images)["AP"] for name, part in zip(LEVELS, kept)}


def _rows(category: int, before: int, **columns: np.ndarray) -> list[dict[str, Any]]:
    """One dictionary a row, with ids from 1 on, for 0 would mean "not matched"."""
    rows = zip(*(c.tolist() for c in columns.values()))
    return [{"id": before + n, "category_id": category, **dict(zip(columns, row))} for n, row in enumerate(rows, 1)]
