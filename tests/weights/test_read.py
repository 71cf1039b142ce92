"""Reading files of weights: every format, every nesting, and files that do not hold weights."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from posewright.weights import checkpoint

STATE = {
    "conv.weight": torch.arange(54.0).reshape(2, 3, 3, 3),
    "bn.num_batches_tracked": torch.tensor(7),
    "half": torch.tensor([0.5, -2.0]).half(),
    "brain": torch.tensor([[1.5]]).bfloat16(),
    "flags": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 3),
}


def same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    return list(got) == list(want) and all(
        got[k].dtype == want[k].dtype and got[k].shape == want[k].shape and torch.equal(got[k], want[k]) for k in want
    )


def saved(path: Path, content: object, *, legacy: bool = False, protocol: int = 2) -> Path:
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bare_state_dict(tmp_path: Path, legacy: bool) -> None:
    assert same(checkpoint.read(saved(tmp_path / "net.pth.tar", STATE, legacy=legacy)), STATE)


def test_newer_pickle_protocols_and_number_types(tmp_path: Path) -> None:
    state = {"u": torch.tensor([1, 65535]).to(torch.uint16), "sizes": torch.ones(2), "set": {1, 2}}
    got = checkpoint.read(saved(tmp_path / "net.pt", state, protocol=4))
    assert got["u"].dtype == torch.uint16
    assert got["u"].to(torch.int32).tolist() == [1, 65535]
    assert list(got) == ["u", "sizes"]


def test_the_suffix_says_nothing(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "net.pth")
    checkpoint.write_mindspore(tmp_path / "net.safetensors", {"a": torch.ones(3)})
    saved(tmp_path / "net.ckpt", {"a": torch.ones(4)})
    shapes = [checkpoint.read(tmp_path / n)["a"].shape for n in ("net.pth", "net.safetensors", "net.ckpt")]
    assert shapes == [(2,), (3,), (4,)]


def test_safetensors_keep_every_type(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "net.safetensors")
    got = checkpoint.read(tmp_path / "net.safetensors")
    assert same({k: got[k] for k in STATE}, STATE)
    assert set(got) == set(STATE)


@pytest.mark.parametrize("nest", ["state_dict", "model", "best_state_dict", "net"])
def test_nested_with_prefix_and_optimiser(tmp_path: Path, nest: str) -> None:
    wrapped = OrderedDict((f"module.{k}", v) for k, v in STATE.items())
    content = {"epoch": 3, nest: wrapped, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "perf": 0.7}
    assert same(checkpoint.read(saved(tmp_path / "checkpoint.pth", content)), STATE)


def test_prefixes_go_only_from_the_front(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", {"module._orig_mod.module.sub.module.a": torch.ones(1)})
    assert list(checkpoint.read(path)) == ["sub.module.a"]


def test_hrnets_checkpoint_has_the_networks_name_under_model(tmp_path: Path) -> None:
    content = {"model": "pose_hrnet", "state_dict": STATE, "best_state_dict": {"other": torch.ones(1)}}
    assert same(checkpoint.read(saved(tmp_path / "checkpoint.pth", content)), STATE)


def test_mmposes_file(tmp_path: Path) -> None:
    """With a data preprocessor, and NumPy arrays and other objects in its notes, as mmpose 1.x writes them."""
    state = {"data_preprocessor.mean": torch.ones(3), "backbone.conv1.weight": torch.ones(1)}
    meta = {"dataset_meta": {"sigmas": np.ones(17), "one": np.float32(1)}, "args": argparse.Namespace(lr=1)}
    got = checkpoint.read(saved(tmp_path / "td-hm.pth", {"meta": meta, "state_dict": state}))
    assert list(got) == ["backbone.conv1.weight"]


def test_layouts_and_sharing_survive(tmp_path: Path) -> None:
    tied = torch.arange(6.0)
    state = {
        "a": tied[:4],
        "b": tied[2:].reshape(2, 2),
        "c": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    got = checkpoint.read(saved(tmp_path / "net.pt", state))
    assert same(got, state)
    assert got["c"].is_contiguous(memory_format=torch.channels_last)
    assert got["a"].untyped_storage().data_ptr() == got["b"].untyped_storage().data_ptr()


def test_parameters_with_attributes_of_their_own(tmp_path: Path) -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.partition = "model"  # pyright: ignore[reportAttributeAccessIssue]
    assert same(checkpoint.read(saved(tmp_path / "net.pt", {"w": parameter})), {"w": torch.ones(3)})


def test_a_whole_network_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"net\.pt: needs torch\.nn\.modules.*save the weights alone: torch\.save"):
        checkpoint.read(saved(tmp_path / "net.pt", nn.Linear(2, 2)))


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", {"a": torch.ones(1), "module.a": torch.ones(1)})
    with pytest.raises(ValueError, match=r"net\.pt: holds 'a' twice"):
        checkpoint.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x1f\x8b" + bytes(20), "gzip"),
        (b"x" * 257 + b"ustar", "tar archive"),
        (b"hello, world", "begins with b'hello, w'; expected a file of PyTorch, safetensors or MindSpore"),
        (b"\n\n\n\n\n", "a field of 10 bytes where 3 are left"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(ValueError, match=rf"net\.pth: .*{message}"):
        checkpoint.read(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no named tensors.*epoch"),
        ([torch.ones(1)], "expected a state dict, got a list"),
        (torch.ones(1), "expected a state dict"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"net\.pth: {message}"):
        checkpoint.read(saved(tmp_path / "net.pth", content))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file of weights"):
        checkpoint.read(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="expected a file of weights, got a folder"):
        checkpoint.read(tmp_path)
