"""Distances made into metrics: PCK, PCKh, AUC, EPE, NME, and the heat-map accuracy of training logs. Only numpy.

PCK asks which share of the annotated points was found within a threshold times a length of the person. What that length
is (torso, box, head) makes the metric, so it is always an argument; `segment`, `box_size` and `head_size` compute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posewright.skeletons import MPII16
from posewright.types import Skeleton

if TYPE_CHECKING:
    import torch

_HEAD_BIAS = 0.6  # MPII: a head segment is taken as 0.6 of the head box's diagonal
_PCKH_PARTS = ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
_PCKH_TENTH = np.arange(0, 0.51, 0.01)[11]  # the published "Mean@0.1" reads entry 11 of this list: 0.11


@dataclass(frozen=True, slots=True)
class Pck:
    """Shares of points found.

    Attributes:
        value: [K] share of each point's annotations that were found, 0..1; -1 where a point is never annotated.
        count: [K] how many annotations of each point were counted.
        threshold: what a correct keypoint was, in units of the normaliser.
        left_out: how many annotated samples could not be counted, because no normaliser is available.
    """

    value: np.ndarray
    count: np.ndarray
    threshold: float
    left_out: int = 0

    @property
    def mean(self) -> float:
        """Mean over the points that are annotated anywhere, each counting alike; -1 if none is."""
        return float(self.value[self.count > 0].mean()) if self.count.any() else -1.0

    @property
    def pooled(self) -> float:
        """Share over all annotations, so that often annotated points count more; -1 if there are none."""
        return float(self.value @ self.count / self.count.sum()) if self.count.any() else -1.0

    def markdown(self, points: Sequence[str]) -> str:
        """A table, one row per point, the means at the end.

        Args:
            points: names of the K points.
        """
        rows = [f"| point | PCK@{self.threshold:g} | annotated |", "|---|---:|---:|"]
        rows += [f"| {p} | {_cell(v)} | {n} |" for p, v, n in zip(points, self.value, self.count)]
        rows.append(f"| **mean of points** | {_cell(self.mean)} | |")
        rows.append(f"| **mean of annotations** | {_cell(self.pooled)} | {self.count.sum()} |")
        if self.left_out:
            rows += ["", f"{self.left_out} samples left out: the length to measure by is not annotated."]
        return "\n".join(rows)


def pck(
    predicted: np.ndarray,
    annotated: np.ndarray,
    visibility: np.ndarray,
    norm: np.ndarray | float,
    threshold: float,
) -> Pck:
    """Percentage of correct keypoints: the share closer to the annotation than `threshold` times `norm`.

    Args:
        predicted: [N, K, 2]; a NaN is a point that was not found, a miss.
        annotated: [N, K, 2]; only read where `visibility`.
        visibility: [N, K], above 0 where annotated.
        norm: lengths in the units of the coordinates: [N], or [N, 2] or [1, 2] for x and y apart, or one for all.
            Samples whose norm is NaN or not above 0 are left out and counted.
        threshold: a distance equal to it is a miss.

    Raises:
        ValueError: shapes that do not go together.
    """
    distance, counted, left_out = _distances(predicted, annotated, visibility, norm)
    return _shares((distance < threshold) & counted, counted, threshold, left_out)


def auc(
    predicted: np.ndarray, annotated: np.ndarray, visibility: np.ndarray, norm: np.ndarray | float, steps: int = 20
) -> float:
    """Area under the PCK curve: the mean of `pck(...).mean` over the thresholds 0, 1/steps, ... below 1; -1 if empty.

    Arguments as in `pck`. Papers on hands take 30 pixels as the norm.
    """
    distance, counted, _ = _distances(predicted, annotated, visibility, norm)
    hit = (distance < (np.arange(steps) / steps)[:, None, None]) & counted
    count = counted.sum(0)
    return float((hit.sum(1)[:, count > 0] / count[count > 0]).mean()) if count.any() else -1.0


def epe(predicted: np.ndarray, annotated: np.ndarray, visibility: np.ndarray) -> float:
    """End-point error: the mean distance over all annotated points, in their units; -1 if there are none.

    A point that was not found (NaN) makes it infinite. Arguments as in `pck`.
    """
    return nme(predicted, annotated, visibility, 1.0)


def nme(predicted: np.ndarray, annotated: np.ndarray, visibility: np.ndarray, norm: np.ndarray | float) -> float:
    """Normalised mean error: the mean distance over all counted points, in units of `norm`; see `epe` and `pck`."""
    distance, counted, _ = _distances(predicted, annotated, visibility, norm)
    return float(distance[counted].mean()) if counted.any() else -1.0


def accuracy(output: np.ndarray | torch.Tensor, target: np.ndarray | torch.Tensor, threshold: float = 0.5) -> Pck:
    """Heat-map PCK as the training logs of SimpleBaseline and HRNet print it.

    Both maps' maxima are compared; a joint is counted where the target's lies at x > 1 and y > 1. As published, x
    distances are measured in tenths of the map's *height* and y distances in tenths of its width.

    Args:
        output: [N, K, h, w].
        target: [N, K, h, w].
        threshold: 0.5, which is a twentieth of the map.

    Returns:
        `mean` is the logged accuracy; a running mean weights it by the number of joints counted, (count > 0).sum().
    """
    found, annotated = _peaks(output), _peaks(target)
    tenth = np.array(output.shape[2:]) / 10
    return pck(found / tenth, annotated / tenth, np.all(annotated > 1, axis=-1), 1.0, threshold)


def animal_accuracy(
    output: np.ndarray | torch.Tensor, target: np.ndarray | torch.Tensor, index: Sequence[int] | None = None
) -> Pck:
    """Heat-map PCK@0.05 of a mini-batch, as papers on animals have it (CC-SSL: Mu et al., CVPR 2020).

    Both maps' maxima are compared; a point is counted where the target's lies off the map's first row and column. A hit
    is nearer than 0.05 of the map's width, which is 0.05 of the crop's side: as crops are 1.5 times the longest extent
    of an animal's points (1.25 times for synthetic ones), this is 0.075 (0.0625) of that extent.

    Args:
        output: [N, K, h, w].
        target: [N, K, h, w].
        index: which of the target's channels each of the output's is of, a re-ordering of them, or None where they are
            in the same order. As released, it re-orders the shares once more, so that a share stands where another
            point's should; their mean is right.

    Returns:
        Shares by point; see `animal_table` for those of a data set.
    """
    picked = slice(None) if index is None else list(index)
    found, annotated = _peaks(output), _peaks(target)[:, picked]
    share = pck(found, annotated, np.all(annotated > 0, axis=-1), output.shape[3] / 10, 0.5)
    return Pck(share.value[picked], share.count[picked], share.threshold)


def animal_table(batches: Sequence[Pck], sizes: Sequence[int]) -> tuple[np.ndarray, float]:
    """PCK@0.05 of a data set from its mini-batches, as published: it depends on how the set was cut into them.

    Args:
        batches: of `animal_accuracy`.
        sizes: animals in each.

    Returns:
        by point: [K] unweighted means over the mini-batches that count the point, -1 where none does.
        total: the mini-batches' means over their points, weighted by their sizes, -1 where there are none.
    """
    value = np.array([b.value for b in batches])
    counted = value >= 0
    by_point = np.where(counted.any(0), (value * counted).sum(0) / np.maximum(counted.sum(0), 1), -1.0)
    not_empty = counted.any(1)
    mean, weight = np.array([b.mean for b in batches])[not_empty], np.asarray(sizes, np.float64)[not_empty]
    return by_point, float(mean @ weight / weight.sum()) if not_empty.any() else -1.0


def animal_auc(errors: np.ndarray) -> float:
    """Area under the PCK curve up to 0.8, in percent, as papers on animals have it.

    Args:
        errors: any number of distances in units of what is measured by, above 0.
    """
    thresholds = np.linspace(0, 1, 100)[1:81]
    return round(float((np.ravel(errors)[:, None] < thresholds).mean(0).sum() / 0.8), 2)


def pckh(
    predicted: np.ndarray,
    annotated: np.ndarray,
    visibility: np.ndarray,
    head: np.ndarray,
    skeleton: Skeleton = MPII16,
) -> dict[str, float]:
    """MPII's PCKh@0.5 in percent, by body part, with "Mean" and "Mean@0.1" (Andriluka et al., CVPR 2014).

    Pelvis and thorax count in no part and no mean; the means weight points by how often they are annotated. A distance
    equal to the threshold is a hit. As published, "Mean@0.1" is taken at 0.11.

    Args:
        predicted: [N, K, 2] pixels.
        annotated: [N, K, 2] pixels.
        visibility: [N, K], above 0 where annotated.
        head: [N] head sizes in pixels, see `head_size`.
        skeleton: names the K points as MPII16 does.

    Returns:
        "Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean" and "Mean@0.1"; -1 for parts that are
        never annotated.
    """
    distance, counted, left_out = _distances(predicted, annotated, visibility, head)
    half, tenth = (_shares((distance <= t) & counted, counted, t, left_out) for t in (0.5, _PCKH_TENTH))
    metrics: dict[str, float] = {}
    for part in _PCKH_PARTS:
        names = ["head_top"] if part == "Head" else [f"{side}_{part.lower()}" for side in ("left", "right")]
        at = [skeleton.points.index(name) for name in names]
        metrics[part] = _percent(Pck(half.value[at], half.count[at], half.threshold).mean)
    limbs = np.array([p not in ("pelvis", "thorax") for p in skeleton.points])
    for name, share in (("Mean", half), ("Mean@0.1", tenth)):
        metrics[name] = _percent(Pck(share.value[limbs], share.count[limbs], share.threshold).pooled)
    return metrics


def segment(annotated: np.ndarray, visibility: np.ndarray, skeleton: Skeleton, start: str, end: str) -> np.ndarray:
    """Lengths [N] between two named points, NaN where either is not annotated: a torso or a head to measure by.

    The torso of LSP is from "right_shoulder" to "left_hip"; a head is from "upper_neck" to "head_top".

    Args:
        annotated: [N, K, 2].
        visibility: [N, K], above 0 where annotated.
        skeleton: names the K points.
        start: one of its points.
        end: another.

    Raises:
        LookupError: the skeleton has no such point.
    """
    if stray := [p for p in (start, end) if p not in skeleton.points]:
        raise LookupError(f"skeleton {skeleton.name!r} has no point {stray}; its points are {skeleton.points}")
    a, b = skeleton.points.index(start), skeleton.points.index(end)
    length = np.linalg.norm(np.asarray(annotated, np.float64)[:, a] - annotated[:, b], axis=-1)
    return np.where((visibility[:, a] > 0) & (visibility[:, b] > 0), length, np.nan)


def box_size(xywh: np.ndarray) -> np.ndarray:
    """Lengths [N] of the longer sides of boxes [N, 4] x, y, width, height."""
    return np.asarray(xywh, np.float64)[..., 2:].max(-1)


def head_size(corners: np.ndarray) -> np.ndarray:
    """MPII's head sizes [N]: 0.6 of the diagonals of head boxes [N, 4] given as x1, y1, x2, y2."""
    corners = np.asarray(corners, np.float64)
    return _HEAD_BIAS * np.linalg.norm(corners[..., 2:] - corners[..., :2], axis=-1)


def _distances(
    predicted: np.ndarray, annotated: np.ndarray, visibility: np.ndarray, norm: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Distances [N, K] in units of the norm, which of them count, and how many samples lack a norm."""
    predicted, annotated = np.asarray(predicted, np.float64), np.asarray(annotated, np.float64)
    visibility, norm = np.asarray(visibility) > 0, np.asarray(norm, np.float64)
    if predicted.ndim != 3 or predicted.shape != annotated.shape or predicted.shape != (*visibility.shape, 2):
        raise ValueError(
            f"expected predicted and annotated [N, K, 2] and visibility [N, K], got "
            f"{predicted.shape}, {annotated.shape} and {visibility.shape}"
        )
    if norm.shape not in ((), (len(visibility),), (len(visibility), 2), (1, 2)):
        raise ValueError(
            f"expected norm [{len(visibility)}], [{len(visibility)}, 2], [1, 2] or one number, got {norm.shape}"
        )
    norm = np.broadcast_to(norm[:, None] if norm.ndim == 1 else norm, (len(visibility), 2))
    measured = np.all(np.isfinite(norm) & (norm > 0), axis=1)
    away = np.where(visibility[..., None], predicted - annotated, 0) / np.where(measured[:, None], norm, 1)[:, None]
    distance = np.linalg.norm(away, axis=-1)
    distance[np.isnan(distance)] = np.inf
    return distance, visibility & measured[:, None], int((visibility.any(1) & ~measured).sum())


def _shares(hit: np.ndarray, counted: np.ndarray, threshold: float, left_out: int) -> Pck:
    count = counted.sum(0)
    return Pck(np.where(count > 0, hit.sum(0) / np.maximum(count, 1), -1.0), count, float(threshold), left_out)


def _peaks(maps: np.ndarray | torch.Tensor) -> np.ndarray:
    """Places [N, K, 2] of the maxima of maps [N, K, h, w]; (0, 0) where a maximum is not above 0."""
    flat = maps.reshape(*maps.shape[:2], -1)
    if isinstance(flat, np.ndarray):
        place = flat.argmax(-1)
        lit = np.take_along_axis(flat, place[..., None], -1)[..., 0] > 0
    else:  # torch: the maxima are taken where the maps are
        top = flat.detach().max(-1)
        place, lit = top.indices.cpu().numpy(), (top.values > 0).cpu().numpy()
    y, x = np.divmod(place, maps.shape[3])
    return np.stack([x, y], -1) * lit[..., None]


def _percent(share: float) -> float:
    return share if share < 0 else 100 * share


def _cell(value: float) -> str:
    return "–" if value < 0 else f"{value:.3f}"
