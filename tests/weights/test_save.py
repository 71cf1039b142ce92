"""Saving: state dicts, checkpoints, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from posewright import __version__
from posewright.skeletons import CROWDPOSE14, to_category
from posewright.weights import checkpoint

STATE = {"a": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last), "b": torch.rand(4)[::2]}


def test_safetensors_there_and_back(tmp_path: Path) -> None:
    tied = torch.rand(3)
    state = STATE | {"c": tied, "d": tied}
    checkpoint.save(tmp_path / "net.safetensors", state, {})
    got = checkpoint.read(tmp_path / "net.safetensors")
    assert set(got) == set(state)
    assert all(torch.equal(got[k], state[k]) for k in state)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_our_files_describe_themselves(tmp_path: Path, kind: str) -> None:
    note = {"spec": "toy-64x48", "skeleton": to_category(CROWDPOSE14), "metrics": {"AP": 0.5}, "config": {"lr": 1e-3}}
    if kind == "safetensors":
        checkpoint.save(tmp_path / "net", STATE, note)
    else:
        checkpoint.write_checkpoint(tmp_path / "net", {"posewright": __version__, "model": STATE, **note})
    about = checkpoint.describe(tmp_path / "net")
    assert about is not None
    assert (about.version, about.spec, about.skeleton) == (__version__, "toy-64x48", CROWDPOSE14)
    assert (about.metrics, about.config) == ({"AP": 0.5}, {"lr": 1e-3})
    assert set(checkpoint.read(tmp_path / "net")) == {"a", "b"}


def test_files_of_others_do_not(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "spec": "x"}, tmp_path / "zip.pth")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save([1], tmp_path / "list.pth")
    checkpoint.write_mindspore(tmp_path / "net.ckpt", STATE)
    checkpoint.save(tmp_path / "net.safetensors", STATE, {})
    assert [checkpoint.describe(path) for path in sorted(tmp_path.iterdir())] == [None] * 5


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)  # pyright: ignore
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    content = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "best": {"AP": np.float64(0.25)},
        "step": np.int64(7),
        "ema": None,
        "milestones": (0.5, [True, "x"]),
        "bits": torch.tensor([1.5]).bfloat16(),
        "big": 1 << 100,
    }
    checkpoint.write_checkpoint(tmp_path / "last.pt", content)
    got = checkpoint.read_checkpoint(tmp_path / "last.pt")
    assert all(torch.equal(got["model"][k], v) for k, v in net.state_dict().items())
    fresh = torch.optim.Adam(net.parameters())
    fresh.load_state_dict(got["optimizer"])
    assert torch.equal(fresh.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert torch.equal(got["rng"], content["rng"])
    assert got["big"] == 1 << 100
    assert (got["step"], got["ema"], got["milestones"], got["best"]) == (7, None, (0.5, [True, "x"]), {"AP": 0.25})
    assert type(got["best"]["AP"]) is float
    assert set(checkpoint.read(tmp_path / "last.pt")) == set(net.state_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": {"b": [object()]}}, r"checkpoint\['a'\]\['b'\]\[0\]: expected a tensor, number.*got object"),
        ({"a": np.ones(2)}, r"checkpoint\['a'\]: .*got ndarray"),
        ({"a": {(1, 2): 3}}, r"checkpoint\['a'\]: keys must be strings or integers, got \(1, 2\)"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checkpoint.write_checkpoint(tmp_path / "last.pt", content)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    checkpoint.write_checkpoint(path, {"step": 1})

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.write_checkpoint(path, {"step": 2})
    assert checkpoint.read_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: expected a checkpoint \(a dict\), got a list"):
        checkpoint.read_checkpoint(tmp_path / "list.pt")
    torch.save({"a": {1, 2}}, tmp_path / "set.pt")
    with pytest.raises(ValueError, match=r"set\.pt: holds a __builtin__\.set; expected tensors, numbers"):
        checkpoint.read_checkpoint(tmp_path / "set.pt")
    with pytest.raises(FileNotFoundError, match=r"none\.pt: no such file"):
        checkpoint.read_checkpoint(tmp_path / "none.pt")
