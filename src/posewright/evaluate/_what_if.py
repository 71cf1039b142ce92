"""AP as it would be if some errors were mended, fast enough to be asked a hundred times over.

The matching is COCO's own, for all images at once: a loop runs over the ranks of the scores in an image, not over
images. `coco_ap` gives the published metrics; this gives the same AP, to be compared with what it would become.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posewright.evaluate.coco_ap import Overlap
from posewright.evaluate.oks import chunks, starts

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Poses and people of a category, in the same image two by two: P pairs of D poses and G people.

    Attributes:
        overlap: the pairs, with their OKS.
        match: [D] the person that each pose is of, -1 of none.
        near: [P, K] keypoint similarity, exp(-d^2 / (2 area k^2)), of the pose's points and the person's.
        mended: [P, K] the same if the pose lay exactly on the person that it is of.
    """

    overlap: Overlap
    match: np.ndarray
    near: np.ndarray
    mended: np.ndarray

    @staticmethod
    def of(overlap: Overlap, match: np.ndarray) -> Pairs:
        xy = overlap.category.people.keypoints[..., :2].astype(np.float64)
        near = similarity(overlap, overlap.category.xy, overlap.pose)
        return Pairs(overlap, match, near, similarity(overlap, xy, match[overlap.pose]))  # of -1 it is never read

    def oks(self, mend: np.ndarray) -> np.ndarray:
        """OKS [P] with the points that a mask [D, K] picks put where the annotation of the pose's person has them."""
        o = self.overlap
        people = o.category.people
        labelled = people.keypoints[..., 2] > 0
        count = labelled.sum(1)
        rows = np.flatnonzero(np.any(mend, axis=1)[o.pose] & (count[o.person] > 0))
        value = o.oks.copy()
        for part in chunks(len(rows)):
            chunk = rows[part]
            pose, person = o.pose[chunk], o.person[chunk]
            each = np.where(mend[pose], self.mended[chunk], self.near[chunk])
            value[chunk] = (each * labelled[person]).sum(1) / count[person]
        return value


def similarity(overlap: Overlap, xy: np.ndarray, row: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Keypoint similarity [P, K] of the points xy[row] and those of each pair's person, 0..1, in another order [K]."""
    c = overlap.category
    target, variance = c.people.keypoints[..., :2].astype(np.float64), (2 * c.sigmas) ** 2
    target = target if order is None else target[:, order]
    value = np.empty((len(row), len(c.sigmas)))
    for part in chunks(len(row)):
        person = overlap.person[part]
        squared = np.square(xy[row[part]] - target[person]).sum(-1)
        value[part] = np.exp(-squared / variance / (c.people.area[person, None] + np.spacing(1)) / 2)
    return value


def matched(
    overlap: Overlap, oks: np.ndarray, score: np.ndarray, thresholds: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which person each pose is of, by COCO's greedy rule, at T thresholds.

    From the best score of an image down, each pose takes the free person of the highest OKS at or above the threshold,
    those who count before those who are ignored; a crowd is never taken.

    Args:
        overlap: D poses, G people, P pairs.
        oks: [P], in place of `overlap.oks`.
        score: [D], in place of the poses' own.
        thresholds: [T].
        ignored: [G] bool.

    Returns:
        person: [D, T], -1 where none.
        order: [D] the poses by image and from the best score down.
    """
    c = overlap.category
    order = np.lexsort((-score, c.image))
    first = starts(c.image[order])
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    least = np.minimum(thresholds, 1 - 1e-10)
    live = np.flatnonzero(oks >= least.min())
    live = live[np.argsort(rank[overlap.pose[live]], kind="stable")]
    found = np.full((len(order), len(thresholds)), -1)
    taken = np.zeros((len(ignored), len(thresholds)), bool)
    at = starts(rank[overlap.pose[live]])
    for begin, end in zip(at, np.append(at, len(live))[1:]):
        pairs = live[begin:end]
        pose, person, value = overlap.pose[pairs], overlap.person[pairs], oks[pairs, None]
        run = starts(pose)
        which = np.repeat(np.arange(len(run)), np.diff(run, append=len(pairs)))
        able = (value >= least) & (~taken[person] | c.people.crowd[person, None])
        counts = able & ~ignored[person, None]
        able = np.where(np.logical_or.reduceat(counts, run)[which], counts, able)
        value = np.where(able, value, -1.0)
        best = np.maximum.reduceat(value, run)
        last = np.where(able & (value == best[which]), np.arange(len(pairs))[:, None], -1)  # of equals, as COCO
        place = np.maximum.reduceat(last, run)
        n, t = np.nonzero(place >= 0)
        winner = person[place[n, t]]
        found[pose[run][n], t] = winner
        taken[winner, t] = True
    return found, order


def average_precision(
    overlap: Overlap,
    oks: np.ndarray,
    score: np.ndarray,
    *,
    removed: np.ndarray | None = None,
    added: np.ndarray | None = None,
) -> float:
    """AP of one category; -1 without people that count.

    Args:
        overlap: D poses, G people, P pairs.
        oks: [P].
        score: [D].
        removed: [D] bool, poses to leave out.
        added: [G] bool, people to count as found perfectly, with the highest scores.
    """
    return float(average_precisions(overlap, oks, score, removed=removed, added=added)[0])


def average_precisions(
    overlap: Overlap,
    oks: np.ndarray,
    score: np.ndarray,
    *,
    removed: np.ndarray | None = None,
    added: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """AP [B] of one category in B draws of its images, which are matched only once; see `average_precision`.

    Args:
        overlap: see `average_precision`, and so for the others.
        oks: [P].
        score: [D].
        removed: [D] bool.
        added: [G] bool.
        weights: [B, M] how often each of M images is drawn; None is one draw of each image once.
    """
    c = overlap.category
    added = np.zeros(len(c.people), bool) if added is None else added & ~c.ignored
    ignored = c.ignored | added
    if removed is not None:
        oks = np.where(removed[overlap.pose], -1.0, oks)
    person, order = matched(overlap, oks, score, THRESHOLDS, ignored)
    if removed is not None:
        order = order[~removed[order]]
    order = order[np.argsort(-score[order], kind="stable")]
    person = person[order]
    right = (person >= 0) & ~np.append(ignored, True)[person]
    wrong = person < 0
    if weights is None:
        last = max(c.image.max(initial=0), c.people_image.max(initial=0)) + 1
        weights = np.ones((1, last), int)
    values = []
    for weight in weights:
        each = weight[c.image[order], None]
        total = int(weight[c.people_image[~c.ignored]].sum())
        found = int(weight[c.people_image[added]].sum())
        values.append(_area(np.cumsum(right * each, axis=0), np.cumsum(wrong * each, axis=0), found, total))
    return np.array(values)


def _area(right: np.ndarray, wrong: np.ndarray, found: int, total: int) -> float:
    """Mean over thresholds and recalls of the precision of counts [D, T], after `found` certain ones; -1 if none."""
    if not total:
        return -1.0
    if found:
        right, wrong = (np.vstack([np.zeros((1, x.shape[1]), int), x]) for x in (right, wrong))
    precision = (right + found) / (right + found + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    recall = (right + found) / total
    places = (np.searchsorted(column, _RECALLS, side="left") for column in recall.T)
    return float(np.mean([np.append(column, 0.0)[place] for column, place in zip(precision.T, places)]))
