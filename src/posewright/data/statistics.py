"""What a data set holds, in numbers: people, images, sizes, and how often each point is labelled and visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posewright.data.dataset import KeypointDataset

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""COCO's sizes, by the area in square pixels."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """A data set in numbers.

    Attributes:
        people: how many.
        images: how many, with and without people.
        per_image: how many images have 0, 1, 2, ... people.
        sizes: how many people are of each of COCO's sizes.
        box: quartiles of the boxes' longer sides, in pixels.
        labelled: people in whom each point is labelled.
        visible: people in whom each point is visible.
        points: quartiles of the labelled points per person.
    """

    people: int
    images: int
    per_image: dict[int, int]
    sizes: dict[str, int]
    box: tuple[float, float, float]
    labelled: dict[str, int]
    visible: dict[str, int]
    points: tuple[float, float, float]

    def lines(self) -> list[str]:
        """All of it to print."""
        crowd = ", ".join(f"{n}: {count}" for n, count in self.per_image.items())
        sizes = ", ".join(f"{count} {name}" for name, count in self.sizes.items())
        rows = [
            f"| {point} | {n} | {n / self.people:.0%} | {self.visible[point] / max(n, 1):.0%} |"
            for point, n in self.labelled.items()
        ]
        return [
            f"{self.people} people in {self.images} images (people per image: {crowd})",
            f"sizes: {sizes}; longer side of the box: {self.box[1]:.0f} px ({self.box[0]:.0f} to {self.box[2]:.0f})",
            f"labelled points per person: {self.points[1]:.0f} ({self.points[0]:.0f} to {self.points[2]:.0f})",
            "",
            "| point | labelled | of people | of these visible |",
            "|---|---:|---:|---:|",
            *rows,
        ]


def of(people: KeypointDataset) -> Statistics:
    """The numbers of a data set."""
    shown = np.bincount(people.image, minlength=len(people.image_id))
    numbers, images = np.unique(shown, return_counts=True)
    labelled, visible = (people.visibility > 0).sum(0).tolist(), (people.visibility == 2).sum(0).tolist()
    names = people.skeleton.points
    return Statistics(
        len(people),
        len(people.image_id),
        dict(zip(numbers.tolist(), images.tolist())),
        {name: int(((people.area >= low) & (people.area < high)).sum()) for name, (low, high) in SIZES.items()},
        _quartiles(people.box[:, 2:].max(1)),
        dict(zip(names, labelled)),
        dict(zip(names, visible)),
        _quartiles((people.visibility > 0).sum(1)),
    )


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return low, middle, high
