"""`posewright bench`: a row for each runtime and batch size, with every step."""

import json

import numpy as np

from posewright import image

NAME = "simplebaseline-r18-slim-128x96"


def test_bench_states_every_step_of_each_runtime(run, tmp_path):
    image.write(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8))
    options = ("bench", NAME, "--image", tmp_path / "a.jpg", "--runtime", "torch", "--batch", 1, 2, "--turns", 1)
    status, out, _ = run(*options, "--json")
    assert status == 0
    said = json.loads(out)
    assert [(row["runtime"], row["batch"]) for row in said["rows"]] == [("torch", 1), ("torch", 2)]
    for row in said["rows"]:
        steps = [row[step] for step in ("read", "warp", "network", "decode", "draw")]
        assert all(step > 0 for step in steps)
        assert np.isclose(sum(steps), row["all"])
    assert {"torch", "numpy"} <= said["surroundings"]["versions"].keys()
    status, out, _ = run(*options)
    assert out.splitlines()[1].split() == ["runtime", "batch", "read", "warp", "network", "decode", "draw", "all"]


def test_numbers_below_one_are_refused(run):
    status, _, err = run("bench", NAME, "--batch", 0)
    assert (status, err) == (2, "posewright: --batch and --turns expect numbers from 1 on\n")
