"""`posewright train` as a user meets it: one clear line for bad input."""

import json

import pytest

SLIM = "simplebaseline-r18-slim-128x96"


def _nan(c):
    c["annotations"][0]["keypoints"][0] = float("nan")


def _short(c):
    c["annotations"][0]["keypoints"].pop()


def _nobody(c):
    for a in c["annotations"]:
        a["keypoints"] = [0] * 51


def _empty(c):
    c["annotations"].clear()


def _missing_image(c):
    c["images"][0]["file_name"] = "nowhere.jpg"


def _unknown_image(c):
    c["annotations"][0]["image_id"] = 99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nan, r"edited.json: annotation"),
        (_short, "edited.json: annotation"),
        (_nobody, "without a labelled keypoint"),
        (_empty, "no annotations in it"),
        (_missing_image, "nowhere.jpg"),
        (_unknown_image, "99"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_annotations_give_one_line_naming_the_file(run, set_up, edited, tmp_path, change, message):
    path = edited(change)
    out = tmp_path / "run"
    arguments = ("--train", path, "--train-images", set_up / "val", "--out", out)
    status, _, errors = run("train", SLIM, *arguments)
    assert status == 2
    assert errors.splitlines()[-1].startswith("posewright: ")
    assert "edited.json" in errors.splitlines()[-1]
    assert message in errors.splitlines()[-1]
    assert not list(out.glob("*"))


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[]"])
def test_what_is_not_coco_is_said_so(run, tmp_path, text):
    path = tmp_path / "edited.json"
    path.write_text(text)
    status, _, errors = run("train", SLIM, "--train", path, "--out", tmp_path / "run")
    assert status == 2
    assert "edited.json" in errors


def test_training_by_hand_resuming_and_the_lists(run, set_up, listing, tmp_path):
    out = tmp_path / "run"
    settings = ("steps=2", "batch=2", "workers=0", "eval_every=1", "flip_test=false", "device=cpu")
    status, text, _ = run("train", SLIM, "--train", listing, "--val", listing, "--out", out, "--set", *settings)
    assert status == 0
    assert "trained 2 steps; best: AP 0." in text
    status, text, _ = run("train", "--resume", out)
    assert status == 0  # there is nothing left to do, and it says so
    status, text, _ = run("recipes")
    assert "mspn_2stg_coco2014" in text
    status, text, _ = run("models", "mspn-2stg-*")
    assert "mspn-2stg-mindspore-256x192" in text
    status, _, errors = run("models", "nothing*")
    assert status == 2
    assert "no pose system matches 'nothing*'" in errors


def test_several_files_in_several_rounds(run, set_up, listing, tmp_path):
    arguments = ("--train", listing, listing, "--out", tmp_path / "run", "--sigmas", "published")
    settings = ("--rounds", 2, "--set", "steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    status, text, errors = run("train", SLIM, *arguments, "--val", listing, *settings)
    assert status == 0
    assert f"{listing} + {listing}" in errors
    assert f"see {tmp_path / 'run' / 'round2' / 'index.html'}" in text
    table = text.splitlines()[:4]
    assert table[0].startswith("| Round | AP | ")
    assert [row[:5] for row in table[2:]] == ["| 1 |", "| 2 |"]
    status, text, _ = run("train", "--resume", tmp_path / "run")
    assert status == 0
    assert text.splitlines()[:4] == table
    status, _, errors = run("train", "--resume", tmp_path / "run", "--find-lr", "--val", listing)
    assert status == 2
    assert "--resume uses the run's own settings: leave out --val, --find-lr" in errors


def test_domains_are_named_beside_the_files(run, listing, tmp_path):
    """A recipe's domains are of its own files; --domains names those of others."""
    settings = ("--set", "steps=1", "batch=4", "workers=0", "device=cpu", "init=", "flip_test=false", "log_every=1")
    files = ("--train", listing, listing)
    status, _, errors = run("train", "wscda_animalpose", *files, *settings, "--out", tmp_path / "run")
    assert (status, "domains must be 2 of people, animals" in errors) == (2, True)
    domains = ("--domains", "people", "unlabelled")
    status, _, errors = run("train", SLIM, *files, *domains, *settings, "--out", tmp_path / "run")
    assert status == 0, errors
    assert '"domains":["people","unlabelled"]' in (tmp_path / "run" / "config.json").read_text().replace(
        " ", ""
    ).replace("\n", "")
    status, _, errors = run(
        "train", SLIM, *files, "--domains", "people", "cats", *settings, "--out", tmp_path / "other"
    )
    assert (status, "no domain 'cats'; there are people, animals, unlabelled, target" in errors) == (2, True)


def test_settings_of_single_files_are_those_of_the_files_given(run, listing, tmp_path):
    """A recipe's list of which of its files are partial says nothing of others, for which --set names them."""
    own = ("people14", "--reset-head", "--set", "init=", "model=litebaseline-128x96", "freeze=", "steps=1", "batch=2")
    settings = (*own, "workers=0", "device=cpu", "flip_test=false")
    for files, partial in (((listing,), ()), ((listing, listing), (False, True))):
        out = tmp_path / f"run{len(files)}"
        named = [f"file_partial={json.dumps(partial)}"] if partial else []
        status, _, errors = run("train", *settings, *named, "--train", *files, "--out", out)
        assert status == 0, errors
        assert tuple(json.loads((out / "config.json").read_text())["file_partial"]) == partial


def test_own_points_start_from_the_default_models_weights(run, listing, tmp_path):
    settings = ("--set", "steps=1", "batch=2", "workers=0", "device=cpu", "--out")
    status, _, errors = run("train", "finetune", "--train", listing, "--val", listing, *settings, tmp_path / "run")
    assert status == 0, errors
    assert "2 re-initialised (final_layer.weight, final_layer.bias)" in errors
    plain = ("litebaseline-128x96", "--train", listing, "--init", "default")
    status, _, errors = run("train", *plain, *settings, tmp_path / "other")
    assert (status, "--reset-head" in errors) == (2, True), errors


def test_a_chosen_backbone_is_not_ignored_for_the_recipes_weights(run, listing, tmp_path):
    arguments = ("train", "finetune", "--train", listing, "--out", tmp_path / "run", "--backbone", "nonexistent.pth")
    status, _, errors = run(*arguments)
    assert status == 2
    assert errors.splitlines()[-1].startswith("posewright: nonexistent.pth: no such file")
    status, _, errors = run(*arguments, "--init", "default")
    assert status == 2
    assert "expected backbone or init, of which only one can count, got both" in errors


def test_resuming_refuses_to_allow_what_the_run_did_not(run, tmp_path):
    status, _, errors = run("train", "--resume", tmp_path, "--allow-outside")
    assert (status, "leave out --allow-outside" in errors) == (2, True)
