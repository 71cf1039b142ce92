"""How good poses are: AP and AR, PCK, PCKh, AUC, EPE, NME; a predictor judged on a data set; what the figures mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from posewright import geometry
from posewright.evaluate.coco_ap import FIGURES, LEVELS, CocoMetrics, measure
from posewright.evaluate.ground_truth import MOST, SIZES, Source
from posewright.evaluate.oks import Sigmas, oks, oks_nms, soft_oks_nms
from posewright.evaluate.pck import (
    Pck,
    accuracy,
    animal_accuracy,
    animal_auc,
    animal_table,
    auc,
    box_size,
    epe,
    head_size,
    nme,
    pck,
    pckh,
    segment,
)
from posewright.predict import boxes as detect
from posewright.predict.scoring import rescore
from posewright.skeletons import shared_points
from posewright.types import Boxes, Poses

if TYPE_CHECKING:
    from posewright.data.coco import KeypointDataset
    from posewright.predict.predictor import Predictor
    from posewright.progress import Tick
    from posewright.spec import Spec

__all__ = [
    "FIGURES",
    "CocoMetrics",
    "Evaluation",
    "Pck",
    "accuracy",
    "animal_accuracy",
    "animal_auc",
    "animal_table",
    "auc",
    "box_size",
    "boxes_for",
    "coco",
    "coco_lines",
    "epe",
    "evaluate",
    "explain",
    "head_size",
    "main_figure",
    "markdown_row",
    "measure",
    "nme",
    "of_file",
    "oks",
    "oks_nms",
    "pck",
    "pckh",
    "people",
    "rescore",
    "segment",
    "soft_oks_nms",
    "summary",
]

TORSO = ("right_shoulder", "left_hip")
"""The torso that PCK measures by where nothing else is said."""

_HEADINGS = {"AP50": "Ap .5", "AP75": "AP .75", "AP_M": "AP (M)", "AP_L": "AP (L)"}
_HEADINGS |= {"AR50": "AR .5", "AR75": "AR .75", "AR_M": "AR (M)", "AR_L": "AR (L)"}


# -- AP and AR ------------------------------------------------------------------------------------------------------


def coco(truth: Source, results: Source, *, sigmas: Sigmas | None = None) -> dict[str, float]:
    """The ten COCO keypoint figures, 0..1, named and ordered as `FIGURES`; -1 where there is no ground truth.

    Of CrowdPose's images, "AP_easy", "AP_medium" and "AP_hard" follow. `measure` gives them with what explains them;
    arguments and errors are described there.
    """
    return measure(truth, results, sigmas=sigmas).figures


def coco_lines(figures: dict[str, float]) -> list[str]:
    """The ten figures in the words and the layout of pycocotools' summary; those of CrowdPose's levels follow."""
    lines = []
    for name in FIGURES:
        title = "Average Precision" if name.startswith("AP") else "Average Recall"
        overlap = {"50": "0.50", "75": "0.75"}.get(name[2:], "0.50:0.95")
        size = {"_M": "medium", "_L": "large"}.get(name[2:], "all")
        where = f"IoU={overlap:<9} | area={size:>6} | maxDets={MOST:>3}"
        lines.append(f" {title:<18} ({name[:2]}) @[ {where} ] = {figures[name]:.3f}")
    for level in LEVELS:
        if (name := f"AP_{level}") in figures:
            where = f"IoU=0.50:0.95 | type={level:>6} | maxDets={MOST:>3}"
            lines.append(f" Average Precision  (AP) @[ {where} ] = {figures[name]:.3f}")
    return lines


def markdown_row(figures: dict[str, float], name: str, boxes: str) -> str:
    """A Markdown table of one row, as HRNet's evaluation ends with, and where the boxes came from in a last column.

    Args:
        figures: of `coco`, `pckh` or any other, by name; below 0 stands for none and is shown as a dash.
        name: of what was evaluated.
        boxes: where its boxes came from: figures for annotated and for detected boxes do not compare.
    """
    heads = ["Arch", *(_HEADINGS.get(f, f) for f in figures), "Boxes"]
    cells = [name, *("–" if v < 0 else f"{v:.3f}" for v in figures.values()), boxes or "not said"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), cells))


def explain(measured: CocoMetrics) -> list[str]:
    """What lies behind figures of -1 or 0, and what was left out; nothing where all is well."""
    m = measured
    lines = []
    if not m.people["all"]:
        lines.append("all figures are -1: nobody is annotated with a keypoint, crowds apart")
    elif not m.results:
        lines.append(f"AP is 0: there are no results for the {m.people['all']} annotated people")
    elif not m.found:
        lines.append(
            f"AP is 0: no result is of any of the {m.images} images with annotated people; compare the image ids"
        )
    elif m.figures["AP"] <= 0:
        lines.append(
            f"AP is 0: {m.found} of {m.images} images with people have results, but the best result for each person "
            f"has a mean OKS of {m.best_oks:.3f}; is the network trained, are boxes x, y, width, height, and keypoints "
            "in pixels of the image and in the annotation's order?"
        )
    elif m.found < m.images / 2:
        lines.append(f"only {m.found} of {m.images} images with people have results; the others count as missed")
    if m.people["all"]:
        for size in ("medium", "large"):
            if not m.people[size]:
                name, (least, most) = size[0].upper(), SIZES[size]
                between = f"{least:.0f} to {most:.0f}" if most < 1e10 else f"{least:.0f} or more"
                lines.append(
                    f"AP_{name} and AR_{name} are -1: no ground truth of {size} size ({between} square pixels)"
                )
    return [*lines, *m.notes]


def summary(measured: CocoMetrics, name: str) -> list[str]:
    """All of it to print: the ten lines, what explains them, and the table row that ends with the boxes."""
    row = markdown_row(measured.figures, name, measured.boxes).splitlines()
    return [*coco_lines(measured.figures), *explain(measured), "", *row]


# -- a predictor on a data set ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a predictor did on a data set.

    Attributes:
        figures: the ten COCO figures; or, where the skeleton has no OKS sigmas, "PCK".
        results: COCO keypoint results, as `people` gives them.
        measured: what explains the COCO figures.
        pck: share of each point found.
        rule: what that PCK measures by, in words.
        points: names of the points.
        boxes: where the boxes came from.
    """

    figures: dict[str, float]
    results: list[dict[str, Any]]
    measured: CocoMetrics | None
    pck: Pck | None
    rule: str
    points: tuple[str, ...]
    boxes: str

    def lines(self, name: str) -> list[str]:
        """All of it to print; `name` is of what was judged."""
        if self.measured:
            return summary(self.measured, name)
        table = self.pck.markdown(self.points).splitlines() if self.pck else []
        why = f"AP is undefined, for no OKS sigmas are published for these points; {self.rule} instead"
        return [why, *table, "", *markdown_row(self.figures, name, self.boxes).splitlines()]


def evaluate(
    predictor: Predictor, people: KeypointDataset, boxes: dict[int, Boxes], *, progress: Tick | None = None
) -> Evaluation:
    """Run a predictor on a data set and judge it: by AP, or by PCK where the skeleton has no OKS sigmas.

    PCK@0.2 is measured by the torso, from right shoulder to left hip; PCK@0.05 by the longer side of the box where a
    skeleton has no such points. The annotated boxes are needed for it, as they say which pose is whose.

    Args:
        predictor: see `people`.
        people: see `people`.
        boxes: image id -> boxes; see `boxes_for`.
        progress: see `people`.

    Raises:
        ValueError: see `people`; or PCK is wanted of other than the annotated boxes.
    """
    skeleton, source = people.skeleton, ", ".join(sorted({b.source for b in boxes.values()}))
    if skeleton.sigmas is None:
        _check_annotated(people, boxes)
    poses = _run(predictor, people, boxes, progress)
    results = _results(poses, people, predictor.spec)
    if skeleton.sigmas is not None:
        measured = measure(people.ground_truth(), results, boxes=source)
        return Evaluation(measured.figures, results, measured, None, "", skeleton.points, source)
    share, rule = _pck(poses, people)
    return Evaluation({"PCK": share.mean}, results, None, share, rule, skeleton.points, source)


def main_figure(figures: dict[str, float]) -> str:
    """The name of the figure by which one judges: "AP", or "PCK" where there is none."""
    return "AP" if "AP" in figures else "PCK"


def boxes_for(people: KeypointDataset, detections: str | os.PathLike[str] = "") -> dict[int, Boxes]:
    """Image id -> boxes to evaluate with: those of a detections file, or the annotated ones where none is given.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no detections file, or has nothing on these images.
    """
    if not detections:
        return people.gt_boxes()
    found = detect.detections(detections, category=int(people.category_id[0]))
    boxes = {image: some for image in people.paths if len(some := found.of_id(image))}
    if not boxes:
        raise ValueError(
            f"{detections}: no detection is of any of the {len(people.paths)} images of {people.annotations}; compare "
            "their image ids"
        )
    return boxes


def people(
    predictor: Predictor, people: KeypointDataset, boxes: dict[int, Boxes], *, progress: Tick | None = None
) -> list[dict[str, Any]]:
    """COCO keypoint results of a predictor on a data set, by rising image id and from the best score down in each.

    Of poses that coincide (OKS above `predictor.spec.nms`) the best-scored is kept, as in the published evaluations;
    with a skeleton that has no OKS sigmas, all are.

    Args:
        predictor: its scores are the results' scores.
        people: says where the images are, and of which category the poses are.
        boxes: image id -> boxes to read poses from.
        progress: called with the number of images done, and of all.

    Raises:
        ValueError: boxes are of unknown images; or there are several categories, and boxes that are not the annotated
            ones, so that nothing says which is of which; or predictor and people are of different skeletons.
    """
    return _results(_run(predictor, people, boxes, progress), people, predictor.spec)


def of_file(results: list[dict[str, Any]], people: KeypointDataset) -> list[dict[str, Any]]:
    """COCO keypoint results with the points of the people's annotation file, in its order; zeros for those not found.

    Args:
        results: with the points of `people.skeleton`, as `people` gives them.
        people: whose skeleton may be another than their file's.
    """
    file = people.channels or people.skeleton
    here, there = shared_points(people.skeleton, file)
    triples = np.zeros((len(results), file.num_keypoints, 3))
    for row, result in zip(triples, results):
        row[there] = np.reshape(result["keypoints"], (-1, 3))[here]
    return [result | {"keypoints": row.ravel().tolist()} for row, result in zip(triples, results)]


def _run(
    predictor: Predictor, people: KeypointDataset, boxes: dict[int, Boxes], progress: Tick | None
) -> dict[int, Poses]:
    """Image id -> poses, by rising id."""
    ours, theirs = predictor.spec.skeleton.points, people.skeleton.points
    if ours != theirs:
        raise ValueError(f"the predictor finds {ours}, the people have {theirs}; map them: people.mapped(skeleton)")
    paths = people.paths
    if strange := [image for image in boxes if image not in paths]:
        raise ValueError(f"boxes are given for image {strange[0]}, which is none of the set's {len(paths)} images")
    images = sorted(boxes)
    poses: dict[int, Poses] = {}
    # Annotated coordinates count pixels before any turning by EXIF.
    for some in predictor.many(((paths[i], boxes[i]) for i in images), upright=False):
        poses[images[len(poses)]] = some
        if progress:
            progress(len(poses), len(images))
    return poses


def _results(poses: dict[int, Poses], people: KeypointDataset, spec: Spec) -> list[dict[str, Any]]:
    category = _categories(poses, people)
    return [
        entry | {"category_id": int(number)}
        for image, kept in _distinct(poses, spec, people.skeleton.sigmas)
        for number, entry in zip(category[image][kept], poses[image][kept].to_coco(image))
    ]


def _categories(poses: dict[int, Poses], people: KeypointDataset) -> dict[int, np.ndarray]:
    """Image id -> category of each pose."""
    known = np.unique(people.category_id)
    if len(known) == 1:
        return {image: np.full(len(some), known[0]) for image, some in poses.items()}
    _check_annotated(people, {image: some.boxes for image, some in poses.items()})
    return {image: people.category_id[group] for image, group in people.by_image().items() if image in poses}


def _check_annotated(people: KeypointDataset, boxes: dict[int, Boxes]) -> None:
    """Whether every box is an annotated one, so that the poses are those of the people in their order."""
    groups = people.by_image()
    for image, some in boxes.items():
        if not some.annotated or image not in groups or len(some) != len(groups[image]):
            raise ValueError(
                f"image {image}: {len(some)} boxes from {some.source}, expected the annotated ones, people.gt_boxes(): "
                "with several categories, and for PCK, it must be known which pose is whose"
            )


def _distinct(poses: dict[int, Poses], spec: Spec, sigmas: Sigmas | None) -> Iterator[tuple[int, np.ndarray]]:
    """Image id and the poses kept there, from the best score down."""
    if not poses:
        return
    many = np.array([len(some) for some in poses.values()])
    group = np.repeat(np.arange(len(many)), many)
    score = np.concatenate([some.instance_score for some in poses.values()])
    if spec.nms is None or sigmas is None:
        order = np.lexsort((-score, group))
    else:
        area = np.concatenate([_area(some.boxes, spec) for some in poses.values()])
        xy = np.concatenate([some.xy for some in poses.values()])
        order = oks_nms(xy, score, area, sigmas, spec.nms, group)
    ends = np.searchsorted(group[order], np.arange(len(many)), "right")
    for image, start, part in zip(poses, np.cumsum(many) - many, np.split(order, ends[:-1])):
        yield image, part - start


def _area(boxes: Boxes, spec: Spec) -> np.ndarray:
    """Areas [N] of the padded boxes, which poses are compared by."""
    region = geometry.region_of_box(
        boxes.xywh, spec.size, padding=spec.padding, rule=spec.crop, annotated=boxes.annotated
    )
    return region[:, 2] * region[:, 3]


def _pck(poses: dict[int, Poses], people: KeypointDataset) -> tuple[Pck, str]:
    """PCK of poses read from the annotated boxes, and what it measures by; people without a pose are missed."""
    groups = people.by_image()
    predicted = np.full(people.xy.shape, np.nan)
    for image, some in poses.items():
        predicted[groups[image]] = some.xy
    if set(TORSO) <= set(people.skeleton.points):
        torso = segment(people.xy, people.visibility, people.skeleton, *TORSO)
        return pck(
            predicted, people.xy, people.visibility, torso, 0.2
        ), f"PCK@0.2 of the torso, {TORSO[0]} to {TORSO[1]},"
    side = box_size(people.box)
    return pck(predicted, people.xy, people.visibility, side, 0.05), "PCK@0.05 of the box's longer side"
