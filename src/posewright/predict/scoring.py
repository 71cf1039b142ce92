"""How keypoint scores and a box's score become a pose's score."""

from __future__ import annotations

from typing import Literal

import numpy as np

Rule = Literal["above 0.2", "all"]
"""How keypoint scores become a pose's score; see `rescore`."""


def rescore(score: np.ndarray, box_score: np.ndarray, rule: Rule, threshold: float = 0.2) -> np.ndarray:
    """Scores [N] of poses: the box's score times the mean keypoint score.

    Args:
        score: [N, K] keypoint scores.
        box_score: [N] scores of the boxes that the poses were read from.
        rule: "above 0.2" takes the mean of the scores strictly above `threshold`, and 0 where there is none
            (SimpleBaseline, HRNet and their family); "all" takes the mean of all (CPN, MSPN, RSN).
        threshold: see `rule`.
    """
    if rule == "all":
        return box_score * score.mean(1)
    if rule == "above 0.2":
        above = score > threshold
        return box_score * np.where(above, score, 0.0).sum(1) / np.maximum(above.sum(1), 1)
    raise ValueError(f"scoring rule must be 'above 0.2' or 'all', got {rule!r}")
