"""Scores as probabilities: what `posewright calibrate` has stored beside weights, read and applied."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability that a pose is right, that its OKS with a person is above 0.5, as a function of its score.

    Attributes:
        score: rising scores.
        probability: at each of them, 0..1, never falling; linear in between, and constant beyond the ends.
        poses: how many it was fitted to.
        before: calibration error of the raw scores, cut to 0..1.
        after: calibration error of the probabilities, on images that they were not fitted to.
    """

    score: tuple[float, ...]
    probability: tuple[float, ...]
    poses: int
    before: float
    after: float

    def __post_init__(self) -> None:
        x, y = np.array(self.score), np.array(self.probability)
        if not len(x) or x.shape != y.shape or not np.isfinite([x, y]).all():
            raise ValueError(f"calibration: expected as many scores as probabilities, got {len(x)} and {len(y)}")
        if (np.diff(x) < 0).any() or (np.diff(y) < 0).any() or y[0] < 0 or y[-1] > 1:
            raise ValueError("calibration: expected rising scores and probabilities that never fall, within 0 and 1")

    def __call__(self, score: Any) -> np.ndarray:
        """Probabilities [N], 0..1, of scores [N]."""
        return np.interp(np.asarray(score, np.float64), self.score, self.probability)

    def applied(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """COCO keypoint results with the probability as `calibrated`; `score` stays raw."""
        probability = self([entry["score"] for entry in results])
        return [entry | {"calibrated": round(float(p), 4)} for entry, p in zip(results, probability)]


def place_of(weights: str | os.PathLike[str]) -> Path:
    """Where the calibration of a file of weights lies: beside it."""
    return Path(weights).with_suffix(".calibration.json")


def write(path: Path, calibration: Calibration) -> None:
    """Write a calibration, atomically."""
    write_json(path, msgspec.to_builtins(calibration), indent=2)


def read(weights: str | os.PathLike[str]) -> Calibration | None:
    """The calibration beside a file of weights, None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    path = place_of(weights)
    if not path.is_file():
        return None
    return read_json(path, Calibration, "a calibration that `posewright calibrate` has written")
