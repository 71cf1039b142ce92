"""Damaged and malicious files: one clear error each; no crash, no hang, no code, no huge memory."""

from __future__ import annotations

import os
import pickle
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from posewright.weights import checkpoint

STATE = {"conv.weight": torch.arange(27.0).reshape(1, 3, 3, 3), "conv.bias": torch.ones(5), "n": torch.tensor(3)}


def zipped(path: Path) -> None:
    torch.save({"state_dict": STATE, "epoch": 1}, path)


def pickled(path: Path) -> None:
    torch.save({"state_dict": STATE, "epoch": 1}, path, _use_new_zipfile_serialization=False)


def mindspore(path: Path) -> None:
    checkpoint.write_mindspore(path, STATE)


def plain_zip(
    path: Path, pkl: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> Path:
    """A file in PyTorch's zip format with this pickle."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("net/data.pkl", pkl)
        archive.writestr("net/version", "3\n")
        for key, content in (storages or {}).items():
            archive.writestr(f"net/data/{key}", content)
    return path


def tensor_pickle(shape: tuple[int, ...], stride: tuple[int, ...], *, offset: int = 0, size: int = 4) -> bytes:
    """The pickle of {"a": a tensor of that view of a storage of `size` floats}."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += pickle.dumps(size, 2)[2:-1] + b"tQ"
    view = b"".join(pickle.dumps(part, 2)[2:-1] for part in (offset, shape, stride))
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\x00\x00\x00a" + call + b"s."


class Evil:
    """Unpickling this would create the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.marker}",)


class EvilState(Evil):
    """The same, through an expression."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return eval, (f"open({str(self.marker)!r}, 'w')",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", [Evil, EvilState])
@pytest.mark.parametrize(
    "wrap", [lambda e: e, lambda e: {"state_dict": STATE, "meta": e}, lambda e: {**STATE, "x": [e]}]
)
def test_no_code_in_a_file_is_run(
    tmp_path: Path, legacy: bool, kind: type[Evil], wrap: Callable[[Evil], object]
) -> None:
    path, marker = tmp_path / "net.pth", tmp_path / "marker"
    torch.save(wrap(kind(marker)), path, _use_new_zipfile_serialization=not legacy)
    for reader in (checkpoint.read, checkpoint.read_checkpoint):
        with pytest.raises(ValueError, match=r"net\.pth: needs .*(system|eval), and code in a file is never run"):
            reader(path)
    if not legacy:
        with pytest.raises(ValueError, match="is never run"):
            checkpoint.describe(path)
    assert not marker.exists()


def test_a_pickles_pickle_is_not_run_either(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(pickle.dumps(Evil(tmp_path / "marker")))
    with pytest.raises(ValueError, match="is never run"):
        checkpoint.read(tmp_path / "net.pth")
    assert not (tmp_path / "marker").exists()


def test_the_hand_made_file_is_a_good_one(tmp_path: Path) -> None:
    path = plain_zip(tmp_path / "net.pt", tensor_pickle((2, 2), (2, 1)), {"0": struct.pack("<4f", 1, 2, 3, 4)})
    assert checkpoint.read(path)["a"].tolist() == [[1, 2], [3, 4]]
    assert torch.load(path, weights_only=True)["a"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "pkl",
    [
        tensor_pickle((1 << 40,), (0,)),  # one number for a terabyte
        tensor_pickle((1 << 62, 1 << 62), (1, 1)),
        tensor_pickle((-2, -2), (2, 1)),
        tensor_pickle((2, 2), (-2, 1)),
        tensor_pickle((2, 2), (2, 1), offset=1),
        tensor_pickle((2, 2), (2, 1), offset=-1),
        tensor_pickle((2, 2), (2,)),
        tensor_pickle((1,) * 9, (1,) * 9),
        tensor_pickle((2, 2), (2, 1), size=1 << 50),
        tensor_pickle((2, 2), (2, 1), size=3),
        tensor_pickle((1 << 62, 1 << 62, 0), (1, 1, 1)),
    ],
)
def test_tensors_that_do_not_fit_their_bytes(tmp_path: Path, pkl: bytes) -> None:
    path = plain_zip(tmp_path / "net.pt", pkl, {"0": bytes(16)})
    with pytest.raises(ValueError, match=r"net\.pt: .*damaged"):
        checkpoint.read(path)


def test_zip_bombs(tmp_path: Path) -> None:
    path = plain_zip(tmp_path / "net.pt", tensor_pickle((1,), (1,)), {"0": bytes(1 << 24)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 17
    with pytest.raises(ValueError, match=r"net\.pt: its entries are compressed"):
        checkpoint.read(path)
    data = bytearray(plain_zip(path, tensor_pickle((1,), (1,)), {"0": bytes(1 << 10)}).read_bytes())
    at = data.rindex(b"PK\x01\x02") + 20  # the sizes in the last directory entry
    data[at : at + 8] = struct.pack("<II", 1 << 31, 1 << 31)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"net\.pt: its entries claim more than the \d+ bytes of the file"):
        checkpoint.read(path)


def test_archives_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "horse.zip", "w") as archive:
        archive.writestr("horse/checkpoint.pth.tar", b"")
    with pytest.raises(ValueError, match=r"horse\.zip: a zip archive of horse/checkpoint\.pth\.tar.* unpack it first"):
        checkpoint.read(tmp_path / "horse.zip")


def deep(levels: int) -> bytes:
    return b"\x80\x02}" + b")" + b"\x85" * levels + b"K\x01s."


@pytest.mark.parametrize(
    ("pkl", "message"),
    [
        (deep(200_000), "holds no named tensors"),  # as a key it would overflow the stack when hashed
        (b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s.", "holds no named tensors"),  # contains itself
        (b"\x80\x02" + b"N" * 5_000_002 + b".", "more than 5000000 steps"),
        (b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "expected a state dict, got a Foreign"),
        (b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R.", "expected a state dict, got a Foreign"),
        (b"\x80\x02\x8e" + struct.pack("<Q", 1 << 40) + b".", "damaged|expected"),
        (b"\x80\x02(ios\nsystem\n.", "holds the pickle instruction INST"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
    ],
)
def test_malicious_pickles(tmp_path: Path, pkl: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"net\.pt: .*({message})"):
        checkpoint.read(plain_zip(tmp_path / "net.pt", pkl))


def test_lists_doubled_again_and_again_are_read_once_each(tmp_path: Path) -> None:
    content: list[object] = []
    for _ in range(60):
        content = [content, content]
    torch.save({"laughs": content}, tmp_path / "net.pt")
    got = checkpoint.read_checkpoint(tmp_path / "net.pt")["laughs"]
    assert got[0] is got[1]


def test_a_checkpoint_that_contains_itself(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    content["again"] = content
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"net\.pt: damaged, or malicious: nested more than 100 deep"):
        checkpoint.read_checkpoint(tmp_path / "net.pt")


def doubled(times: int = 200) -> bytes:
    """Pickle instructions that leave a tuple of two equal tuples of two equal tuples, and so on: 2 ** times leaves."""
    return b")" + b"".join(b"q%ch%c\x86" % (i % 250, i % 250) for i in range(times))


def nested(times: int = 60_000) -> bytes:
    return b")" + b"\x85" * times


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n%sX\x03\x00\x00\x00cpuK\x04tQ"
CALL = b"ctorch._utils\n_rebuild_tensor_v2\n(%sK\x00%s%s\x89ccollections\nOrderedDict\n)RtR"
KEY = b"X\x01\x00\x00\x000"
TENSOR = b"\x80\x02}X\x01\x00\x00\x00a" + CALL + b"s."
NOTE = b"\x80\x02}(X\x0a\x00\x00\x00posewright%sX\x04\x00\x00\x00specNX\x08\x00\x00\x00skeletonNu."
READ = """
import resource, sys
from posewright.weights import checkpoint
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sys.argv[1:]:
    for reader in (checkpoint.read, checkpoint.read_checkpoint, checkpoint.describe):
        try:
            reader(path)
            print("read")
        except ValueError as error:
            print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory as Linux does")
def test_pickles_that_hang_crash_or_fill_the_memory_of_others(tmp_path: Path) -> None:
    """In a process of its own, with 512 MiB and 60 seconds of CPU time for all of them, and no traceback."""
    pickles = [
        *(TENSOR % (STORAGE % bad(), b"K\x02\x85", b"K\x01\x85") for bad in (doubled, nested)),  # a storage's key
        *(TENSOR % (STORAGE % KEY, bad() + b"\x85", b"K\x01\x85") for bad in (doubled, nested)),  # a size
        *(TENSOR % (bad(), b"K\x02\x85", b"K\x01\x85") for bad in (doubled, nested)),  # the storage
        *(b"\x80\x02}" + bad() + b"K\x01s." for bad in (doubled, nested)),  # a key of a dict
        *(b"\x80\x02" + bad() + b"Q." for bad in (doubled, nested)),  # a persistent id
        *(NOTE % bad() for bad in (doubled, nested)),  # what the file says of itself
        TENSOR % (STORAGE % (b"X" + struct.pack("<I", 4 << 20) + b"k" * (4 << 20)), b"K\x09\x85", b"K\x01\x85"),
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # the memo's 2147483647th entry
        b"\x80\x02\x8e" + struct.pack("<Q", 1 << 33) + b".",  # 8 GiB of bytes
        b"\x80\x02" + b"ctorch._tensor\n_rebuild_from_type_v2\n" * 5 + b"N" + b"NN)\x86R" * 4 + b".",
    ]
    paths = [plain_zip(tmp_path / f"{i}.pt", pkl, {"0": bytes(16)}) for i, pkl in enumerate(pickles)]
    plain = [tmp_path / f"{i}.pkl" for i in (0, 8, 13, 14)]
    for path in plain:
        path.write_bytes(pickles[int(path.stem)])
    everything = [*map(str, paths), *map(str, plain)]
    done = subprocess.run([sys.executable, "-c", READ, *everything], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3 * len(everything)
    assert max(map(len, lines)) < 1500
    assert sum(line.startswith(str(tmp_path)) for line in lines) > 0.8 * len(lines)  # `describe` need not look


@pytest.mark.parametrize("levels", [99, 101, 50_000])
def test_depth_is_bounded(tmp_path: Path, levels: int) -> None:
    path = plain_zip(tmp_path / "net.pt", b"\x80\x02}X\x01\x00\x00\x00a" + nested(levels) + b"s.")
    if levels < 100:
        assert list(checkpoint.read_checkpoint(path)) == ["a"]
        return
    with pytest.raises(ValueError, match=r"net\.pt: damaged, or malicious: nested more than 100 deep"):
        checkpoint.read_checkpoint(path)


@pytest.mark.parametrize("name", ["n" * 501, "two\nlines", "\x1b[31mred"])
def test_names_are_short_and_printable(tmp_path: Path, name: str) -> None:
    save_file({name: torch.ones(1)}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"a tensor's name is .*…: expected up to 500 printable characters") as error:
        checkpoint.read(tmp_path / "net.safetensors")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"posewright": 1}, "Expected `str`, got `int` - at `$.posewright`"),
        ({"spec": ["a"]}, "Expected `str`, got `array` - at `$.spec`"),
        ({"spec": "s" * 201}, "Expected `str` of length <= 200"),
        ({"skeleton": 3}, "Expected `object`, got `int` - at `$.skeleton`"),
        ({"skeleton": {"keypoints": "nose"}}, "expected a list of point names"),
        ({"skeleton": {"keypoints": ["a", "b"], "skeleton": 7}}, "TypeError"),
        ({"metrics": {"AP": "high"}}, "Expected `float`, got `str` - at `$.metrics"),
        ({"metrics": [1]}, "Expected `object | null`, got `array` - at `$.metrics`"),
        ({"config": 5}, "Expected `object | null`, got `int` - at `$.config`"),
        ({"config": {"a": list(range(100_001))}}, "says more than 100000 things"),
        ({"skeleton": {"keypoints": ["n" * 100_000]}}, ""),
    ],
)
def test_metadata_of_wrong_types(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    note = {"posewright": "1", "spec": "toy", "skeleton": {"keypoints": ["a", "b"]}, **changed}
    checkpoint.save(tmp_path / "net.safetensors", STATE, note)
    checkpoint.write_checkpoint(tmp_path / "net.pt", {"model": STATE, **note})
    for path in (tmp_path / "net.safetensors", tmp_path / "net.pt"):
        if message:
            with pytest.raises(ValueError, match=re.escape(message)) as error:
                checkpoint.describe(path)
            assert str(error.value).startswith(str(path))
            assert len(str(error.value)) < 1500
        assert set(checkpoint.read(path)) == set(STATE)


@pytest.mark.parametrize("note", ["{", "[" * 100_000, "9" * 5000, '{"posewright": 1e999}'])
def test_metadata_that_is_no_json(tmp_path: Path, note: str) -> None:
    save_file(STATE, tmp_path / "net.safetensors", {"posewright": note})
    if note.endswith("}"):
        assert checkpoint.describe(tmp_path / "net.safetensors") is None
        return
    with pytest.raises(ValueError, match=r"net\.safetensors: ") as error:
        checkpoint.describe(tmp_path / "net.safetensors")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are Unix's")
def test_pipes_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.pt")
    for reader in (checkpoint.read, checkpoint.describe, checkpoint.read_checkpoint):
        with pytest.raises(ValueError, match=r"net\.pt: is a pipe or a device; expected a file of weights"):
            reader(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        b'{"a":',
    ],
)
def test_safetensors_that_lie(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=r"net\.safetensors: damaged"):
        checkpoint.read(tmp_path / "net.safetensors")


@pytest.mark.parametrize("make", [zipped, pickled, mindspore, lambda path: save_file(STATE, path)])
def test_mutated_files_are_read_or_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """250 times cut, flipped, overwritten, doubled or spliced. What is read never outgrows the file."""
    path = tmp_path / "net.bin"
    make(path)
    whole, dice, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(250):
        path.write_bytes(mutated(whole, dice))
        for reader in (checkpoint.read, checkpoint.describe):
            refused += attempt(reader, path)
    assert refused > 100


def test_mutated_pickles_are_read_or_refused(tmp_path: Path) -> None:
    """The same for the pickle within a zip, which its checksum otherwise shields."""
    zipped(tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as archive:
        whole = archive.read("good/data.pkl")
        storages = {str(i): archive.read(f"good/data/{i}") for i in range(3)}
    dice, refused = random.Random(1), 0
    for _ in range(300):
        path = plain_zip(tmp_path / "net.pt", mutated(whole, dice), storages)
        refused += attempt(checkpoint.read, path)
    assert refused > 100


def attempt(reader: Callable[[Path], object], path: Path) -> bool:
    """Whether the file was refused; by a ValueError that names it, or else what it gave is no larger than it is."""
    try:
        got = reader(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise
        return True
    tensors = got.values() if isinstance(got, dict) else ()
    assert sum(t.numel() * t.element_size() for t in tensors) <= 2 * path.stat().st_size
    return False


def mutated(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed))
        match dice.randrange(5):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                del changed[at : at + dice.randint(1, 1 + len(changed) // 4)]
            case 2:
                changed[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f"])
            case 3:
                changed[at:at] = changed[at : at + dice.randint(1, 64)]
            case _:
                changed[at : at + 8] = dice.randbytes(8)
        changed = changed or bytearray(b"\x80")
    return bytes(changed)
