"""The worst, random and best cases of an evaluation, drawn, as pictures or as contact sheets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posewright import draw
from posewright.data.dataset import KeypointDataset
from posewright.evaluate.evaluator import Evaluation
from posewright.evaluate.oks import oks
from posewright.evaluate.pck import box_size
from posewright.image import draw_disc, read, resize
from posewright.image import write as write_image
from posewright.types import Boxes, Poses, Sample, Skeleton

SURE = 0.3
"""Points scored above it are drawn in full colour, the others faintly."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a page and the line under it."""

    image: np.ndarray
    caption: str


def cases(people: KeypointDataset, evaluation: Evaluation, count: int = 12) -> dict[str, list[Picture]]:
    """The "Worst", "Random" and "Best" people of a data set, at most `count` of each, with what was found of them.

    Good is a high OKS; where there are no sigmas for that, a small mean distance from the annotated points in units of
    the box's longer side, each point counted up to 1.
    """
    quality, results = best_results(people, evaluation)
    order = np.argsort(quality, kind="stable")
    chance = np.random.default_rng(0).permutation(len(people))
    chosen = {"Worst": order[:count], "Random": chance[:count], "Best": order[::-1][:count]}
    told = "OKS {:.2f}" if people.skeleton.sigmas else "off {:.2f}"

    def words(place: int) -> str:
        return f"{told.format(abs(quality[place]))}, {people[place].path.name}"

    return {kind: [case(people, int(n), words(int(n)), results[n]) for n in places] for kind, places in chosen.items()}


def write_sheets(folder: Path, people: KeypointDataset, evaluation: Evaluation, count: int = 24) -> list[Path]:
    """Write the cases as contact sheets, `worst.jpg`, `random.jpg` and `best.jpg`; their paths."""
    paths = []
    for kind, pictures in cases(people, evaluation, count).items():
        sheet = draw.sheet(
            [p.image for p in pictures],
            columns=6,
            cell=(240, 240),
            captions=[p.caption for p in pictures],
            legend=legend(people.skeleton),
        )
        paths.append(folder / f"{kind.lower()}.jpg")
        write_image(paths[-1], sheet)
    return paths


def legend(skeleton: Skeleton) -> list[draw.LegendEntry]:
    """What the marks of a case mean."""
    marks: list[draw.LegendEntry] = [
        (draw.WHITE, "ring", "annotated"),
        (draw.WHITE, "disc", "found"),
        (draw.WHITE, "faint", f"found, score up to {SURE:g}"),
    ]
    return [*marks, *draw.legend(skeleton)]


def best_results(people: KeypointDataset, evaluation: Evaluation) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """For each of N people how good the best result in the image is [N], and that result, [K, 3] x, y, score.

    Good is as in `cases`: OKS, or the distance times -1.
    """
    found: dict[int, list[np.ndarray]] = {}
    for result in evaluation.results:
        found.setdefault(result["image_id"], []).append(np.reshape(result["keypoints"], (-1, 3)))
    quality, best = np.zeros(len(people)), list[np.ndarray | None]()
    for n in range(len(people)):
        person = people[n]
        in_image = found.get(person.image_id, [])
        alike = [_quality(r[:, :2], person, people.skeleton) for r in in_image]
        quality[n] = max(alike, default=0.0 if people.skeleton.sigmas else -1.0)
        best.append(in_image[int(np.argmax(alike))] if in_image else None)
    return quality, best


def _quality(xy: np.ndarray, person: Sample, skeleton: Skeleton) -> float:
    labelled = person.visibility > 0
    if skeleton.sigmas:
        sigmas = np.array(skeleton.sigmas)[labelled]
        return float(oks(xy[labelled], person.xy[labelled], person.area, sigmas))
    away = np.linalg.norm(xy - person.xy, axis=1)[labelled] / box_size(person.box)
    return -float(np.minimum(away, 1).mean())


def case(people: KeypointDataset, place: int, caption: str, result: np.ndarray | None, height: int = 240) -> Picture:
    """One person of a data set, cut out of its image: the found pose, and the annotated points as rings of its colours.

    Points found with a low score are drawn faintly, for the worst cases have no others.
    """
    person = people[place]
    x, y, w, h = person.box
    margin = 0.2 * max(w, h)
    corner = np.maximum([int(x - margin), int(y - margin)], 0)
    cut = read(person.path, upright=False)[corner[1] : int(y + h + margin) + 1, corner[0] : int(x + w + margin) + 1]
    scale = height / cut.shape[0]
    picture = resize(cut, (height, max(1, round(cut.shape[1] * scale))))

    def in_picture(xy: np.ndarray) -> np.ndarray:
        return (xy - corner + 0.5) * scale - 0.5  # corners of pixels scale, centres lie half a pixel inside

    if result is not None:
        box = np.array([[*in_picture(np.array([x, y])), w * scale, h * scale]])
        poses = Poses(in_picture(result[None, :, :2]), result[None, :, 2], np.ones(1), Boxes.of(box), people.skeleton)
        picture = draw.draw(picture, poses, threshold=SURE, boxes=False, scores=False, faint=True)
    colours = draw.point_colours(people.skeleton)
    for k in np.flatnonzero(person.visibility > 0):
        point = in_picture(person.xy[k])
        draw_disc(picture, point, 5, (0, 0, 0), 3)  # an edge on which every colour shows
        draw_disc(picture, point, 5, colours[k], 1)
    return Picture(picture, caption)
