"""Where boxes come from: an annotation file, a detections file, or an ONNX detector.

Sources that look at pixels are plain callables, image [H, W, 3] uint8 RGB -> `Boxes`; any other of that form will do.
Sources that look things up are a `BoxFile`. The whole image needs no source: `Predictor` takes it where none is given;
`two_pass_boxes` makes a box of what it finds there.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TypeAlias

import numpy as np

from posewright import coco_format
from posewright.predict import detections_file
from posewright.predict.detector import OnnxDetector as OnnxDetector
from posewright.types import Boxes, Poses

PathLike: TypeAlias = "str | os.PathLike[str]"
Detector: TypeAlias = Callable[[np.ndarray], Boxes]


def image_id_of(path: PathLike) -> int:
    """The COCO image id that a file's name ends in: 785 of "785.jpg" or "COCO_val2014_000000000785.jpg".

    Raises:
        ValueError: the name does not end in digits.
    """
    digits = re.search(r"[0-9]+$", PurePath(path).stem)
    if digits is None:
        raise ValueError(
            f"{path}: the name does not end in an image id; expected one such as 000000000785.jpg, or give the COCO "
            "annotation file that says which image has which id"
        )
    return int(digits[0])


# -- boxes from files -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BoxFile:
    """Boxes read from a file, to be looked up by image.

    Attributes:
        source: what is printed beside metrics: "gt" or the file's name and threshold.
        image_id: [M] int64, rising.
        xywh: [M, 4] float64, image pixels.
        score: [M] float64.
        skipped: how many entries were left out, by reason.
        ids: image ids by file name; empty where files are named by their id.
        named_by: the kind of file that says so, for messages.
        cleaned: whether they are annotated boxes, cleaned as `Boxes` says.
    """

    source: str
    image_id: np.ndarray
    xywh: np.ndarray = field(repr=False)
    score: np.ndarray = field(repr=False)
    skipped: dict[str, int]
    ids: dict[str, int] = field(repr=False)
    cleaned: bool = False
    named_by: str = "annotation"

    def __len__(self) -> int:
        return len(self.xywh)

    def of_id(self, image_id: int) -> Boxes:
        """The boxes of an image, in the file's order; none where the file has none."""
        rows = slice(*np.searchsorted(self.image_id, [image_id, image_id + 1]))
        return Boxes(self.xywh[rows], self.score[rows], self.source, self.cleaned)

    def of(self, path: PathLike) -> Boxes:
        """The boxes of an image file.

        Raises:
            LookupError: the annotation file names no such image.
            ValueError: without an annotation file, the name does not end in an image id.
        """
        return self.of_id(self.id_of(path))

    def id_of(self, path: PathLike) -> int:
        """The id of an image file; see `of`."""
        if not self.ids:
            return image_id_of(path)
        parts = PurePath(path).parts
        for start in range(len(parts)):
            if (known := self.ids.get("/".join(parts[start:]))) is not None:
                return known
        raise LookupError(
            f"{path}: no image of this name among the {len(self.ids)} of the {self.named_by} file, such as "
            f"{next(iter(self.ids))}"
        )


def annotated(path: PathLike, file: coco_format.AnyFile | None = None, category: str | int | None = None) -> BoxFile:
    """The annotated boxes of a COCO annotation file, cleaned as the official loaders do (`geometry.sanitise_box`).

    Those of its keypoint categories; where it has none, those of "person". Crowds are skipped and counted, and so are
    annotations without a finite box that reaches into the image.

    Args:
        path: the file.
        file: what was read of it already, of a file in another format.
        category: the name or the id of the one wanted instead.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a COCO annotation file, or has neither keypoint categories nor "person", or not the
            category wanted.
    """
    coco = file or coco_format.read_annotations(path)
    wanted = {c.id for c in coco.categories if c.keypoints} or {c.id for c in coco.categories if c.name == "person"}
    if category is not None:
        wanted = {c.id for c in coco.categories if category in (c.id, c.name)}
        if not wanted:
            known = ", ".join(f"{c.name} ({c.id})" for c in coco.categories[:10])
            raise ValueError(f"{path}: has no category {category!r}; it has: {known or 'none'}")
    if not wanted:
        names = ", ".join(c.name for c in coco.categories[:10])
        raise ValueError(f"{path}: expected a category with keypoints or one named 'person', got {names or 'none'}")
    sizes = {i.id: (i.height, i.width) for i in coco.images}
    kept: list[tuple[int, np.ndarray]] = []
    skipped: Counter[str] = Counter()
    for n, a in enumerate(coco.annotations):
        if a.image_id not in sizes:
            raise ValueError(f"{path}: annotation {n} is of image {a.image_id}, which is not among its images")
        if a.category_id not in wanted:
            skipped["of another category"] += 1
        elif a.iscrowd:
            skipped["crowds"] += 1
        elif a.bbox is None or (box := coco_format.clean_box(a.bbox, *sizes[a.image_id])) is None:
            skipped["without a box inside the image"] += 1
        else:
            kept.append((a.image_id, box))
    ids, boxes = np.array([i for i, _ in kept], np.int64), np.array([b for _, b in kept], np.float64).reshape(-1, 4)
    return _box_file("gt", ids, boxes, np.ones(len(ids)), skipped, _ids_by_name(coco.images), cleaned=True)


def detections(
    path: PathLike, *, category: int = 1, threshold: float = 0.0, annotations: PathLike | None = None
) -> BoxFile:
    """The boxes of a detections file, a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}.

    The boxes' source names the detector and its AP where `posewright boxes` has noted them beside the file. Images that
    are not mentioned have no boxes. Detections of other categories, below the threshold, without area or
    with numbers that are not finite are skipped and counted.

    Args:
        path: the file.
        category: the category wanted; 1 is COCO's person.
        threshold: lowest score wanted.
        annotations: a COCO annotation file that says which image has which id; without it, image files must be named by
            their id (`image_id_of`), unless the detections have a "file_name", as those of `posewright boxes` do.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a list (the message names the entry), or none of its entries is of that category.
    """
    found = coco_format.read_detections(path)
    name = detections_file.source(Path(path))
    source = f"{name}, score >= {threshold:g}" if threshold > 0 else name
    ids, categories = np.array([[d.image_id, d.category_id] for d in found], np.int64).reshape(-1, 2).T
    boxes = np.array([d.bbox for d in found], np.float64).reshape(-1, 4)
    score = np.array([d.score for d in found], np.float64)
    if len(found) and category not in categories:
        known = ", ".join(map(str, np.unique(categories)[:10]))
        raise ValueError(f"{path}: none of the {len(found)} detections is of category {category}; there are: {known}")
    left = np.ones(len(found), bool)
    skipped: Counter[str] = Counter()
    for reason, good in (
        ("of another category", categories == category),
        ("not finite", np.isfinite(boxes).all(1) & np.isfinite(score)),
        ("without area", (boxes[:, 2:] > 0).all(1)),
        (f"below {threshold:g}", score >= threshold),
    ):
        skipped[reason] = int((left & ~good).sum())
        left &= good
    if annotations:
        return _box_file(source, ids[left], boxes[left], score[left], skipped, image_names(annotations).ids)
    note = detections_file.note_of(Path(path))
    named = note.images if note else {d.file_name: d.image_id for d in found if d.file_name}
    names = _by_name(named.items())
    return _box_file(source, ids[left], boxes[left], score[left], skipped, names, named_by="detections")


def image_names(path: PathLike) -> BoxFile:
    """Which image of a COCO annotation file has which id, without any boxes. Errors as of `annotated`."""
    names = _ids_by_name(coco_format.read_annotations(path).images)
    return _box_file("", np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), Counter(), names)


def suppressed(boxes: Boxes, threshold: float) -> Boxes:
    """The boxes that are left when, of two that overlap by more than `threshold`, the lower-scored one goes.

    As in the published evaluations, widths and heights count one pixel more, and of equal scores the later box goes
    first.

    Args:
        boxes: of one image and category.
        threshold: intersection over union, 0..1.
    """
    near, far = boxes.xywh[:, :2], boxes.xywh[:, :2] + boxes.xywh[:, 2:]
    area = (far - near + 1).prod(1)
    order = np.argsort(boxes.score, kind="stable")[::-1]
    kept: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        sides = np.minimum(far[best], far[order]) - np.maximum(near[best], near[order]) + 1
        common = np.maximum(sides, 0).prod(1)
        order = order[common / (area[best] + area[order] - common) <= threshold]
    return replace(boxes, xywh=boxes.xywh[kept], score=boxes.score[kept])


@dataclass(frozen=True, slots=True)
class FixedBoxes:
    """A detector that knows its boxes already: it returns those that touch the image.

    Attributes:
        boxes: of one image.
    """

    boxes: Boxes

    def __call__(self, image: np.ndarray) -> Boxes:
        """Those of the boxes that touch the image [H, W, 3]."""
        near, far = self.boxes.xywh[:, :2], self.boxes.xywh[:, :2] + self.boxes.xywh[:, 2:]
        return self.boxes[np.all((near < (image.shape[1], image.shape[0])) & (far > 0), 1)]


_SURE, _ENOUGH, _MARGIN = 0.15, 4, 0.15


def two_pass_boxes(find: Callable[[np.ndarray, Boxes], Poses]) -> Detector:
    """Two-pass inference: a detector of the one person in an image that needs no network of its own.

    The first pass takes the whole image for the box. The second pass's box goes around the points that were found with
    a score above 0.15, with 0.15 of their extent to spare on every side; it is the whole image again where fewer than
    four were found.

    Args:
        find: the poses in the boxes of an image, such as a `Predictor`.
    """

    def first_pass(image: np.ndarray) -> Boxes:
        poses = find(image, Boxes.of([[0, 0, image.shape[1], image.shape[0]]], source="whole image"))
        sure = poses.xy[0][poses.score[0] > _SURE]
        if len(sure) < _ENOUGH:
            return poses.boxes
        low, high = sure.min(0), sure.max(0)
        margin = _MARGIN * (high - low).max()
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, (image.shape[1], image.shape[0]))
        return Boxes.of([[*low, *(high - low)]], source="whole image, two passes")

    return first_pass


def _box_file(
    source: str,
    ids: np.ndarray,
    boxes: np.ndarray,
    score: np.ndarray,
    skipped: Counter[str],
    names: dict[str, int],
    *,
    cleaned: bool = False,
    named_by: str = "annotation",
) -> BoxFile:
    order, counted = np.argsort(ids, kind="stable"), {k: n for k, n in skipped.items() if n}
    return BoxFile(source, ids[order], boxes[order], score[order], counted, names, cleaned, named_by)


def _ids_by_name(images: Iterable[coco_format.Image]) -> dict[str, int]:
    return _by_name((i.file_name, i.id) for i in images)


def _by_name(named: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Ids by file name as written, and by its last part where only one image ends in that."""
    ids = dict(named)
    ends = Counter(PurePath(name).name for name in ids)
    return {end: i for name, i in ids.items() if ends[end := PurePath(name).name] == 1} | ids
