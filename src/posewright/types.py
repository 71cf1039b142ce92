"""The values that flow through Posewright: frozen, and validated on construction.

The coordinate law, cited by every docstring that touches pixels:

* (0, 0) is the centre of the top-left pixel; x grows to the right, y down.
* Image, network input and heatmap are three spaces. A `Crop` is the only bridge between image and input, a
  codec the only bridge between input and heatmap, and both are exactly invertible.
* Sizes are (height, width) everywhere, and names say HxW. Boxes are (x, y, width, height), as COCO writes them.

The freeze is of names, not of numbers: no function may write into an array it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

if TYPE_CHECKING:
    import pandas

CropRule = Literal["standard", "dark", "udp", "cpn"]
"""How a box becomes a crop; see `geometry.matrix_of_region`."""

Colour = Literal["rgb", "bgr"]
"""Channel order of the network's input; images are RGB everywhere else."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One keypoint schema: K named points in channel order, lines to draw, mirror pairs, OKS sigmas.

    Bones and mirror pairs are pairs of point *names*, so the 0- or 1-based question never arises.

    Attributes:
        name: short name, such as "coco17".
        points: K point names in channel order.
        bones: lines to draw.
        mirror: pairs that are swapped when the image is mirrored; points in no pair stay as they are.
        sigmas: K OKS sigmas (a keypoint's k is 2 sigma), or None where none are published: OKS and AP are
            then undefined and asking for them is an error, never a guess.
        upper: the points of the upper half, for half-body crops; empty switches those off.
    """

    name: str
    points: tuple[str, ...]
    bones: tuple[tuple[str, str], ...] = ()
    mirror: tuple[tuple[str, str], ...] = ()
    sigmas: tuple[float, ...] | None = None
    upper: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = set(self.points)
        if not self.points or len(known) != len(self.points):
            raise ValueError(f"skeleton {self.name!r}: points must be distinct and at least one, got {self.points}")
        if self.sigmas is not None and len(self.sigmas) != len(self.points):
            raise ValueError(f"skeleton {self.name!r}: {len(self.points)} points but {len(self.sigmas)} sigmas")
        if self.sigmas is not None and not all(s > 0 for s in self.sigmas):
            raise ValueError(f"skeleton {self.name!r}: sigmas must be above 0, got {self.sigmas}")
        for group in (*self.bones, *self.mirror, self.upper):
            if stray := [p for p in group if p not in known]:
                raise ValueError(f"skeleton {self.name!r}: {group} names {stray}, not among the points {self.points}")
        mirrored = [p for pair in self.mirror for p in pair]
        if len(set(mirrored)) != len(mirrored):
            raise ValueError(f"skeleton {self.name!r}: a point stands in two mirror pairs: {self.mirror}")

    @property
    def num_keypoints(self) -> int:
        """K, the number of points."""
        return len(self.points)

    @property
    def can_flip(self) -> bool:
        """Whether it is known what a mirrored image does: some points are mirror pairs, or there is one point only.

        Several points without any pair most likely have sides that their names do not tell, and flips would swap them.
        """
        return bool(self.mirror) or len(self.points) == 1

    @property
    def flip_index(self) -> np.ndarray:
        """[K] int: `xy[flip_index]` re-orders the points of a mirrored image (an involution)."""
        partner = dict(self.mirror) | {b: a for a, b in self.mirror}
        return np.array([self.points.index(partner.get(p, p)) for p in self.points])

    @property
    def bone_index(self) -> np.ndarray:
        """[bones, 2] int: the bones as channel numbers."""
        return np.array([[self.points.index(a), self.points.index(b)] for a, b in self.bones], int).reshape(-1, 2)

    @property
    def upper_mask(self) -> np.ndarray:
        """[K] bool: whether each point belongs to the upper half."""
        return np.array([p in self.upper for p in self.points])


class _Comparable:
    """Equal where all fields are, arrays by their elements. Not hashable, as arrays are not."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]  # pyright: ignore[reportArgumentType]
        return all(np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes(_Comparable):
    """N boxes of one image and where they came from.

    Attributes:
        xywh: [N, 4] float64, left, top, width, height in image pixels.
        score: [N] float64, the detector's confidence; 1 for annotated boxes.
        source: where they came from, such as "gt" or a file's name: printed beside every AP, and read by nothing else.
        cleaned: whether they are annotated boxes that `geometry.sanitise_box` has cleaned, which has cost them a pixel
            in width and height: DARK's crop rule gives it back.
    """

    xywh: np.ndarray
    score: np.ndarray
    source: str
    cleaned: bool = False

    def __post_init__(self) -> None:
        if self.xywh.ndim != 2 or self.xywh.shape[1] != 4 or self.score.shape != self.xywh.shape[:1]:
            raise ValueError(
                f"boxes from {self.source}: expected xywh [N, 4] and score [N], got {self.xywh.shape} and "
                f"{self.score.shape}"
            )
        bad = ~np.isfinite(self.xywh).all(1) | (self.xywh[:, 2:] <= 0).any(1) | ~np.isfinite(self.score)
        if bad.any():
            n = int(np.argmax(bad))
            raise ValueError(
                f"boxes from {self.source}: box {n} is {self.xywh[n].tolist()} with score {float(self.score[n])}; "
                "expected finite x, y, width, height in pixels with width and height above 0"
            )

    @staticmethod
    def of(xywh: Any, score: Any = None, source: str = "caller", *, cleaned: bool = False) -> Boxes:
        """Boxes from anything shaped [N, 4] (or empty); the score is 1 where none is given."""
        array = np.asarray(xywh, np.float64)
        array = array.reshape(0, 4) if array.size == 0 else array
        one = np.ones(array.shape[:1]) if score is None else np.asarray(score, np.float64)
        return Boxes(array, one, source, cleaned)

    def __len__(self) -> int:
        return len(self.xywh)

    def __getitem__(self, keep: np.ndarray | slice | list[int]) -> Boxes:
        """The boxes picked by an index array, a slice or a mask [N]."""
        return Boxes(self.xywh[keep], self.score[keep], self.source, self.cleaned)


@dataclass(frozen=True, slots=True, eq=False)
class Crop(_Comparable):
    """N crops of one image, and the bridge between its pixels and those of the network's inputs; see `geometry.crop`.

    Attributes:
        matrix: [N, 2, 3] float64, maps points from image pixels to input pixels.
        size: (height, width) of the inputs.
        rule: the crop rule that they follow.
    """

    matrix: np.ndarray
    size: tuple[int, int]
    rule: CropRule = "standard"

    def __post_init__(self) -> None:
        if self.matrix.ndim != 3 or self.matrix.shape[1:] != (2, 3) or not np.isfinite(self.matrix).all():
            raise ValueError(f"crop: expected finite matrices [N, 2, 3], got {self.matrix!r}")
        if (singular := np.abs(np.linalg.det(self.matrix[..., :2])) < 1e-12).any():
            raise ValueError(f"crop: the matrix cannot be inverted: {self.matrix[np.argmax(singular)]!r}")

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, keep: slice) -> Crop:
        """Some of the crops."""
        return Crop(self.matrix[keep], self.size, self.rule)

    def to_input(self, xy: np.ndarray) -> np.ndarray:
        """Points [N, K, 2] of each crop, image pixels to input pixels."""
        return xy @ self.matrix[..., :2].swapaxes(1, 2) + self.matrix[:, None, :, 2]

    def to_image(self, xy: np.ndarray) -> np.ndarray:
        """Points [N, K, 2] of each crop, input pixels to image pixels: the exact inverse of `to_input`."""
        linear = np.linalg.inv(self.matrix[..., :2])
        return xy @ linear.swapaxes(1, 2) - (linear @ self.matrix[..., 2:])[:, None, :, 0]

    @property
    def pixel_matrix(self) -> np.ndarray:
        """[N, 2, 3], by which the pixels are warped: `matrix`, by which points are moved, but for CPN's rule.

        CPN's window of pixels is resized: 0 and W are then the outer edges of the first and the last pixel, while its
        points are measured as if 0 were the first pixel's centre.
        """
        if self.rule != "cpn":
            return self.matrix
        shift = self.matrix[..., 2] + self.matrix[..., :2].sum(-1) / 2 - 0.5
        return np.concatenate([self.matrix[..., :2], shift[..., None]], -1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One annotated person.

    Attributes:
        path: the image file.
        image_id: the image's id in its annotation file.
        annotation_id: the annotation's id.
        xy: [K, 2] float64, image pixels; meaningless where `visibility` is 0.
        visibility: [K] uint8, COCO's visibility: 0 not labelled, 1 labelled but hidden, 2 visible.
        box: [4] float64, xywh in image pixels.
        area: the annotation's area in square pixels (COCO: of the segment), which OKS divides by.
    """

    path: Path
    image_id: int
    annotation_id: int
    xy: np.ndarray
    visibility: np.ndarray
    box: np.ndarray
    area: float


class Keypoint(NamedTuple):
    """One keypoint: x and y in image pixels, and its confidence."""

    x: float
    y: float
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Pose(_Comparable):
    """The keypoints of one person (or animal): `pose["left_wrist"]` is one of them.

    Attributes:
        xy: [K, 2] float64, image pixels.
        score: [K] float64, confidence of each keypoint.
        instance_score: confidence of the pose.
        box: [4] float64, the box it was read from: left, top, width, height in image pixels.
        skeleton: what the K points are.
        calibrated: the probability 0..1 that the pose is right, None where the weights carry no calibration.
    """

    xy: np.ndarray
    score: np.ndarray
    instance_score: float
    box: np.ndarray
    skeleton: Skeleton = field(repr=False)
    calibrated: float | None = None

    def __getitem__(self, name: str) -> Keypoint:
        """The point of that name.

        Raises:
            KeyError: the skeleton has no such point; the message suggests the nearest.
        """
        points = self.skeleton.points
        if name not in points:
            near = get_close_matches(str(name), points, 3) or points
            raise KeyError(f"{self.skeleton.name!r} has no point {name!r}; it has {', '.join(near)}")
        k = points.index(name)
        return Keypoint(float(self.xy[k, 0]), float(self.xy[k, 1]), float(self.score[k]))

    def to_dict(self) -> dict[str, Any]:
        """{"score", maybe "calibrated", "box": [x, y, width, height], "keypoints": {name: [x, y, score]}}, plain."""
        return {
            "score": self.instance_score,
            **({} if self.calibrated is None else {"calibrated": self.calibrated}),
            "box": self.box.tolist(),
            "keypoints": {name: list(self[name]) for name in self.skeleton.points},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Poses(_Comparable):
    """The keypoints of N people (or animals) in one image.

    `len(poses)` is N, `poses[0]` the first `Pose`, `poses[0]["left_wrist"]` one point of it; iterating yields each
    `Pose`. Poses are equal where all of their numbers, boxes and skeletons are.

    Attributes:
        xy: [N, K, 2] float64, image pixels.
        score: [N, K] float64, confidence of each keypoint, as the codec defines it.
        instance_score: [N] float64, confidence of each pose, by the spec's scoring rule.
        boxes: the N boxes the poses were read from.
        skeleton: what the K points are.
        calibrated: [N] float64, the probability 0..1 that each pose is right (an OKS above 0.5 with its person), None
            where the weights carry no calibration (`posewright calibrate`); `instance_score` stays raw.
    """

    xy: np.ndarray
    score: np.ndarray
    instance_score: np.ndarray
    boxes: Boxes
    skeleton: Skeleton = field(repr=False)
    calibrated: np.ndarray | None = None

    def __post_init__(self) -> None:
        want = (len(self.boxes), self.skeleton.num_keypoints)
        if self.xy.shape != (*want, 2) or self.score.shape != want or self.instance_score.shape != want[:1]:
            raise ValueError(
                f"poses: {want[0]} boxes and skeleton {self.skeleton.name!r} want xy {(*want, 2)}, score {want} and "
                f"instance_score {want[:1]}, got {self.xy.shape}, {self.score.shape} and {self.instance_score.shape}"
            )
        known = np.full(want[0], 0.5) if self.calibrated is None else self.calibrated
        if known.shape != want[:1] or not ((known >= 0) & (known <= 1)).all():
            raise ValueError(f"poses: expected {want[0]} calibrated scores from 0 to 1, got {known!r}")

    def __len__(self) -> int:
        return len(self.xy)

    def __iter__(self) -> Iterator[Pose]:
        return (self[n] for n in range(len(self)))

    @overload
    def __getitem__(self, keep: int | np.integer) -> Pose: ...
    @overload
    def __getitem__(self, keep: np.ndarray | slice | list[int]) -> Poses: ...
    def __getitem__(self, keep: Any) -> Any:
        """One pose by its number, or the `Poses` picked by a slice, an index array or a mask [N].

        Raises:
            IndexError: there is no such pose.
        """
        if isinstance(keep, str):
            raise TypeError(f"a point is of one pose: poses[0][{keep!r}], or [pose[{keep!r}] for pose in poses]")
        if (one := isinstance(keep, int | np.integer)) and not -len(self) <= keep < len(self):
            raise IndexError(f"there are {len(self)} poses, asked for number {keep}")
        xy, score, whole = self.xy[keep], self.score[keep], self.instance_score[keep]
        known = None if self.calibrated is None else self.calibrated[keep]
        if not one:
            return Poses(xy, score, whole, self.boxes[keep], self.skeleton, known)
        return Pose(
            xy, score, float(whole), self.boxes.xywh[keep], self.skeleton, None if known is None else float(known)
        )

    def to_dict(self) -> dict[str, Any]:
        """{"skeleton", "boxes_from", "poses": [...]}, each pose as `Pose.to_dict` has it: ready for JSON."""
        poses = [pose.to_dict() for pose in self]
        return {"skeleton": self.skeleton.name, "boxes_from": self.boxes.source, "poses": poses}

    def to_pandas(self) -> pandas.DataFrame:
        """A row per keypoint: pose (its number), point (its name), x, y, score, pose_score (and pose_calibrated).

        Raises:
            ModuleNotFoundError: pandas is not installed; the message says how to get it.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ModuleNotFoundError("to_pandas needs pandas: pip install posewright[formats]") from None
        n, k = self.score.shape
        return pandas.DataFrame(
            {
                "pose": np.repeat(np.arange(n), k),
                "point": list(self.skeleton.points) * n,
                "x": self.xy[..., 0].ravel(),
                "y": self.xy[..., 1].ravel(),
                "score": self.score.ravel(),
                "pose_score": np.repeat(self.instance_score, k),
                **({} if self.calibrated is None else {"pose_calibrated": np.repeat(self.calibrated, k)}),
            }
        )

    def to_coco(self, image_id: int, category_id: int = 1, *, bbox: bool = False) -> list[dict[str, Any]]:
        """COCO keypoint results, one per pose, as COCO's evaluator takes them; with "calibrated" where that is known.

        Args:
            image_id: of the image.
            category_id: of the people.
            bbox: name the boxes `bbox`, as most tools expect them. COCO's evaluator takes a `bbox` in a keypoint result
                for the pose's area, which changes the metrics: unmatched detections are assigned to a size range by it.
                By default they are named `box`, which it ignores.
        """
        triples = np.concatenate([self.xy, self.score[..., None]], 2)
        known = [] if self.calibrated is None else self.calibrated
        calibrated = [{"calibrated": round(float(probability), 4)} for probability in known] or [{}] * len(self)
        return [
            {
                "image_id": int(image_id),
                "category_id": int(category_id),
                "keypoints": [round(float(v), 4) for v in rows.ravel()],
                "score": float(score),
                **probability,
                "bbox" if bbox else "box": [round(float(v), 3) for v in box],
            }
            for rows, score, probability, box in zip(triples, self.instance_score, calibrated, self.boxes.xywh)
        ]
