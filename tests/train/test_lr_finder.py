"""The sweep suggests a rate that learns, and leaves nothing but its findings."""

import json
import re

import numpy as np
import pytest

from posewright.cli import main
from posewright.synthetic import people
from posewright.train import lr_finder
from posewright.train.loop import TrainConfig


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return str(people.make(tmp_path_factory.mktemp("people"), 4, split="train", workers=1))


def test_the_steepest_fall_before_the_lowest_loss():
    rates = np.geomspace(1e-5, 1, 51)
    losses = np.where(rates < 1e-1, 1 / (1 + rates / 1e-3), 5.0)
    assert lr_finder.steepest(rates, losses) == pytest.approx(1e-3, rel=0.3)
    assert lr_finder.steepest(rates, np.linspace(1, 2, 51)) == pytest.approx(1e-5)


def test_smoothing_starts_at_the_first_loss():
    np.testing.assert_allclose(lr_finder.smoothed(np.array([2.0, 2.0, 2.0])), 2)
    assert lr_finder.smoothed(np.array([1.0, 0.0])).tolist() == pytest.approx([1, 0.9 / 1.9])


def test_a_sweep_from_the_command_line(listing, tmp_path, capsys):
    settings = ["batch=2", "workers=0", "device=cpu", "ema=0"]
    arguments = ["train", "simplebaseline-r18-slim-128x96", "--train", listing, "--out", str(tmp_path), "--find-lr"]
    assert main([*arguments, "--set", *settings]) == 0
    assert re.search(r"learning rate [\d.]+e-\d\d: --set lr=", capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["find-lr.json", "find-lr.svg"]
    found = json.loads((tmp_path / "find-lr.json").read_text())
    assert found["lr"][0] <= found["suggested"] <= found["lr"][-1]
    assert len(found["lr"]) == len(found["loss"])
    assert (tmp_path / "find-lr.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg" ')


def test_an_exploding_loss_ends_the_sweep(listing, tmp_path):
    config = TrainConfig(
        model="simplebaseline-r18-slim-128x96", train=listing, out=str(tmp_path), batch=2, workers=0, optimizer="sgd"
    )
    found = lr_finder.find_lr(config, low=1e-2, high=1e12, steps=14)
    assert len(found.lr) < 14
    assert found.best < 1e6
    with pytest.raises(
        ValueError, match=r"expected rates above 0 that rise, in 10 steps or more, got 1.0 to 0.1 in 20"
    ):
        lr_finder.find_lr(config, low=1.0, high=0.1, steps=20)
