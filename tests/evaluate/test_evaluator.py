"""A predictor evaluated on a data set: what it is asked, which poses are kept, and by which metric it is evaluated."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from posewright.data import coco
from posewright.data.skeleton_file import people_for
from posewright.evaluate import evaluator, printing
from posewright.evaluate.oks import oks
from posewright.evaluate.pck import segment
from posewright.image import write
from posewright.skeletons import AP10K17, COCO17, LSP14, to_category
from posewright.types import Boxes, Poses

MOUSE = replace(LSP14, name="mouse14", points=tuple(f"p{n}" for n in range(14)), bones=(), mirror=(), upper=())


class Oracle:
    """Finds each annotated person whose box it is given, `pixels` off, and keeps what it was asked."""

    def __init__(self, people, pixels=0.0, nms=0.9):
        self.spec = SimpleNamespace(
            skeleton=people.skeleton, size=(64, 48), padding=(1.25, 1.25), crop_rule="standard", nms=nms, scoring="all"
        )
        self.people, self.pixels, self.asked, self.upright = people, pixels, [], None

    def many(self, items, *, upright=True):
        self.upright = upright
        ids = {path: image for image, path in self.people.paths.items()}
        for path, boxes in items:
            self.asked.append(ids[path])
            group = self.people.by_image()[ids[path]]
            near = np.abs(self.people.box[group][None] - boxes.xywh[:, None]).sum(2).argmin(1)
            xy = self.people.xy[group][near].astype(float) + self.pixels
            yield Poses(xy, np.ones(xy.shape[:2]), boxes.score, boxes, self.people.skeleton)


def make(folder, skeletons=(COCO17,), images=3, each=2, seed=0):
    """People of a folder with `images` pictures, given out of order, and `each` people of each category in each."""
    rng = np.random.default_rng(seed)
    annotations = []
    ids = [30, 10, 20][:images]
    for image in ids:
        write(folder / f"{image}.png", np.zeros((100, 300, 3), np.uint8))
        for n in range(each * len(skeletons)):
            skeleton = skeletons[n % len(skeletons)]
            xy = np.array([20 + 60 * n, 20]) + rng.random((skeleton.num_keypoints, 2)) * 50
            triples = np.column_stack([xy, np.full(len(xy), 2)])
            annotations.append({
                "id": len(annotations), "image_id": image, "category_id": n % len(skeletons) + 1, "iscrowd": 0,
                "bbox": [20 + 60 * n, 20, 50, 50], "area": 1500, "num_keypoints": len(xy),
                "keypoints": triples.reshape(-1).tolist(),
            })  # fmt: skip
    (folder / "people.json").write_text(
        json.dumps(
            {
                "images": [{"id": i, "file_name": f"{i}.png", "width": 300, "height": 100} for i in ids],
                "annotations": annotations,
                "categories": [to_category(s, n, f"kind{n}") for n, s in enumerate(skeletons, 1)],
            }
        )
    )
    return coco.read(folder / "people.json", folder)


def test_results_are_sorted_and_images_are_taken_as_they_lie(tmp_path):
    people = make(tmp_path)
    boxes = {i: Boxes(b.xywh, np.array([0.3, 0.8]), "gt", True) for i, b in people.gt_boxes().items()}
    predictor, done = Oracle(people), []
    results = evaluator.results_of(predictor, people, boxes, progress=lambda *now: done.append(now))
    assert predictor.asked == [10, 20, 30]
    assert predictor.upright is False
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert [(r["image_id"], r["score"]) for r in results] == [(i, s) for i in (10, 20, 30) for s in (0.8, 0.3)]
    assert results[0]["keypoints"][:2] == pytest.approx(people.xy[3, 0].tolist(), abs=1e-3)  # image 10 lies second
    assert results[0]["box"] == [80.0, 20.0, 49.0, 49.0]  # annotated boxes lose a pixel, as in the official loaders
    assert {r["category_id"] for r in results} == {1}


def test_doubles_are_dropped_where_the_spec_says_so(tmp_path):
    people = make(tmp_path)
    box = people.gt_boxes()[10].xywh[0]
    boxes = {10: Boxes.of([box, box + 1, box + 2], [0.5, 0.9, 0.7], "det.json")}
    assert [r["score"] for r in evaluator.results_of(Oracle(people), people, boxes)] == [0.9]
    assert [r["score"] for r in evaluator.results_of(Oracle(people, nms=None), people, boxes)] == [0.9, 0.7, 0.5]
    plain = replace(people, skeleton=replace(people.skeleton, sigmas=None))
    assert [r["score"] for r in evaluator.results_of(Oracle(plain), plain, boxes)] == [0.9, 0.7, 0.5]


@pytest.mark.parametrize(("two_pass_boxes", "kept"), [(0.99, [0.9]), (1.01, [0.9, 0.7])])
def test_doubles_are_measured_by_the_padded_region(tmp_path, two_pass_boxes, kept):
    people = make(tmp_path, each=1)
    box = people.gt_boxes()[10].xywh[0]
    area = 49 * 1.25 * (49 * 1.25 * 64 / 48)  # the box of 49 x 49, padded, then grown to the input's ratio
    distance = 1.0
    for _ in range(60):  # how many pixels make an OKS of 0.9
        like = oks(np.full((17, 2), distance), np.zeros(2), area, COCO17.sigmas)
        distance *= 1 + (like - 0.9)

    class Second(Oracle):
        def many(self, items, *, upright=True):
            for poses in super().many(items, upright=upright):
                xy = poses.xy.copy()
                xy[1] += distance * two_pass_boxes
                yield replace(poses, xy=xy)

    boxes = {10: Boxes.of([box, box], [0.9, 0.7])}
    assert [r["score"] for r in evaluator.results_of(Second(people), people, boxes)] == kept
    # DARK's annotated boxes are a pixel larger, which makes the two a little more alike.
    dark = Second(people)
    dark.spec.crop_rule = "dark"
    boxes = {10: Boxes.of([box, box], [0.9, 0.7], "gt", cleaned=True)}
    assert [r["score"] for r in evaluator.results_of(dark, people, boxes)] == [0.9]


def test_evaluation_by_ap_names_the_boxes(tmp_path):
    people = make(tmp_path)
    evaluation = evaluator.evaluate(Oracle(people), people, evaluator.boxes_for(people))
    assert evaluator.main_metric(evaluation.metrics) == "AP"
    assert evaluation.metrics["AP"] == pytest.approx(1)
    assert evaluation.boxes == "gt"
    assert len(evaluation.results) == 6
    assert printing.lines(evaluation, "oracle")[-1].startswith("| oracle | 1.000 |")
    assert printing.lines(evaluation, "oracle")[-1].endswith("| gt |")
    assert evaluator.evaluate(Oracle(people, pixels=6), people, people.gt_boxes()).metrics["AP"] < 0.7
    half = evaluator.evaluate(Oracle(people), people, {10: people.gt_boxes()[10]})
    assert half.metrics["AR"] == pytest.approx(1 / 3)
    assert "only 1 of 3 images with people have results; the others count as missed" in printing.lines(half, "oracle")


def test_evaluation_by_pck_where_there_are_no_sigmas(tmp_path):
    people = make(tmp_path, skeletons=(LSP14,))
    torso = segment(people.xy, people.visibility, LSP14, "right_shoulder", "left_hip")
    off = float(np.median(torso)) * 0.2 / np.sqrt(2)
    evaluation = evaluator.evaluate(Oracle(people, pixels=off), people, people.gt_boxes())
    assert evaluator.main_metric(evaluation.metrics) == "PCK"
    assert evaluation.metrics["PCK"] == pytest.approx((torso > np.median(torso)).mean())
    assert evaluation.measured is None
    lines = printing.lines(evaluation, "oracle")
    assert "AP is undefined" in lines[0]
    assert "PCK@0.2 of the torso, right_shoulder to left_hip" in lines[0]
    assert sum(line.startswith("| left_") for line in lines) == 6
    found = evaluator.evaluate(Oracle(people), people, {20: people.gt_boxes()[20]})
    assert found.metrics["PCK"] == pytest.approx(1 / 3)  # people without a pose are missed


def test_pck_by_the_box_where_there_is_no_torso(tmp_path):
    people = make(tmp_path, skeletons=(MOUSE,))
    assert evaluator.evaluate(Oracle(people, pixels=1.7), people, people.gt_boxes()).metrics == {"PCK": 1}
    evaluation = evaluator.evaluate(
        Oracle(people, pixels=1.8), people, people.gt_boxes()
    )  # 0.05 of 49 is 2.45 = 1.73 sqrt 2
    assert evaluation.metrics == {"PCK": 0}
    assert "PCK@0.05 of the box's longer side" in printing.lines(evaluation, "oracle")[0]


def test_several_categories_need_the_annotated_boxes(tmp_path):
    people = make(tmp_path, skeletons=(AP10K17, AP10K17))
    evaluation = evaluator.evaluate(Oracle(people), people, people.gt_boxes())
    assert {r["category_id"] for r in evaluation.results} == {1, 2}
    assert evaluation.metrics["AP"] == pytest.approx(1)
    detected = {10: Boxes.of(people.gt_boxes()[10].xywh, source="det.json")}
    with pytest.raises(ValueError, match=r"image 10: 4 boxes from det.json, expected the annotated ones"):
        evaluator.results_of(Oracle(people), people, detected)


def test_boxes_of_a_detections_file(tmp_path):
    people = make(tmp_path)
    path = tmp_path / "det.json"
    entry = {"image_id": 20, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    path.write_text(json.dumps([entry, entry | {"image_id": 999}]))
    boxes = evaluator.boxes_for(people, path)
    assert list(boxes) == [20]
    assert boxes[20].source == "det.json"
    path.write_text(json.dumps([entry | {"image_id": 999}]))
    with pytest.raises(ValueError, match=r"det.json: no detection is of any of the 3 images of .*people.json"):
        evaluator.boxes_for(people, path)


def test_what_does_not_go_together_is_refused(tmp_path):
    people = make(tmp_path)
    with pytest.raises(ValueError, match=r"boxes are given for image 5, which is not among the data set's 3 images"):
        evaluator.results_of(Oracle(people), people, {5: Boxes.of([[0, 0, 1, 1]])})
    other = Oracle(people)
    other.spec.skeleton = LSP14
    with pytest.raises(ValueError, match=r"the predictor finds .* the people have .* people\.mapped"):
        evaluator.results_of(other, people, people.gt_boxes())
    lsp = replace(people, skeleton=replace(people.skeleton, sigmas=None))
    with pytest.raises(ValueError, match="no metric 'mAP'; expected one of AP, PCK"):
        evaluator.Options(metric="mAP")
    with pytest.raises(ValueError, match=r"PCKh is MPII's.*the points lack head_top, upper_neck"):
        evaluator.evaluate(Oracle(lsp), lsp, lsp.gt_boxes(), options=evaluator.Options(metric="PCKh"))
    assert evaluator.results_of(Oracle(people), people, {}) == []


def test_crowdpose_s_levels_are_evaluated_too(tmp_path):
    people = make(tmp_path)
    file = json.loads(people.annotations.read_text())
    for image, index in zip(file["images"], (0.1, 0.5, 0.5)):
        image["crowdIndex"] = index
    people.annotations.write_text(json.dumps(file))
    people = coco.read(people.annotations, tmp_path)
    metrics = evaluator.evaluate(Oracle(people), people, people.gt_boxes()).metrics
    assert (metrics["AP_easy"], metrics["AP_medium"], metrics["AP_hard"]) == (pytest.approx(1), pytest.approx(1), -1)


def test_an_evaluation_reads_its_annotations_once_and_encodes_no_json(tmp_path, monkeypatch):
    make(tmp_path)
    reads = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or read_bytes(path))
    for module, name in ((msgspec.json, "encode"), (json, "dumps"), (json, "dump")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a metric path encodes JSON"))
    people = people_for(COCO17, tmp_path / "people.json", tmp_path)
    evaluation = evaluator.evaluate(Oracle(people), people, evaluator.boxes_for(people))
    assert evaluation.metrics["AP"] == pytest.approx(1)
    assert reads == ["people.json"]
    monkeypatch.undo()
    (tmp_path / "results.json").write_text(json.dumps(evaluation.results))
    again = evaluator.evaluate_results(tmp_path / "people.json", tmp_path / "results.json")
    assert again.metrics == evaluation.metrics
    np.testing.assert_array_equal(again.measured.precision, evaluation.measured.precision)
    assert evaluation.measured.precision.mean() == pytest.approx(evaluation.metrics["AP"])


def test_results_and_detected_boxes_are_evaluated_by_pck_too(tmp_path):
    people = make(tmp_path, skeletons=(MOUSE,))
    evaluation = evaluator.evaluate(Oracle(people, pixels=1.7), people, people.gt_boxes())
    (tmp_path / "results.json").write_text(json.dumps(evaluation.results))
    again = evaluator.evaluate_results(tmp_path / "people.json", tmp_path / "results.json")
    assert again.metrics == evaluation.metrics == {"PCK": 1}
    moved = {i: Boxes.of(b.xywh[::-1] + 3, source="det.json") for i, b in people.gt_boxes().items()}
    detected = evaluator.evaluate(Oracle(people, pixels=1.7), people, moved)
    assert (detected.metrics, detected.boxes) == ({"PCK": 1}, "det.json")
    del moved[10]
    assert evaluator.evaluate(Oracle(people), people, moved).metrics == {"PCK": pytest.approx(2 / 3)}


def test_other_metrics_and_thresholds_are_options(tmp_path):
    people = make(tmp_path)
    options = {name: evaluator.Options(metric=name) for name in ("EPE", "NME", "AUC", "animal")}
    found = {n: evaluator.evaluate(Oracle(people, pixels=3), people, people.gt_boxes(), options=o).metrics
             for n, o in options.items()}  # fmt: skip
    assert found["EPE"]["EPE"] == pytest.approx(3 * np.sqrt(2), abs=1e-4)
    assert found["NME"]["NME"] == pytest.approx(3 * np.sqrt(2) / 49, abs=1e-4)
    assert set(found["animal"]) == {"PCK", "AUC"}
    both = evaluator.evaluate(
        Oracle(people, pixels=3), people, people.gt_boxes(), options=evaluator.Options(pck_threshold=0.1)
    )
    assert "AP" in both.metrics
    assert both.pck.threshold == 0.1
    assert any(line.startswith("| left_wrist |") for line in printing.lines(both, "oracle"))
    box = people.gt_boxes()[10].xywh[0]
    boxes = {10: Boxes.of([box, box + 1, box + 2], [0.5, 0.9, 0.7], "det.json")}

    def scores(**changes):
        found = evaluator.results_of(Oracle(people), people, boxes, options=evaluator.Options(**changes))
        return [result["score"] for result in found]

    assert scores(oks_threshold=1.0) == [0.9, 0.7, 0.5]
    assert scores(oks_threshold=1.0, box_threshold=0.6) == [0.9, 0.7]
    assert scores(oks_threshold=1.0, box_nms=0.5) == [0.9]
    assert scores(soft_nms=True) == [0.9, 0.7, 0.5]
    assert scores(oks_visibility=1.0) == [0.9, 0.7, 0.5]  # no point is above it, so no two poses are alike


def test_soft_suppression_orders_by_decayed_scores_and_keeps_everybody(tmp_path):
    people = make(tmp_path, images=1)
    box = people.gt_boxes()[30].xywh[0]
    boxes = {30: Boxes.of([box, box + 1, people.gt_boxes()[30].xywh[1]], [0.9, 0.8, 0.1], "det.json")}
    greedy = evaluator.results_of(Oracle(people), people, boxes)
    soft = evaluator.results_of(Oracle(people), people, boxes, options=evaluator.Options(soft_nms=True))
    assert [r["score"] for r in greedy] == [0.9, 0.1]
    assert [r["score"] for r in soft] == [0.9, 0.8, 0.1]  # the written scores stay as they are


def test_the_keypoint_threshold_decides_which_points_make_a_score(tmp_path):
    people = make(tmp_path, images=1, each=1)
    oracle = Oracle(people)
    oracle.spec.scoring = "above 0.2"
    predict = oracle.many

    def unsure(items, *, upright=True):
        for poses in predict(items, upright=upright):
            yield replace(poses, score=np.linspace(0, 1, 17)[None])

    oracle.many = unsure
    ladder = np.linspace(0, 1, 17)
    for threshold in (0.2, 0.5):
        options = evaluator.Options(keypoint_threshold=threshold)
        (found,) = evaluator.results_of(oracle, people, people.gt_boxes(), options=options)
        assert found["score"] == pytest.approx(ladder[ladder > threshold].mean())


def test_results_without_any_confidence_can_be_left_out_as_xtcocotools_does(tmp_path):
    people = make(tmp_path, images=1, each=1)
    (found,) = evaluator.evaluate(Oracle(people), people, people.gt_boxes()).results
    triples = np.reshape(found["keypoints"], (-1, 3))
    sure = found | {"score": 0.5}
    unsure = found | {"keypoints": (triples * [1, 1, 0] + [9, 9, 0]).ravel().tolist(), "score": 0.9}
    (tmp_path / "results.json").write_text(json.dumps([unsure, sure]))

    def evaluated(**changes):
        files = tmp_path / "people.json", tmp_path / "results.json"
        return evaluator.evaluate_results(*files, options=evaluator.Options(**changes))

    assert evaluated().metrics["AP50"] < 1  # a better-scored pose beside everybody
    kept = evaluated(drop_unconfident=True)
    assert kept.metrics["AP50"] == pytest.approx(1)
    assert any("left out 1 results without any confidence" in note for note in kept.measured.notes)


def test_a_precision_recall_curve_by_hand(tmp_path):
    people = make(tmp_path, images=1)
    found = evaluator.evaluate(Oracle(people), people, people.gt_boxes()).results
    lost = np.reshape(found[1]["keypoints"], (-1, 3)) + np.array([500, 500, 0])
    results = [found[0] | {"score": 0.9}, found[1] | {"score": 0.8, "keypoints": lost.ravel().tolist()}]
    (tmp_path / "results.json").write_text(json.dumps(results))
    evaluation = evaluator.evaluate_results(tmp_path / "people.json", tmp_path / "results.json")
    half = [1.0] * 51 + [0.0] * 50  # one of two people is found, and found first
    np.testing.assert_allclose(evaluation.measured.precision, [half] * 10)
    curves = printing.as_dict(evaluation, "half")["precision"]
    assert curves["recall"][50] == 0.5
    assert curves["OKS 0.75"] == half


def test_rmse_is_deeplabcuts_with_and_without_its_cutoff(tmp_path):
    people = make(tmp_path, skeletons=(MOUSE,), images=2, each=1)
    oracle = Oracle(people)
    predict = oracle.many

    def off(items, *, upright=True):
        for poses in predict(items, upright=upright):
            xy, score = poses.xy.copy(), np.where(np.arange(14) < 7, 0.9, 0.3)[None]
            xy[:, :7] += (3, 4)
            xy[:, 7:] += (6, 8)
            yield replace(poses, xy=xy, score=score)

    oracle.many = off

    def rmse(**changes):
        options = evaluator.Options(metric="RMSE", **changes)
        return evaluator.evaluate(oracle, people, people.gt_boxes(), options=options)

    found = rmse()
    assert found.metrics["RMSE"] == pytest.approx(7.5, abs=1e-4)  # the mean of 5 and 10, not the root of mean squares
    assert found.metrics["RMSE_cutoff"] == pytest.approx(5, abs=1e-4)
    assert (found.metrics["RMSE_p0"], found.metrics["RMSE_p13"]) == (
        pytest.approx(5, abs=1e-4),
        pytest.approx(10, abs=1e-4),
    )
    assert rmse(p_cutoff=0.1).metrics["RMSE_cutoff"] == found.metrics["RMSE"]
    assert rmse(p_cutoff=0.95).metrics["RMSE_cutoff"] == -1
    (tmp_path / "results.json").write_text(json.dumps(found.results))
    files = tmp_path / "people.json", tmp_path / "results.json"
    again = evaluator.evaluate_results(*files, options=evaluator.Options(metric="RMSE")).metrics
    assert again == pytest.approx(found.metrics, abs=1e-3)
