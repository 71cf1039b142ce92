"""`posewright compare` as a user meets it."""

import json

import numpy as np


def results_of(listing, shift):
    content = json.loads(listing.read_text())
    for a in content["annotations"]:
        triples = np.reshape(a["keypoints"], (-1, 3)).astype(float)
        triples[0, 0] += shift
        triples[:, 2] = 1
        yield {"image_id": a["image_id"], "category_id": 1, "keypoints": triples.ravel().tolist(), "score": 1.0}


def test_compare_shows_metrics_points_and_cases_and_refuses_other_boxes(run, listing, tmp_path):
    for name, shift in (("a", 0), ("b", 400)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(list(results_of(listing, shift))))
        status, _, _ = run("eval", "--data", listing, "--results", folder / "results.json", "--out", folder)
        assert status == 0
        metrics = json.loads((folder / "metrics.json").read_text())
        assert len(metrics["data"]["sha256"]) == 64
        (folder / "metrics.json").write_text(json.dumps(metrics | {"boxes": "gt"}))
    status, text, _ = run("compare", tmp_path / "a", tmp_path / "b")
    assert status == 0
    assert "| a | 1.000 |" in text
    assert "b against a" in text
    assert "| worse |" in text
    assert "changed most (OKS):" in text
    assert "not known" not in text
    metrics = json.loads((tmp_path / "b" / "metrics.json").read_text())
    (tmp_path / "b" / "metrics.json").write_text(json.dumps(metrics | {"boxes": f"of {tmp_path}"}))
    status, text, _ = run("compare", tmp_path / "a", tmp_path / "b")
    assert status == 0
    assert "where the boxes of b are from is not known: a difference may be theirs" in text
    (tmp_path / "b" / "metrics.json").write_text(json.dumps(metrics | {"boxes": "detections.json"}))
    status, _, errors = run("compare", tmp_path / "a", tmp_path / "b")
    assert status == 2
    assert errors.startswith("posewright: a has boxes from gt, b from detections.json")


def test_results_of_one_name_are_told_by_their_folders(run, listing, tmp_path, monkeypatch):
    for name, shift in (("a", 0), ("b", 400)):
        (folder := tmp_path / name / "eval").mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(list(results_of(listing, shift))))
    arguments = ("--data", listing, "--json")
    status, text, errors = run("compare", tmp_path / "a/eval", tmp_path / "b/eval", *arguments)
    assert status == 0, errors
    said = json.loads(text)
    assert (list(said["metrics"]), list(said["differences"])) == (["a/eval", "b/eval"], ["b/eval"])
    monkeypatch.chdir(tmp_path / "a/eval")
    said = json.loads(run("compare", "results.json", "results.json", *arguments)[1])
    assert list(said["metrics"]) == ["eval", "eval (2)"]
