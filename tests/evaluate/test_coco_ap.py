"""The ten COCO metrics equal pycocotools' on whatever it can read; what it cannot read is told by file and entry."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posewright.evaluate import printing
from posewright.evaluate.coco_ap import coco
from posewright.skeletons import AP10K17, CROWDPOSE14

METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")


def official(truth, results, sigmas=None):
    """pycocotools' ten metrics and what it prints of them."""
    truth, results, printed = copy.deepcopy(truth), copy.deepcopy(results), io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        if results:
            found = known.loadRes(results)
        else:
            found = COCO()
            found.dataset = truth | {"annotations": []}
            found.createIndex()
        evaluate = COCOeval(known, found, "keypoints")
        if sigmas is not None:
            evaluate.params.kpt_oks_sigmas = np.array(sigmas)
        evaluate.evaluate()
        evaluate.accumulate()
        with contextlib.redirect_stdout(printed):
            evaluate.summarize()
    return dict(zip(METRICS, evaluate.stats)), printed.getvalue().splitlines()


def check(truth, results, sigmas=None):
    want, _ = official(truth, results, sigmas)
    got = coco(truth, results, sigmas=sigmas)
    assert list(got) == list(want)
    assert max(abs(got[name] - want[name]) for name in want) <= 1e-9, (got, want)
    return got


# -- against pycocotools ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), scores=st.sampled_from([1, 3, 1000]), sized=st.booleans())
def test_random_sets_equal_pycocotools(world, seed, scores, sized):
    check(*world(seed, scores=scores, sized=sized))


@pytest.mark.parametrize("seed", range(4))
def test_more_results_than_are_evaluated(world, seed):
    truth, results = world(seed, images=3, most_people=12, most_results=60, scores=4)
    assert max(np.bincount([r["image_id"] for r in results])) > 20
    check(truth, results)


@pytest.mark.parametrize("seed", range(4))
def test_several_categories_are_averaged(world, seed):
    check(*world(seed, images=6, skeletons=(AP10K17,) * 3), sigmas=AP10K17.sigmas)


@pytest.mark.parametrize("seed", range(4))
def test_another_skeleton_brings_its_sigmas(world, seed):
    truth, results = world(seed, skeletons=(CROWDPOSE14,))
    assert coco(truth, results) == check(truth, results, sigmas=CROWDPOSE14.sigmas)
    del truth["categories"][0]["sigmas"]  # the points alone tell which skeleton it is
    assert coco(truth, results) == check(truth, results, sigmas=CROWDPOSE14.sigmas)


def test_sets_without_people_or_results(world):
    truth, results = world(1)
    no_people = truth | {"annotations": []}
    assert set(check(no_people, results).values()) == {-1.0}
    assert check(truth, [])["AP"] == 0
    assert set(check(no_people, []).values()) == {-1.0}
    unlabelled = [a | {"num_keypoints": 0, "keypoints": [0] * 51} for a in truth["annotations"]]
    assert set(check(truth | {"annotations": unlabelled}, results).values()) == {-1.0}
    crowd = [a | {"iscrowd": 1} for a in truth["annotations"]]
    assert set(check(truth | {"annotations": crowd}, results).values()) == {-1.0}


@pytest.mark.parametrize("area", [32**2, 96**2, 1e10, 32**2 - 1e-9, 96**2 + 1e-9, 1e10 + 1e6, 0.0])
def test_sizes_at_the_edges_of_the_ranges(world, area):
    truth, results = world(3, crowds=0)
    check(truth | {"annotations": [a | {"area": area} for a in truth["annotations"]]}, results)


def test_coincident_people_and_exact_thresholds(world):
    truth, results = world(5, crowds=0)
    double = [*truth["annotations"], *(a | {"id": a["id"] + 1000} for a in truth["annotations"])]
    check(truth | {"annotations": double}, results)
    exact = [{k: a[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 0.5} for a in truth["annotations"]]
    check(truth | {"annotations": double}, exact)


def test_absurd_coordinates_are_merely_wrong(world):
    truth, results = world(5)
    for result in results[::2]:
        result["keypoints"] = [1e200, -1e200, 1.0] * 17
    with np.errstate(over="ignore"):
        check(truth, results)


def test_a_hand_written_ignore_flag_is_overwritten(world):
    truth, results = world(6)
    check(truth | {"annotations": [a | {"ignore": 1} for a in truth["annotations"]]}, results)


def test_lines_are_pycocotools_own(world):
    truth, results = world(7)
    metrics, printed = official(truth, results)
    assert printing.coco_lines(metrics) == printed
    metrics, printed = official(truth | {"annotations": []}, results)
    assert printing.coco_lines(metrics) == printed


# -- where pycocotools errs or stops ----------------------------------------------------------------------------------


def test_annotation_ids_do_not_matter(world):
    truth, results = world(8)
    want = check(truth, results)
    zero = [a | {"id": n} for n, a in enumerate(truth["annotations"])]
    same = [a | {"id": 5} for a in truth["annotations"]]
    none = [{k: v for k, v in a.items() if k != "id"} for a in truth["annotations"]]
    big = [a | {"id": 2**60 + a["id"]} for a in truth["annotations"]]
    for annotations in (zero, same, none, big):
        assert coco(truth | {"annotations": annotations}, results) == want


def test_large_image_ids_do_not_overflow(world):
    truth, results = world(8)
    want = coco(truth, results)
    shift = 10_000_000_000_000
    for entry in (*truth["annotations"], *results):
        entry["image_id"] += shift
    moved = truth | {"images": [{"id": i["id"] + shift} for i in truth["images"]]}
    assert coco(moved, results) == want


def test_missing_crowd_flags_and_counts_are_filled_in(world):
    truth, results = world(9, crowds=0)
    want = check(truth, results)
    reduced = [{k: v for k, v in a.items() if k not in ("iscrowd", "num_keypoints")} for a in truth["annotations"]]
    assert coco(truth | {"annotations": reduced}, results) == want


def test_a_file_without_areas_takes_those_of_boxes_and_says_so(world, measured_of):
    truth, results = world(10)
    boxed = [a | {"area": a["bbox"][2] * a["bbox"][3] * 0.53} for a in truth["annotations"]]
    reduced = [{k: v for k, v in a.items() if k != "area"} for a in truth["annotations"]]
    measured = measured_of(truth | {"annotations": reduced}, results)
    assert measured.metrics == check(truth | {"annotations": boxed}, results)
    assert printing.explain(measured)[-1].endswith(
        "no annotation has an area; 0.53 of the box is taken, as CrowdPose does"
    )
    reduced[1]["area"] = 5.0
    with pytest.raises(ValueError, match=r"ground truth: annotation 0 \(id \d+\) has no area"):
        coco(truth | {"annotations": reduced}, results)


def test_what_is_left_out_is_said(world, measured_of):
    truth, results = world(11)
    want = check(truth, results)
    stray = truth["annotations"][0] | {"image_id": 5000, "id": 900}
    other = truth["annotations"][0] | {"category_id": 77, "id": 901}
    car = {"id": 902, "image_id": truth["images"][0]["id"], "category_id": 3, "area": 9.0, "bbox": [0, 0, 3, 3]}
    more = truth | {
        "annotations": [*truth["annotations"], stray, other, car],
        "categories": [*truth["categories"], {"id": 3, "name": "car"}],
    }
    measured = measured_of(more, [*results, results[0] | {"category_id": 3}])
    assert measured.metrics == want
    assert measured.notes == (
        "ground truth: left out 1 annotations of images that it does not list",
        "ground truth: left out 1 annotations of categories that it does not list",
        "ground truth: left out 1 annotations of categories without keypoints",
        "results: left out 1 results of category 3, of which the ground truth has no annotations (only of 1)",
    )


def test_nothing_is_printed_or_changed(world, capsys, tmp_path):
    truth, results = world(12)
    before = copy.deepcopy((truth, results))
    metrics = coco(truth, results)
    assert (truth, results) == before
    paths = tmp_path / "truth.json", tmp_path / "results.json"
    for path, content in zip(paths, before):
        path.write_text(json.dumps(content))
    assert coco(*paths) == metrics
    assert capsys.readouterr() == ("", "")


def test_numpy_numbers_are_numbers(world):
    truth, results = world(13)
    arrays = [
        r
        | {"keypoints": np.array(r["keypoints"]), "image_id": np.int64(r["image_id"]), "score": np.float64(r["score"])}
        for r in results
    ]
    assert coco(truth, arrays) == coco(truth, results)


# -- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 4242}, r"results: result 1 is of image 4242, which the ground truth does not have"),
        (
            {"keypoints": [1.0] * 34},
            r"results: result 1 \(image \d+\) has 34 numbers under keypoints, expected x, y and",
        ),
        ({"keypoints": [1.0] * 33}, r"results: result 1 \(image \d+\) has 33 numbers under keypoints, expected 51"),
        ({"keypoints": [float("nan")] * 51}, r"results: result 1 \(image \d+\): keypoints holds NaN or infinity"),
        ({"score": float("inf")}, r"results: result 1 \(image \d+\): score holds NaN or infinity"),
        ({"score": "high"}, r"Expected `float`, got `str` - at `\$\[1\]\.score`"),
        ({"bbox": [1, 2, 3, 4]}, r"results: result 1 has a bbox \[x, y, width, height\] that result 0 lacks"),
    ],
)
def test_faulty_results_are_told_by_entry(world, change, message, tmp_path):
    truth, results = world(14)
    results[1] |= change
    with pytest.raises(ValueError, match=message):
        coco(truth, results)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))  # Python writes NaN and Infinity, which are not JSON
    with pytest.raises(ValueError, match=message.replace("results:", f"{path}:")):
        coco(truth, path)


def test_faulty_files_are_told_by_name(world, tmp_path):
    truth, results = world(14)
    with pytest.raises(FileNotFoundError, match=r"nowhere.json: no such JSON file"):
        coco(truth, tmp_path / "nowhere.json")
    (tmp_path / "cut.json").write_text(json.dumps(results)[:-5])
    with pytest.raises(ValueError, match=r"cut.json: expected a list of results .*; this is not JSON, or cut short"):
        coco(truth, tmp_path / "cut.json")
    with pytest.raises(ValueError, match=r"results: expected a list of results .*: Expected `array`, got `object`"):
        coco(truth, truth)
    with pytest.raises(ValueError, match=r"ground truth: expected a COCO annotation file"):
        coco(results, results)
    with pytest.raises(ValueError, match=r"expected COCO annotations with images and categories"):
        coco(truth | {"categories": []}, results)
    short = [a | {"keypoints": [0, 0, 0]} for a in truth["annotations"]]
    with pytest.raises(ValueError, match=r"annotations\[0\] \(id \d+, image \d+\): expected 17 .* got 3"):
        coco(truth | {"annotations": short}, results)


def test_without_sigmas_there_is_no_oks(world):
    truth, results = world(15, skeletons=(CROWDPOSE14,))
    mouse = {"id": 1, "name": "mouse", "keypoints": [f"p{n}" for n in range(14)]}
    with pytest.raises(ValueError, match=r"category 1 \(mouse\): OKS, .* is undefined without sigmas.*or measure PCK"):
        coco(truth | {"categories": [mouse]}, results)
    with pytest.raises(ValueError, match=r"\(mouse\): expected 14 sigmas above 0, one per point, got \[0.1\]"):
        coco(truth | {"categories": [mouse]}, results, sigmas=[0.1])
    assert coco(truth | {"categories": [mouse]}, results, sigmas=CROWDPOSE14.sigmas) == check(
        truth, results, CROWDPOSE14.sigmas
    )


# -- CrowdPose's levels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [(0.2, 0.8), (0.1, 0.8)])
def test_crowdpose_levels_are_evaluated_separately(world, measured_of, limits):
    truth, results = world(7, images=11, skeletons=(CROWDPOSE14, AP10K17))
    crowding = {i["id"]: n / 10 for n, i in enumerate(truth["images"])}  # 0.2 and 0.8 among them
    for image in truth["images"]:
        image["crowdIndex"] = crowding[image["id"]]
    got = measured_of(truth, results, limits=limits).metrics
    assert list(got) == [*METRICS, "AP_easy", "AP_medium", "AP_hard"]
    levels = {"easy": (0, limits[0]), "medium": limits, "hard": (limits[1], 2)}
    for name, (low, high) in levels.items():
        level = {image for image, index in crowding.items() if low <= index < high}
        part = truth | {
            "images": [{"id": i} for i in level],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in level],
        }
        alone = coco(part, [r for r in results if r["image_id"] in level])
        assert list(alone) == list(METRICS)
        assert got[f"AP_{name}"] == alone["AP"]
    assert len({got["AP"], got["AP_easy"], got["AP_medium"], got["AP_hard"]}) == 4
    assert printing.coco_lines(got)[10:] == [
        f" Average Precision  (AP) @[ IoU=0.50:0.95 | type={name:>6} | maxDets= 20 ] = {got[f'AP_{name}']:.3f}"
        for name in levels
    ]


def test_a_level_without_images_has_no_metric(small_world):
    truth, exact = small_world
    for image in truth["images"]:
        image["crowdIndex"] = 0.8
    got = coco(truth, exact)
    assert (got["AP_easy"], got["AP_medium"], got["AP_hard"]) == (-1, -1, 1)
    del truth["images"][0]["crowdIndex"]
    assert list(coco(truth, exact)) == list(METRICS)


# -- real photographs' annotations ------------------------------------------------------------------------------------


@pytest.mark.shared
def test_coco_mini(shared):
    path = shared / "data/coco_mini/annotations/person_keypoints_train2017.json"
    truth = json.loads(path.read_text())
    people = [a for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    exact = [{k: a[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 1.0} for a in people]
    assert coco(path, exact)["AP"] == pytest.approx(1.0, abs=1e-12)
    for pixels in (2.0, 8.0, 30.0):
        moved = copy.deepcopy(exact)
        for n, result in enumerate(moved):
            result["score"] = 1 / (n + 2)
            result["keypoints"][0::3] = [x + pixels * (n % 3) for x in result["keypoints"][0::3]]
            result["keypoints"][1::3] = [y - pixels for y in result["keypoints"][1::3]]
        assert 0 < check(truth, moved)["AP"] < 1


@pytest.mark.shared
@pytest.mark.parametrize("name", ["crowdpose", "ap10k", "aic", "animalpose"])
def test_other_data_sets_files(shared, name):
    path = shared / f"data/formats/{name}/test_{name}.json"
    truth = json.loads(path.read_text())
    people = [a for a in truth["annotations"] if a["num_keypoints"]]
    exact = [{k: a[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 1.0} for a in people]
    assert coco(path, exact)["AP"] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.shared
def test_data_sets_without_published_sigmas(shared):
    path = shared / "data/formats/horse10/test_horse10.json"
    with pytest.raises(ValueError, match="undefined without sigmas"):
        coco(path, [])
