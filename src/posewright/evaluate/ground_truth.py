"""COCO ground truth and keypoint results: read, checked entry by entry, and packed into arrays to be judged."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np

from posewright.evaluate.oks import Sigmas, starts
from posewright.skeletons import from_category

MOST = 20
"""How many results an image and category are judged, the best-scored."""

SIZES = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Annotated areas in square pixels, both ends included; small people count in "all" alone."""

AREA_OF_BOX = 0.53
"""The share of a box that a person covers, for files without any areas; CrowdPose's evaluation takes the same."""

Source: TypeAlias = "str | os.PathLike[str] | dict[str, Any] | Sequence[dict[str, Any]]"
"""A JSON file, or what such a file holds."""

_Content = TypeVar("_Content")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """G annotations of a category, sorted by image."""

    image: np.ndarray  # [G] rows of the sorted image ids
    xy: np.ndarray  # [G, K, 2]
    visibility: np.ndarray  # [G, K] bool
    box: np.ndarray  # [G, 4]
    area: np.ndarray  # [G]
    crowd: np.ndarray  # [G] bool
    ignored: np.ndarray  # [G] bool: a match is neither right nor wrong

    def __getitem__(self, kept: np.ndarray) -> GroundTruth:
        return GroundTruth(*(getattr(self, f.name)[kept] for f in fields(self)))

    def judged(self, size: str) -> np.ndarray:
        """Whether each person counts at a size."""
        least, most = SIZES[size]
        return ~self.ignored & (self.area >= least) & (self.area <= most)


@dataclass(frozen=True, slots=True)
class Results:
    """D results of a category, sorted by image and from the best score down, the best `MOST` of each image."""

    image: np.ndarray  # [D]
    xy: np.ndarray  # [D, K, 2]
    score: np.ndarray  # [D]
    area: np.ndarray  # [D]

    def __getitem__(self, kept: np.ndarray) -> Results:
        return Results(*(getattr(self, f.name)[kept] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Category:
    """A category with annotations."""

    people: GroundTruth
    poses: Results
    sigmas: np.ndarray  # [K]


@dataclass(frozen=True, slots=True)
class Pair:
    """Ground truth and results."""

    categories: tuple[Category, ...]
    images: int
    crowding: np.ndarray | None  # [images] CrowdPose's crowd index of each, where all have one
    results: int  # of these categories
    notes: tuple[str, ...]


def load(truth: Source, results: Source, sigmas: Sigmas | None) -> Pair:
    """Read and pack both; arguments and errors as of `average_precision.measure`."""
    truth_name, results_name = _name(truth, "ground truth"), _name(results, "results")
    file, found = _read(truth, _File, truth_name), _read(results, list[_Result], results_name)
    if not file.images or not file.categories:
        raise ValueError(f"{truth_name}: expected COCO annotations with images and categories, one of these is empty")
    rows = {number: row for row, number in enumerate(sorted({i.id for i in file.images}))}
    notes: list[str] = []
    annotated = _by_category(file, rows, truth_name, notes)
    answered = _answers(found, rows, annotated, results_name, notes)
    no_areas = _lacks_areas(annotated, truth_name, notes)
    categories = []
    for category in file.categories:
        if entries := annotated.get(category.id):
            sigma = _sigmas(category, sigmas, truth_name)
            people = _people(entries, rows, len(sigma), truth_name, no_areas)
            poses = _poses(answered[category.id], rows, len(sigma), results_name)
            categories.append(Category(people, poses, sigma))
    return Pair(
        tuple(categories), len(rows), _crowding(file.images, rows), sum(map(len, answered.values())), tuple(notes)
    )


class _Image(msgspec.Struct, gc=False):
    id: int
    crowding: float | None = msgspec.field(name="crowdIndex", default=None)


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str = ""
    keypoints: list[str] | None = None
    sigmas: list[float] | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    id: int | str | None = None
    keypoints: list[float] | None = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: int | bool | None = None
    num_keypoints: float | None = None


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Result(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    keypoints: list[float]
    score: float
    bbox: list[float] | None = None


_Numbered = tuple[int, _Annotation]
_Entries = dict[int, list[_Numbered]]
"""Category id -> annotations with their places in the file."""


def _name(source: Source, kind: str) -> str:
    return str(source) if isinstance(source, (str, os.PathLike)) else kind


def _read(source: Source, kind: type[_Content], name: str) -> _Content:
    """The checked content of a file, or of what is in memory, where numbers may be numpy's."""
    if isinstance(source, (str, os.PathLike)):
        try:
            data = Path(source).read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"{name}: no such file") from None
    else:
        data = msgspec.json.encode(source, enc_hook=_plain)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        hint = "; NaN and infinity count as null, every number must be finite" if "`null`" in str(error) else ""
        raise ValueError(f"{name}: not the expected form: {error}{hint}") from None
    except msgspec.DecodeError as error:
        try:
            content = json.loads(data)  # it takes the NaN and Infinity that JSON has not, to be told by their entry
        except ValueError:
            raise ValueError(f"{name}: not JSON ({error})") from None
        return _read(content, kind, name)


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays, and torch's, as Python's."""
    if not hasattr(value, "tolist"):
        raise ValueError(f"expected numbers, text, lists and dictionaries, got {type(value).__name__}")
    return value.tolist()


def _crowding(images: list[_Image], rows: dict[int, int]) -> np.ndarray | None:
    known = {rows[i.id]: i.crowding for i in images}
    if None in known.values():
        return None
    return np.array([known[row] for row in range(len(rows))], np.float64)


def _by_category(file: _File, rows: dict[int, int], name: str, notes: list[str]) -> _Entries:
    """The annotations to judge; those that pycocotools, too, leaves out are noted."""
    pointed = {c.id: bool(c.keypoints) for c in file.categories}
    entries: _Entries = {}
    out: Counter[str] = Counter()
    for n, a in enumerate(file.annotations):
        if a.image_id not in rows:
            out["of images that it does not list"] += 1
        elif a.category_id not in pointed:
            out["of categories that it does not list"] += 1
        elif a.keypoints is None and not pointed[a.category_id]:
            out["of categories without keypoints"] += 1
        else:
            entries.setdefault(a.category_id, []).append((n, a))
    notes += [f"{name}: left out {count} annotations {reason}" for reason, count in out.items()]
    return entries


def _answers(
    found: list[_Result], rows: dict[int, int], annotated: Iterable[int], name: str, notes: list[str]
) -> dict[int, list[tuple[int, _Result]]]:
    """Category id -> results with their places in the file, of the annotated categories."""
    answers: dict[int, list[tuple[int, _Result]]] = {category: [] for category in annotated}
    strange: Counter[int] = Counter()
    sized = bool(found) and bool(found[0].bbox)
    for n, result in enumerate(found):
        if result.image_id not in rows:
            raise ValueError(
                f"{name}: result {n} is of image {result.image_id}, which the ground truth does not have; expected the "
                f"ids of its {len(rows)} images, such as {next(iter(rows))}"
            )
        if bool(result.bbox) != sized or (sized and len(result.bbox or ()) != 4):
            raise ValueError(
                f"{name}: result {n} {'lacks the' if sized else 'has a'} bbox [x, y, width, height] that result 0 "
                f"{'has' if sized else 'lacks'}; its area would count for some and not for others"
            )
        if result.category_id in answers:
            answers[result.category_id].append((n, result))
        else:
            strange[result.category_id] += 1
    notes += [
        f"{name}: left out {count} results of category {category}, of which the ground truth annotates nobody (only of "
        f"{', '.join(map(str, answers)) or 'none'})"
        for category, count in strange.items()
    ]
    if sized:
        notes.append(f"{name}: the results' size is their bbox's area, as they carry one, not the keypoints' extent")
    return answers


def _lacks_areas(annotated: _Entries, name: str, notes: list[str]) -> bool:
    """Whether the whole file does without areas, as CrowdPose's; without some is an error."""
    entries = [entry for some in annotated.values() for entry in some]
    lacking = [entry for entry in entries if entry[1].area is None]
    if lacking and len(lacking) < len(entries):
        raise ValueError(
            f"{_where(name, lacking[0])} has no area, which OKS divides by, and {len(entries) - len(lacking)} others "
            "have one; give all their areas in square pixels, or none"
        )
    if lacking:
        notes.append(f"{name}: no annotation has an area; {AREA_OF_BOX} of the box is taken, as CrowdPose does")
    return bool(lacking)


def _where(name: str, entry: _Numbered) -> str:
    n, a = entry
    return f"{name}: annotation {n}" + (f" (id {a.id})" if a.id is not None else "")


def _sigmas(category: _Category, given: Sigmas | None, name: str) -> np.ndarray:
    """[K] OKS sigmas of a category: as given, its own, or published for the very same points; never a guess."""
    where = f"{name}: category {category.id} ({category.name})"
    points = category.keypoints or []
    sigmas = given
    if given is None and points:
        entry = {"name": category.name, "keypoints": points}
        sigmas = from_category(entry | ({"sigmas": category.sigmas} if category.sigmas else {}), where).sigmas
    if sigmas is None:
        raise ValueError(
            f"{where}: OKS, and with it AP and AR, is undefined without sigmas, and none are published for its points "
            f"{points}; give sigmas, one a point, as an argument or under 'sigmas' in the category, or measure PCK"
        )
    sigmas = np.asarray(sigmas, np.float64)
    if sigmas.ndim != 1 or not len(sigmas) or (points and len(sigmas) != len(points)) or not (sigmas > 0).all():
        raise ValueError(f"{where}: expected {len(points) or 'K'} sigmas above 0, one a point, got {sigmas.tolist()}")
    return sigmas


def _people(entries: list[_Numbered], rows: dict[int, int], points: int, name: str, no_areas: bool) -> GroundTruth:
    blank = [0.0] * (3 * points)
    for entry in entries:
        if entry[1].keypoints is not None and len(entry[1].keypoints) != 3 * points:
            raise ValueError(
                f"{_where(name, entry)} has {len(entry[1].keypoints)} numbers under keypoints, expected {3 * points}: "
                f"x, y and visibility of {points} points"
            )
    numbers = np.array([blank if a.keypoints is None else a.keypoints for _, a in entries], np.float64)
    visibility = numbers[:, 2::3] > 0
    for entry, some in zip(entries, np.any(visibility, axis=1)):
        if entry[1].bbox is None and (no_areas or not some):
            raise ValueError(f"{_where(name, entry)} has no bbox, which stands in for its missing area or keypoints")
    box = np.array([a.bbox or (0.0,) * 4 for _, a in entries], np.float64)
    area = box[:, 2] * box[:, 3] * AREA_OF_BOX if no_areas else np.array([a.area for _, a in entries], np.float64)
    crowd = np.array([bool(a.iscrowd) for _, a in entries])
    labelled = np.array(
        [s if a.num_keypoints is None else a.num_keypoints for (_, a), s in zip(entries, visibility.sum(1))]
    )
    image = np.array([rows[a.image_id] for _, a in entries])
    order = np.argsort(image, kind="stable")
    xy = np.stack([numbers[:, 0::3], numbers[:, 1::3]], -1)
    fields = (image, xy, visibility, box, area, crowd, crowd | (labelled == 0))
    return GroundTruth(*(f[order] for f in fields))


def _poses(results: list[tuple[int, _Result]], rows: dict[int, int], points: int, name: str) -> Results:
    for n, result in results:
        if len(result.keypoints) != 3 * points:
            raise ValueError(
                f"{name}: result {n} (image {result.image_id}) has {len(result.keypoints)} numbers under keypoints, "
                f"expected {3 * points}: x, y and score of {points} points"
            )
    numbers = np.array([r.keypoints for _, r in results], np.float64).reshape(-1, points, 3)
    score = np.array([r.score for _, r in results], np.float64)
    image = np.array([rows[r.image_id] for _, r in results], np.int64)
    order = np.lexsort((-score, image))
    first = starts(image[order])
    rank = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    order = order[rank < MOST]
    xy = numbers[order, :, :2]
    extent = xy.max(1) - xy.min(1) if results and not results[0][1].bbox else _box_sizes(results, order)
    return Results(image[order], xy, score[order], extent[:, 0] * extent[:, 1])


def _box_sizes(results: list[tuple[int, _Result]], order: np.ndarray) -> np.ndarray:
    return np.array([(results[n][1].bbox or ())[2:] for n in order], np.float64).reshape(-1, 2)
