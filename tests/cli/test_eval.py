"""`posewright eval` as a user meets it."""

import json

import numpy as np

SLIM = "simplebaseline-r18-slim-128x96"


def test_eval_prints_the_ten_lines_and_a_row_with_the_box_source(run, listing, last, tmp_path):
    status, text, _ = run("eval", "--data", listing, "--weights", last, "--out", tmp_path, "--no-flip-test")
    assert status == 0
    assert text.count(" @[ IoU=0.") == 10
    assert text.count("Average Recall     (AR)") == 5
    assert "| gt |" in text
    assert "contact sheets" not in text
    assert text.endswith(f"page: {tmp_path / 'index.html'}\n")
    page = (tmp_path / "index.html").read_text()
    assert "Worst cases" in page
    assert "<svg" not in page  # curves are of trainings
    (results := tmp_path / "results.json").stat()
    status, again, _ = run("eval", "--data", listing, "--results", results)
    assert status == 0
    assert [a for a in again.splitlines() if "@[" in a] == [a for a in text.splitlines() if "@[" in a]


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

    other = written("other.json", [*own[:16], "tail"])
    status, _, errors = run("eval", "--data", other, "--images", set_up / "val", "--weights", best)
    assert status == 2
    assert "other.json: its points are not the network's, by name: the network does not find tail, and" in errors
    assert f"the file does not label {own[16]}" in errors


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
