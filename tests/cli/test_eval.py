"""`posewright eval` as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pytest

from posewright.predict import detections_file

SLIM = "simplebaseline-r18-slim-128x96"


@pytest.fixture
def exact(listing, tmp_path):
    """A results file with the annotated points."""
    keys = ("image_id", "category_id", "keypoints")
    annotated = json.loads(listing.read_text())["annotations"]
    (path := tmp_path / "exact.json").write_text(
        json.dumps([{k: a[k] for k in keys} | {"score": 1} for a in annotated])
    )
    return path


def test_eval_prints_the_ten_lines_and_a_row_with_the_box_source(run, listing, last, tmp_path):
    status, text, _ = run("eval", "--data", listing, "--weights", last, "--out", tmp_path, "--no-flip-test")
    assert status == 0
    assert text.count(" @[ IoU=0.") == 10
    assert text.count("Average Recall     (AR)") == 5
    assert "| gt |" in text
    assert "contact sheets" not in text
    assert text.endswith(f"page: {tmp_path / 'index.html'}\n")
    page = (tmp_path / "index.html").read_text()
    assert '"picture":"' in page
    assert '"curves":[]' in page  # they are of trainings
    (results := tmp_path / "results.json").stat()
    status, again, _ = run("eval", "--data", listing, "--results", results)
    assert status == 0
    assert [a for a in again.splitlines() if "@[" in a] == [a for a in text.splitlines() if "@[" in a]


def test_the_decoding_is_varied_from_the_command_line(run, listing, last, tmp_path):
    def points(*codec):
        arguments = ("--data", listing, "--weights", last, "--out", tmp_path, "--no-flip-test", *codec)
        status, text, errors = run("eval", *arguments)
        assert status == 0, errors
        results = json.loads((tmp_path / "results.json").read_text())
        return text, np.array([np.reshape(r["keypoints"], (-1, 3))[:, :2] for r in results])

    text, plain = points()
    assert "codec" not in text
    assert "codec" not in json.loads((tmp_path / "metrics.json").read_text())
    text, moved = points("--codec", "quarter=true", "compensation=1")
    assert "codec not as published: compensation=1.0\n" in text
    assert json.loads((tmp_path / "metrics.json").read_text())["codec"] == {"compensation": 1.0}
    assert (moved[..., 0] < plain[..., 0]).all()
    np.testing.assert_allclose(moved[..., 1], plain[..., 1])
    for codec, message in (
        ("quater=false", "has no setting 'quater'; did you mean 'quarter'?"),
        ("quarter", "--codec expects key=value, got 'quarter'"),
    ):
        status, _, errors = run("eval", "--data", listing, "--weights", last, "--codec", codec)
        assert status == 2
        assert message in errors
        assert errors.count("\n") == 1
    status, _, errors = run(
        "eval", "--data", listing, "--results", tmp_path / "results.json", "--codec", "quarter=false"
    )
    assert status == 2
    assert "--results has poses already, and no weights are run: leave out --codec, or --results" in errors


def test_boxes_outside_or_empty_are_skipped_and_counted(run, set_up, edited, last, tmp_path):
    def damage(content):
        content["annotations"][0]["bbox"] = [10, 10, 0, 0]
        content["annotations"][1]["bbox"] = [9000, 10, 50, 50]

    path = edited(damage)
    arguments = ("--images", set_up / "val", "--weights", last, "--out", tmp_path, "--no-flip-test")
    status, text, _ = run("eval", "--data", path, *arguments)
    assert status == 0
    assert "skipped: " in text
    assert "2 with a box empty or outside its image" in text


def test_eval_matches_points_by_name_with_sigmas_from_the_file_or_else_from_the_weights(run, set_up, listing, tmp_path):
    (points,) = (c["keypoints"] for c in json.loads(listing.read_text())["categories"])
    own = [f"{point}_spot" for point in points]

    def written(name, names, sigma=None):
        """The listing with points of other names, in the order of their names here."""
        content = json.loads(listing.read_text())
        sigmas = {"sigmas": [sigma] * len(names)} if sigma else {}
        content["categories"] = [{"id": 1, "name": "spots", "keypoints": names} | sigmas]
        for a in content["annotations"]:
            triples = dict(zip(own, np.reshape(a["keypoints"], (-1, 3)).tolist()))
            a["keypoints"] = [v for n in names for v in triples.get(n, (0, 0, 0))]
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    def evaluated(path):
        arguments = ("--data", path, "--images", set_up / "val", "--weights", best, "--out", tmp_path / "eval")
        status, text, errors = run("eval", *arguments)
        assert status == 0, errors
        return text, [line for line in text.splitlines() if "@[" in line]

    plain = written("plain.json", own)
    skeleton = tmp_path / "own.json"
    skeleton.write_text(json.dumps({"points": own, "sigmas": dict.fromkeys(own, 2.0)}))
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    paths = ("--train", plain, "--val", plain, "--train-images", set_up / "val", "--val-images", set_up / "val")
    arguments = (*paths, "--skeleton", skeleton, "--out", tmp_path / "run", "--set", *settings)
    status, _, errors = run("train", SLIM, *arguments)
    assert status == 0, errors
    best = tmp_path / "run" / "best.pt"

    said = f"plain.json has no OKS sigmas: AP is by those of {best}\n"
    text, metrics = evaluated(plain)
    assert said in text
    assert not metrics[0].endswith("0.000")  # with sigmas so large, even this network does well
    text, same = evaluated(backwards := written("backwards.json", own[::-1], 2.0))
    assert "OKS sigmas" not in text
    assert same == metrics
    status, text, _ = run("eval", "--data", backwards, "--results", tmp_path / "eval" / "results.json")
    assert [line for line in text.splitlines() if "@[" in line] == metrics
    assert evaluated(written("strict.json", own, 1e-4))[1][0].endswith("0.000")  # the file's own win
    text, few = evaluated(written("few.json", own[:5]))
    assert f"never labelled: {', '.join(sorted(own[5:]))}\nfew.json" in text.replace(f"{tmp_path}/", "")
    assert len(few) == 10

    text, _ = evaluated(written("other.json", [*own[:16], "tail"], 2.0))
    assert f"evaluated on the 16 points that both name; {SLIM} alone finds {own[16]}: not comparable" in text
    assert "left out: tail" in text
    strange = written("strange.json", ["tail", "fin"])
    status, _, errors = run("eval", "--data", strange, "--images", set_up / "val", "--weights", best)
    assert status == 2
    assert "strange.json" in errors


def test_a_results_file_gets_the_published_row_and_its_largest_losses_in_words(run, listing, tmp_path):
    content = json.loads(listing.read_text())
    results = []
    for n, a in enumerate(content["annotations"]):
        triples = np.reshape(a["keypoints"], (-1, 3)).astype(float)
        triples[:, 2] = 1
        if n == 0:
            triples[:2, :2] += 500
        results.append({"image_id": a["image_id"], "category_id": 1, "keypoints": triples.ravel().tolist(), "score": 1})
    (path := tmp_path / "found.json").write_text(json.dumps(results[:-1]))
    status, text, _ = run(
        "eval", "--data", listing, "--results", path, "--out", tmp_path, "--model", "hrnet-w32-256x192"
    )
    assert status == 0
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({row.count("|") for row in rows}) == 1
    assert rows[-1].startswith("| published on coco (leoxiaobin/deep-high-resolution-net.pytorch) | 0.744 | 0.905")
    assert rows[-1].endswith("| det 56.4 |")
    assert f"people who were not found: 1 of {len(results)} people" in text
    assert "points found nowhere near (misses): 2 of" in text
    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert saved["errors"]["missed person"] == 1
    assert saved["losses"]["missed person"] > 0
    assert saved["boxes"] == f"of {path}"


def test_a_results_file_ends_with_a_page_and_takes_the_source_of_its_boxes(run, listing, set_up, tmp_path):
    content = json.loads(listing.read_text())
    keys = ("image_id", "category_id", "keypoints")
    results = [{key: a[key] for key in keys} | {"score": 1.0} for a in content["annotations"]]
    (path := tmp_path / "found.json").write_text(json.dumps(results))
    arguments = ("--results", path, "--out", tmp_path, "--boxes", "gt", "--images", set_up / "val")
    status, text, _ = run("eval", "--data", listing, *arguments)
    assert status == 0
    assert text.endswith(f"page: {tmp_path / 'index.html'}\n")
    assert "published" not in text  # no system is named
    assert '"picture":"' in (tmp_path / "index.html").read_text("utf-8")
    assert json.loads((tmp_path / "metrics.json").read_text())["boxes"] == "gt"

    content["images"][0]["file_name"] = "../../outside.jpg"  # no image is opened then, and all else is as it was
    (other := tmp_path / "other.json").write_text(json.dumps(content))
    status, text, errors = run("eval", "--data", other, *arguments)
    assert status == 0, errors
    assert '"picture":"' not in (tmp_path / "index.html").read_text("utf-8")


def test_json_has_pck_per_point_on_request(run, listing, last, tmp_path):
    arguments = ("--data", listing, "--weights", last, "--out", tmp_path, "--no-flip-test", "--pck-threshold", "0.5")
    status, text, _ = run("eval", *arguments, "--json")
    assert status == 0
    said = json.loads(text)
    assert len(said["metrics"]) == 10
    (points,) = (c["keypoints"] for c in json.loads(listing.read_text())["categories"])
    assert said["pck"]["threshold"] == 0.5
    assert list(said["pck"]["points"]) == points
    assert all(value == -1 or 0 <= value <= 1 for value in said["pck"]["points"].values())
    assert json.loads((tmp_path / "metrics.json").read_text())["pck"] == said["pck"]


def test_an_evaluation_parses_its_annotations_once_and_writes_json_only_as_results(
    run, listing, last, tmp_path, monkeypatch
):
    reads = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or read_bytes(path))
    arguments = ("--data", listing, "--out", tmp_path)
    assert run("eval", *arguments, "--weights", last, "--no-flip-test")[0] == 0
    assert reads.count(listing.name) == 1


def test_data_without_sigmas_is_evaluated_by_pck_with_results_and_detections(run, set_up, edited, tmp_path):
    def plain(content):
        for category in content["categories"]:
            category["keypoints"] = [f"{point}_spot" for point in category["keypoints"]]
            for key in ("sigmas", "posewright"):
                category.pop(key, None)

    path = edited(plain)
    content = json.loads(path.read_text())
    labelled = [a for a in content["annotations"] if any(a["keypoints"][2::3]) and not a.get("iscrowd")]
    found = [{"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1} for a in labelled]
    (tmp_path / "results.json").write_text(json.dumps(found))
    status, text, _ = run("eval", "--data", path, "--results", tmp_path / "results.json", "--out", tmp_path, "--json")
    assert (status, json.loads(text)["metrics"]) == (0, {"PCK": pytest.approx(1)})

    boxes = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.5} for a in labelled]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    paths = ("--train", path, "--train-images", set_up / "val", "--out", tmp_path / "run")
    assert run("train", SLIM, *paths, "--set", *settings)[0] == 0
    arguments = ("--images", set_up / "val", "--weights", tmp_path / "run/last.pt", "--boxes", tmp_path / "boxes.json")
    status, text, errors = run("eval", "--data", path, *arguments, "--out", tmp_path / "eval")
    assert status == 0, errors
    assert "AP is undefined, as no OKS sigmas are published for these points; PCK@" in text
    assert "| boxes.json |" in text
    note = detections_file.Note("any.onnx", 1, "person", 0.05, {"AP": 0.503})
    detections_file.write(tmp_path / "boxes.json", boxes, note)
    _, text, _ = run("eval", "--data", path, *arguments, "--out", tmp_path / "eval")
    assert "| boxes.json (any.onnx, box AP 0.503) |" in text


def test_no_flip_test_without_mirror_pairs_unless_asked(run, set_up, edited, tmp_path):
    def unpaired(content):
        (category,) = content["categories"]
        category["keypoints"] = [f"spot {n}" for n in range(len(category["keypoints"]))]
        category.pop("posewright", None)

    path = edited(unpaired)
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu")
    paths = ("--train", path, "--train-images", set_up / "val", "--out", tmp_path / "run")
    status, _, errors = run("train", SLIM, *paths, "--set", *settings)
    assert (status, "has no mirror pairs, so nothing is flipped" in errors) == (0, True)
    arguments = ("--data", path, "--images", set_up / "val", "--weights", tmp_path / "run/last.pt", "--out", tmp_path)
    assert "no flip test, because person17 has no mirror pairs (--flip-test does it)" in run("eval", *arguments)[1]
    assert "no flip test" not in run("eval", *arguments, "--flip-test")[1]


def test_options_of_weights_are_refused_beside_results(run, listing, last, exact, tmp_path):
    """Those of the network and of its poses are named together; what was not given is not."""
    given = ("--weights", last, "--flip-test", "--device", "cpu", "--box-threshold", "0.5", "--soft-nms")
    status, _, errors = run("eval", "--data", listing, "--results", exact, "--out", tmp_path, *given)
    assert (status, errors.count("\n")) == (2, 1)
    assert "leave out --weights, --device, --flip-test, --box-threshold, --soft-nms, or --results" in errors
    assert run("eval", "--data", listing, "--results", exact, "--out", tmp_path, "--drop-unconfident")[0] == 0


def test_a_folder_of_evaluated_results_is_compared_and_reported(run, listing, exact, tmp_path):
    out = tmp_path / "eval"
    assert run("eval", "--data", listing, "--results", exact, "--out", out)[0] == 0
    assert (out / "results.json").read_bytes() == exact.read_bytes()
    assert run("report", out)[0] == 0
    assert run("compare", out, out)[0] == 0


def test_pck_names_unknown_images_and_categories_of_results(run, listing, exact, tmp_path):
    def changed(key):
        entries = json.loads(exact.read_text())
        (path := tmp_path / f"{key}.json").write_text(json.dumps([entry | {key: 77} for entry in entries]))
        return run("eval", "--data", listing, "--results", path, "--out", tmp_path / "eval", "--metric", "PCK")

    status, _, errors = changed("image_id")
    assert status == 2
    assert "image_id.json: result 0 is of image 77, which the ground truth does not have" in errors
    status, text, _ = changed("category_id")
    assert status == 0
    assert "results of category 77, of which the ground truth has no annotations (only of 1)" in text


@pytest.mark.shared
def test_real_people_of_coco_are_evaluated_end_to_end(run, shared, tmp_path):
    listing = shared / "data/coco_mini/annotations/person_keypoints_train2017.json"
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    status, _, errors = run("train", SLIM, "--train", listing, "--out", tmp_path / "run", "--set", *settings)
    assert status == 0, errors
    arguments = ("--data", listing, "--out", tmp_path, "--json")
    status, text, errors = run("eval", *arguments, "--weights", tmp_path / "run/last.pt", "--no-flip-test")
    assert status == 0, errors
    said = json.loads(text)
    assert len(said["metrics"]) == 10
    assert len(json.loads((tmp_path / "results.json").read_text())) == 86
    assert said["boxes"] == "gt"
    again = run("eval", *arguments, "--results", tmp_path / "results.json")[1]
    assert json.loads(again)["metrics"] == said["metrics"]


@pytest.mark.shared
def test_real_people_of_mpii_are_evaluated_end_to_end(run, shared, tmp_path):
    path = shared / "data/formats/mpii/test_mpii.json"
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    status, _, errors = run("train", SLIM, "--train", path, "--out", tmp_path / "run", "--set", *settings)
    assert status == 0, errors
    arguments = ("--data", path, "--weights", tmp_path / "run/last.pt", "--out", tmp_path, "--metric", "PCKh")
    status, text, errors = run("eval", *arguments, "--no-flip-test", "--json")
    assert status == 0, errors
    assert {"Head", "Ankle", "Mean", "Mean@0.1"} <= json.loads(text)["metrics"].keys()
