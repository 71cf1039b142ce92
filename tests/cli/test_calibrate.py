"""`posewright calibrate` as a user meets it."""

import json
import shutil

import numpy as np


def test_calibrate_says_the_error_before_and_after_and_eval_then_writes_both_scores(run, listing, last, tmp_path):
    rng = np.random.default_rng(0)
    results = []
    for a in json.loads(listing.read_text())["annotations"]:
        for _ in range(8):
            triples = np.reshape(a["keypoints"], (-1, 3)).astype(float)
            triples[:, 0] += 500 * (rng.random() < 0.5)
            keypoints = triples.ravel().tolist()
            results.append(
                {
                    "image_id": a["image_id"],
                    "file_name": "x.jpg",
                    "category_id": 1,
                    "keypoints": keypoints,
                    "score": 3.0,
                }
            )
    (tmp_path / "found.json").write_text(json.dumps(results))
    shutil.copy(last, weights := tmp_path / "best.pt")
    status, text, errors = run("calibrate", tmp_path / "found.json", "--data", listing, "--weights", weights)
    assert status == 0, errors
    assert "calibration error: " in text
    assert (tmp_path / "best.calibration.json").is_file()
    both = json.loads((tmp_path / "found.calibrated.json").read_text())
    assert {entry["score"] for entry in both} == {3.0}
    assert {frozenset(entry) for entry in both} == {frozenset((*results[0], "calibrated"))}  # no empty boxes
    assert all(0 <= entry["calibrated"] <= 1 for entry in both)

    arguments = ("--weights", weights, "--out", tmp_path / "eval", "--no-flip-test")
    assert run("eval", "--data", listing, *arguments)[0] == 0
    evaluated = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert all(0 <= entry["calibrated"] <= 1 for entry in evaluated)
    (image, *_) = sorted((listing.parents[1] / "val").glob("*.jpg"))
    assert run("predict", image, "--weights", weights, "--out", tmp_path / "found", "--no-flip-test")[0] == 0
    (found,) = json.loads((tmp_path / "found" / "results.json").read_text())
    assert 0 <= found["calibrated"] <= 1
    assert found["score"] != found["calibrated"]
