"""Poses to and from the values of other tools: supervision, FiftyOne, pandas, COCO results and DeepLabCut's tables.

Other tools are imported where they are needed, and what is read is told by its fields alone, so that any version of
them will do. Coordinates are image pixels, (0, 0) the centre of the top-left pixel, on our side always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from posewright.types import Boxes, Poses, Skeleton

if TYPE_CHECKING:
    import pandas


def poses_of(
    xy: Any, score: Any, skeleton: Skeleton, *, instance_score: Any = None, boxes: Any = None, source: str
) -> Poses:
    """Poses from plain arrays; without boxes, those around the points.

    Args:
        xy: [N, K, 2] image pixels; not a number where a point is missing.
        score: [N, K], or None: 1 for each point that is there, else 0.
        skeleton: what the K points are.
        instance_score: [N], or None: the mean of the scores.
        boxes: [N, 4] x, y, width, height, or None.
        source: where they came from.

    Raises:
        ValueError: the arrays do not fit each other or the skeleton.
    """
    xy = np.asarray(xy, np.float64).reshape(-1, skeleton.num_keypoints, 2)
    labelled = np.isfinite(xy).all(2)
    score = labelled.astype(np.float64) if score is None else np.where(labelled, np.asarray(score, np.float64), 0)
    scores = score.mean(1) if instance_score is None else np.asarray(instance_score, np.float64)
    if boxes is None:
        low = np.where(labelled[..., None], xy, np.inf).min(1, initial=np.inf)
        high = np.where(labelled[..., None], xy, -np.inf).max(1, initial=-np.inf)
        found = labelled.any(1)[:, None]
        boxes = np.where(found, np.concatenate([low - 0.5, high - low + 1], 1), [[0, 0, 1, 1]])
    return Poses(xy, score, scores, Boxes.of(boxes, scores, source), skeleton)


def to_supervision(poses: Poses) -> Any:
    """Supervision's `KeyPoints`: xy, the points' and the poses' scores, and the skeleton's name under `data`.

    Raises:
        ModuleNotFoundError: supervision is not installed.
    """
    try:
        import supervision
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_supervision needs supervision: pip install supervision") from None
    return supervision.KeyPoints(
        xy=poses.xy.astype(np.float32),
        keypoint_confidence=poses.score.astype(np.float32),
        detection_confidence=poses.instance_score.astype(np.float32),
        class_id=np.zeros(len(poses), int),
        data={"skeleton": np.full(len(poses), poses.skeleton.name)},
    )


def from_supervision(keypoints: Any, skeleton: Skeleton) -> Poses:
    """Poses from supervision's `KeyPoints`, of which `xy` is needed and the scores are taken where they are."""
    score, whole = (getattr(keypoints, f"{what}_confidence", None) for what in ("keypoint", "detection"))
    return poses_of(keypoints.xy, score, skeleton, instance_score=whole, source="supervision")


def to_fiftyone(poses: Poses, size: tuple[int, int]) -> Any:
    """FiftyOne's `Keypoints` for a sample's field: points relative to the image's edges, and their scores.

    Args:
        poses: of one image.
        size: (height, width) of it.

    Raises:
        ModuleNotFoundError: FiftyOne is not installed.
    """
    try:
        import fiftyone  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_fiftyone needs FiftyOne: pip install fiftyone") from None
    relative = (poses.xy + 0.5) / (size[1], size[0])  # their 0 is the image's edge
    return fiftyone.Keypoints(
        keypoints=[
            fiftyone.Keypoint(
                label=poses.skeleton.name, points=[tuple(p) for p in xy.tolist()], confidence=score.tolist()
            )
            for xy, score in zip(relative, poses.score)
        ]
    )


def from_fiftyone(keypoints: Any, skeleton: Skeleton, size: tuple[int, int]) -> Poses:
    """Poses from FiftyOne's `Keypoints` of an image of `size` (height, width)."""
    people = list(keypoints.keypoints)
    xy = np.array([person.points for person in people], np.float64).reshape(-1, skeleton.num_keypoints, 2)
    score = [person.confidence for person in people]
    known = None if not people or any(s is None for s in score) else np.array(score, np.float64)
    return poses_of(xy * (size[1], size[0]) - 0.5, known, skeleton, source="fiftyone")


def from_pandas(table: pandas.DataFrame, skeleton: Skeleton) -> Poses:
    """Poses from the table that `Poses.to_pandas` makes: pose, point, x, y, score, pose_score, maybe pose_calibrated.

    Raises:
        ValueError: a pose lacks a point of the skeleton, or names another.
    """
    numbers = table["pose"].unique()
    shape = (len(numbers), skeleton.num_keypoints)
    sorted_rows = table.sort_values("pose", kind="stable")
    points = sorted_rows["point"].tolist()
    if points != list(skeleton.points) * len(numbers):
        raise ValueError(
            f"expected the points {', '.join(skeleton.points)} of each pose, in this order, got {points[:40]}"
        )
    xy = sorted_rows[["x", "y"]].to_numpy(np.float64).reshape(*shape, 2)
    score = sorted_rows["score"].to_numpy(np.float64).reshape(shape)
    whole = sorted_rows["pose_score"].to_numpy(np.float64).reshape(shape)[:, 0]
    poses = poses_of(xy, score, skeleton, instance_score=whole, source="pandas")
    if "pose_calibrated" not in table:
        return poses
    return replace(poses, calibrated=sorted_rows["pose_calibrated"].to_numpy(np.float64).reshape(shape)[:, 0])


def from_coco(results: Iterable[Mapping[str, Any]], skeleton: Skeleton) -> dict[int, Poses]:
    """Poses by image id from COCO keypoint results, as `Poses.to_coco` and other tools write them."""
    by_image: dict[int, list[Mapping[str, Any]]] = {}
    for result in results:
        by_image.setdefault(int(result["image_id"]), []).append(result)
    poses: dict[int, Poses] = {}
    for image, rows in by_image.items():
        triples = np.array([row["keypoints"] for row in rows], np.float64).reshape(len(rows), -1, 3)
        boxes = [row.get("box", row.get("bbox")) for row in rows]
        known = None if any(box is None for box in boxes) else np.array(boxes, np.float64)
        whole = [row["score"] for row in rows]
        poses[image] = poses_of(
            triples[..., :2], triples[..., 2], skeleton, instance_score=whole, boxes=known, source="coco results"
        )
        if all("calibrated" in row for row in rows):
            poses[image] = replace(poses[image], calibrated=np.array([row["calibrated"] for row in rows], np.float64))
    return poses


def to_deeplabcut(found: Mapping[str, Poses], scorer: str = "posewright") -> pandas.DataFrame:
    """DeepLabCut's table: a row per image or frame, columns (scorer, bodyparts, coords) with x, y and likelihood.

    Where an image has several animals, columns are (scorer, individuals, bodyparts, coords), as DeepLabCut has them for
    several, and the animals are numbered by their place in the poses.

    Args:
        found: poses by image or frame; one or more, of one skeleton.
        scorer: the name of who found them.

    Raises:
        ValueError: there are no poses, or of several skeletons.
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_deeplabcut needs pandas: pip install posewright[formats]") from None
    points = {poses.skeleton.points for poses in found.values()}
    if len(points) != 1:
        raise ValueError(f"expected poses of one skeleton, got {len(points)}")
    most = max(1, *(len(poses) for poses in found.values()))
    rows = np.full((len(found), most, len(next(iter(points))), 3), np.nan)
    for row, poses in zip(rows, found.values()):
        row[: len(poses)] = np.concatenate([poses.xy, poses.score[..., None]], 2)
    animals = [f"individual{n + 1}" for n in range(most)]
    levels = [[scorer], animals, list(points.pop()), ["x", "y", "likelihood"]]
    names = ["scorer", "individuals", "bodyparts", "coords"]
    columns = pandas.MultiIndex.from_product(levels, names=names)
    table = pandas.DataFrame(rows.reshape(len(found), -1), index=list(found), columns=columns)
    return table if most > 1 else table.droplevel("individuals", axis=1)


def from_deeplabcut(table: pandas.DataFrame, skeleton: Skeleton | None = None) -> dict[Any, Poses]:
    """Poses by image or frame from DeepLabCut's table of predictions or labels, of one animal or several.

    An animal without any point in a row is left out of that row: that is how the table says it is not there.

    Args:
        table: see `to_deeplabcut`; labels have no likelihood, and then each point that is there scores 1.
        skeleton: what the points are; None takes their names from the table.

    Raises:
        ValueError: the skeleton's points are not the table's.
    """
    parts = tuple(table.columns.get_level_values("bodyparts").unique())
    skeleton = skeleton or Skeleton(f"deeplabcut{len(parts)}", parts)
    if set(skeleton.points) != set(parts):
        raise ValueError(f"expected the points {', '.join(skeleton.points)}, the table has {', '.join(parts)}")
    several = "individuals" in table.columns.names
    animals = table.columns.get_level_values("individuals").unique() if several else [None]
    names = [n for n in table.columns.names if n in ("individuals", "bodyparts", "coords")]
    plain = table.droplevel([n for n in table.columns.names if n not in names], axis=1)

    def values(coordinate: str) -> np.ndarray:
        columns = [((a, p, coordinate) if several else (p, coordinate)) for a in animals for p in skeleton.points]
        return plain[columns].to_numpy(np.float64).reshape(len(plain), len(animals), -1)

    xy = np.concatenate([values("x")[..., None], values("y")[..., None]], -1)
    scored = "likelihood" in table.columns.get_level_values("coords")
    score = np.asarray(values("likelihood") if scored else np.isfinite(xy).all(3), np.float64)
    found = {}
    for frame, points, scores in zip(plain.index, xy, score):
        present = np.isfinite(points).all(2).any(1)
        found[frame] = poses_of(points[present], scores[present], skeleton, source="deeplabcut")
    return found
