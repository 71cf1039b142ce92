"""MindSpore checkpoints: against a file that MindSpore wrote, and there and back."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from posewright.weights import checkpoint, mindspore_file

EVERY_TYPE = {name: torch.tensor([[0, 1, 2], [3, 100, 1]]).to(dtype) for name, dtype in mindspore_file.TYPES.items()}


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def entry(tag: str, dims: bytes, kind: str, content: bytes) -> bytes:
    return field(1, field(1, tag.encode()) + field(2, dims + field(2, kind.encode()) + field(3, content)))


def reads(tmp_path: Path, data: bytes) -> dict[str, torch.Tensor]:
    (tmp_path / "net.ckpt").write_bytes(data)
    return checkpoint.read(tmp_path / "net.ckpt")


def test_a_file_that_mindspore_wrote(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "mindspore"
    got, want = checkpoint.read(folder / "tiny.ckpt"), np.load(folder / "tiny.npz")
    assert set(got) == set(want)
    for name in want:
        assert got[name].numpy().dtype == want[name].dtype
        assert got[name].shape == want[name].shape
        assert np.array_equal(got[name].numpy(), want[name])
    checkpoint.write_mindspore(tmp_path / "again.ckpt", got)
    assert (tmp_path / "again.ckpt").read_bytes() == (folder / "tiny.ckpt").read_bytes()


@pytest.mark.parametrize("crc", [False, True])
@pytest.mark.parametrize("slice_bytes", [512 << 20, 7])
def test_there_and_back(tmp_path: Path, crc: bool, slice_bytes: int) -> None:
    state = {**EVERY_TYPE, "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "wide": torch.rand(300)}
    mindspore_file.write(tmp_path / "net.ckpt", state, crc=crc, slice_bytes=slice_bytes)
    got = checkpoint.read(tmp_path / "net.ckpt")
    assert list(got) == list(state)
    for name, want in state.items():
        assert got[name].dtype == want.dtype
        assert torch.equal(got[name], want)


def test_numpy_arrays_are_written_too(tmp_path: Path) -> None:
    checkpoint.write_mindspore(tmp_path / "net.ckpt", {"a": np.arange(3, dtype=np.int16)})
    assert checkpoint.read(tmp_path / "net.ckpt")["a"].dtype == torch.int16


def test_shapes_packed_or_one_by_one_or_as_older_mindspore_has_scalars(tmp_path: Path) -> None:
    one = entry("one", b"\x08\x02\x08\x03", "Int8", bytes(range(6)))
    packed = entry("packed", field(1, b"\x02\x03"), "Int8", bytes(range(6)))
    scalar = entry("scalar", b"\x08\x00", "Int32", b"\x05\x00\x00\x00")
    got = reads(tmp_path, one + packed + scalar)
    assert torch.equal(got["one"], torch.arange(6).reshape(2, 3).to(torch.int8))
    assert torch.equal(got["one"], got["packed"])
    assert got["scalar"].shape == ()
    assert got["scalar"].item() == 5


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    data = bytearray(entry("a", b"\x08\x01", "Int8", b"\x05"))
    data += b"crc_num" + zlib.crc32(data).to_bytes(10, "big")
    assert reads(tmp_path, bytes(data))["a"].item() == 5
    data[-18] ^= 1
    with pytest.raises(ValueError, match=r"net\.ckpt: its checksum is 0x.* the file is damaged"):
        reads(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (entry("a", b"\x08\x02", "Int8", b"\x05"), r"'a' has the shape \(2,\) of Int8, but 1 bytes"),
        (entry("a", b"\x08" + b"\xff" * 9 + b"\x01", "Int8", b""), r"'a' has the shape \(-1,\).* none below 0"),
        (entry("a", b"\x08\xff\xff\xff\xff\x0f" * 6, "Int8", b""), r"'a' has the shape \(4294967295, .*but 0 bytes"),
        (entry("a", b"\x08\x01" * 12, "Int8", b"\x05"), "expected up to 8 sizes|do not have"),
        (entry("a", b"\x08\x01", "str", b"\x05"), "'a' is of type 'str'; expected one of Float16"),
        (entry("a", b"\x08\x01", "Int8", b"\x05") * 2, r"'a' has the shape \(1,\) of Int8, but 2 bytes"),
        (entry("a", b"\x08\x01", "Int8", b"\x05") + entry("a", b"", "Int8", b"\x05"), "'a' occurs twice"),
        (field(1, field(1, b"a") + field(3, b"")), "'a' is a hash table"),
        (field(1, field(1, b"a")), "entry 'a' lacks its tensor"),
        (field(1, field(2, field(3, b""))), "a tensor lacks its type"),
        (field(1, b"\x08" + b"\xff" * 11), "a number of more than ten bytes"),
        (b"\x0a\xff\xff\xff\xff\x7f", "cut short or damaged"),
        (b"\x0a\x01\x0b", "wire type 3|ends inside"),
    ],
)
def test_damaged_and_foreign_files(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"net\.ckpt: .*({message})"):
        reads(tmp_path, data)


def test_types_that_mindspore_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a' is of type torch\.complex64; MindSpore has Float16"):
        checkpoint.write_mindspore(tmp_path / "net.ckpt", {"a": torch.zeros(1, dtype=torch.complex64)})
    assert not list(tmp_path.iterdir())
