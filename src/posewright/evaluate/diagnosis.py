"""Where AP (or PCK) is lost: every annotated person and every detection explained, and what mending each kind brings.

After Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017, with its
thresholds. A point's *similarity* is exp(-d^2 / (2 area k^2)), the term that OKS is the mean of.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from posewright import coco_format
from posewright.coco_format import Annotations
from posewright.evaluate import distances
from posewright.evaluate._groups import Groups, groups_of, parts_of
from posewright.evaluate._what_if import Pairs, average_precision, matched, similarity
from posewright.evaluate.coco_ap import Overlap
from posewright.evaluate.ground_truth import Category, GroundTruth, Results, paired
from posewright.types import Skeleton

if TYPE_CHECKING:
    from posewright.data.dataset import KeypointDataset

POINT_KINDS = ("unlabelled", "good", "jitter", "inversion", "swap", "miss", "missed person")
"""What a labelled point can be; a point's kind is its place here.

* good: a similarity of 0.85 or more, within the human error margin;
* jitter: 0.5 to 0.85, near but not there;
* inversion: at the mirrored point of the same person (similarity of 0.5 or more), left for right;
* swap: at the same or the mirrored point of another person, and nearer to that than to an inversion;
* miss: near none of these;
* missed person: the person was not found at all.
"""

RESULT_KINDS = ("match", "duplicate", "background", "excused")
"""What a detection can be: of a person; of a person that a better-scored detection is of; of no person; of a crowd or
of a person without labelled points."""

MENDED = ("miss", "swap", "inversion", "jitter", "good", "score order", "duplicate", "background", "missed person")
"""What is mended, in the order in which it is mended one after the other, as in the paper; "good" makes good points
exact, which AP at the highest OKS thresholds asks for."""

NEAR, GOOD = 0.5, 0.85
"""Similarities from which on a point is near, and good."""

LEAST = 0.1
"""The OKS from which on a detection is of a person."""

MISPLACED = ("miss", "swap", "inversion", "jitter")
"""The kinds of error that a point of a person who was found can have."""

_MISSED = POINT_KINDS.index("missed person")


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """G annotated people who count, and D detections, explained.

    Attributes:
        metric: "AP", or "PCK" where the points have no OKS sigmas.
        value: of the metric, 0..1; -1 without people that count.
        skeleton: what the K points are.
        people: the G people.
        kind: [G, K] what each point is, a place in `POINT_KINDS`.
        similarity: [G] OKS with the person's detection (of PCK: the mean similarity), 0 where there is none.
        result: [G] which result each person's detection is, -1 where there is none.
        misordered: [G] bool, whether a lower-scored detection of the person is better.
        groups: by name ("size", "visible keypoints", "crowding", "view") the people in groups.
        results: [D] the places in the results of the detections below.
        result_kind: [D] what each detection is, a place in `RESULT_KINDS`.
        gains: what mending each kind adds to the metric, one after the other in the order of `MENDED`; with the value
            they add up to 1.
        alone: what mending that kind alone adds.
        parts: by kind and part (the two mirrored points together), what mending that alone adds.
        points: [K] what mending all errors of each point adds.
        by_group: by name and group, what mending all points of its people, and finding the missed ones, adds.
    """

    metric: str
    value: float
    skeleton: Skeleton
    people: Annotations
    kind: np.ndarray
    similarity: np.ndarray
    result: np.ndarray
    misordered: np.ndarray
    groups: dict[str, Groups]
    results: np.ndarray
    result_kind: np.ndarray
    gains: dict[str, float]
    alone: dict[str, float]
    parts: dict[str, dict[str, float]]
    points: np.ndarray
    by_group: dict[str, dict[str, float]]

    def counts(self) -> dict[str, int]:
        """How many there are of each kind: points, missed people, people in bad score order, and detections."""
        points = {name: int((self.kind == n).sum()) for n, name in enumerate(POINT_KINDS[:-1])}
        found = {name: int((self.result_kind == n).sum()) for n, name in enumerate(RESULT_KINDS)}
        missed = {"missed person": int((self.result < 0).sum()), "score order": int(self.misordered.sum())}
        return points | missed | found


def diagnose(
    people: KeypointDataset | str | os.PathLike[str],
    results: list[dict[str, Any]] | str | os.PathLike[str],
    threshold: float | None = None,
) -> Diagnosis:
    """Explain keypoint results: by AP, or by PCK where the people's skeleton has no OKS sigmas. No image is needed.

    In terms of PCK a point is good within the threshold and near within 2.07 times that, which is where a similarity
    of 0.85 falls to 0.5; each person's detection is that of the most overlapping box.

    Args:
        people: of one annotation file, or that file, of any format (`posewright.data.formats`).
        results: COCO keypoint results with the points of the people's skeleton, or a file of them.
        threshold: of PCK; see `distances.measured`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be, or its categories have different points; people and results do not
            go together; or the people come from several files.
    """
    if isinstance(people, str | os.PathLike):
        from posewright.data import formats, sources

        people = sources.without_images(formats.read(people))
    if isinstance(results, str | os.PathLike):
        results = [msgspec.to_builtins(result) for result in coco_format.read_results(results)]
    found = Results.of(results)
    if people.skeleton.sigmas is not None:
        categories, _ = paired(GroundTruth.of(people), found)
        return _diagnosis("AP", [_Case.of(category, people.skeleton) for category in categories], people.skeleton)
    categories, _ = paired(_in_pck_terms(people, threshold), found)
    pose_of = dict(zip(people.annotation_id.tolist(), distances.matched_rows(people, results).tolist()))
    cases = [_Case.of(category, people.skeleton, pose_of) for category in categories]
    every = people.evaluated()
    return _diagnosis("PCK", cases, people.skeleton, dict(zip(every.id.tolist(), every.area.tolist())))


def _in_pck_terms(people: KeypointDataset, threshold: float | None) -> GroundTruth:
    """Annotations whose areas and sigmas make a similarity of 0.85 of a distance of the PCK's threshold."""
    norm, _, default = distances.pck_norm(people)
    limit = default if threshold is None else threshold
    every = people.evaluated()
    place = {number: n for n, number in enumerate(people.annotation_id.tolist())}
    rows = np.array([place.get(number, -1) for number in every.id.tolist()], int)
    length = np.where(rows >= 0, np.append(norm, np.nan)[rows], np.nan)
    known = np.isfinite(length) & (length > 0)
    every = replace(every, area=np.where(known, length, 1.0) ** 2, labelled=np.where(known, every.labelled, 0))
    sigma = limit / np.sqrt(-8 * np.log(GOOD))
    numbers = np.unique(every.category_id).tolist()
    return GroundTruth(
        str(people.annotations),
        np.sort(people.image_id),
        {n: every[every.category_id == n] for n in numbers},
        {n: np.full(people.skeleton.num_keypoints, sigma) for n in numbers},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One category explained: D poses and G people, who count or not."""

    pairs: Pairs
    kind: np.ndarray  # [G, K] places in POINT_KINDS; 0 for all points of those who do not count
    pose: np.ndarray  # [G] the pose that is of each person, -1 where none
    similarity: np.ndarray  # [G] with it
    misordered: np.ndarray  # [G] bool
    pose_kind: np.ndarray  # [D] places in RESULT_KINDS

    @property
    def category(self) -> Category:
        return self.pairs.overlap.category

    @staticmethod
    def of(category: Category, skeleton: Skeleton, result_of: dict[int, int] | None = None) -> _Case:
        """Explain a category; `result_of` says by annotation id which result is whose, else OKS does."""
        overlap = Overlap.of(category)
        match = _match(overlap, result_of)
        pairs = Pairs.of(overlap, match)
        pose = np.full(len(category.people), -1)
        pose[match[match >= 0]] = np.flatnonzero(match >= 0)
        own = match[overlap.pose] == overlap.person
        value, better = (np.zeros(len(category.people)) for _ in range(2))
        value[overlap.person[own]] = overlap.oks[own]
        free = match[overlap.pose] < 0
        np.maximum.at(better, overlap.person[free], overlap.oks[free])
        misordered = (pose >= 0) & (better > value + 1e-12) & (result_of is None)
        kind = _point_kinds(pairs, own, skeleton)
        pose_kind = _pose_kinds(overlap, match)
        if result_of is not None:  # results of people who cannot be measured are neither right nor wrong
            excused = [result_of.get(number, -1) for number in category.people.id[category.ignored].tolist()]
            pose_kind[np.isin(category.row, excused)] = RESULT_KINDS.index("excused")
        return _Case(pairs, kind, pose, value, misordered, pose_kind)


def _match(overlap: Overlap, result_of: dict[int, int] | None) -> np.ndarray:
    """The person [D] that each pose is of, -1 of none."""
    c = overlap.category
    if result_of is None:
        person = matched(overlap, overlap.oks, c.score, np.array([LEAST]), c.ignored)[0][:, 0]
        return np.where(np.append(c.ignored, True)[person], -1, person)
    person_of = {result_of.get(number, -1): n for n, number in enumerate(c.people.id.tolist()) if not c.ignored[n]}
    return np.array([person_of.get(row, -1) for row in c.row.tolist()], int)


def _point_kinds(pairs: Pairs, own: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """What every labelled point [G, K] of those who count is; `own` [P]: which pairs are a person and their pose."""
    o, c, flip = pairs.overlap, pairs.overlap.category, skeleton.flip_index
    labelled = c.people.keypoints[..., 2] > 0
    straight = np.where(labelled[o.person], pairs.near, 0)
    across = np.where(labelled[o.person][:, flip], similarity(o, c.xy, o.pose, flip), 0)
    right, inverted, swapped = (np.zeros(labelled.shape) for _ in range(3))
    right[o.person[own]] = straight[own]
    inverted[o.person[own]] = np.where(flip != np.arange(len(flip)), across[own], 0)
    other = ~own & (pairs.match[o.pose] >= 0)
    np.maximum.at(swapped, pairs.match[o.pose[other]], np.maximum(straight, across)[other])
    kind = np.select(
        [right >= GOOD, right >= NEAR, (inverted >= NEAR) & (inverted >= swapped), swapped >= NEAR],
        [POINT_KINDS.index(name) for name in ("good", "jitter", "inversion", "swap")],
        POINT_KINDS.index("miss"),
    )
    kind[np.isin(np.arange(len(kind)), pairs.match, invert=True)] = _MISSED
    return np.where(labelled & ~c.ignored[:, None], kind, 0).astype(np.int8)


def _pose_kinds(overlap: Overlap, match: np.ndarray) -> np.ndarray:
    """What each pose [D] is."""
    counted, excused = (np.zeros(len(match)) for _ in range(2))
    ignored = overlap.category.ignored[overlap.person]
    np.maximum.at(counted, overlap.pose[~ignored], overlap.oks[~ignored])
    np.maximum.at(excused, overlap.pose[ignored], overlap.oks[ignored])
    places = [RESULT_KINDS.index(name) for name in ("match", "excused", "duplicate")]
    tests = [match >= 0, excused >= NEAR, counted >= LEAST]
    return np.select(tests, places, RESULT_KINDS.index("background")).astype(np.int8)


@dataclass(frozen=True, slots=True)
class _Repair:
    """What is mended: kinds of error, and of the points and people only those that are picked."""

    kinds: frozenset[str]
    points: np.ndarray | None = None  # [K] bool
    people: tuple[np.ndarray, ...] | None = None  # per case, [G] bool

    def of_points(self, case: _Case, number: int) -> np.ndarray:
        """Mask [G, K] of the points that are mended."""
        places = [POINT_KINDS.index(name) for name in self.kinds.intersection(POINT_KINDS[1:-1])]
        return np.isin(case.kind, places) & self._picked(case, number)

    def of_people(self, case: _Case, number: int) -> np.ndarray:
        """Mask [G] of the missed people that are found."""
        found = (case.kind == _MISSED) & self._picked(case, number)
        return found.any(1) & ("missed person" in self.kinds)

    def _picked(self, case: _Case, number: int) -> np.ndarray:
        points = np.ones(case.kind.shape[1], bool) if self.points is None else self.points
        people = np.ones(len(case.kind), bool) if self.people is None else self.people[number]
        return points & people[:, None]


def _ap(cases: Sequence[_Case], repair: _Repair) -> float:
    """AP after a repair, the mean over the categories; -1 without people that count."""
    values = []
    for number, case in enumerate(cases):
        overlap, match = case.pairs.overlap, case.pairs.match
        mended = repair.of_points(case, number)
        value = case.pairs.oks(mended[match] & (match >= 0)[:, None]) if mended.any() else overlap.oks
        score = case.category.score
        if "score order" in repair.kinds:  # the optimal score of a detection is its best OKS
            score = np.zeros(len(match))
            np.maximum.at(score, overlap.pose, value)
        gone = [RESULT_KINDS.index(name) for name in repair.kinds.intersection(RESULT_KINDS)]
        gone += [RESULT_KINDS.index("excused")] * ("background" in repair.kinds)
        removed = np.isin(case.pose_kind, gone)
        values.append(average_precision(overlap, value, score, removed=removed, added=repair.of_people(case, number)))
    counted = [value for value in values if value >= 0]
    return float(np.mean(counted)) if counted else -1.0


def _pck(cases: Sequence[_Case], repair: _Repair) -> float:
    """PCK after a repair, the mean over the points; -1 without people that count."""
    right, labelled = (np.zeros(cases[0].kind.shape[1], int) for _ in range(2))
    for number, case in enumerate(cases):
        found = repair.of_people(case, number)[:, None] & (case.kind > 0)
        good = (case.kind == POINT_KINDS.index("good")) | repair.of_points(case, number) | found
        right, labelled = right + good.sum(0), labelled + (case.kind > 0).sum(0)
    return float((right[labelled > 0] / labelled[labelled > 0]).mean()) if labelled.any() else -1.0


def _diagnosis(
    metric: str, cases: Sequence[_Case], skeleton: Skeleton, areas: dict[int, float] | None = None
) -> Diagnosis:
    """All of it; `areas` by annotation id are in square pixels where those of the cases measure something else."""
    measure = _ap if metric == "AP" else _pck
    value = measure(cases, _Repair(frozenset()))
    counts = [~case.category.ignored for case in cases]
    categories = [_with_areas(case.category, areas) for case in cases]
    own_groups = [groups_of(category, skeleton) for category in categories]

    def gain(*kinds: str, points: np.ndarray | None = None, people: tuple[np.ndarray, ...] | None = None) -> float:
        return measure(cases, _Repair(frozenset(kinds), points, people)) - value

    steps = [value, *(measure(cases, _Repair(frozenset(MENDED[: n + 1]))) for n in range(len(MENDED)))]
    single = np.eye(skeleton.num_keypoints, dtype=bool)
    by_group = {
        name: {
            label: gain(*MISPLACED, "missed person", people=tuple(g[name].index == n for g in own_groups))
            for n, label in enumerate(own_groups[0][name].labels)
        }
        for name in own_groups[0]
    }
    return Diagnosis(
        metric=metric,
        value=value,
        skeleton=skeleton,
        people=_joined([category.people[counted] for category, counted in zip(categories, counts)]),
        kind=np.concatenate([case.kind[counted] for case, counted in zip(cases, counts)]),
        similarity=np.concatenate([case.similarity[counted] for case, counted in zip(cases, counts)]),
        result=np.concatenate([np.append(c.category.row, -1)[c.pose[counted]] for c, counted in zip(cases, counts)]),
        misordered=np.concatenate([case.misordered[counted] for case, counted in zip(cases, counts)]),
        groups={
            name: Groups(first.labels, np.concatenate([g[name].index[c] for g, c in zip(own_groups, counts)]))
            for name, first in own_groups[0].items()
        },
        results=np.concatenate([case.category.row for case in cases]),
        result_kind=np.concatenate([case.pose_kind for case in cases]),
        gains=dict(zip(MENDED, np.diff(steps).tolist())),
        alone={kind: gain(kind) for kind in MENDED},
        parts={k: {p: gain(k, points=mask) for p, mask in parts_of(skeleton).items()} for k in MISPLACED},
        points=np.array([gain(*MISPLACED, points=point) for point in single]),
        by_group=by_group,
    )


def _with_areas(category: Category, areas: dict[int, float] | None) -> Category:
    if areas is None:
        return category
    area = np.array([areas[number] for number in category.people.id.tolist()], np.float64)
    return replace(category, people=replace(category.people, area=area))


def _joined(several: Sequence[Annotations]) -> Annotations:
    return Annotations(*(np.concatenate([getattr(a, name) for a in several]) for name in Annotations.__slots__))
