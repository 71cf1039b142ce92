"""Training: exact resume, signals, checkpoints, and that every loss learns."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import posewright as pw
from posewright import runlog, weights
from posewright.data import augment, coco, synthetic
from posewright.train import TrainConfig, fit, resumed

SLIM = "simplebaseline-r18-slim-128x96"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return {s: str(synthetic.make(folder, n, split=s, workers=1)) for s, n in (("train", 10), ("val", 4))}


@pytest.fixture
def config(files, tmp_path):
    return TrainConfig(
        model=SLIM,
        train=files["train"],
        out=str(tmp_path / "run"),
        batch=4,
        steps=6,
        lr=1e-3,
        warmup=2,
        ema=0.9,
        clip=1.0,
        workers=0,
        log_every=1,
        augment=augment.HRNET,
        device="cpu",
    )


def model(path):
    return weights.read_checkpoint(path)


def batches(files):
    """Batches of 4 an epoch."""
    return len(coco.read(files["train"])) // 4


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a) and a.keys() == b.keys()


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_run_ends_in_the_bits_of_an_unbroken_one(config, tmp_path, workers):
    config = replace(config, workers=workers)
    straight = replace(config, out=str(tmp_path / "straight"))
    assert fit(straight).finished
    stopped = fit(config, stop_at=3)
    assert (stopped.finished, stopped.step) == (False, 3)
    assert fit(resumed(config.out), resume=True).finished
    a, b = (model(Path(c.out) / "last.pt") for c in (straight, config))
    assert a["step"] == b["step"] == 6
    assert same(a["model"], b["model"])
    assert same(a["ema"]["state"], b["ema"]["state"])
    for left, right in zip(a["optimizer"]["state"].values(), b["optimizer"]["state"].values()):
        assert same(left, right)
    losses = [[r["loss"] for r in runlog.read(tmp_path / name)] for name in ("straight", "run")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_a_run_is_evaluated_and_its_best_weights_predict(config, files):
    fitted = fit(replace(config, val=files["val"], flip_test=False))
    assert fitted.finished
    assert set(fitted.figures) >= {"AP", "AR", "AP50"}
    best = fitted.out / "best.pt"
    assert weights.describe(best).spec == SLIM
    poses = pw.load(weights=best)(np.zeros((90, 120, 3), np.uint8), [[10, 10, 50, 70]])
    assert poses.xy.shape == (1, 17, 2)
    assert poses.skeleton.name == "coco17"
    rows = runlog.read(fitted.out)
    assert [r["step"] for r in rows if "AP" in r] == [batches(files), 6]
    assert (fitted.out / "log.csv").read_text().count("\n") == 1 + len(rows)


def test_an_evaluation_that_was_interrupted_is_done_first_on_resuming(config, files):
    end = batches(files)
    config = replace(config, val=files["val"], flip_test=False, steps=end)
    assert not fit(config, stop_at=end).finished  # stops before the evaluation at the epoch's end
    assert not any("AP" in r for r in runlog.read(Path(config.out)))
    assert fit(config, resume=True).finished
    assert [r["step"] for r in runlog.read(Path(config.out)) if "AP" in r] == [end]


def test_a_folder_with_a_run_is_not_overwritten(config):
    fit(config, stop_at=1)
    with pytest.raises(FileExistsError, match="holds a run already: resume it"):
        fit(config)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        resumed(config.out + "/elsewhere")


def test_a_checkpoint_of_another_model_is_refused(config):
    fit(config, stop_at=1)
    with pytest.raises(ValueError, match=r"last.pt: holds a run of 'simplebaseline-r18-slim-128x96', not of"):
        fit(replace(config, model="simplebaseline-r18-slim-128x128"), resume=True)


def test_a_loss_that_is_not_finite_stops_with_advice(config):
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step \d+: lower lr"):
        fit(replace(config, lr=1e30, warmup=0, clip=0.0, steps=20))


def test_unwritable_folder_and_bad_figures_are_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write into .*file/run.*choose another folder"):
        fit(replace(config, out=str(tmp_path / "file" / "run")))
    with pytest.raises(ValueError, match="lr must be above 0, got 0"):
        replace(config, lr=0.0)


def test_the_loss_falls_on_a_few_people(config):
    fit(replace(config, steps=40, augment=augment.NONE, lr=2e-3, ema=0.0, warmup=0, batch=8))
    losses = [r["loss"] for r in runlog.read(Path(config.out))]
    # Maps start near zero, where the error is the target's own energy: below that, peaks are being drawn.
    assert np.mean(losses[-3:]) < 0.95 * losses[0]


@pytest.mark.parametrize(
    ("name", "loss"), [(SLIM, "ohkm"), ("mspn-1stg-256x192", "coarse-to-fine"), ("lpn-50-256x192", "mse")]
)
def test_every_kind_of_loss_and_codec_takes_a_step(config, name, loss):
    assert fit(replace(config, model=name, loss=loss, steps=1, batch=2)).finished
    (row,) = runlog.read(Path(config.out))
    assert row["loss"] > 0
    assert 0 <= row["accuracy"] <= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(config, number):
    code = (
        "import sys, msgspec; from posewright.train import TrainConfig, fit\n"
        "fit(msgspec.json.decode(sys.argv[1].encode(), type=TrainConfig))"
    )
    endless = msgspec.json.encode(replace(config, steps=100_000, workers=1)).decode()
    process = subprocess.Popen([sys.executable, "-c", code, endless], stderr=subprocess.PIPE)
    log = Path(config.out) / "log.jsonl"
    for _ in range(600):
        if log.exists() and log.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    saved = model(Path(config.out) / "last.pt")["step"]
    assert saved >= 2
    again = fit(resumed(config.out), resume=True, stop_at=saved + 1)
    assert again.step == saved + 1
