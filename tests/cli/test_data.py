"""`posewright data` as a user meets it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from posewright import image
from posewright.data import formats
from posewright.synthetic import people


def test_annotations_are_split_with_no_image_in_both(run, listing, tmp_path):
    out = tmp_path / "parts"
    status, text, errors = run("data", "split", listing, "--val", "0.4", "--out", out)
    assert status == 0, errors
    whole, train, val = (json.loads(p.read_text()) for p in (listing, out / "train.json", out / "val.json"))
    ids = [{image["id"] for image in part["images"]} for part in (train, val)]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == {image["id"] for image in whole["images"]}
    assert len(ids[1]) == max(1, round(0.4 * len(whole["images"])))
    assert len(train["annotations"]) + len(val["annotations"]) == len(whole["annotations"])
    assert all(a["image_id"] in ids[1] for a in val["annotations"])
    assert train["categories"][0]["keypoints"] == whole["categories"][0]["keypoints"]
    assert f"images: {out / 'val.json'}" in text
    status, _, errors = run("data", "split", listing, "--out", out)
    assert status == 2
    assert "exists already" in errors
    for options, message in ((("--val", "1"), "between 0 and 1"), (("--by-folder",), "1 folders with")):
        status, _, errors = run("data", "split", listing, "--out", tmp_path / "others", *options)
        assert status == 2
        assert message in errors


def test_drawing_people_and_refusing_to_mix_them(run, tmp_path):
    assert run("data", "synth", tmp_path, "--images", "2")[0] == 0
    picture = image.read(tmp_path / "train" / "000000000001.jpg")
    assert picture.shape[2] == 3
    assert picture.std() > 10
    status, _, errors = run("data", "synth", tmp_path, "--images", "3", "--seed", "1")
    assert status == 2
    assert str(Path(tmp_path)) in errors
    assert np.array_equal(picture, image.read(tmp_path / "train" / "000000000001.jpg"))


def test_synth_draws_people_as_in_snapshots(run, tmp_path):
    for folder, options in (("plain", ()), ("everyday", ("--everyday",))):
        assert run("data", "synth", tmp_path / folder, "--images", 2, *options)[0] == 0
    listings = [
        json.loads((tmp_path / folder / "annotations" / "person_keypoints_train.json").read_text())
        for folder in ("plain", "everyday")
    ]
    assert listings[0]["info"]["scene"] != listings[1]["info"]["scene"]
    assert listings[1]["info"]["scene"]["cut"] == people.EVERYDAY.cut
    status, _, errors = run("data", "synth", tmp_path / "other", "--everyday", "--species", "dog")
    assert status == 2
    assert "--everyday is for people: leave out --species" in errors


def test_synth_draws_animals(run, tmp_path):
    status, text, errors = run("data", "synth", tmp_path, "--images", 2, "--species", "rodent", "--frames", 2)
    assert status == 0, errors
    assert "2 synthetic images (rodent); annotations: " in text
    status, _, errors = run("data", "synth", tmp_path / "other", "--frames", 2)
    assert status == 2
    assert "--frames is for animals" in errors


def test_synth_draws_the_points_that_are_asked_for(run, tmp_path):
    for number, options in enumerate(((), ("--skeleton", "animalpose20"))):
        folder = tmp_path / str(number)
        status, _, errors = run("data", "synth", folder, "--images", 1, "--species", "dog", *options)
        assert status == 0, errors
        content = json.loads((folder / "annotations" / "person_keypoints_train.json").read_text())
        assert len(content["categories"][0]["keypoints"]) == (18, 20)[number]


def test_annotations_are_converted_there_and_back(run, listing, tmp_path):
    status, text, _ = run("data", "convert", listing, tmp_path / "out.xml")
    assert (status, "annotations of 6 images" in text) == (0, True)
    status, text, _ = run("data", "convert", tmp_path / "out.xml", tmp_path / "back.json", "--json")
    assert status == 0
    before, after = (json.loads(Path(p).read_text())["annotations"] for p in (listing, tmp_path / "back.json"))
    labelled = [a for a in before if any(a["keypoints"][2::3])]
    shown = np.array([np.reshape(a["keypoints"], (-1, 3)) for a in labelled], float)
    shown[shown[..., 2] == 0] = 0
    np.testing.assert_allclose(
        [np.reshape(a["keypoints"], (-1, 3)) for a in after if any(a["keypoints"])], shown, atol=1e-6
    )
    status, _, errors = run("data", "convert", listing, tmp_path / "out.xyz")
    assert (status, "say which format to write" in errors) == (2, True)


def test_what_is_written_is_counted_and_what_is_lost_said(run, edited, tmp_path):
    def crowd(content):
        content["annotations"][0]["iscrowd"] = 1

    path = edited(crowd)
    count = len(json.loads(path.read_text())["annotations"]) - 1
    status, text, errors = run("data", "convert", path, tmp_path / "out.xml")
    assert status == 0, errors
    assert f"{count} annotations of 6 images" in text
    assert "1 crowds" in text


def test_images_that_would_share_labels_are_refused_before_any_is_copied(run, edited, set_up, tmp_path):
    images = shutil.copytree(set_up / "val", tmp_path / "images")

    def rename(content):
        for entry, suffix in zip(content["images"], ("jpg", "png")):
            (images / entry["file_name"]).rename(images / f"twin.{suffix}")
            entry["file_name"] = f"twin.{suffix}"

    source, target = edited(rename), tmp_path / "out"
    options = ("--format", "yolo", "--copy-images", "--images", images)
    status, _, errors = run("data", "convert", source, target, *options)
    assert (status, "images 'twin.jpg' and 'twin.png' would share the labels" in errors) == (2, True)
    assert not target.exists()


def test_a_check_says_what_is_left_to_a_person(run, edited, set_up, tmp_path):
    def same(content):
        content["images"][1]["id"] = content["images"][0]["id"]

    arguments = ("data", "check", edited(same), "--images", set_up / "val", "--fix", tmp_path / "mended.json")
    status, text, _ = run(*arguments)
    assert (status, "errors are left to you" in text) == (1, True)


def test_results_become_a_table_of_deeplabcut(run, listing, tmp_path):
    content = json.loads(listing.read_text())
    found = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1}
        for a in content["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(found))
    status, _, errors = run("data", "convert", listing, tmp_path / "found.csv", "--results", tmp_path / "results.json")
    assert status == 0, errors
    heads = (tmp_path / "found.csv").read_text().splitlines()[:4]
    assert [line.split(",")[0] for line in heads][-2:] == ["bodyparts", "coords"]
    assert "likelihood" in heads[-1]


def test_a_check_ends_with_1_where_there_are_errors(run, listing, edited, set_up, tmp_path):
    def damage(content):
        content["annotations"][0]["area"] = 0

    assert run("data", "check", listing)[0] == 0
    path = edited(damage)
    arguments = ("data", "check", path, "--images", set_up / "val")
    status, text, _ = run(*arguments, "--fix", tmp_path / "mended.json", "--sheet", tmp_path / "worst.jpg")
    assert (status, "error: 1 areas not above 0" in text) == (1, True)
    assert image.read(tmp_path / "worst.jpg").size
    said = json.loads(run(*arguments, "--json")[1])
    assert said["errors"] == 1
    assert [f["kind"] for f in said["findings"][str(path)] if f["level"] == "error"] == ["no area"]
    assert run("data", "check", tmp_path / "mended.json", "--images", set_up / "val")[0] == 0
    assert run(*arguments, "--fix", path)[0] == 2


def test_a_set_in_numbers_and_on_a_sheet(run, listing, tmp_path):
    status, text, _ = run("data", "stats", listing, "--json")
    assert status == 0
    said = json.loads(text)
    assert said["images"] == 6
    assert said["people"] == sum(int(n) * count for n, count in said["per_image"].items())
    assert all(0 <= said["visible"][point] <= n <= said["people"] for point, n in said["labelled"].items())
    assert "| point | labelled | of people | of these visible |" in run("data", "stats", listing)[1]
    for more in ((), ("--masks",), ("--batches", "simplebaseline-r18-slim-128x96")):
        status, text, errors = run("data", "show", listing, "--out", tmp_path / "sheet.jpg", "--people", 3, *more)
        assert status == 0, errors
        assert image.read(tmp_path / "sheet.jpg").std() > 10


def test_a_deeplabcut_project_is_trained_on_evaluated_and_predicted(run, listing, set_up, tmp_path):
    pytest.importorskip("yaml")
    project = tmp_path / "project"
    assert run("data", "convert", listing, project, "--format", "deeplabcut")[0] == 0
    (video,) = (project / "labeled-data").iterdir()
    shutil.copytree(set_up / "val", video, dirs_exist_ok=True)
    out, model = tmp_path / "run", "simplebaseline-r18-slim-128x96"
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    status, _, errors = run("train", model, "--train", project, "--out", out, "--set", *settings)
    assert status == 0, errors
    weights = ("--weights", out / "last.pt", "--no-flip-test")
    status, text, errors = run("eval", "--data", project, *weights, "--metric", "RMSE", "--out", out / "eval", "--json")
    assert status == 0, errors
    metrics = json.loads(text)["metrics"]
    assert metrics["RMSE"] > 0
    assert metrics["RMSE_cutoff"] == -1  # an untrained network is sure of nothing
    image_file = sorted(video.glob("*.jpg"))[0]
    status, text, errors = run("predict", image_file, "--boxes", project, *weights, "--out", out / "predict", "--json")
    assert status == 0, errors
    assert json.loads(text)["poses"] >= 1


WRITTEN = [name for name in formats.names() if hasattr(formats.named(name), "write")]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_is_evaluated_on_and_has_boxes_with_its_images_copied(run, listing, last, tmp_path, name):
    target = tmp_path / "set" / f"annotations{formats.named(name).SUFFIX}"
    status, _, errors = run("data", "convert", listing, target, "--format", name, "--copy-images")
    assert status == 0, errors
    copies = list((tmp_path / "set").rglob("*.jpg"))
    assert len(copies) == 6
    common = ("--weights", last, "--no-flip-test", "--device", "cpu")
    status, text, errors = run(
        "eval", "--data", target, *common, "--metric", "RMSE", "--out", tmp_path / "eval", "--json"
    )
    assert status == 0, errors
    assert json.loads(text)["metrics"]["RMSE"] > 0
    status, text, errors = run(
        "predict", min(copies), "--boxes", target, *common, "--out", tmp_path / "predict", "--json"
    )
    assert status == 0, errors
    assert json.loads(text)["poses"] >= 1


def test_images_are_copied_before_anything_is_written_or_not_at_all(run, set_up, edited, tmp_path):
    def rename(content):
        content["images"][0]["file_name"] = "nowhere.jpg"

    target = tmp_path / "out" / "a.xml"
    status, _, errors = run("data", "convert", edited(rename), target, "--copy-images", "--images", set_up / "val")
    assert status == 2
    assert "1 of 6 images not found, first 'nowhere.jpg'" in errors
    assert not (tmp_path / "out").exists()
