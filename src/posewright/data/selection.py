"""HRNet's option `select_data`: only people whose body is centred in their box are learned from."""

from __future__ import annotations

import numpy as np

from posewright import geometry
from posewright.data.dataset import KeypointDataset
from posewright.spec import Spec

_REFERENCE = 0.2 / 16, 0.45 - 0.2 / 16  # slope per labelled point, and the value at none


def selected(people: KeypointDataset, spec: Spec) -> KeypointDataset:
    """The people whose labelled points have their mean near the centre of the crop (HRNet's `select_data`).

    With the mean m of the n labelled points, the centre c and the area A of the crop, somebody stays whose
    exp(-|m - c|^2 / (2 * 0.2^2 * A)) is above 0.0125 n + 0.4375. The others are counted under `skipped`.

    Args:
        people: N annotated people.
        spec: its size, padding and rule make the crop.

    Raises:
        ValueError: no person is left.
    """
    region = geometry.region_of_box(people.box, spec.size, padding=spec.padding, rule=spec.crop_rule, cleaned=True)
    labelled = people.visibility > 0
    count = labelled.sum(1)
    mean = np.where(labelled[..., None], people.xy, 0).sum(1, dtype=np.float64) / np.maximum(count, 1)[:, None]
    away = np.square(mean - region[:, :2]).sum(1)
    centred = np.exp(-away / (2 * 0.2**2 * region[:, 2] * region[:, 3]))
    slope, least = _REFERENCE
    return people.only((count > 0) & (centred > slope * count + least), "not centred in their box (select_data)")
