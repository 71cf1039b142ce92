"""Scores fitted to the probability that a pose is right, by isotonic regression, and how far off they are.

Isotonic regression by pooling adjacent violators: Ayer et al., Annals of Mathematical Statistics, 1955; of scores:
Zadrozny and Elkan, KDD 2002.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posewright.evaluate.diagnosis import NEAR, RESULT_KINDS, Diagnosis
from posewright.predict.calibrated import Calibration

BINS = 15
"""Of equally many poses, by which the calibration error is measured."""

LEAST = 20
"""The fewest poses that a calibration is fitted to."""


def outcomes(diagnosis: Diagnosis, results: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [N] of detections, whether each is right (OKS above 0.5 with its person), and their images.

    Detections of crowds and of people without labelled points, which are neither right nor wrong, are left out.
    """
    d = diagnosis
    rows = d.results[d.result_kind != RESULT_KINDS.index("excused")]
    score = np.array([results[row]["score"] for row in rows], np.float64)
    image = np.array([results[row]["image_id"] for row in rows], np.int64)
    return score, np.isin(rows, d.result[d.similarity > NEAR]), image


def fit(score: np.ndarray, right: np.ndarray, image: np.ndarray) -> Calibration:
    """The calibration of scores, with its error on images that it was not fitted to.

    For that error the images are split into two halves, and each is measured with what was fitted to the other.

    Args:
        score: [N].
        right: [N] bool.
        image: [N], the image of each.

    Raises:
        ValueError: fewer than 20 poses, or all of one image.
    """
    _, group = np.unique(image, return_inverse=True)
    half = np.random.default_rng(0).permutation(group.max(initial=0) + 1)[group] % 2 if len(group) else group
    if len(score) < LEAST or len(np.unique(half)) < 2:
        raise ValueError(f"expected {LEAST} poses or more, in two images or more, to calibrate with; got {len(score)}")
    probability = np.zeros(len(score))
    for part in (0, 1):
        probability[half == part] = np.interp(score[half == part], *isotonic(score[half != part], right[half != part]))
    x, y = isotonic(score, right)
    before, after = error(np.clip(score, 0, 1), right), error(probability, right)
    return Calibration(tuple(x.tolist()), tuple(y.tolist()), len(score), before, after)


def isotonic(score: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The never falling function of the score that is nearest (in squares) to what was right: its corners [C], [C].

    Args:
        score: [N], N at least 1.
        right: [N], 0 or 1.
    """
    level, place = np.unique(score, return_inverse=True)
    count = np.bincount(place)
    mean = np.bincount(place, right.astype(np.float64)) / count
    blocks: list[tuple[float, float, float, float]] = []  # mean, count, first and last score
    for value, weight, at in zip(mean.tolist(), count.tolist(), level.tolist()):
        block = (value, float(weight), at, at)
        while blocks and blocks[-1][0] >= block[0]:
            last, total = blocks.pop(), block[1]
            pooled = (last[0] * last[1] + block[0] * total) / (last[1] + total)
            block = (pooled, last[1] + total, last[2], block[3])
        blocks.append(block)
    corners = [corner for b in blocks for corner in sorted({(b[2], b[0]), (b[3], b[0])})]
    x, y = np.array(corners).T
    return x, np.maximum.accumulate(np.clip(y, 0, 1))


def error(probability: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: how far stated and true shares are apart, the mean over bins of equally many poses.

    Args:
        probability: [N], 0..1.
        right: [N] bool.
    """
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs(probability[b].mean() - right[b].mean()) * len(b) for b in bins) / len(order))
