"""COCO-format keypoints of any skeleton (COCO, CrowdPose, AP-10K, Animal-Pose, one's own), packed into arrays.

`read` checks a file entry by entry and says what it skipped and what it filled in; `KeypointDataset` is what training,
evaluation and boxes from annotations are made of.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from posewright import coco_format, geometry
from posewright.data.image_files import Strings, find_all
from posewright.skeletons import shared_points, to_category
from posewright.types import Boxes, Sample, Skeleton

AREA_OF_BOX = 0.53
"""Where an annotation has no area: the share of the box that a person covers, as in COCO's own tools."""


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
        files: how many files they come from.
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
    files: int = 1

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
        here, there = set(self.skeleton.points), set((self.channels or self.skeleton).points)
        for words, points in (("left out", there - here), ("never labelled", here - there)):
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
        return {number: Boxes.of(self.box[group], source="gt") for number, group in self.by_image().items()}

    def subset(self, index: Any) -> KeypointDataset:
        """The people picked by an index array or mask [N], and their images."""
        picked = np.arange(len(self))[index]
        rows, image = np.unique(self.image[picked], return_inverse=True)
        return replace(
            self,
            image_id=self.image_id[rows],
            image_path=Strings.of(self.image_path[row] for row in rows),
            image=image.astype(np.int32),
            **{name: getattr(self, name)[picked] for name in _PER_PERSON},
            left_out=np.union1d(self.left_out, np.setdiff1d(self.annotation_id, self.annotation_id[picked])),
        )

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
        here, there = shared_points(self.skeleton, skeleton)
        if not len(here):
            raise ValueError(
                f"{self.annotations}: no point of {self.skeleton.name!r} {self.skeleton.points} is named in "
                f"{skeleton.name!r} {skeleton.points}; points are matched by name"
            )
        xy = np.zeros((len(self), skeleton.num_keypoints, 2), np.float32)
        visibility = np.zeros(xy.shape[:2], np.uint8)
        xy[:, there], visibility[:, there] = self.xy[:, here], self.visibility[:, here]
        return replace(self, skeleton=skeleton, xy=xy, visibility=visibility, channels=self.channels or self.skeleton)

    def ground_truth(self) -> dict[str, Any]:
        """What COCO's evaluator wants: the file's annotations of these images, with every field filled in.

        Crowds and unlabelled people are in it, for detections of them are excused. Ids start at 1 or above, for the
        evaluator takes an id of 0 for no match.

        Raises:
            ValueError: they come from several files.
        """
        if self.files > 1:
            raise ValueError(f"{self.annotations}: people of several files are for training; evaluate them one by one")
        file = coco_format.read(self.annotations)
        images, left_out = set(self.image_id.tolist()), set(self.left_out.tolist())
        kept = [n for n, a in enumerate(file.annotations) if a.image_id in images and a.id not in left_out]
        taken = set(np.unique(self.category_id).tolist())
        kept = [n for n in kept if file.annotations[n].category_id in taken]
        triples = coco_format.keypoints(self.annotations, file, kept, (self.channels or self.skeleton).num_keypoints)
        if self.channels:
            here, there = shared_points(self.channels, self.skeleton)
            whole, triples = triples, np.zeros((len(kept), self.skeleton.num_keypoints, 3))
            triples[:, there] = whole[:, here]
        crowding = {i.id: i.crowding for i in file.images}
        shift = 1 - min((a.id for a in file.annotations), default=1)
        return {
            "images": [
                {"id": number, "file_name": path.name, "crowdIndex": crowding.get(number)}
                for number, path in self.paths.items()
            ],
            "annotations": [_evaluated(file.annotations[n], points, max(shift, 0)) for n, points in zip(kept, triples)],
            "categories": [to_category(self.skeleton, c.id, c.name) for c in file.categories if c.id in taken]
            or [to_category(self.skeleton)],
        }


_UNSIZED = 1 << 30  # where the file does not say how large an image is, no box is cut at its edge

_PER_PERSON = ("annotation_id", "category_id", "xy", "visibility", "box", "area")


def _evaluated(a: coco_format.Annotation, points: np.ndarray, shift: int) -> dict[str, Any]:
    box = a.bbox or [0.0, 0.0, 0.0, 0.0]
    return {
        "id": a.id + shift,
        "image_id": a.image_id,
        "category_id": a.category_id,
        "bbox": box,
        "area": AREA_OF_BOX * box[2] * box[3] if a.area is None else a.area,
        "iscrowd": int(a.iscrowd),
        "keypoints": points.reshape(-1).tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
    }


def read(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    skeleton: Skeleton | None = None,
    categories: Sequence[str] | None = None,
    missing: Literal["raise", "skip"] = "raise",
) -> KeypointDataset:
    """The people of a COCO-format keypoint file.

    Left out, and counted by reason: crowds, people without a labelled keypoint, areas that are not above 0, boxes with
    nothing of them inside the image, other categories. Boxes are cleaned by `geometry.sanitise_box`.

    Args:
        annotations: the JSON file.
        images: the folder of the images, or one above it; by default looked for around the annotation file, in the
            layouts of COCO 2014, COCO 2017 and their kin.
        skeleton: what the points are, instead of what `categories` says.
        categories: names of the categories to take; by default all that have keypoints.
        missing: what to do about images that are nowhere: an error, or skip and count them.

    Raises:
        FileNotFoundError: the file or an image is nowhere.
        ValueError: the file is not JSON, not COCO, contradicts itself, or leaves nobody.
    """
    path = Path(annotations)
    return _people(path, Path(images) if images else None, coco_format.read(path), skeleton, categories, missing)


def read_all(
    annotations: Sequence[str | os.PathLike[str]],
    images: Sequence[str | os.PathLike[str]],
    skeleton: Skeleton | None = None,
) -> KeypointDataset:
    """The people of one COCO-format file or of several together, all with the points of one skeleton.

    Points are matched by name; those that a file lacks are unlabelled in its people. In a file that does not name its
    points they must be the skeleton's, in its order.

    Args:
        annotations: the JSON files.
        images: for each of them the folder of its images, or "" to look around it.
        skeleton: what the points are; by default the first file's. Where it has no sigmas, a file's own remain.

    Raises:
        FileNotFoundError, ValueError: see `read`; or a file shares no point with the skeleton.
    """
    if len(annotations) != len(images):
        raise ValueError(f"{len(annotations)} annotation files, but {len(images)} folders of images: one for each")
    sets: list[KeypointDataset] = []
    for path, folder in zip(map(Path, annotations), images):
        file = coco_format.read(path)
        unnamed = not any(category.keypoints for category in file.categories)
        people = _people(path, Path(folder) if folder else None, file, skeleton if unnamed else None, None, "raise")
        skeleton = skeleton or people.skeleton
        if people.skeleton.points == skeleton.points:
            sets.append(people.with_skeleton(replace(skeleton, sigmas=skeleton.sigmas or people.skeleton.sigmas)))
        else:
            sets.append(people.mapped(skeleton))
    return sets[0] if len(sets) == 1 else _joined(sets)


def _joined(sets: Sequence[KeypointDataset]) -> KeypointDataset:
    """Several sets of one skeleton as one. Images are numbered anew, for two sets may use an id for different ones."""
    shifts = np.cumsum([0, *(len(people.image_id) for people in sets)])
    packed: dict[str, Any] = {name: np.concatenate([getattr(people, name) for people in sets]) for name in _PER_PERSON}
    skipped = sum((Counter(people.skipped) for people in sets), Counter[str]())
    filled = sum((Counter(people.filled) for people in sets), Counter[str]())
    return KeypointDataset(
        annotations=Path(" + ".join(str(people.annotations) for people in sets)),
        skeleton=sets[0].skeleton,
        image_id=np.arange(1, shifts[-1] + 1),
        image_path=Strings.of(people.image_path[row] for people in sets for row in range(len(people.image_path))),
        image=np.concatenate([people.image + shift for people, shift in zip(sets, shifts)]).astype(np.int32),
        **packed,
        skipped=dict(skipped),
        filled=dict(filled),
        files=len(sets),
    )


def _people(
    path: Path,
    images: Path | None,
    file: coco_format.File,
    skeleton: Skeleton | None,
    categories: Sequence[str] | None,
    missing: str,
) -> KeypointDataset:
    if not file.annotations:
        raise ValueError(f"{path}: no annotations in it, only {len(file.images)} images")
    chosen, named = coco_format.skeleton_of(path, file, skeleton, categories)
    skipped: Counter[str] = Counter()
    filled: Counter[str] = Counter()
    image_id, image_path = _images(path, images, file, missing, skipped)
    row_of = {number: row for row, number in enumerate(image_id.tolist())}
    rows = _candidates(file, named, row_of, skipped)
    triples = coco_format.keypoints(path, file, rows, chosen.num_keypoints)
    labelled = np.any(triples[..., 2] > 0, axis=1)
    rows, triples = _narrow(labelled, "without a labelled keypoint", skipped, rows, triples)
    box, area = _boxes(path, file, rows, filled)
    inside = np.all(box[:, 2:] > 0, axis=1)
    rows, triples, box, area = _narrow(
        inside, "with a box empty or outside its image", skipped, rows, triples, box, area
    )
    rows, triples, box, area = _narrow(area > 0, "with an area not above 0", skipped, rows, triples, box, area)
    if not len(rows):
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise ValueError(
            f"{path}: nobody to learn from or to evaluate: of {len(file.annotations)} annotations, {reasons}; expected "
            "at least one person with a keypoint of visibility 1 or 2 and a box inside its image"
        )
    entries = [file.annotations[n] for n in rows]
    return KeypointDataset(
        path,
        chosen,
        image_id,
        Strings.of(image_path),
        np.array([row_of[a.image_id] for a in entries], np.int32),
        np.array([a.id for a in entries], np.int64),
        np.array([a.category_id for a in entries], np.int64),
        triples[..., :2].astype(np.float32),
        triples[..., 2].astype(np.uint8),
        box,
        area,
        dict(skipped),
        dict(filled),
    )


def _narrow(keep: np.ndarray, reason: str, skipped: Counter[str], *arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays without the rows that are not kept, which are counted."""
    skipped.update({reason: int((~keep).sum())} if not keep.all() else {})
    return [array[keep] for array in arrays]


def _images(
    path: Path, root: Path | None, file: coco_format.File, missing: str, skipped: Counter[str]
) -> tuple[np.ndarray, list[str]]:
    """Ids and paths of the images that are there."""
    found, searched = find_all(path, root, [i.file_name for i in file.images])
    absent = [i for i, where in zip(file.images, found) if where is None]
    if absent and (missing == "raise" or len(absent) == len(found)):
        first = absent[0]
        raise FileNotFoundError(
            f"{path}: {len(absent)} of {len(found)} images are nowhere, first {first.file_name!r} (id {first.id}); "
            f"looked in {', '.join(searched) or f'{root or path.parent}, which does not exist'}; say which folder "
            "holds the images"
            + ("" if len(absent) == len(found) else ", or leave the missing ones out (missing='skip')")
        )
    skipped.update({"images that are nowhere": len(absent)} if absent else {})
    here = [(i.id, where) for i, where in zip(file.images, found) if where is not None]
    return np.array([number for number, _ in here], np.int64), [where for _, where in here]


def _candidates(
    file: coco_format.File, categories: set[int] | None, row_of: dict[int, int], skipped: Counter[str]
) -> np.ndarray:
    """Numbers of the annotations that may be people to learn from, before their keypoints are looked at."""
    kept = []
    for n, a in enumerate(file.annotations):
        if categories is not None and a.category_id not in categories:
            skipped["of another category"] += 1
        elif a.iscrowd:
            skipped["a crowd"] += 1
        elif a.image_id not in row_of:
            skipped["on an image that is nowhere"] += 1
        else:
            kept.append(n)
    return np.array(kept, int)


def _boxes(path: Path, file: coco_format.File, rows: np.ndarray, filled: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """Cleaned boxes [n, 4], zeros where nothing of one is left, and areas [n]."""
    size = {i.id: (i.height or _UNSIZED, i.width or _UNSIZED) for i in file.images}
    boxes, areas = np.zeros((len(rows), 4)), np.zeros(len(rows))
    for row, n in enumerate(rows):
        a = file.annotations[n]
        if a.bbox is None:
            raise ValueError(f"{coco_format.where(path, n, a)}: no bbox; expected x, y, width, height in pixels")
        if a.bbox[2] > 0 and a.bbox[3] > 0:
            clean = geometry.sanitise_box(np.array(a.bbox), *size[a.image_id])
            boxes[row] = 0.0 if clean is None else clean
        if a.area is None:
            filled[f"area ({AREA_OF_BOX} of the box)"] += 1
        areas[row] = AREA_OF_BOX * a.bbox[2] * a.bbox[3] if a.area is None else a.area
    unsized = sum(not (i.width and i.height) for i in file.images)
    filled.update({"image size (boxes not cut at the edge)": unsized} if unsized else {})
    return boxes, areas
