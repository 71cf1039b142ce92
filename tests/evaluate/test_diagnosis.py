"""Planted errors of every kind are found with their count; what mending them brings adds up to 1."""

from pathlib import Path

import numpy as np
import pytest

from posewright.coco_format import read_annotations
from posewright.data import coco
from posewright.evaluate import distances
from posewright.evaluate._what_if import average_precision
from posewright.evaluate.coco_ap import Overlap, measure
from posewright.evaluate.diagnosis import MENDED, POINT_KINDS, RESULT_KINDS, diagnose
from posewright.evaluate.ground_truth import GroundTruth, Results, paired
from posewright.skeletons import COCO17, to_category

SIZE = 200.0
PLANTED = {"jitter": 27, "inversion": 6, "swap": 5, "miss": 7}
FACING: np.ndarray = np.array([
    (0.5, 0.05), (0.54, 0.03), (0.46, 0.03), (0.58, 0.05), (0.42, 0.05), (0.65, 0.2), (0.35, 0.2), (0.75, 0.35),
    (0.25, 0.35), (0.85, 0.5), (0.15, 0.5), (0.6, 0.55), (0.4, 0.55), (0.62, 0.75), (0.38, 0.75), (0.64, 0.95),
    (0.36, 0.95),
])  # fmt: skip


def dataset(annotations, images, sigmas=True):
    """A data set whose images need not exist."""
    category = to_category(COCO17)
    if not sigmas:
        category = {"id": 1, "name": "robot", "keypoints": [f"{p}_joint" for p in COCO17.points]}
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 2000, "height": 1000} for n in images],
        "annotations": annotations,
        "categories": [category],
    }
    return coco.of_file(Path("people.json"), None, read_annotations(content), None, None, "keep")


def person(image, number, corner, xy):
    return {
        "id": number, "image_id": image, "category_id": 1, "bbox": [*corner, SIZE, SIZE], "area": SIZE**2,
        "iscrowd": 0, "num_keypoints": 17, "keypoints": np.column_stack([xy, np.full(17, 2)]).ravel().tolist(),
    }  # fmt: skip


def found(image, xy, score):
    box = [*xy.min(0).tolist(), *np.ptp(xy, axis=0).tolist()]
    keypoints = np.column_stack([xy, np.ones(17)]).ravel().tolist()
    return {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score, "box": box}


def away(point, similarity):
    """How many pixels from a point a similarity lies."""
    return float(np.sqrt(-2 * np.log(similarity) * SIZE**2) * 2 * np.array(COCO17.sigmas)[point])


def planted():
    """Ten images of two people each, detected perfectly but for the planted errors."""
    annotations, results = [], []
    truth = {}
    for image in range(10):
        for side in range(2):
            corner = np.array([100.0 + 900 * side, 300.0])
            truth[image, side] = corner + FACING * SIZE
            annotations.append(person(image, 2 * image + side + 1, corner.tolist(), truth[image, side]))
    xy = {key: value.copy() for key, value in truth.items()}
    for n in range(PLANTED["jitter"] // 3):
        for point in (11, 12, 13):
            xy[n, 0][point, 1] -= away(point, 0.7)
    for n in range(PLANTED["inversion"] // 2):
        xy[n, 1][[15, 16]] = truth[n, 1][[16, 15]]
    for n in range(PLANTED["swap"]):
        xy[n, 0][9] = truth[n, 1][9 if n % 2 else 10]
    for n in range(PLANTED["miss"]):
        xy[n, 1][7] += (0, 3 * SIZE)
    missed = [(8, 1), (9, 1)]
    results = [found(image, xy[image, side], 0.9) for image, side in xy if (image, side) not in missed]
    results += [found(n, np.array([600.0, 50]) + FACING * 30, 0.95) for n in range(3)]  # background
    for n in (5, 6):  # doubles that are worse
        results.append(found(n, truth[n, 0] + (0, 7), 0.5))
    results.append(found(7, truth[7, 0] + (0, 7), 0.99))  # worse, and scored better
    return annotations, results


def test_planted_errors_are_found_with_their_counts():
    annotations, results = planted()
    d = diagnose(dataset(annotations, range(10)), results)
    counts = d.counts()
    moved = 17 - int((d.kind[14] == 1).sum())  # the worse of two detections is that person's now
    assert {k: counts[k] for k in ("inversion", "swap", "miss")} == {
        k: PLANTED[k] for k in ("inversion", "swap", "miss")
    }
    assert counts["jitter"] == PLANTED["jitter"] - 3 + moved
    assert counts["missed person"] == 2
    assert counts["score order"] == 1
    assert counts["background"] == 3
    assert counts["duplicate"] == 3
    assert counts["match"] == 18
    assert (d.kind == POINT_KINDS.index("missed person")).sum() == 2 * 17
    names = [RESULT_KINDS[k] for _, k in sorted(zip(d.results, d.result_kind))]
    assert names[18:21] == ["background"] * 3


def test_the_gains_add_up_to_one_and_every_planted_kind_has_one():
    annotations, results = planted()
    people = dataset(annotations, range(10))
    d = diagnose(people, results)
    assert d.value == pytest.approx(measure(GroundTruth.of(people), Results.of(results)).metrics["AP"], abs=1e-12)
    assert tuple(d.gains) == MENDED
    assert d.value + sum(d.gains.values()) == pytest.approx(1.0, abs=1e-12)
    assert all(d.alone[kind] > 0 for kind in ("miss", "jitter", "score order", "background", "missed person"))
    parts = {kind: {part for part, gain in by_part.items() if gain > 0} for kind, by_part in d.parts.items()}
    assert parts["inversion"] <= {"ankle"}
    assert parts["miss"] <= {"elbow"}
    assert parts["swap"] <= {"wrist"}
    assert d.points[COCO17.points.index("left_elbow")] > 0
    assert d.points[COCO17.points.index("nose")] == pytest.approx(0, abs=1e-9)


def test_nothing_is_wrong_with_perfect_results():
    annotations, _ = planted()
    results = [found(a["image_id"], np.reshape(a["keypoints"], (17, 3))[:, :2], 1.0) for a in annotations]
    d = diagnose(dataset(annotations, range(10)), results)
    assert d.value == 1.0
    assert not any(d.gains.values())
    assert (d.kind == POINT_KINDS.index("good")).all()
    assert not d.misordered.any()


def test_everything_is_missed_without_results():
    annotations, _ = planted()
    d = diagnose(dataset(annotations, range(10)), [])
    assert d.value == 0
    assert d.gains["missed person"] == 1.0
    assert d.counts()["missed person"] == 20


def test_people_are_grouped_by_size_visibility_crowding_and_view():
    annotations, results = planted()
    behind = annotations[0]
    xy = np.reshape(behind["keypoints"], (17, 3))
    xy[:, 0] = 2 * 200 - xy[:, 0]  # mirrored: the left shoulder is on the left, as seen from behind
    behind["keypoints"] = xy.ravel().tolist()
    annotations[2] |= {"area": 50.0**2}
    annotations[3]["keypoints"] = (
        np.reshape(annotations[3]["keypoints"], (17, 3)) * (np.arange(17) < 4)[:, None]
    ).ravel()
    annotations[3]["keypoints"] = annotations[3]["keypoints"].tolist()
    annotations[5]["bbox"] = annotations[4]["bbox"]
    d = diagnose(dataset(annotations, range(10)), results)
    labels = {name: [g.labels[n] if n >= 0 else "" for n in g.index] for name, g in d.groups.items()}
    assert labels["view"][0] == "from behind"
    assert labels["view"][1] == "from the front"
    assert labels["view"][3] == ""
    assert labels["size"][2] == "medium"
    assert labels["size"][0] == "large"
    assert labels["visible keypoints"][3] == "1 to 5 keypoints"
    assert labels["visible keypoints"][0] == "16 to 17 keypoints"
    assert labels["crowding"][4:7] == ["1 or 2 others beside"] * 2 + ["alone"]
    assert set(d.by_group) == set(labels)


def random_world(seed):
    """People of any size, some of them crowds or unlabelled, and results that are near, double, or of nobody."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(8):
        for _ in range(rng.integers(0, 6)):
            corner, size = rng.uniform(0, 300, 2), float(rng.choice([20, 60, 120, 200]))
            a = person(image, len(annotations) + 1, corner.tolist(), corner + rng.random((17, 2)) * size)
            visibility = rng.integers(0, 3, 17) * (rng.random() > 0.15)
            xy = np.reshape(a["keypoints"], (17, 3))[:, :2]
            a |= {"keypoints": np.column_stack([xy, visibility]).ravel().tolist(), "iscrowd": int(rng.random() < 0.1)}
            annotations.append(a | {"area": size**2, "num_keypoints": int((visibility > 0).sum())})
            for _ in range(rng.integers(0, 5)):
                near = xy + rng.normal(0, size * rng.choice([0.0, 0.02, 0.06, 0.5]), (17, 2))
                results.append(found(image, near, float(rng.integers(20)) / 20))
    return dataset(annotations, range(8)), results


@pytest.mark.parametrize("seed", range(12))
def test_on_any_results_it_starts_from_cocos_average_precision_and_ends_at_one(seed):
    people, results = random_world(seed)
    ground, found = GroundTruth.of(people), Results.of(results)
    categories, _ = paired(ground, found)
    values = [average_precision(o, o.oks, o.category.score) for o in map(Overlap.of, categories)]
    want = measure(ground, found).metrics["AP"]
    assert values == pytest.approx([want], abs=1e-12)
    d = diagnose(people, results)
    assert d.value == values[0]
    assert d.value + sum(d.gains.values()) == pytest.approx(1.0, abs=1e-9)


def test_in_terms_of_pck_the_value_is_that_of_the_metric_and_the_gains_add_up():
    annotations, results = planted()
    people = dataset(annotations, range(10), sigmas=False)
    assert people.skeleton.sigmas is None
    d = diagnose(people, results)
    metrics, _, _ = distances.measured("PCK", distances.matched(people, results), people)
    assert d.metric == "PCK"
    assert d.value == pytest.approx(metrics["PCK"], abs=1e-12)
    assert d.value + sum(d.gains.values()) == pytest.approx(1.0, abs=1e-12)
    counts = d.counts()
    assert counts["missed person"] == 2
    assert counts["inversion"] == PLANTED["inversion"]
    assert counts["swap"] == PLANTED["swap"]
    assert counts["miss"] == PLANTED["miss"] + PLANTED["jitter"]  # which is beyond 0.1 of the box
    assert d.gains["background"] == d.gains["score order"] == 0


def test_in_terms_of_pck_people_without_a_length_to_measure_by_are_excused_and_areas_stay_in_pixels(monkeypatch):
    annotations, results = planted()
    people = dataset(annotations, range(10), sigmas=False)
    norm, words, default = distances.pck_norm(people)
    monkeypatch.setattr(distances, "pck_norm", lambda _: (np.where(np.arange(20) < 4, np.nan, norm), words, default))
    d = diagnose(people, results)
    assert len(d.people) == 16
    assert d.counts()["excused"] == 4
    assert d.counts()["background"] == 3
    assert set(d.people.area) == {SIZE**2}
    assert d.value + sum(d.gains.values()) == pytest.approx(1.0, abs=1e-12)
