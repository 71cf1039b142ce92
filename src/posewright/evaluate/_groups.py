"""People in groups that errors depend on: size, visible keypoints, crowding, and the side they are seen from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from posewright.evaluate.ground_truth import SIZES, Category
from posewright.evaluate.oks import ranges
from posewright.types import Skeleton

BESIDE = 0.1
"""The overlap (IoU) of boxes from which on another person crowds one, as in Ronchi and Perona."""

_BIN = 5  # visible keypoints per group, as there
_TURNED = 0.3  # shoulders and hips closer together than this share of the trunk's length are seen from the side


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """People in groups.

    Attributes:
        labels: names of the groups.
        index: [G] the group of each person, -1 where that is not known.
    """

    labels: tuple[str, ...]
    index: np.ndarray

    def telling(self, weight: np.ndarray, base: np.ndarray) -> tuple[str, float]:
        """The group that has most of a weight, and how many times its share of a base that is; "" where none has most.

        Args:
            weight: [G], such as the errors of each person.
            base: [G], such as the points of each person, which the errors are out of.
        """
        known = self.index >= 0
        sums = [np.bincount(self.index[known], x[known], len(self.labels)) for x in (weight, base)]
        if not (sums[0].sum() and sums[1].sum()):
            return "", 0.0
        share, expected = (x / x.sum() for x in sums)
        most = int(share.argmax())
        return (self.labels[most] if share[most] > 0.5 else "", float(share[most] / max(expected[most], 1e-9)))


def parts_of(skeleton: Skeleton) -> dict[str, np.ndarray]:
    """Masks [K] of the body parts: two mirrored points are one, such as "ankle"."""
    parts: dict[str, np.ndarray] = {}
    partner = dict(skeleton.mirror) | {b: a for a, b in skeleton.mirror}
    for point in skeleton.points:
        other = partner.get(point, point)
        plain, mirrored = (re.sub("left|right", "", name, flags=re.IGNORECASE).strip("_- .") for name in (point, other))
        name = point if other == point else plain if plain == mirrored else f"{point} and {other}"
        parts.setdefault(name, np.isin(skeleton.points, (point, other)))
    return parts


def groups_of(category: Category, skeleton: Skeleton) -> dict[str, Groups]:
    """The people of a category in groups, by the names of what groups them."""
    area = category.people.area
    visible = (category.people.keypoints[..., 2] > 0).sum(1)
    edges = np.arange(1, skeleton.num_keypoints + 1, _BIN)
    ends = [*(edges[1:] - 1).tolist(), skeleton.num_keypoints]
    labels = tuple(f"{a} to {b} keypoints" if a < b else f"{a} keypoints" for a, b in zip(edges.tolist(), ends))
    crowding = np.digitize(neighbours(category), (1, 3))
    return {
        "size": Groups(("small", "medium", "large"), np.digitize(area, (SIZES["medium"][0], SIZES["large"][0]))),
        "visible keypoints": Groups(labels, np.digitize(visible, edges) - 1),
        "crowding": Groups(("alone", "1 or 2 others beside", "3 or more others beside"), crowding),
        "view": Groups(("from the front", "from behind", "from the side"), _view(category, skeleton)),
    }


def neighbours(category: Category) -> np.ndarray:
    """How many other people's boxes overlap each person's [G]; crowds do not count."""
    box, image = category.people.box, category.people_image
    one, other = ranges(np.searchsorted(image, image, "left"), np.searchsorted(image, image, "right"))
    real = (one != other) & ~category.people.crowd[other]
    one, other = one[real], other[real]
    low = np.maximum(box[one, :2], box[other, :2])
    high = np.minimum(box[one, :2] + box[one, 2:], box[other, :2] + box[other, 2:])
    common = np.maximum(high - low, 0).prod(1)
    union = box[one, 2:].prod(1) + box[other, 2:].prod(1) - common
    return np.bincount(one[common >= BESIDE * np.maximum(union, np.spacing(1))], minlength=len(box))


def _view(category: Category, skeleton: Skeleton) -> np.ndarray:
    """0 from the front, 1 from behind, 2 from the side, -1 where shoulders or hips are not labelled.

    Upright and seen from the front, the left side is to the right of the right one; the trunk says what is up.
    """
    names = [f"{side}_{part}" for part in ("shoulder", "hip") for side in ("left", "right")]
    if not set(names) <= set(skeleton.points):
        return np.full(len(category.people), -1)
    places = [skeleton.points.index(name) for name in names]
    xy = category.people.keypoints[:, places, :2].astype(np.float64)
    known = (category.people.keypoints[:, places, 2] > 0).all(1)
    across = (xy[:, 0] - xy[:, 1] + xy[:, 2] - xy[:, 3]) / 2
    down = (xy[:, 2] + xy[:, 3] - xy[:, 0] - xy[:, 1]) / 2
    turn = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]  # above 0 where the left side is at the right
    length = np.square(down).sum(1)
    view = np.select([np.abs(turn) < _TURNED * length, turn > 0], [2, 0], 1)
    return np.where(known & (length > 0), view, -1)
