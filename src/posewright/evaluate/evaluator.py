"""A predictor, or a results file, evaluated on a data set: by AP and AR, PCK, PCKh, AUC, EPE, NME or animals' PCK."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np

from posewright import coco_format, geometry
from posewright.evaluate import distances
from posewright.evaluate.box_form import note_on_annotations, note_on_corners, note_on_results
from posewright.evaluate.coco_ap import CocoMetrics, measure
from posewright.evaluate.ground_truth import GroundTruth, Results, check_images, notes_on_categories
from posewright.evaluate.oks import oks_nms, soft_oks_nms
from posewright.evaluate.pck import Pck
from posewright.predict import boxes as detect
from posewright.predict.scoring import rescore
from posewright.skeletons import from_category, shared_points
from posewright.types import Boxes, Poses

if TYPE_CHECKING:
    from posewright.data.dataset import KeypointDataset
    from posewright.data.formats import Annotated
    from posewright.predict.predictor import Predictor
    from posewright.progress import Tick
    from posewright.spec import Spec

Metric = Literal["AP", "PCK", "PCKh", "AUC", "EPE", "NME", "animal", "RMSE"]


@dataclass(frozen=True, slots=True)
class Options:
    """What evaluations vary; the defaults are the published ones.

    Attributes:
        metric: "" is AP, or PCK where the skeleton has no OKS sigmas; else one of `Metric`.
        pck_threshold: with AP, also PCK per keypoint at this threshold; with PCK, its threshold. None: without, and
            0.2 of the torso, or 0.05 of the box's longer side where a skeleton has no torso.
        p_cutoff: with RMSE, points with a lower score do not count in the one with a cutoff.
        box_threshold: boxes with a lower score are left out.
        box_nms: of boxes with a larger overlap (IoU) only the best-scored is kept; None keeps all.
        keypoint_threshold: keypoints with a score above it make a pose's score, where the system's rule has a
            threshold; None is the system's own, 0.2.
        oks_threshold: of poses with a larger OKS only the best-scored is kept; None is the system's own.
        oks_visibility: in that OKS only points of the lower-scored pose with a score above it count; None: all.
        soft_nms: Gaussian soft OKS-NMS instead of the greedy one.
        drop_unconfident: leave out poses all of whose keypoints have a confidence of 0, as xtcocotools does.
    """

    metric: str = ""
    pck_threshold: float | None = None
    p_cutoff: float = distances.P_CUTOFF
    box_threshold: float | None = None
    box_nms: float | None = None
    keypoint_threshold: float | None = None
    oks_threshold: float | None = None
    oks_visibility: float | None = None
    soft_nms: bool = False
    drop_unconfident: bool = False

    def __post_init__(self) -> None:
        if self.metric and self.metric not in get_args(Metric):
            raise ValueError(f"no metric {self.metric!r}; expected one of {', '.join(get_args(Metric))}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a predictor did on a data set.

    Attributes:
        metrics: the ten COCO metrics; or what else was asked for, such as "PCK".
        results: COCO keypoint results, as `results_of` gives them.
        measured: what explains the COCO metrics.
        pck: share of correct keypoints, per point.
        rule: what that PCK, or another metric, measures by, in words.
        points: names of the points.
        boxes: where the boxes came from.
        notes: what is suspicious about the boxes.
    """

    metrics: dict[str, float]
    results: list[dict[str, Any]] = field(repr=False)
    measured: CocoMetrics | None
    pck: Pck | None
    rule: str
    points: tuple[str, ...]
    boxes: str
    notes: tuple[str, ...] = ()


def evaluate(
    predictor: Predictor,
    people: KeypointDataset,
    boxes: dict[int, Boxes],
    *,
    options: Options = Options(),
    progress: Tick | None = None,
) -> Evaluation:
    """Run a predictor on a data set and evaluate it: by AP, or by PCK where the skeleton has no OKS sigmas.

    For all metrics but AP it must be known which pose is whose: of annotated boxes it is, and other boxes go to the
    people whose annotated boxes they overlap most.

    Args:
        predictor: see `results_of`.
        people: see `results_of`.
        boxes: image id -> boxes; see `boxes_for`.
        options: which metric, and its settings.
        progress: see `results_of`.

    Raises:
        ValueError: see `results_of`; or the metric cannot be had for this skeleton.
    """
    source = ", ".join(sorted({b.source for b in boxes.values()}))
    poses = _run(predictor, people, boxes, options, progress)
    results = _results(poses, people, predictor.spec, options)
    predicted = None
    if all(len(found) == len(group) and found.boxes.cleaned for _, found, group in _groups(poses, people)):
        predicted = np.full((*people.xy.shape[:2], 3), np.nan)
        for _, found, group in _groups(poses, people):
            predicted[group, :, :2], predicted[group, :, 2] = found.xy, found.score
    groups = people.by_image()
    detected = [(b.xywh, people.box[groups[image]]) for image, b in boxes.items() if image in groups and not b.cleaned]
    notes = note_on_corners(f"of {source}", detected) if detected else note_on_annotations(people)
    return replace(_evaluation(people, results, predicted, source, options), notes=notes)


def evaluate_results(
    annotations: str | os.PathLike[str] | Annotated,
    results: str | os.PathLike[str] | Sequence[dict[str, Any]],
    *,
    options: Options = Options(),
    name: str = "",
    boxes: str = "",
) -> Evaluation:
    """Evaluate keypoint results; no image is needed.

    For all metrics but AP each annotated person gets the result whose box overlaps theirs most; the box is the result's
    `box` or `bbox`, else the extent of its keypoints.

    Args:
        annotations: a file of any format (`posewright.data.formats`), or what was read of one.
        results: COCO-format keypoint results of the same images, a file or its content.
        options: which metric, and its settings; those that change the results themselves do nothing here.
        name: what messages call the results; by default their file.
        boxes: where the boxes came from, where that is known.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be; or the metric cannot be had for this skeleton.
    """
    from posewright.data import formats, sources

    read = annotations if isinstance(annotations, formats.Annotated) else formats.read(annotations)
    name = name or coco_format.name_of(results, "results")
    source = boxes or f"of {name}"
    posed = [c for c in read.file.categories if c.keypoints]
    points = tuple(posed[0].keypoints or ()) if posed else ()
    known = all(from_category(msgspec.to_builtins(c), f"{read.path}: category {c.name}").sigmas for c in posed)
    entries = [msgspec.to_builtins(r) for r in coco_format.read_results(results)]
    notes: list[str] = []  # of AP, `measure` has them
    if options.pck_threshold is None and (options.metric == "AP" or (not options.metric and known)):
        truth, found = GroundTruth.of_file(str(read.path), read.file), Results.of(entries, name)
        measured = measure(truth, found, boxes=source, drop_unconfident=options.drop_unconfident)
        evaluation = Evaluation(measured.metrics, entries, measured, None, "", points, source)
    else:
        people = sources.without_images(read)
        image, category = (np.array([e[key] for e in entries], np.int64) for key in ("image_id", "category_id"))
        check_images(name, image, people.image_id)
        notes = notes_on_categories(name, category, np.unique(people.category_id).tolist())
        evaluation = _evaluation(people, entries, None, source, options)
    return replace(evaluation, notes=(*notes, *note_on_results(name, entries)))


def evaluate_found(
    people: KeypointDataset, results: list[dict[str, Any]], *, boxes: str = "", options: Options = Options()
) -> Evaluation:
    """Evaluate COCO keypoint results that are in memory; see `evaluate_results`.

    Args:
        people: with the points of the results.
        results: as `results_of` gives them.
        boxes: where the boxes came from.
        options: which metric, and its settings.

    Raises:
        ValueError: people and results do not go together; or the metric cannot be had for this skeleton.
    """
    return replace(_evaluation(people, results, None, boxes, options), notes=note_on_results("the results", results))


def main_metric(metrics: dict[str, float]) -> str:
    """The name of the metric by which weights are compared: "AP", or "PCK" where there is none."""
    return "AP" if "AP" in metrics else "PCK"


def boxes_for(
    people: KeypointDataset, detections: str | os.PathLike[str] = "", threshold: float = 0.0
) -> dict[int, Boxes]:
    """Image id -> boxes to evaluate with: those of a detections file, or the annotated ones where none is given.

    Args:
        people: whose images.
        detections: the detections file.
        threshold: lowest score of a detection.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a detections file, or has nothing on these images.
    """
    if not detections:
        return people.gt_boxes()
    found = detect.detections(detections, category=int(people.category_id[0]), threshold=threshold)
    boxes = {image: chosen for image in people.paths if len(chosen := found.of_id(image))}
    if not boxes:
        above = f" with a score of {threshold:g} or more" if threshold > 0 else ""
        raise ValueError(
            f"{detections}: no detection{above} is of any of the {len(people.paths)} images of {people.annotations}; "
            "compare their image ids"
        )
    return boxes


def results_of(
    predictor: Predictor,
    people: KeypointDataset,
    boxes: dict[int, Boxes],
    *,
    options: Options = Options(),
    progress: Tick | None = None,
) -> list[dict[str, Any]]:
    """COCO keypoint results of a predictor on a data set, by rising image id and from the best score down in each.

    Of poses that coincide (OKS above `predictor.spec.nms`) the best-scored is kept, as in the published evaluations;
    with a skeleton that has no OKS sigmas, all are.

    Args:
        predictor: its scores are the results' scores.
        people: says where the images are, and of which category the poses are; the poses get its points, which are the
            predictor's or some of them, in its order.
        boxes: image id -> boxes to read poses from.
        options: thresholds and suppression.
        progress: called with the number of images done, and of all.

    Raises:
        ValueError: boxes are of unknown images; or there are several categories, and boxes that are not the annotated
            ones, so that nothing says which is of which; or predictor and people are of different skeletons.
    """
    poses = _run(predictor, people, boxes, options, progress)
    return _results(poses, people, predictor.spec, options)


def with_file_points(results: list[dict[str, Any]], people: KeypointDataset) -> list[dict[str, Any]]:
    """COCO keypoint results with the points of the people's annotation file, in its order; zeros for those not found.

    Args:
        results: with the points of `people.skeleton`, as `results_of` gives them.
        people: whose skeleton may be another than their file's.
    """
    file = people.channels or people.skeleton
    source, target = shared_points(people.skeleton, file)
    triples = np.zeros((len(results), file.num_keypoints, 3))
    for row, result in zip(triples, results):
        row[target] = np.reshape(result["keypoints"], (-1, 3))[source]
    return [result | {"keypoints": row.ravel().tolist()} for row, result in zip(triples, results)]


def _evaluation(
    people: KeypointDataset, results: list[dict[str, Any]], predicted: np.ndarray | None, source: str, options: Options
) -> Evaluation:
    """The metrics asked for; `predicted` [N, K, 3] are the people's poses where it is known which is whose."""
    points, sigmas = people.skeleton.points, people.skeleton.sigmas
    metric = options.metric or ("AP" if sigmas is not None else "PCK")
    measured, shares, rule, metrics = None, None, "", dict[str, float]()
    if metric == "AP":
        found = Results.of(results)
        measured = measure(GroundTruth.of(people), found, boxes=source, drop_unconfident=options.drop_unconfident)
        metrics = measured.metrics
    if metric != "AP" or options.pck_threshold is not None:
        if predicted is None:
            predicted = distances.matched(people, results)
        name = "PCK" if metric == "AP" else metric
        own, shares, rule = distances.measured(name, predicted, people, options.pck_threshold, options.p_cutoff)
        metrics = metrics or own
    if sigmas is None and not options.metric:
        rule = f"AP is undefined, as no OKS sigmas are published for these points; {rule} instead"
    return Evaluation(metrics, results, measured, shares, rule, points, source)


def _run(
    predictor: Predictor, people: KeypointDataset, boxes: dict[int, Boxes], options: Options, progress: Tick | None
) -> dict[int, Poses]:
    """Image id -> poses, by rising id."""
    ours, theirs = predictor.spec.skeleton.points, people.skeleton.points
    columns = [ours.index(point) for point in theirs if point in ours]
    if columns != sorted(columns) or len(columns) != len(theirs):
        raise ValueError(f"the predictor finds {ours}, the people have {theirs}; map them: people.mapped(skeleton)")
    paths = people.paths
    if strange := [image for image in boxes if image not in paths]:
        raise ValueError(
            f"boxes are given for image {strange[0]}, which is not among the data set's {len(paths)} images"
        )
    if options.box_nms is not None:
        boxes = {image: detect.suppressed(found, options.box_nms) for image, found in boxes.items()}
    if options.box_threshold is not None:
        least = options.box_threshold
        boxes = {
            image: replace(found, xywh=found.xywh[found.score >= least], score=found.score[found.score >= least])
            for image, found in boxes.items()
        }
    images = sorted(boxes)
    poses: dict[int, Poses] = {}
    # Annotated coordinates count pixels before any turning by EXIF.
    for found in predictor.many(((paths[i], boxes[i]) for i in images), upright=False):
        if options.keypoint_threshold is not None:
            score = rescore(found.score, found.boxes.score, predictor.spec.scoring, options.keypoint_threshold)
            known = predictor.calibration if found.calibrated is not None else None
            found = replace(found, instance_score=score, calibrated=known(score) if known else None)
        if ours != theirs:
            found = replace(found, xy=found.xy[:, columns], score=found.score[:, columns], skeleton=people.skeleton)
        poses[images[len(poses)]] = found
        if progress:
            progress(len(poses), len(images))
    return poses


def _groups(poses: dict[int, Poses], people: KeypointDataset) -> Iterator[tuple[int, Poses, np.ndarray]]:
    """Image id, poses and the places of the annotated people there."""
    groups = people.by_image()
    return ((image, found, groups.get(image, np.zeros(0, int))) for image, found in poses.items())


def _results(poses: dict[int, Poses], people: KeypointDataset, spec: Spec, options: Options) -> list[dict[str, Any]]:
    category = _categories(poses, people)
    return [
        entry | {"category_id": int(number)}
        for image, kept in _distinct(poses, spec, people.skeleton.sigmas is not None, options)
        for number, entry in zip(category[image][kept], poses[image][kept].to_coco(image))
    ]


def _categories(poses: dict[int, Poses], people: KeypointDataset) -> dict[int, np.ndarray]:
    """Image id -> category of each pose."""
    known = np.unique(people.category_id)
    if len(known) == 1:
        return {image: np.full(len(found), known[0]) for image, found in poses.items()}
    for image, found, group in _groups(poses, people):
        if not found.boxes.cleaned or len(found) != len(group):
            raise ValueError(
                f"image {image}: {len(found)} boxes from {found.boxes.source}, expected the annotated ones, "
                "people.gt_boxes(): with several categories it must be known which pose is whose"
            )
    return {image: people.category_id[group] for image, _, group in _groups(poses, people)}


def _distinct(
    poses: dict[int, Poses], spec: Spec, has_sigmas: bool, options: Options
) -> Iterator[tuple[int, np.ndarray]]:
    """Image id and the poses kept there, from the best score down."""
    if not poses:
        return
    sizes = np.array([len(found) for found in poses.values()])
    group = np.repeat(np.arange(len(sizes)), sizes)
    score = np.concatenate([found.instance_score for found in poses.values()])
    threshold = spec.nms if options.oks_threshold is None else options.oks_threshold
    sigmas = next(iter(poses.values())).skeleton.sigmas
    if threshold is None or not has_sigmas or sigmas is None:
        order = np.lexsort((-score, group))
    else:
        boxes = [found.boxes for found in poses.values()]
        size, padding, rule = spec.size, spec.padding, spec.crop_rule
        padded = [geometry.region_of_box(b.xywh, size, padding=padding, rule=rule, cleaned=b.cleaned) for b in boxes]
        area = np.concatenate(padded)[:, 2:].prod(1)
        xy = np.concatenate([found.xy for found in poses.values()])
        visible = None
        if options.oks_visibility is not None:
            visible = np.concatenate([found.score for found in poses.values()]) > options.oks_visibility
        nms = soft_oks_nms if options.soft_nms else oks_nms
        order = nms(xy, score, area, sigmas, threshold, group, visible=visible)
    ends = np.searchsorted(group[order], np.arange(len(sizes)), "right")
    for image, start, part in zip(poses, np.cumsum(sizes) - sizes, np.split(order, ends[:-1])):
        yield image, part - start
