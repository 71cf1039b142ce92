"""COCO ground truth and keypoint results as arrays, ready to be compared: from files, from memory, from a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from posewright import coco_format
from posewright.coco_format import AREA_OF_BOX, Annotations, Source
from posewright.evaluate.oks import Sigmas, starts
from posewright.files import short
from posewright.skeletons import from_category

if TYPE_CHECKING:
    from posewright.data.dataset import KeypointDataset

MOST = 20
"""How many results per image and category are evaluated, the best-scored."""

SIZES = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Annotated areas in square pixels, both ends included; small people count in "all" alone."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Annotations of M images, by category.

    Attributes:
        name: the file's, for messages.
        image_id: [M] int64, rising.
        people: category id -> its annotations, with box, area and keypoints of every one.
        sigmas: category id -> [K] OKS sigmas.
        crowding: [M] CrowdPose's crowd index of each image, or None where not all have one.
        notes: what was left out, or taken in place of something missing.
    """

    name: str
    image_id: np.ndarray
    people: dict[int, Annotations]
    sigmas: dict[int, np.ndarray]
    crowding: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(dataset: KeypointDataset) -> GroundTruth:
        """The annotations of a data set; its file is not read again.

        Raises:
            ValueError: its skeleton has no OKS sigmas, or it comes from several files.
        """
        every, sigmas = dataset.evaluated(), dataset.skeleton.sigmas
        if sigmas is None:
            raise ValueError(f"{dataset.annotations}: {_undefined(dataset.skeleton.points)}")
        order, crowding = np.argsort(dataset.image_id, kind="stable"), dataset.crowding
        categories = np.unique(every.category_id).tolist()
        return GroundTruth(
            str(dataset.annotations),
            dataset.image_id[order],
            {number: every[every.category_id == number] for number in categories},
            {number: np.asarray(sigmas, np.float64) for number in categories},
            None if crowding is None or np.isnan(crowding).any() else crowding[order],
        )

    @staticmethod
    def read(source: Source, sigmas: Sigmas | None = None) -> GroundTruth:
        """The content of an annotation file.

        Args:
            source: the file, or what it holds.
            sigmas: K OKS sigmas, instead of the categories' own or those published for their very points.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not COCO, or OKS is undefined because no sigmas are known; the message names the entry.
        """
        name = coco_format.name_of(source, "ground truth")
        return GroundTruth.of_file(name, coco_format.read_annotations(source), sigmas)

    @staticmethod
    def of_file(name: str, file: coco_format.AnyFile, sigmas: Sigmas | None = None) -> GroundTruth:
        """The content of an annotation file that was read already; see `read`."""
        if not file.images or not file.categories:
            raise ValueError(f"{name}: expected COCO annotations with images and categories, one of these is empty")
        notes: list[str] = []
        rows = _by_category(file, name, notes)
        sigma = {c.id: _sigmas(c, sigmas, name) for c in file.categories if c.id in rows}
        people = {number: coco_format.packed(name, file, rows[number], len(sigma[number])) for number in sigma}
        crowding = {i.id: i.crowding for i in file.images}
        image_id = sorted(crowding)
        known = None not in crowding.values()
        return GroundTruth(
            name,
            np.array(image_id, np.int64),
            _with_areas(people, name, notes),
            sigma,
            np.array([crowding[number] for number in image_id], np.float64) if known else None,
            tuple(notes),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """D keypoint results of any images and categories.

    Attributes:
        name: the file's, for messages.
        image_id: [D] int64.
        category_id: [D] int64.
        points: [D] int64, how many points each has.
        keypoints: [D, K, 3] x, y, confidence; K is the largest of `points`, and what is beyond a result's own is 0.
        score: [D] float64.
        size: [D, 2] widths and heights of their boxes, or None where the extent of the keypoints stands for them.
    """

    name: str
    image_id: np.ndarray
    category_id: np.ndarray
    points: np.ndarray
    keypoints: np.ndarray
    score: np.ndarray
    size: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.score)

    @staticmethod
    def of(source: Source, name: str = "") -> Results:
        """The content of a keypoint results file.

        Args:
            source: the file, or what it holds: a list of {image_id, category_id, keypoints: [x, y, score] * K, score}.
            name: what messages call it; by default the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not such a list; the message names the entry.
        """
        name, found = name or coco_format.name_of(source, "results"), coco_format.read_results(source)
        sized = bool(found) and bool(found[0].bbox)
        for n, r in enumerate(found):
            if len(r.keypoints) % 3:
                raise ValueError(
                    f"{name}: result {n} (image {r.image_id}) has {len(r.keypoints)} numbers under keypoints, expected "
                    "x, y and score of each point"
                )
            if bool(r.bbox) != sized or (sized and len(r.bbox or ()) != 4):
                raise ValueError(
                    f"{name}: result {n} {'lacks the' if sized else 'has a'} bbox [x, y, width, height] that result 0 "
                    f"{'has' if sized else 'lacks'}; its area would count for some and not for others"
                )
        length = np.array([len(r.keypoints) for r in found], np.int64)
        longest = int(length.max(initial=0))
        if (length == longest).all():
            numbers = np.array([r.keypoints for r in found], np.float64)
        else:
            numbers = np.array([r.keypoints + [0.0] * (longest - len(r.keypoints)) for r in found], np.float64)
        score = np.array([r.score for r in found], np.float64)
        size = np.array([(r.bbox or [])[2:] for r in found], np.float64) if sized else None
        for field, values in (("keypoints", numbers), ("score", score[:, None]), ("bbox", size)):
            if values is not None and len(values) and not (finite := np.isfinite(values).all(1)).all():
                n = int(np.argmin(finite))
                raise ValueError(
                    f"{name}: result {n} (image {found[n].image_id}): {field} holds NaN or infinity, expected finite "
                    "numbers"
                )
        return Results(
            name,
            np.array([r.image_id for r in found], np.int64),
            np.array([r.category_id for r in found], np.int64),
            length // 3,
            numbers.reshape(len(found), longest // 3, 3),
            score,
            size,
        )

    def __getitem__(self, kept: np.ndarray) -> Results:
        size = None if self.size is None else self.size[kept]
        return Results(
            self.name,
            self.image_id[kept],
            self.category_id[kept],
            self.points[kept],
            self.keypoints[kept],
            self.score[kept],
            size,
        )


@dataclass(frozen=True, slots=True)
class Category:
    """A category's annotations and results, both sorted by image; results from the best score down, `MOST` per image.

    Attributes:
        people: G annotations.
        people_image: [G] each one's image, as a row of `GroundTruth.image_id`.
        ignored: [G] bool, whether a match with it is neither right nor wrong.
        xy: [D, K, 2] results.
        image: [D] their images, as rows.
        score: [D].
        area: [D] of their boxes, or of the extent of their keypoints.
        sigmas: [K].
        row: [D] their places in the results.
    """

    people: Annotations
    people_image: np.ndarray
    ignored: np.ndarray
    xy: np.ndarray
    image: np.ndarray
    score: np.ndarray
    area: np.ndarray
    sigmas: np.ndarray
    row: np.ndarray

    def counted(self, size: str) -> np.ndarray:
        """Whether each person counts at a size."""
        least, most = SIZES[size]
        return ~self.ignored & (self.people.area >= least) & (self.people.area <= most)

    def within(self, images: np.ndarray) -> Category:
        """What of it is in the images that a mask picks."""
        people, results = images[self.people_image], images[self.image]
        return replace(
            self,
            people=self.people[people],
            people_image=self.people_image[people],
            ignored=self.ignored[people],
            xy=self.xy[results],
            image=self.image[results],
            score=self.score[results],
            area=self.area[results],
            row=self.row[results],
        )


def paired(truth: GroundTruth, results: Results) -> tuple[list[Category], list[str]]:
    """The categories that have annotations, each with its results, and notes about what was left out.

    Raises:
        ValueError: a result is of an image that the ground truth does not have, or has another number of points.
    """
    check_images(results.name, results.image_id, truth.image_id)
    notes = notes_on_categories(results.name, results.category_id, list(truth.people))
    if results.size is not None:
        notes.append(
            f"{results.name}: the results' size is their bbox's area, as they carry one, not the keypoints' extent"
        )
    return [_category(truth, results, number) for number in truth.people], notes


def check_images(name: str, images: np.ndarray, known: np.ndarray) -> None:
    """Refuse results, which messages call `name`, of images [D] that the ground truth, of images [M], does not have.

    Raises:
        ValueError: the message says which, and what was expected.
    """
    if not (right := np.isin(images, known)).all():
        n = int(np.argmin(right))
        raise ValueError(
            f"{name}: result {n} is of image {images[n]}, which the ground truth does not have; expected the ids of "
            f"its {len(known)} images, such as {known.min()}"
        )


def notes_on_categories(name: str, categories: np.ndarray, known: Sequence[int]) -> list[str]:
    """What to say of results, called `name`, of categories [D] of which nobody is annotated; `known` are the others."""
    strange = Counter(categories[~np.isin(categories, known)].tolist())
    return [
        f"{name}: left out {count} results of category {category}, of which the ground truth has no annotations (only "
        f"of {', '.join(map(str, known)) or 'none'})"
        for category, count in strange.items()
    ]


def _category(truth: GroundTruth, results: Results, number: int) -> Category:
    people, sigmas = truth.people[number], truth.sigmas[number]
    row = np.searchsorted(truth.image_id, people.image_id)
    order = np.argsort(row, kind="stable")
    people, row = people[order], row[order]
    rows = np.flatnonzero(results.category_id == number)
    if wrong := rows[results.points[rows] != len(sigmas)].tolist():
        n = wrong[0]
        raise ValueError(
            f"{results.name}: result {n} (image {results.image_id[n]}) has {3 * results.points[n]} numbers under "
            f"keypoints, expected {3 * len(sigmas)}: x, y and score of {len(sigmas)} points"
        )
    image = np.searchsorted(truth.image_id, results.image_id[rows])
    best = np.lexsort((-results.score[rows], image))
    first = starts(image[best])
    rank = np.arange(len(best)) - np.repeat(first, np.diff(first, append=len(best)))
    best = best[rank < MOST]
    rows, image = rows[best], image[best]
    xy = results.keypoints[rows, : len(sigmas), :2].reshape(len(rows), len(sigmas), 2)
    size = xy.max(1) - xy.min(1) if results.size is None else results.size[rows]
    ignored = people.crowd | (people.labelled == 0)
    return Category(people, row, ignored, xy, image, results.score[rows], size[:, 0] * size[:, 1], sigmas, rows)


def _by_category(file: coco_format.AnyFile, name: str, notes: list[str]) -> dict[int, list[int]]:
    """Category id -> places of its annotations; those that pycocotools, too, leaves out are noted."""
    pointed = {c.id: bool(c.keypoints) for c in file.categories}
    images = {i.id for i in file.images}
    rows: dict[int, list[int]] = {}
    out: Counter[str] = Counter()
    for n, a in enumerate(file.annotations):
        if a.image_id not in images:
            out["of images that it does not list"] += 1
        elif a.category_id not in pointed:
            out["of categories that it does not list"] += 1
        elif not pointed[a.category_id] and coco_format.without_keypoints(a):
            out["of categories without keypoints"] += 1
        else:
            rows.setdefault(a.category_id, []).append(n)
    notes += [f"{name}: left out {count} annotations {reason}" for reason, count in out.items()]
    return rows


def _with_areas(people: dict[int, Annotations], name: str, notes: list[str]) -> dict[int, Annotations]:
    """The same, with areas made from boxes if no annotation has one (CrowdPose); some lacking it is an error."""
    count = sum(map(len, people.values()))
    lacking = sum(int(_without_area(group).sum()) for group in people.values())
    for group in people.values():
        wrong = _without_area(group) if count > lacking else np.zeros(len(group), bool)
        if wrong.any():
            raise ValueError(
                f"{name}: {_named(group, wrong)} has no area, which OKS divides by, and {count - lacking} others have "
                "one; give all their areas in square pixels, or none"
            )
        unlabelled = (group.keypoints[..., 2] > 0).sum(1) == 0
        boxless = np.isnan(group.box[:, 0]) & (unlabelled | (lacking > 0))
        if boxless.any():
            raise ValueError(f"{name}: {_named(group, boxless)} has no bbox, and its area or keypoints are missing too")
    if not lacking:
        return {n: replace(group, box=np.nan_to_num(group.box)) for n, group in people.items()}
    notes.append(f"{name}: no annotation has an area; {AREA_OF_BOX} of the box is taken, as CrowdPose does")
    return {n: replace(group, area=group.box[:, 2] * group.box[:, 3] * AREA_OF_BOX) for n, group in people.items()}


def _without_area(group: Annotations) -> np.ndarray:
    return np.isnan(group.area)


def _named(group: Annotations, picked: np.ndarray) -> str:
    n = int(np.argmax(picked))
    return f"annotation {group.row[n]}" + (f" (id {group.id[n]})" if group.id[n] >= 0 else "")


def _sigmas(category: coco_format.Category, given: Sigmas | None, name: str) -> np.ndarray:
    """[K] OKS sigmas of a category: as given, its own, or published for the very same points; never a guess."""
    where = f"{name}: category {category.id} ({short(category.name, 60)})"
    points = category.keypoints or []
    sigmas = given
    if given is None and points:
        entry = {"name": category.name, "keypoints": points}
        sigmas = from_category(entry | ({"sigmas": category.sigmas} if category.sigmas else {}), where).sigmas
    if sigmas is None:
        raise ValueError(f"{where}: {_undefined(points)}")
    sigmas = np.asarray(sigmas, np.float64)
    if sigmas.ndim != 1 or not len(sigmas) or (points and len(sigmas) != len(points)) or not (sigmas > 0).all():
        raise ValueError(
            f"{where}: expected {len(points) or 'K'} sigmas above 0, one per point, got {short(str(sigmas.tolist()))}"
        )
    return sigmas


def _undefined(points: Sequence[str]) -> str:
    return (
        "OKS, and with it AP and AR, is undefined without sigmas, and none are published for its points "
        f"{short(str(list(points)))}; give sigmas, one per point, as an argument or under 'sigmas' in the category, or "
        "measure PCK"
    )
