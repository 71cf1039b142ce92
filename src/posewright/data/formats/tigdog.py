"""TigDog (Del Pero et al., CVPR 2015) as published: the folder behaviorDiscovery2.0, with ranges and landmarks.

The points are the 18 of CC-SSL, which leaves out the neck and takes tigers in the order of horses; coordinates count
pixels from 1 there. Images are ANIMAL/00001234.jpg.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from posewright import coco_format
from posewright.data import matlab
from posewright.data.formats import Annotated, _assemble
from posewright.data.formats._assemble import Instance
from posewright.skeletons import TIGDOG18

_TIGER = [*range(8), 14, 15, 16, 17, 12, 13, 8, 9, 10, 11]
"""Where the points of a horse stand among those of a tiger."""


def is_format(path: Path) -> bool:
    """Whether it is a folder with ranges and landmarks."""
    return (path / "ranges").is_dir() and (path / "landmarks").is_dir()


def read(path: Path) -> Annotated:
    """All frames with landmarks, of every animal; shots without a file of landmarks are lost. See `Format.read`."""
    animals = sorted(p.name for p in (path / "ranges").iterdir() if (p / "ranges.mat").is_file())
    if not animals:
        raise FileNotFoundError(f"{path / 'ranges'}: no ranges.mat of any animal")
    images, instances = [], list[Instance]()
    lost: Counter[str] = Counter()
    for category, animal in enumerate(animals, 1):
        file = path / "ranges" / animal / "ranges.mat"
        ranges = matlab.read(file, "TigDog's ranges [shots, 3]").get("ranges")
        if (
            not isinstance(ranges, np.ndarray)
            or ranges.ndim != 2
            or ranges.shape[1] != 3
            or ranges.dtype.kind not in "uif"
        ):
            raise ValueError(f"{file}: expected ranges [shots, 3]: shot, first frame, last frame")
        for shot, first, last in ranges.astype(np.int64).tolist():
            landmarks = path / "landmarks" / animal / f"{shot}.mat"
            if not landmarks.is_file():
                lost[f"shots of {animal}s without landmarks"] += 1
                continue
            frames = matlab.read(landmarks, "TigDog's landmarks of each frame").get("landmarks")
            if not isinstance(frames, np.ndarray) or len(frames) < last - first + 1:
                raise ValueError(f"{landmarks}: expected landmarks of {last - first + 1} frames, as in {file}")
            for n in range(last - first + 1):
                triples = _triples(f"{landmarks}: frame {n}", frames[n])
                images.append(coco_format.Image(len(images) + 1, f"{animal}/{first + n:08d}.jpg"))
                instances.append(
                    Instance(len(images) - 1, triples[_TIGER] if animal == "tiger" else triples, None, category)
                )
    categories = [_assemble.category(TIGDOG18, n, animal) for n, animal in enumerate(animals, 1)]
    return _assemble.annotated(path / "ranges", categories, images, instances, dict(lost))


def _triples(where: str, frame: Any) -> np.ndarray:
    """[18, 3] of a frame's landmarks: a structure of coordinates [19, 2] and visibility [19, 1]."""
    try:
        entry = np.ravel(frame)[0]
        entry = np.ravel(entry)[0] if isinstance(entry, np.ndarray) else entry
        xy, visible = (np.asarray(getattr(entry, name), np.float64) for name in entry._fieldnames[:2])
        triples = np.column_stack([xy.reshape(-1, 2)[:18] - 1, np.where(visible.ravel()[:18] > 0, 2, 0)])
    except (AttributeError, IndexError, TypeError, ValueError):
        raise ValueError(f"{where}: expected coordinates [19, 2] and visibility [19, 1]") from None
    if triples.shape != (18, 3):
        raise ValueError(f"{where}: expected 18 points or more, got {len(triples)}")
    triples[(triples[:, 2] == 0) | ~np.isfinite(triples).all(1)] = 0
    return triples
