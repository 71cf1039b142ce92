"""Measure the default model and write its model card, docs/default-model.md, with the curve in docs/pictures.

    python benchmarks/default_model.py --lspet data/lspet/val.json --hours 2 [--coco person_keypoints.json]

Leeds Sports Pose Extended in COCO's format is what it was trained on; COCO is what it never saw.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import posewright as pw
from default_model_card import BESIDE, CARD, FAILURES, LABELS, TRIED
from loader import provenance
from posewright.catalogue import counted
from posewright.data import coco, sources
from posewright.evaluate.calibration import isotonic
from posewright.evaluate.distances import TORSO
from posewright.evaluate.pck import Pck, pck, segment
from posewright.files import write_text
from posewright.image import read
from posewright.predict import calibrated as calibrations
from posewright.predict.boxes import two_pass_boxes
from posewright.predict.predictor import Predictor, Where
from posewright.progress import bar
from posewright.report import svg
from posewright.skeletons import LSP14
from posewright.spec import Spec
from posewright.types import Boxes
from posewright.weights import hub

DOCS = Path(__file__).parent.parent / "docs"
THRESHOLD = 0.2
CURVE = np.arange(0, 0.501, 0.02)
SCORES = (0, 0.15, 0.3, 0.4, 0.5, 0.7)
TURNS, MANY = 60, 256
"""Calls that are timed with one person each, and people per call in a tenth as many calls."""
DRAWN = 0.3
"""The score above which `posewright predict` draws a point."""


@dataclass(frozen=True, slots=True)
class Found:
    """Poses of N people, with what was annotated.

    xy [N, K, 2], score [N, K], truth [N, K, 2], visibility [N, K], torso [N].
    """

    xy: np.ndarray
    score: np.ndarray
    truth: np.ndarray
    visibility: np.ndarray
    torso: np.ndarray

    def pck(self, threshold: float = THRESHOLD) -> Pck:
        """By the torso."""
        return pck(self.xy, self.truth, self.visibility, self.torso, threshold)


def find(predictor: Predictor, people: coco.KeypointDataset, where: Where = "annotated") -> Found:
    """Predict everybody in their annotated boxes, or elsewhere in images that hold one person each."""
    groups, boxes = people.by_image(), people.gt_boxes()
    order = np.concatenate(list(groups.values()))
    items = ((people.paths[i], boxes[i] if isinstance(where, str) else where) for i in groups)
    found = []
    with bar("predicting", "images") as show:
        for poses in predictor.many(items, upright=False):
            found.append((poses.xy, poses.score))
            show(len(found), len(groups), "")
    samples = [people[int(n)] for n in order]
    truth, visibility = np.stack([s.xy for s in samples]), np.stack([s.visibility for s in samples])
    torso = segment(truth, visibility, people.skeleton, *TORSO)
    xy, score = map(np.concatenate, zip(*found))
    return Found(xy, score, truth, visibility, torso)


def calibration(found: Found) -> list[str]:
    """Lines of the table of scores."""
    right = np.linalg.norm(found.xy - found.truth, axis=-1) < THRESHOLD * found.torso[:, None]
    evaluated = (found.visibility > 0) & (found.torso > 0)[:, None]
    lines = []
    for low, high in pairwise((*SCORES, np.inf)):
        in_level = evaluated & (found.score >= low) & (found.score < high)
        span = f"{low:g} to {high:g}" if high < np.inf else f"from {low:g}"
        lines.append(f"| {span} | {in_level.sum()} | {right[in_level].mean():.3f} |")
    return lines


def threshold(found: Found) -> str:
    """What a point's score says: where it is as likely right as not, and whether what nobody labelled scores low."""
    right = np.linalg.norm(found.xy - found.truth, axis=-1) < THRESHOLD * found.torso[:, None]
    labelled, measured = found.visibility > 0, (found.torso > 0)[:, None]
    score, probability = isotonic(found.score[labelled & measured], right[labelled & measured])
    even = score[np.argmax(probability >= 0.5)]
    shown, hidden = ((found.score[points] > DRAWN).mean() for points in (labelled, ~labelled))
    return (
        f"From {even:.2f} on a point is more likely right than not, by isotonic regression. `predict` draws those\n"
        f"above {DRAWN:g}: {shown:.0%} of the labelled points, and {hidden:.0%} of those without, mostly hidden."
    )


def calibrated(weights: Path) -> str:
    """What the calibration beside the weights says of itself."""
    fit = calibrations.read(weights)
    assert fit is not None
    return (
        f"Poses have a calibrated score, fitted to {fit.poses} of these (`posewright calibrate`), the\nprobability of "
        f"an OKS above 0.5, off by {fit.after:.2f} on other images than those fitted to; the raw score is off by "
        f"{fit.before:.2f}."
    )


def milliseconds(predictor: Predictor, people: coco.KeypointDataset) -> tuple[float, float]:
    """Per person in images that are in memory: one person at a time, and `MANY` together. Medians of many turns."""
    sample = people[0]
    image, boxes = read(sample.path, upright=False), Boxes.of(sample.box[None])
    everybody, images = people.gt_boxes(), list(people.by_image())[:MANY]
    crowd = [(read(people.paths[i], upright=False), everybody[i]) for i in images]
    alone = _median_time(lambda: predictor(image, boxes), TURNS)
    return 1000 * alone, 1000 * _median_time(lambda: list(predictor.many(crowd)), TURNS // 10) / len(crowd)


def _median_time(work: Callable[[], object], turns: int) -> float:
    took = []
    for _ in range(turns + turns // 6):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took[turns // 6 :])


def row(name: str, found: Found, took: tuple[float, float] | None) -> str:
    """A line of the table of metrics."""
    times = [f"{one:.1f}" for one in took] if took else ["–", "–"]
    return f"| {name} | {found.pck().mean:.3f} | {found.pck(0.1).mean:.3f} | {' | '.join(times)} |"


def beside(paths: list[Path], columns: dict[str, Found], people: dict[str, coco.KeypointDataset]) -> str:
    """The section that sets MediaPipe's results, of benchmarks/mediapipe_pose.py, beside the default model's."""
    contents = [json.loads(path.read_text()) for path in paths]
    names = contents[0]["points"]
    rows = []
    for name, ours in columns.items():
        order = np.concatenate(list(people[name].by_image().values()))
        points = [people[name].skeleton.points.index(point) for point in names]
        theirs = [np.array(content["found"][name])[order] for content in contents]
        found = np.all([xy[:, 0, 0] > -1e5 for xy in theirs], 0)
        for who, kept in {"all": order >= 0, "those whom MediaPipe finds": found}.items():
            truth, visibility = ours.truth[kept][:, points], ours.visibility[kept][:, points]
            all_found = [*(xy[kept, :, :2] for xy in theirs), ours.xy[kept][:, points]]
            shares = [pck(xy, truth, visibility, ours.torso[kept], THRESHOLD) for xy in all_found]
            cells = [f"{kept.sum() - shares[0].left_out}", *(f"{share.mean:.3f}" for share in shares)]
            rows.append(f"| {name}, {who} | {' | '.join(cells)} |")
    models = [f"MediaPipe {('lite', 'full', 'heavy')[content['complexity']]}" for content in contents]
    rule = "---:|" * len(models)
    return BESIDE.format(rows="\n".join(rows), points=len(names), models=" | ".join(models), rule=rule)


def write_curve(columns: dict[str, Found]) -> None:
    """Draw the share of points found over the threshold, a line for each data set."""
    curves = {name.lower(): [(float(t), found.pck(float(t)).mean) for t in CURVE] for name, found in columns.items()}
    curve = svg.curve("PCK", curves, "threshold, in torsos")
    namespace = '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff;font:11px sans-serif" '
    write_text(DOCS / "pictures" / "default-pck.svg", curve.replace("<svg ", namespace, 1) + "\n")


def write_card(
    spec: Spec, columns: dict[str, Found], rows: list[str], other: str, beside_others: str, hours: str
) -> None:
    """Fill in the card, and print it."""
    parameters, gmacs = counted()[spec.name]
    shares, lspet = {name: found.pck() for name, found in columns.items()}, columns["LSPET"]
    points = [
        f"| {point} | {' | '.join(f'{s.value[k]:.3f}' if s.count[k] else '' for s in shares.values())} |"
        for k, point in enumerate(spec.skeleton.points)
    ]
    path = hub.local_weights(spec.name)
    assert path is not None
    card = CARD.format(
        megabytes=path.stat().st_size / 1e6,
        spec=spec.name,
        million=parameters / 1e6,
        gmacs=gmacs,
        hours=hours,
        lspet=f"Of the {len(lspet.torso)} people, {shares['LSPET'].left_out} lack a torso and are left out.",
        rows="\n".join(rows),
        turns=TURNS,
        many=MANY,
        threads=torch.get_num_threads(),
        other=other,
        heads=" | ".join(f"{name} PCK@{THRESHOLD}" for name in shares),
        rule="---:|" * len(shares),
        points="\n".join(points),
        calibration="\n".join(calibration(lspet)),
        threshold=threshold(lspet),
        calibrated=calibrated(path),
        labels=LABELS,
        beside=beside_others,
        tried=TRIED,
        failures=FAILURES,
        provenance="\n".join(provenance()),
    )
    write_text(DOCS / "default-model.md", card)
    print(card)


def main() -> None:
    """Measure, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lspet", type=Path, required=True, help="val.json")
    parser.add_argument("--coco", type=Path, help="person keypoints of COCO, to see how it does on what it never saw")
    parser.add_argument("--mediapipe", type=Path, nargs="+", help="each a found.json of benchmarks/mediapipe_pose.py")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hours", required=True, help="how long the training took, in words for the card")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    people, both, one = coco.read(options.lspet), pw.load(), pw.load(flip=False)
    flipped, plain = find(both, people), find(one, people)
    rows = [
        row("annotated boxes, flip test", flipped, milliseconds(both, people)),
        row("annotated boxes, no flip test", plain, milliseconds(one, people)),
        row("whole image as the box, flip test", find(both, people, None), None),
        row("two passes (`predict` without boxes)", find(both, people, two_pass_boxes(both)), None),
    ]
    columns, sets, other = {"LSPET": flipped}, {"LSPET": people}, ""
    if options.coco:
        strangers = sources.read_all([options.coco], [""], LSP14)
        columns["COCO"], sets["COCO"] = (found := find(both, strangers)), strangers
        rows.append(row("COCO, annotated boxes, flip test", found, None))
        evaluated = len(strangers) - found.pck().left_out
        other = (
            f"COCO is {options.coco.stem}: {evaluated} people with a torso, on the 12 points\n"
            "that both have. They are people in everyday life, as it never saw them."
        )
    write_curve(columns)
    others = beside(options.mediapipe, columns, sets) if options.mediapipe else ""
    write_card(both.spec, columns, rows, other, others, options.hours)


if __name__ == "__main__":
    main()
