"""The people and detections that a page's gallery shows, each cut out of its image, with what was found of it."""

from __future__ import annotations

import base64
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from posewright.evaluate.diagnosis import MISPLACED, POINT_KINDS, RESULT_KINDS, Diagnosis
from posewright.image import encode, read, resize
from posewright.predict.predictor import Predictor
from posewright.report import heatmaps

MOST_PEOPLE, MOST_OTHERS = 240, 40
"""How many people, and detections of nobody, a gallery shows."""

MOST_BYTES = 9_000_000
"""Of all pictures together; as text they are a third larger, and a page stays well below 15 MB."""

_SIDE, _MARGIN, _QUALITY = 300, 0.2, 78


def gallery(
    diagnosis: Diagnosis,
    results: list[dict[str, Any]],
    paths: dict[int, Path],
    count: int = MOST_PEOPLE,
    predictor: Predictor | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """The cases, and a line that says how many of all they are: the worst people, some by chance, and detections.

    Args:
        diagnosis: of the results.
        results: COCO keypoint results.
        paths: image id -> file; images that are not there are left out and counted.
        count: of people.
        predictor: what found the results; the first cases then have its heatmaps.
    """
    entries = _chosen(diagnosis, results, count)
    by_image: dict[int, list[int]] = defaultdict(list)
    for place, (image, _) in enumerate(entries):
        by_image[image].append(place)
    cut, size, absent = dict[int, dict[str, Any]](), 0, 0
    looks = heatmaps.MOST if predictor and heatmaps.available(predictor) else 0
    for image, places in by_image.items():
        if size > MOST_BYTES or not (image in paths and paths[image].is_file()):
            absent += len(places)
            continue
        pixels, cases = read(paths[image], upright=False), [entries[place][1] for place in places]
        if predictor and looks > 0:
            looks -= len(cases)
            heats = heatmaps.of_boxes(predictor, pixels, np.array([case["crop"] for case in cases]))
            cases = [case | {"heat": heat} for case, heat in zip(cases, heats)]
        for place, case in zip(places, cases):
            cut[place] = _cut(case, pixels) | {"file": paths[image].name, "image": image}
            size += len(cut[place]["picture"]) + len(case.get("heat", {}).get("maps", ""))
    people = sum(case["type"] == "person" for case in cut.values())
    line = f"{people} of {len(diagnosis.people)} people, the worst and some by chance; "
    line += f"{len(cut) - people} other detections"
    line += f"; {absent} left out, as their images were not found or the page would be too large" if absent else ""
    return [cut[place] for place in sorted(cut)], line


def _chosen(d: Diagnosis, results: list[dict[str, Any]], count: int) -> list[tuple[int, dict[str, Any]]]:
    """Image id and case: the worst people first, then some by chance, then the best-scored detections of nobody."""
    worst = np.argsort(d.similarity, kind="stable")[: count * 2 // 3]
    rest = np.setdiff1d(np.arange(len(d.people)), worst)
    chance = np.random.default_rng(0).permutation(rest)[: count - len(worst)]
    entries = [(int(d.people.image_id[n]), _of_person(d, int(n), results)) for n in (*worst, *chance)]
    wrong = np.flatnonzero(np.isin(d.result_kind, (1, 2)))
    score = np.array([results[row]["score"] for row in d.results[wrong]])
    for n in wrong[np.argsort(-score, kind="stable")][:MOST_OTHERS]:
        entry = results[d.results[n]]
        entries.append((entry["image_id"], _of_result(entry, RESULT_KINDS[d.result_kind[n]])))
    return entries


def _of_person(d: Diagnosis, n: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    found = results[d.result[n]] if d.result[n] >= 0 else None
    kinds = [POINT_KINDS[k] for k in d.kind[n]]
    groups = {name: g.labels[g.index[n]] for name, g in d.groups.items() if g.index[n] >= 0}
    present = [kind for kind in ("missed person", *MISPLACED) if kind in kinds]
    return {
        "type": "person",
        "id": int(d.people.id[n]),
        "box": d.people.box[n].tolist(),
        "crop": (found or {}).get("box") or d.people.box[n].tolist(),
        "truth": d.people.keypoints[n].tolist(),
        "found": None if found is None else np.reshape(found["keypoints"], (-1, 3)).tolist(),
        "score": None if found is None else float(found["score"]),
        "oks": round(float(d.similarity[n]), 3),
        "kinds": kinds,
        "errors": [*present, *(["score order"] if d.misordered[n] else [])],
        "groups": groups,
        "area": round(float(d.people.area[n])),
    }


def _of_result(entry: dict[str, Any], kind: str) -> dict[str, Any]:
    found = np.reshape(entry["keypoints"], (-1, 3))
    box = [*found[:, :2].min(0).tolist(), *np.ptp(found[:, :2], axis=0).tolist()]
    about = {
        "type": kind,
        "box": box,
        "crop": entry.get("box") or box,
        "truth": None,
        "found": found.tolist(),
        "score": float(entry["score"]),
    }
    return about | {"oks": 0.0, "kinds": [], "errors": [kind], "groups": {}, "area": round(box[2] * box[3])}


def _cut(case: dict[str, Any], pixels: np.ndarray) -> dict[str, Any]:
    """The same with its picture (base64 JPEG), size, and all points in pixels of the picture."""
    x, y, w, h = case["box"]
    margin = _MARGIN * max(w, h, 20)
    low = np.clip(np.array([x - margin, y - margin]), 0, np.array(pixels.shape[1::-1]) - 2).astype(int)
    high = np.clip(np.array([x + w + margin, y + h + margin]).astype(int) + 1, low + 2, pixels.shape[1::-1])
    window = pixels[low[1] : high[1], low[0] : high[0]]
    scale = _SIDE / max(window.shape[:2])
    height, width = (max(2, round(side * scale)) for side in window.shape[:2])
    picture = base64.b64encode(encode(resize(window, (height, width)), ".jpg", _QUALITY)).decode()

    def moved(points: list[list[float]] | None) -> list[list[float]] | None:
        if points is None:
            return None
        triples = np.array(points)
        triples[:, :2] = ((triples[:, :2] - low + 0.5) * scale - 0.5).round(1)
        return triples.round(3).tolist()

    rest = {key: value for key, value in case.items() if key not in ("box", "crop")}
    if heat := case.get("heat"):
        ends = (np.reshape(heat["region"], (2, 2)) + 0.5 - low) * scale
        rest["heat"] = heat | {"region": ends.ravel().round(1).tolist()}
    return rest | {
        "picture": picture, "width": width, "height": height,
        "truth": moved(case["truth"]), "found": moved(case["found"]),
    }  # fmt: skip
