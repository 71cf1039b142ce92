"""Two processes train and evaluate as one: the same losses, weights and metrics up to the order of sums."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from posewright.report.run_folder import read_log
from posewright.synthetic import people
from posewright.train.distributed import SyncedBatchNorm, Team, team
from posewright.train.loop import TrainConfig, fit
from posewright.weights import checkpoint

PROGRAM = """
import sys, msgspec, torch
from dataclasses import replace
from torch import nn
from posewright.train.distributed import SyncedBatchNorm, team
from posewright.train.config import TrainConfig
from posewright.train.loop import fit

config = msgspec.json.decode(sys.argv[1].encode(), type=TrainConfig)
with team() as members:
    torch.manual_seed(0)
    x = torch.randn(5, 3, 2, 2, requires_grad=True)
    mine = x.tensor_split([2])[members.rank]  # two samples here, three there
    norm = SyncedBatchNorm(3)
    y = norm(mine)
    (y * torch.arange(y[0].numel()).reshape(y[0].shape)).sum().backward()
    torch.save([y.detach(), x.grad, norm.running_mean, norm.running_var], f"{config.out}-norm{members.rank}.pt")
    whole = fit(config)
    broken = replace(config, out=config.out + "-broken")
    assert not fit(broken, stop_at=2).finished
    assert fit(broken, resume=True).metrics == whole.metrics
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    train, val = (str(people.make(folder, n, split=s, workers=1)) for s, n in (("train", 6), ("val", 3)))
    return TrainConfig(
        model="simplebaseline-r18-slim-128x96",
        train=train,
        val=val,
        out=str(folder / "two"),
        batch=5,
        steps=4,
        optimizer="sgd",  # Adam turns rounding errors of vanishing gradients into whole steps
        lr=0.02,
        ema=0.5,
        workers=0,
        log_every=1,
        eval_every=100,
        device="cpu",
    )


@pytest.fixture(scope="module")
def two(config):
    """What two processes make of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    shared["OMP_NUM_THREADS"] = "1"  # as torchrun has it
    arguments = [sys.executable, "-W", "error", "-c", PROGRAM, msgspec.json.encode(config).decode()]
    processes = [
        subprocess.Popen(arguments, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=300)[1].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return errors


def test_two_processes_end_where_one_does(config, two):
    one = fit(replace(config, out=config.out + "-alone"))
    a, b = (checkpoint.read_checkpoint(Path(out) / "last.pt") for out in (config.out, one.out))
    assert a["step"] == b["step"] == 4
    for part in (a["model"], a["ema"]["state"]):
        other = b["model"] if part is a["model"] else b["ema"]["state"]
        for name, value in part.items():
            torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    rows = [read_log(Path(out)) for out in (config.out, one.out)]
    assert [r["loss"] for r in rows[0] if "loss" in r] == pytest.approx(
        [r["loss"] for r in rows[1] if "loss" in r], 1e-4
    )
    assert [r["accuracy"] for r in rows[0] if "loss" in r] == [r["accuracy"] for r in rows[1] if "loss" in r]
    assert checkpoint.read_checkpoint(Path(config.out) / "best.pt")["metrics"] == pytest.approx(one.metrics, abs=1e-6)


def test_a_broken_run_of_two_ends_in_the_bits_of_an_unbroken_one(config, two):
    a, b = (checkpoint.read_checkpoint(Path(out) / "last.pt") for out in (config.out, config.out + "-broken"))
    assert all(torch.equal(value, b["model"][name]) for name, value in a["model"].items())
    assert all(torch.equal(value, b["ema"]["state"][name]) for name, value in a["ema"]["state"].items())


def test_only_the_first_process_talks_and_writes(config, two):
    assert "training: 4/4 steps" in two[0]
    assert two[1] == ""
    rows = read_log(Path(config.out))
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 4]
    assert json.loads((Path(config.out) / "config.json").read_text())["batch"] == 5


def test_batch_norms_see_the_samples_of_all_processes(config, two):
    torch.manual_seed(0)
    x = torch.randn(5, 3, 2, 2, requires_grad=True)
    norm = nn.BatchNorm2d(3)
    y = norm(x)
    (y * torch.arange(12.0).reshape(3, 2, 2)).sum().backward()
    parts = [torch.load(f"{config.out}-norm{rank}.pt") for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), y.detach())
    torch.testing.assert_close(parts[0][1] + parts[1][1], x.grad, rtol=1e-4, atol=1e-5)
    for part in parts:
        torch.testing.assert_close(part[2], norm.running_mean)
        torch.testing.assert_close(part[3], norm.running_var)


def test_alone_there_is_nothing_to_agree_on(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with team() as members:
        assert members == Team()
        assert members.is_main
        assert members.sum(1.5, 2) == [1.5, 2]
        assert members.gather("x") == ["x"]
        assert members.wrap(net := nn.Conv2d(1, 1, 1), torch.device("cpu")) is net
        assert members.device("cpu") == torch.device("cpu")


def test_gpus_are_dealt_out(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Team(7, 8).device("auto") == torch.device("cuda:3")
    assert Team(7, 8).device("cuda:1") == torch.device("cuda:1")
    assert Team().device("auto") == torch.device("cuda")


def test_evaluation_mode_is_the_plain_norm():
    norm, plain = SyncedBatchNorm(3).eval(), nn.BatchNorm2d(3).eval()
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(norm(x), plain(x))
