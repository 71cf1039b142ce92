"""`posewright data` as a user meets it."""

from pathlib import Path

import numpy as np

from posewright import image


def test_drawing_people_and_refusing_to_mix_them(run, tmp_path):
    assert run("data", "synth", tmp_path, "--images", "2")[0] == 0
    picture = image.read(tmp_path / "train" / "000000000001.jpg")
    assert picture.shape[2] == 3
    assert picture.std() > 10
    status, _, errors = run("data", "synth", tmp_path, "--images", "3", "--seed", "1")
    assert status == 2
    assert str(Path(tmp_path)) in errors
    assert np.array_equal(picture, image.read(tmp_path / "train" / "000000000001.jpg"))


def test_synth_draws_animals(run, tmp_path):
    status, text, errors = run("data", "synth", tmp_path, "--images", 2, "--species", "rodent", "--frames", 2)
    assert status == 0, errors
    assert "2 synthetic images (rodent); annotations: " in text
    status, _, errors = run("data", "synth", tmp_path / "other", "--frames", 2)
    assert status == 2
    assert "--frames is for animals" in errors
