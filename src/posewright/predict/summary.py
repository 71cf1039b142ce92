"""What a run over images should write, and its outcome in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from posewright.predict.journal import NAME, Entry


@dataclass(frozen=True, slots=True)
class Output:
    """What is drawn and written beside `results.json`.

    Attributes:
        score_threshold: only poses scored at least this are drawn; the results hold all.
        keypoint_threshold: only keypoints scored above it are drawn.
        csv: write `predictions.csv`, a table with one row per keypoint.
        coco: write `results_coco.json`, which holds only what COCO's evaluator reads.
    """

    score_threshold: float = 0.0
    keypoint_threshold: float = 0.3
    csv: bool = False
    coco: bool = False


@dataclass(slots=True)
class Summary:
    """The outcome of a run over images.

    Attributes:
        out: the folder with the drawings and `results.json`.
        total: how many images were meant.
        images: how many have been read.
        poses: how many people were found in them.
        drawn: how many of these have a keypoint that was drawn.
        best: the highest score of a pose and of a keypoint.
        source: where the boxes came from.
        outside: how many boxes of a file were left out because they do not touch their image.
        kept: how many images an interrupted run had finished.
        seconds: it took.
        failed: what is wrong with the images that could not be read.
        notes: what else there is to know, one line each.
        stopped: the number of the signal that ended the run early, or 0.
    """

    out: Path
    total: int = 0
    images: int = 0
    poses: int = 0
    drawn: int = 0
    best: tuple[float, float] = (0.0, 0.0)
    source: str = "none"
    outside: int = 0
    kept: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: int = 0

    def add(self, entry: Entry, output: Output) -> None:
        """Count an image."""
        scores = np.array([r["score"] for r in entry.results])
        points = np.array([max(r["keypoints"][2::3]) for r in entry.results])
        self.images, self.poses = self.images + 1, self.poses + len(scores)
        self.drawn += int(((scores >= output.score_threshold) & (points > output.keypoint_threshold)).sum())
        self.best = (max([self.best[0], *scores.tolist()]), max([self.best[1], *points.tolist()]))
        self.source, self.outside = entry.source, self.outside + entry.outside

    def __str__(self) -> str:
        rate = (self.images - self.kept) / self.seconds if self.seconds else 0.0
        lines = [*self.notes, *(f"skipped: {reason}" for reason in self.failed)]
        if self.source.startswith("whole image"):
            lines.append(
                "no boxes were given: each image was taken for one person, found by two-pass inference. For several "
                "people, or small ones: `posewright weights pull yolox-nano`, then --detector yolox-nano; or "
                "--boxes FILE"
            )
        if self.outside:
            lines.append(f"skipped: {self.outside} boxes that do not touch their image")
        if self.kept:
            lines.append(f"{self.kept} of the images had been finished by an interrupted run")
        if self.stopped:
            lines.append(
                f"interrupted: {self.images} of {self.total} images are finished, in {self.out / NAME}; the "
                "same command resumes there"
            )
        lines.append(
            f"{self.images} images, {self.poses} people, {self.drawn} drawn (boxes: {self.source}; "
            f"{rate:.1f} images/s); drawings and results{'.jsonl' if self.stopped else '.json'} are in {self.out}"
        )
        return "\n".join(lines)

    def explain(self, output: Output) -> None:
        """Note why nothing was drawn, where nothing was."""
        if self.drawn or not self.images:
            return
        pose, point = self.best
        if not self.poses:
            self.notes.append(f"nothing was drawn: no boxes of people (boxes: {self.source})")
        elif pose < output.score_threshold:
            self.notes.append(
                f"nothing was drawn: the best pose scores {pose:.2f}, and --score-threshold is "
                f"{output.score_threshold:g}"
            )
        else:
            self.notes.append(
                f"nothing but boxes was drawn: the best keypoint scores {point:.2f}, and --keypoint-threshold is "
                f"{output.keypoint_threshold:g}; a lower one shows what was found"
            )
