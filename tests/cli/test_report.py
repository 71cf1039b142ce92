"""`posewright report` as a user meets it."""

import json

import numpy as np


def test_report_writes_a_page_of_results_of_a_folder_and_of_a_run_without_any(run, listing, set_up, tmp_path):
    content = json.loads(listing.read_text())
    results = []
    for a in content["annotations"]:
        keypoints = np.reshape(a["keypoints"], (-1, 3)).astype(float)
        results.append(
            {"image_id": a["image_id"], "category_id": 1, "keypoints": keypoints.ravel().tolist(), "score": 1}
        )
    (tmp_path / "found.json").write_text(json.dumps(results))
    status, _, errors = run("report", tmp_path / "found.json")
    assert status == 2
    assert "nothing says which annotations it is of: name them with --data" in errors
    status, text, _ = run("report", tmp_path / "found.json", "--data", listing, "--images", set_up / "val")
    assert status == 0
    page = (tmp_path / "index.html").read_text("utf-8")
    assert f"page: {tmp_path / 'index.html'}" in text
    assert '"picture":"' in page

    (folder := tmp_path / "eval").mkdir()
    (tmp_path / "found.json").rename(folder / "results.json")
    assert run("eval", "--data", listing, "--results", folder / "results.json", "--out", folder)[0] == 0
    status, text, _ = run("report", folder, "--out", tmp_path / "other.html", "--json")
    assert json.loads(text) == {"page": str(tmp_path / "other.html")}
    assert (tmp_path / "other.html").stat().st_size > 50_000
    status, _, errors = run("report", set_up / "val")
    assert status == 2
    assert "expected results, or a folder that `eval` has written" in errors

    (plain := tmp_path / "run").mkdir()
    (plain / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert run("report", plain)[0] == 0
    assert '"names":["loss"]' in (plain / "index.html").read_text("utf-8")


def test_of_a_run_in_rounds_the_last_evaluated_one_is_reported(run, listing, set_up, tmp_path):
    settings = ("steps=1", "batch=2", "workers=0", "device=cpu", "flip_test=false")
    arguments = ("--train", listing, "--val", listing, "--rounds", 2, "--out", tmp_path, "--set", *settings)
    assert run("train", "simplebaseline-r18-slim-128x96", *arguments)[0] == 0
    (tmp_path / "round10").mkdir()  # was interrupted before its first evaluation
    status, text, errors = run("report", tmp_path)
    assert status == 0, errors
    assert f"page: {tmp_path / 'round2' / 'index.html'}" in text
