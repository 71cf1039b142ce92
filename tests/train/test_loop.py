"""Training: exact resume, signals, checkpoints, and that every loss learns."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch

import posewright as pw
from posewright.data import augment, coco
from posewright.data.loader import Loader
from posewright.evaluate import evaluator
from posewright.report.run_folder import read_log
from posewright.train import loop, recipes, setup
from posewright.train._lock import locked
from posewright.train.distributed import Team
from posewright.train.loop import fit, resumed, rounds
from posewright.train.run_log import RunLog
from posewright.train.setup import prepared
from posewright.weights import checkpoint


def model(path):
    return checkpoint.read_checkpoint(path)


def batches(files):
    """Batches of 4 per epoch."""
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
    losses = [[r["loss"] for r in read_log(tmp_path / name)] for name in ("straight", "run")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_a_run_is_evaluated_and_its_best_weights_predict(config, files):
    fitted = fit(replace(config, val=files["val"], flip_test=False))
    assert fitted.finished
    assert set(fitted.metrics) >= {"AP", "AR", "AP50"}
    best = fitted.out / "best.pt"
    assert checkpoint.describe(best).spec == config.model
    poses = pw.load(weights=best)(np.zeros((90, 120, 3), np.uint8), [[10, 10, 50, 70]])
    assert poses.xy.shape == (1, 17, 2)
    assert poses.skeleton.name == "coco17"
    rows = read_log(fitted.out)
    assert [r["step"] for r in rows if "AP" in r] == [batches(files), 6]
    assert (fitted.out / "batch.jpg").exists()
    page = (fitted.out / "index.html").read_text()
    assert f"Training of {config.model}" in page
    assert "step 6 of 6" in page
    assert '"title":"loss"' in page
    assert '"picture":"' in page
    assert len(json.loads((fitted.out / "metrics.json").read_text())["data"]["sha256"]) == 64
    assert (fitted.out / "results.json").exists()
    assert (fitted.out / "log.csv").read_text().count("\n") == 1 + len(rows)


def test_short_epochs_are_not_all_evaluated(config, files, monkeypatch):
    monkeypatch.setattr(loop, "_MOST_EVALUATIONS", 2)
    fitted = fit(replace(config, val=files["val"], flip_test=False, steps=6 * batches(files)))
    assert [r["epoch"] for r in read_log(fitted.out) if "AP" in r] == [3, 6]


def test_a_changed_codec_trains_and_goes_with_the_weights(config, files, tmp_path):
    config = replace(config, codec={"sigma": 2.0, "quarter": False}, steps=2, val=files["val"], ema=0)
    fit(config)
    assert resumed(config.out).codec == config.codec
    codec = replace(pw.find(config.model).codec, sigma=2.0, quarter=False)
    with prepared(config, Team(), resume=True) as run:
        assert run.spec.codec == codec
        target = next(iter(run.loader.epoch(0))).target
        assert (target[:, 0].flatten(1) > 0).sum(
            1
        ).max() > 49  # 3 sigma to each side of the peak; the published 1 has 7 x 7
    best, converted = Path(config.out) / "best.pt", tmp_path / "net.safetensors"
    checkpoint.convert(best, converted, "safetensors")
    for path in (best, Path(config.out) / "last.pt", converted):
        assert checkpoint.describe(path).codec == config.codec
        assert pw.load(weights=path, device="cpu", runtime="torch").spec.codec == codec
    both = pw.load(weights=best, codec={"sigma": 3.0}, device="cpu", runtime="torch").spec.codec
    assert both == replace(codec, sigma=3.0)
    content = model(best)
    checkpoint.write_checkpoint(tmp_path / "odd.pt", content | {"codec": {"sigma": -1}})
    with pytest.raises(ValueError, match=r"odd\.pt: .*sigma must be above 0"):
        pw.load(weights=tmp_path / "odd.pt")
    del content["codec"]
    checkpoint.write_checkpoint(tmp_path / "old.pt", content)
    assert pw.load(weights=tmp_path / "old.pt", device="cpu", runtime="torch").spec.codec == pw.find(config.model).codec


def test_an_evaluation_that_was_interrupted_is_done_first_on_resuming(config, files):
    end = batches(files)
    config = replace(config, val=files["val"], flip_test=False, steps=end)
    assert not fit(config, stop_at=end).finished  # stops before the evaluation at the epoch's end
    assert not any("AP" in r for r in read_log(Path(config.out)))
    assert fit(config, resume=True).finished
    assert [r["step"] for r in read_log(Path(config.out)) if "AP" in r] == [end]


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


def test_unwritable_folder_and_bad_values_are_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write into .*file/run.*choose another folder"):
        fit(replace(config, out=str(tmp_path / "file" / "run")))
    with pytest.raises(ValueError, match="lr must be above 0, got 0"):
        replace(config, lr=0.0)


def test_the_loss_falls_on_a_few_people(config):
    fit(replace(config, steps=40, augment=augment.NONE, lr=2e-3, ema=0.0, warmup=0, batch=8))
    losses = [r["loss"] for r in read_log(Path(config.out))]
    # Maps start near zero, where the error is the target's own energy: below that, peaks are being drawn.
    assert np.mean(losses[-3:]) < 0.95 * losses[0]


@pytest.mark.parametrize(
    "recipe",
    [
        "simplebaseline_r50_coco", "hrnet_w32_coco", "hrnet_w32_dark_coco", "hrnet_w32_udp_coco",
        "hrnet_w32_udp_offset_coco", "grmi_r101_coco", "cpn_50_coco", "mspn_2stg_coco", "rsn_18_coco", "lpn_50_coco",
        "litehrnet_18_coco", "hourglass_8_coco",
    ],
)  # fmt: skip
def test_every_systems_recipe_takes_a_step(config, recipe):
    small = recipes.small(recipes.find(recipe), people=2, batch=2)
    small = replace(small, train=config.train, val="", out=config.out, workers=0, rounds=1, log_every=1, device="cpu")
    assert fit(small).finished
    (row,) = read_log(Path(config.out))
    assert row["loss"] > 0
    assert 0 <= row["accuracy"] <= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(config, number):
    code = (
        "import sys, msgspec; from posewright.train.loop import TrainConfig, fit\n"
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


@pytest.mark.parametrize(
    "changes", [{"precision": "bf16"}, {"precision": "fp16"}, {"accumulate": 2, "optimizer": "rmsprop"}], ids=str
)
def test_a_resumed_run_is_exact_in_half_precision_and_in_parts_too(config, tmp_path, monkeypatch, changes):
    """In fp16 too, which is refused on CPUs for being slow; the scale of the gradients is part of the checkpoint."""
    monkeypatch.setattr(setup, "_check_precision", lambda *_: None)
    config = replace(config, steps=2, **changes)
    fit(replace(config, out=str(tmp_path / "straight")))
    fit(config, stop_at=1)
    fit(resumed(config.out), resume=True)
    a, b = (model(tmp_path / name / "last.pt") for name in ("straight", "run"))
    assert same(a["model"], b["model"])
    assert same(a["ema"]["state"], b["ema"]["state"])
    assert bool(a["scaler"]) == (config.precision == "fp16")
    assert a["scaler"] == b["scaler"]


def test_parts_of_a_batch_add_up_to_its_gradients(config):
    """But for batch norms, which see a part: here they are in evaluation mode, where they see nothing."""
    learned = []
    for accumulate in (1, 3):
        with prepared(replace(config, accumulate=accumulate, clip=0.0, optimizer="sgd"), Team()) as run:
            run.net.train = lambda mode=True, net=run.net: torch.nn.Module.train(net, False)
            (batch, *_) = run.loader.epoch(0)
            loss, maps = run.train_step(batch, 0.0)
            assert maps.shape == (4, 17, 32, 24)
            learned.append((loss, [p.grad for p in run.net.parameters()]))
    assert learned[0][0] == pytest.approx(learned[1][0])
    for whole, added in zip(learned[0][1], learned[1][1], strict=True):
        torch.testing.assert_close(whole, added, rtol=1e-4, atol=1e-7)


def test_precisions_that_a_device_lacks_are_refused(config, monkeypatch):
    with pytest.raises(ValueError, match=r"fp16 is for CUDA devices, .*; on the CPU use bf16 or float32"):
        fit(replace(config, precision="fp16"))
    monkeypatch.setattr(setup.torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(ValueError, match="this cpu has no bf16 arithmetic: use float32"):
        fit(replace(config, precision="bf16"))


def test_a_checkpoint_of_another_version_is_refused(config):
    fit(config, stop_at=1)
    path = Path(config.out) / "last.pt"
    checkpoint.write_checkpoint(path, {k: v for k, v in model(path).items() if k != "scaler"})
    with pytest.raises(
        ValueError, match=r"last.pt: of another version of Posewright; start a new run with its weights"
    ):
        fit(config, resume=True)


def test_a_run_ends_once_nothing_gets_better(config, files, monkeypatch):
    values = iter([0.1, 0.3, 0.2, 0.25, 0.4])
    evaluation = evaluator.Evaluation({}, [], None, None, "", (), "gt")
    monkeypatch.setattr(evaluator, "evaluate", lambda *_, **__: replace(evaluation, metrics={"AP": next(values)}))
    monkeypatch.setattr(loop, "_write_page", lambda *_: None)
    config = replace(config, val=files["val"], steps=100, batch=8, patience=2)
    assert not fit(config, stop_at=3).finished
    fitted = fit(config, resume=True)
    assert fitted.finished
    assert fitted.metrics == {"AP": 0.3}
    assert [r["AP"] for r in read_log(fitted.out) if "AP" in r] == [0.1, 0.3, 0.2, 0.25]
    assert checkpoint.read_checkpoint(fitted.out / "best.pt")["metrics"] == {"AP": 0.3}


def test_rounds_go_on_from_each_other_and_from_an_interruption(config, tmp_path):
    config = replace(config, rounds=3, steps=2, ema=0.0)
    (stopped,) = rounds(config, stop_at=1)
    assert (stopped.finished, stopped.out.name) == (False, "round1")
    assert not (tmp_path / "run" / "round2").exists()
    with pytest.raises(FileExistsError, match="holds a run already: resume it"):
        rounds(config)
    assert all(r.finished for r in rounds(resumed(config.out), resume=True))
    configs = [resumed(tmp_path / "run" / f"round{n}") for n in (1, 2, 3)]
    assert [c.init for c in configs] == ["", *(str(tmp_path / "run" / f"round{n}" / "last.pt") for n in (1, 2))]
    assert [(c.seed, c.rounds) for c in configs] == [(0, 1), (1, 1), (2, 1)]
    assert [r["lr"] for r in read_log(tmp_path / "run" / "round3")] == [
        r["lr"] for r in read_log(tmp_path / "run" / "round1")
    ]
    assert rounds(resumed(config.out), resume=True)[-1].step == 2  # there is nothing left to do


def test_a_compiled_network_learns_the_same(config, tmp_path, monkeypatch):
    """Without the compiler's back end, which wants a C++ compiler and a minute."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net: compiled(net, backend="eager"))
    config = replace(config, steps=2)
    fit(replace(config, out=str(tmp_path / "plain")))
    fit(replace(config, compile=True))
    a, b = (read_log(tmp_path / name) for name in ("plain", "run"))
    assert [r["loss"] for r in a] == pytest.approx([r["loss"] for r in b])
    assert model(tmp_path / "run" / "last.pt")["model"].keys() == model(tmp_path / "plain" / "last.pt")["model"].keys()


def test_a_rehearsal_changes_nothing(config):
    with prepared(config, Team()) as run:
        before = {name: value.clone() for name, value in run.net.state_dict().items()}
        run.dry_run(3)
        assert same(before, run.net.state_dict())
        assert all(p.grad is None for p in run.net.parameters())


@pytest.mark.parametrize("parts", [1, 3])
def test_the_logged_accuracy_is_the_published_one(parts):
    """A peak 3 of 64 columns off is within a twentieth of the map as HRNet measures it, one 4 off is not."""
    target = np.zeros((2, 3 * parts, 64, 48), np.float32)
    maps = np.zeros_like(target)
    for person in range(2):
        for point, off in enumerate((0, 3, 4)):
            target[person, point * parts, 20, 20] = 1
            maps[person, point * parts, 20, 20 + off * person] = 1
    skeleton = SimpleNamespace(num_keypoints=3, points=("a", "b", "c"))
    run = SimpleNamespace(
        spec=SimpleNamespace(skeleton=skeleton), team=SimpleNamespace(gather=lambda value: [value, value])
    )
    batch = SimpleNamespace(target=torch.from_numpy(target))
    row = loop._accuracy(run, batch, torch.from_numpy(maps))
    assert row["accuracy_by_point"] == {"a": 1, "b": 1, "c": 0.5}
    assert row["accuracy"] == pytest.approx(2.5 / 3)
    several = SimpleNamespace(target=torch.from_numpy(np.stack([0 * target, target], 1)[:, :, ::parts]))
    assert loop._accuracy(run, several, torch.from_numpy(maps)) == row
    assert loop._accuracy(run, SimpleNamespace(target=0 * batch.target), torch.from_numpy(maps))["accuracy"] == 0


def test_a_divergence_is_named(config):
    with pytest.raises(
        ValueError, match=r"the training diverged: the loss is .* at step \d+ and began with .*lower lr"
    ):
        fit(replace(config, lr=1e6, warmup=0, clip=0.0, ema=0.0, steps=20))


def test_a_run_without_a_checkpoint_says_how_to_start(config):
    fit(config, stop_at=1)
    (Path(config.out) / "last.pt").unlink()
    with pytest.raises(FileNotFoundError, match="stopped before its first checkpoint, so there is nothing to resume"):
        fit(config, resume=True)


def test_a_folder_in_use_is_refused_and_a_killed_owner_forgotten(tmp_path):
    with locked(tmp_path):
        with (
            pytest.raises(FileExistsError, match=rf"in use: process {os.getpid()} on .* has trained there since"),
            locked(tmp_path),
        ):
            pass
        content = json.loads((tmp_path / "run.lock").read_text())
    assert not (tmp_path / "run.lock").exists()
    (tmp_path / "run.lock").write_text(json.dumps(content | {"born": "0"}))  # its number belongs to another one now
    with locked(tmp_path):
        pass
    (tmp_path / "run.lock").write_text(json.dumps(content | {"host": "elsewhere"}))
    with pytest.raises(FileExistsError, match="on elsewhere"), locked(tmp_path):
        pass


def test_damaged_checkpoints_and_logs_are_named(config):
    fit(config, stop_at=1)
    last, log = Path(config.out) / "last.pt", Path(config.out) / "log.jsonl"
    content = model(last)
    for key, value in (("step", "one"), ("optimizer", []), ("best", {"AP": "high"}), ("model", {})):
        checkpoint.write_checkpoint(last, content | {key: value})
        with pytest.raises(ValueError, match=r"last\.pt: damaged, or not of this configuration") as caught:
            fit(config, resume=True)
        assert "\n" not in str(caught.value)
    checkpoint.write_checkpoint(last, content)
    log.write_text('[1]\n{"step": 1}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl: line 1: expected an object with the step"):
        fit(config, resume=True)
    log.write_text('{"step": 1}\n{"st')  # cut short by a crash
    assert fit(config, resume=True).finished


def test_a_killed_worker_is_explained_and_the_run_saved(config, monkeypatch):
    def dies(self, number, first=0):
        yield next(epoch(self, number, first))
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    epoch = Loader.epoch
    monkeypatch.setattr(Loader, "epoch", dies)
    with pytest.raises(OSError, match=r"was killed at step 1, most likely because memory ran out; the run is saved"):
        fit(config)
    monkeypatch.setattr(Loader, "epoch", epoch)
    assert fit(config, resume=True).finished


def test_a_full_disk_is_one_line_and_the_run_can_be_resumed(config, monkeypatch):
    fit(config, stop_at=1)

    def full(row):
        raise OSError(28, "No space left on device")

    with RunLog(Path(config.out), 1) as log:
        monkeypatch.setattr(
            log, "_files", tuple(SimpleNamespace(name=f.name, write=full, close=f.close) for f in log._files)
        )
        with pytest.raises(OSError, match=r"cannot write .*log\.jsonl: No space left on device"):
            log.add({"step": 2})
    assert fit(config, resume=True).finished
