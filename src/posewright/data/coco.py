"""COCO-format keypoints of any skeleton (COCO, CrowdPose, AP-10K, Animal-Pose, custom), packed into arrays.

`read` checks a file entry by entry and says what it skipped and what it filled in; `KeypointDataset` is what training,
evaluation and boxes from annotations are made of.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from posewright import coco_format
from posewright.coco_format import AREA_OF_BOX
from posewright.data.image_files import Strings, find_all
from posewright.files import short
from posewright.skeletons import shared_points
from posewright.types import Boxes, Sample, Skeleton


@dataclass(frozen=True, slots=True, eq=False)
class KeypointDataset:
    """N annotated people (or animals) in M images, in packed arrays that worker processes share without copying.

    Attributes:
        annotations: the file they come from.
        skeleton: what the K points are.
        image_id: [M] int64.
        image_path: M paths.
        image: [N] int32, each person's image, as a row of `image_id`.
        annotation_id: [N] int64.
        category_id: [N] int64.
        xy: [N, K, 2] float32, image pixels; meaningless where `visibility` is 0.
        visibility: [N, K] uint8, COCO's visibility: 0 not labelled, 1 labelled but hidden, 2 visible.
        box: [N, 4] float64, xywh in image pixels, cleaned as the official loaders do.
        area: [N] float64, square pixels.
        skipped: how many annotations or images were left out, by reason.
        filled: how many fields were missing and filled in, by field.
        channels: the skeleton of the file, where it may be another.
        left_out: ids of the people that `subset` left out, so that evaluation leaves them out too.
        annotated: all annotations of these categories and images, as in the file; None where they come from several.
        crowding: [M] float64, CrowdPose's crowd index of each image, NaN where it has none.
        origin: [N] int16, the file that each comes from, where there are several; None where there is one.
        head_box: [N, 4] float64, MPII's head boxes x1, y1, x2, y2, which PCKh is measured by.
    """

    annotations: Path
    skeleton: Skeleton
    image_id: np.ndarray
    image_path: Strings
    image: np.ndarray
    annotation_id: np.ndarray
    category_id: np.ndarray
    xy: np.ndarray
    visibility: np.ndarray
    box: np.ndarray
    area: np.ndarray
    skipped: dict[str, int] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)
    channels: Skeleton | None = None
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    annotated: coco_format.Annotations | None = None
    crowding: np.ndarray | None = None
    head_box: np.ndarray | None = None
    origin: np.ndarray | None = None

    def __post_init__(self) -> None:
        people, points = len(self.annotation_id), self.skeleton.num_keypoints
        wanted = {
            "xy": (people, points, 2), "visibility": (people, points), "box": (people, 4), "image": (people,),
            "area": (people,), "category_id": (people,),
        }  # fmt: skip
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"people of {self.annotations}: {name} must be {shape}, got {getattr(self, name).shape}"
                )
        if len(self.image_path) != len(self.image_id):
            raise ValueError(f"people of {self.annotations}: {len(self.image_id)} images, {len(self.image_path)} paths")

    def __len__(self) -> int:
        return len(self.annotation_id)

    def __getitem__(self, index: int) -> Sample:
        row = self.image[index]
        return Sample(
            Path(self.image_path[row]),
            int(self.image_id[row]),
            int(self.annotation_id[index]),
            self.xy[index].astype(np.float64),
            self.visibility[index],
            self.box[index],
            float(self.area[index]),
        )

    def summary(self) -> str:
        """One line: how many people and images, of which points, and what was skipped, filled in and left out."""
        line = f"{self.annotations}: {len(self)} people in {len(self.image_id)} images, {self.skeleton.name}"
        for words, counts in (("skipped", self.skipped), ("filled in", self.filled)):
            if counts:
                line += f"; {words}: " + ", ".join(f"{count} {reason}" for reason, count in counts.items())
        labelled, wanted = set(self.skeleton.points), set((self.channels or self.skeleton).points)
        for words, points in (("left out", wanted - labelled), ("never labelled", labelled - wanted)):
            if points:
                line += f"; {words}: {', '.join(sorted(points))}"
        return line

    @property
    def paths(self) -> dict[int, Path]:
        """Image id -> file, of every image, in the file's order."""
        return {int(number): Path(self.image_path[row]) for row, number in enumerate(self.image_id)}

    def by_image(self) -> dict[int, np.ndarray]:
        """Image id -> places of its people here, of every image with any, in the file's order."""
        order = np.argsort(self.image, kind="stable")
        rows, starts = np.unique(self.image[order], return_index=True)
        return {int(self.image_id[row]): group for row, group in zip(rows, np.split(order, starts[1:]))}

    def gt_boxes(self) -> dict[int, Boxes]:
        """Image id -> annotated boxes, in the order of `by_image`."""
        return {
            number: Boxes.of(self.box[group], source="gt", cleaned=True) for number, group in self.by_image().items()
        }

    def subset(self, index: Any) -> KeypointDataset:
        """The people picked by an index array or mask [N], and their images."""
        picked = np.arange(len(self))[index]
        rows, image = np.unique(self.image[picked], return_inverse=True)
        return replace(
            self,
            image_id=self.image_id[rows],
            image_path=Strings.of(self.image_path[row] for row in rows),
            image=image.astype(np.int32),
            crowding=None if self.crowding is None else self.crowding[rows],
            head_box=None if self.head_box is None else self.head_box[picked],
            origin=None if self.origin is None else self.origin[picked],
            **{name: getattr(self, name)[picked] for name in PER_PERSON},
            left_out=np.union1d(self.left_out, np.setdiff1d(self.annotation_id, self.annotation_id[picked])),
        )

    def only(self, keep: np.ndarray, reason: str) -> KeypointDataset:
        """The people of a mask [N]; how many others there were is counted under `reason`.

        Raises:
            ValueError: no person is left.
        """
        if not keep.any():
            raise ValueError(f"{self.annotations}: no usable annotations: all {len(self)} people are {reason}")
        left = {reason: int((~keep).sum())} if not keep.all() else {}
        return replace(self.subset(keep), skipped=self.skipped | left)

    def with_skeleton(self, skeleton: Skeleton) -> KeypointDataset:
        """The same people and points, with that skeleton's bones, mirror pairs and sigmas."""
        if skeleton.points != self.skeleton.points:
            raise ValueError(f"{self.annotations}: expected the points {self.skeleton.points}, got {skeleton.points}")
        return replace(self, skeleton=skeleton)

    def mapped(self, skeleton: Skeleton) -> KeypointDataset:
        """The same people with the points of another skeleton, matched by name; points they lack are unlabelled.

        Raises:
            ValueError: the two skeletons share no point.
        """
        own, other = shared_points(self.skeleton, skeleton)
        if not len(own):
            raise ValueError(
                f"{self.annotations}: no point of {self.skeleton.name!r} {self.skeleton.points} is named in "
                f"{skeleton.name!r} {skeleton.points}; points are matched by name"
            )
        xy = np.zeros((len(self), skeleton.num_keypoints, 2), np.float32)
        visibility = np.zeros(xy.shape[:2], np.uint8)
        xy[:, other], visibility[:, other] = self.xy[:, own], self.visibility[:, own]
        return replace(self, skeleton=skeleton, xy=xy, visibility=visibility, channels=self.channels or self.skeleton)

    def evaluated(self) -> coco_format.Annotations:
        """The file's annotations of these images as evaluation wants them, with the points of this skeleton.

        Crowds and unlabelled people are among them, for detections of them are excused; people that `subset` left out
        are not. Where the file has no area, 0.53 of the box is taken; where a crowd has no box, zeros.

        Raises:
            ValueError: they come from several files.
        """
        if self.annotated is None:
            raise ValueError(f"{self.annotations}: people of several files are for training; evaluate them one by one")
        every = self.annotated
        every = every[np.isin(every.image_id, self.image_id) & ~np.isin(every.id, self.left_out)]
        every = every[np.isin(every.category_id, np.unique(self.category_id))]
        box = np.where(np.isnan(every.box), 0, every.box)
        area = np.where(np.isnan(every.area), AREA_OF_BOX * box[:, 2] * box[:, 3], every.area)
        every = replace(every, box=box, area=area, labelled=(every.keypoints[..., 2] > 0).sum(1))
        if not self.channels:
            return every
        source, target = shared_points(self.channels, self.skeleton)
        keypoints = np.zeros((len(every), self.skeleton.num_keypoints, 3), every.keypoints.dtype)
        keypoints[:, target] = every.keypoints[:, source]
        return replace(every, keypoints=keypoints, labelled=(keypoints[..., 2] > 0).sum(1))


_FARTHEST = 2**24  # pixels; from there on float32 does not hold every pixel

PER_PERSON = ("annotation_id", "category_id", "xy", "visibility", "box", "area")
"""The fields of a `KeypointDataset` that have a row per person."""


def read(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    skeleton: Skeleton | None = None,
    categories: Sequence[str] | None = None,
    missing: Literal["raise", "skip"] = "raise",
    allow_outside: bool = False,
) -> KeypointDataset:
    """The people of a COCO-format keypoint file.

    Left out, and counted by reason: crowds, people without a labelled keypoint, areas that are not above 0, boxes with
    nothing of them inside the image, other categories. Boxes are cleaned by `geometry.sanitise_box`.

    Args:
        annotations: the JSON file.
        images: the folder of the images, or one above it; by default looked for around the annotation file, in the
            standard COCO layouts.
        skeleton: what the points are, instead of what `categories` says.
        categories: names of the categories to take; by default all that have keypoints.
        missing: what to do about images not found: an error, or skip and count them.
        allow_outside: take images whose names lead out of that folder.

    Raises:
        FileNotFoundError: the file or an image is not found.
        ValueError: the file is not JSON, not COCO, contradicts itself, has no usable annotations, or names an image
        outside.
    """
    path = Path(annotations)
    file = coco_format.read_annotations(path)
    folder = Path(images) if images else None
    return of_file(path, folder, file, skeleton, categories, missing, allow_outside=allow_outside)


def of_file(
    path: Path,
    images: Path | None,
    file: coco_format.AnyFile,
    skeleton: Skeleton | None,
    categories: Sequence[str] | None,
    missing: Literal["raise", "skip", "keep"],
    *,
    allow_outside: bool = False,
) -> KeypointDataset:
    """The people of an annotation file that was read already; see `read`. "keep" looks for no image at all."""
    coco_format.check_ids(path, file)
    if not file.annotations:
        raise ValueError(f"{path}: no annotations in it, only {len(file.images)} images")
    chosen, named = coco_format.skeleton_of(path, file, skeleton, categories)
    skipped: Counter[str] = Counter()
    found = _images(path, images, file, missing, skipped, allow_outside=allow_outside)
    row_of = {entry.id: row for row, (entry, _) in enumerate(found)}
    rows = _of_category(file, named, row_of, skipped)
    every = coco_format.packed(path, file, rows, chosen.num_keypoints)
    people = _narrow(every, ~every.crowd, "a crowd", skipped)
    coco_format.check_visibility(path, people)
    labelled = np.any(people.keypoints[..., 2] > 0, axis=1)
    people = _narrow(people, labelled, "without a labelled keypoint", skipped)
    if (far := np.abs(people.keypoints[..., :2]).max((1, 2), initial=0) > _FARTHEST).any():
        number = people.id[int(np.argmax(far))]
        raise ValueError(f"{path}: annotation {number}: out-of-range coordinates, beyond {_FARTHEST} pixels")
    box = _cleaned(path, people, [found[row_of[number]][0] for number in people.image_id.tolist()])
    inside = ~np.isnan(box[:, 0])
    people, box = _narrow(people, inside, "with a box empty or outside its image", skipped), box[inside]
    area = np.where(np.isnan(people.area), AREA_OF_BOX * people.box[:, 2] * people.box[:, 3], people.area)
    filled = {
        f"area ({AREA_OF_BOX} of the box)": int(np.isnan(people.area).sum()),
        "image size (boxes not cut at the edge)": sum(not (i.width and i.height) for i in file.images),
    }
    people = _narrow(people, area > 0, "with an area not above 0", skipped)
    box, area = box[area > 0], area[area > 0]
    if not len(people):
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise ValueError(
            f"{path}: no usable annotations: of {len(file.annotations)} annotations, {reasons}; expected at least one "
            "person with a keypoint of visibility 1 or 2 and a box inside its image"
        )
    crowding = np.array([np.nan if i.crowding is None else i.crowding for i, _ in found], np.float64)
    return KeypointDataset(
        path,
        chosen,
        np.array([i.id for i, _ in found], np.int64),
        Strings.of(place for _, place in found),
        np.array([row_of[number] for number in people.image_id.tolist()], np.int32),
        people.id,
        people.category_id,
        people.keypoints[..., :2].astype(np.float32),
        people.keypoints[..., 2].astype(np.uint8),
        box,
        area,
        dict(skipped),
        {reason: count for reason, count in filled.items() if count},
        annotated=every,
        crowding=crowding,
    )


def _narrow(
    annotations: coco_format.Annotations, keep: np.ndarray, reason: str, skipped: Counter[str]
) -> coco_format.Annotations:
    """The annotations that are kept; the others are counted."""
    skipped.update({reason: int((~keep).sum())} if not keep.all() else {})
    return annotations[keep]


def _images(
    path: Path,
    root: Path | None,
    file: coco_format.AnyFile,
    missing: str,
    skipped: Counter[str],
    *,
    allow_outside: bool,
) -> list[tuple[coco_format.Image, str]]:
    """The images that are there, each with its path."""
    if missing == "keep":
        return [(i, i.file_name) for i in file.images]
    found, searched = find_all(path, root, [i.file_name for i in file.images], allow_outside=allow_outside)
    absent = [i for i, where in zip(file.images, found) if where is None]
    if absent and (missing == "raise" or len(absent) == len(found)):
        first = absent[0]
        raise FileNotFoundError(
            f"{path}: {len(absent)} of {len(found)} images not found, first {short(first.file_name, 120)!r} (id "
            f"{first.id}); looked in {', '.join(searched) or f'{root or path.parent}, which does not exist'}; say "
            "which folder holds the images"
            + ("" if len(absent) == len(found) else ", or leave the missing ones out (missing='skip')")
        )
    skipped.update({"images not found": len(absent)} if absent else {})
    return [(i, where) for i, where in zip(file.images, found) if where is not None]


def _of_category(
    file: coco_format.AnyFile, categories: set[int] | None, images: Container[int], skipped: Counter[str]
) -> list[int]:
    """Places of the annotations of these categories and images."""
    kept = []
    for n, a in enumerate(file.annotations):
        if categories is not None and a.category_id not in categories:
            skipped["of another category"] += 1
        elif a.image_id not in images:
            skipped["on an image not found"] += 1
        else:
            kept.append(n)
    return kept


def _cleaned(path: Path, people: coco_format.Annotations, images: Sequence[coco_format.Image]) -> np.ndarray:
    """Cleaned boxes [n, 4], NaN where nothing of one is left."""
    boxes = np.full((len(people), 4), np.nan)
    for n, (box, image) in enumerate(zip(people.box, images)):
        if np.isnan(box).any():
            raise ValueError(
                f"{path}: annotations[{people.row[n]}] (id {people.id[n]}, image {image.id}): no bbox; expected x, y, "
                "width, height in pixels"
            )
        if (clean := coco_format.clean_box(box, image.height, image.width)) is not None:
            boxes[n] = clean
    return boxes
