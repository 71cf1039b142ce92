"""Several results on the same ground truth and boxes: what differs, by how much, and whether chance explains it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posewright import coco_format
from posewright.data import formats, sources
from posewright.data.dataset import KeypointDataset
from posewright.evaluate._what_if import average_precisions
from posewright.evaluate.coco_ap import Overlap, measure
from posewright.evaluate.diagnosis import POINT_KINDS, Diagnosis, diagnose
from posewright.evaluate.ground_truth import GroundTruth, Results, check_images, paired
from posewright.files import read_json

DRAWS = 1000
"""How often images are drawn for a confidence interval."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Keypoint results to compare.

    Attributes:
        name: of the folder, or the file.
        results: the file.
        boxes: where the boxes came from; "" where that is not known.
        annotations: the file that they were evaluated on; "" where that is not known.
        sha256: its checksum then.
    """

    name: str
    results: Path
    boxes: str = ""
    annotations: str = ""
    sha256: str = ""

    @staticmethod
    def of(path: str | os.PathLike[str]) -> Contender:
        """Of a folder that `posewright eval` has written, or of a results file, beside which it may lie.

        Raises:
            FileNotFoundError: there is no such file, or no results.json in the folder.
            ValueError: its metrics.json is damaged.
        """
        path = Path(path)
        results = path / "results.json" if path.is_dir() else path
        if not results.is_file():
            raise FileNotFoundError(f"{results}: no such file; expected results, or a folder that `eval` has written")
        about = results.with_name("metrics.json")
        name = _parts(results)[-1]
        if results.name != "results.json" or not about.is_file():
            return Contender(name, results)
        told = read_json(about, dict[str, Any], "the metrics.json of an evaluation")
        boxes = str(told.get("boxes", ""))
        unstated = boxes.startswith("of ")  # a results file was evaluated, which does not say where its boxes are from
        data = told["data"] if isinstance(told.get("data"), dict) else {}
        annotations, sha256 = str(data.get("annotations", "")), str(data.get("sha256", ""))
        return Contender(name, results, "" if unstated else boxes, annotations, sha256)


def distinct(contenders: Sequence[Contender]) -> list[Contender]:
    """The same with names that differ: with as many of their folders as it takes; the same file again is numbered."""
    parts = [_parts(contender.results) for contender in contenders]
    named: list[Contender] = []
    for place, (contender, own) in enumerate(zip(contenders, parts)):
        others = [other for other in parts if other != own]
        depths = range(1, len(own) + 1)
        depth = next((n for n in depths if all(other[-n:] != own[-n:] for other in others)), len(own))
        earlier = parts[:place].count(own)
        named.append(replace(contender, name="/".join(own[-depth:]) + (f" ({earlier + 1})" if earlier else "")))
    return named


def _parts(results: Path) -> tuple[str, ...]:
    """The folders and the name of results, whose file says nothing where it is a folder's results.json."""
    path = results.absolute()
    return path.parent.parts if path.name == "results.json" else path.with_suffix("").parts


_TEXTS = {".csv", ".json", ".txt", ".xml", ".yaml"}  # of annotations that are a folder


def fingerprint(annotations: str | os.PathLike[str]) -> dict[str, str]:
    """What tells a ground truth from another: its file and the checksum of its bytes (of a folder, of its texts)."""
    digest, path = hashlib.sha256(), Path(annotations)
    for part in sorted(p for p in path.rglob("*") if p.suffix in _TEXTS) if path.is_dir() else [path]:
        with part.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return {"annotations": str(annotations), "sha256": digest.hexdigest()}


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """How results differ from the first ones; intervals hold 95 % of the draws of images.

    Attributes:
        name: of the results.
        metrics: the ten COCO metrics; of points without OKS sigmas PCK alone.
        main: difference of the main metric (AP or PCK), and the ends of its interval.
        points: [K, 3] difference of the share of good points, and the ends of its interval.
        changes: [G] difference of each person's OKS (similarity).
        diagnosis: of these results.
    """

    name: str
    metrics: dict[str, float]
    main: tuple[float, float, float]
    points: np.ndarray
    changes: np.ndarray
    diagnosis: Diagnosis


def same_grounds(contenders: Sequence[Contender], annotations: str = "") -> str:
    """The annotation file that all were evaluated on, where their boxes come from one source, too.

    Args:
        contenders: results to compare.
        annotations: the file, where the results do not say it, or to check against.

    Raises:
        ValueError: boxes or ground truths differ, or no ground truth is known; the message says which.
    """
    stated = [c for c in contenders if c.boxes]
    if other := next((c for c in stated if c.boxes != stated[0].boxes), None):
        raise ValueError(
            f"{stated[0].name} has boxes from {stated[0].boxes}, {other.name} from {other.boxes}: their metrics do not "
            "compare; evaluate both with the same boxes (posewright eval --boxes)"
        )
    truths = {c.sha256: c for c in contenders if c.sha256}
    file = annotations or next((c.annotations for c in contenders if c.annotations), "")
    if not file:
        raise ValueError("no ground truth is known: name the annotations with --data")
    truths.setdefault(fingerprint(file)["sha256"], Contender(file, Path(file), annotations=file))
    if len(truths) > 1:
        first, second, *_ = truths.values()
        raise ValueError(
            f"the ground truths differ: {first.name} was evaluated on {first.annotations}, and {second.name} is or was "
            f"evaluated on {second.annotations} with other content; evaluate both on the same file"
        )
    return file


def compare(contenders: Sequence[Contender], annotations: str = "", *, draws: int = DRAWS) -> list[Difference]:
    """The metrics of results, and how each differs from the first of them.

    Confidence intervals are those of a bootstrap over images: the images are drawn with replacement, the same ones for
    all results.

    Args:
        contenders: two or more.
        annotations: see `same_grounds`.
        draws: of the bootstrap.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: see `same_grounds`; or a file is not what it should be.
    """
    people = sources.without_images(formats.read(same_grounds(contenders, annotations)))
    images = len(people.image_id)
    weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), draws)
    weights = np.concatenate([np.ones((1, images), int), weights])
    several = [_drawn(people, contender, weights) for contender in contenders]
    _, first, first_shares, first_values = several[0]
    return [
        Difference(
            contender.name,
            metrics,
            _interval(values - first_values),
            np.array([_interval(column) for column in (shares - first_shares).T]),
            diagnosis.similarity - first.similarity,
            diagnosis,
        )
        for contender, (metrics, diagnosis, shares, values) in zip(contenders, several)
    ]


def _interval(drawn: np.ndarray) -> tuple[float, float, float]:
    """The value of all images, which comes first, and the ends of the interval of the draws [B] after it."""
    low, high = np.quantile(drawn[1:], (0.025, 0.975))
    return float(drawn[0]), float(low), float(high)


def _drawn(
    people: KeypointDataset, contender: Contender, weights: np.ndarray
) -> tuple[dict[str, float], Diagnosis, np.ndarray, np.ndarray]:
    """Metrics and diagnosis; the shares of good points [B, K] and the main metric [B] of the draws."""
    entries = [msgspec.to_builtins(entry) for entry in coco_format.read_results(contender.results)]
    results = Results.of(entries, str(contender.results))
    check_images(results.name, results.image_id, people.image_id)
    diagnosis = diagnose(people, entries)
    row = np.searchsorted(np.sort(people.image_id), diagnosis.people.image_id)
    counts = np.zeros((2, len(people.image_id), diagnosis.kind.shape[1]))
    np.add.at(counts[0], row, diagnosis.kind == POINT_KINDS.index("good"))
    np.add.at(counts[1], row, diagnosis.kind > 0)
    shares = (weights @ counts[0]) / np.maximum(weights @ counts[1], 1)
    if diagnosis.metric == "PCK":
        return {"PCK": diagnosis.value}, diagnosis, shares, shares.mean(1)
    truth = GroundTruth.of(people)
    overlaps = [Overlap.of(category) for category in paired(truth, results)[0]]
    values = [average_precisions(o, o.oks, o.category.score, weights=weights) for o in overlaps]
    return measure(truth, results).metrics, diagnosis, shares, np.mean(values, axis=0)
