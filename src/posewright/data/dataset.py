"""KeypointDataset: annotated people (or animals) in packed arrays, whatever format they were read from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from posewright import coco_format
from posewright.coco_format import AREA_OF_BOX
from posewright.data.image_files import Strings
from posewright.skeletons import shared_points
from posewright.types import Boxes, Sample, Skeleton

PER_PERSON = ("annotation_id", "category_id", "xy", "visibility", "box", "area")
"""The fields of a `KeypointDataset` that have a row per person."""


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
