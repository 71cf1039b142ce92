"""PyTorch files (.pth, .pth.tar, .pt), read without running anything that they hold.

A pickle is a program. The machine here runs it with dicts, lists, numbers and strings for data and nothing that could
be called: where pickle would look up a function or class and call it, this machine knows the few that stand for
tensors, leaves an inert `Foreign` for the few harmless ones that published checkpoints carry beside their weights, and
refuses the file at any other. Tensors stay descriptions until they are asked for, so that an optimiser's state costs
neither time nor memory, and every size is checked against the bytes that are really there.
"""

# Not a pickle.Unpickler with a strict find_class: that runs no foreign code either, but 300 kB of nested tuples as a
# key of a dict overflow its stack (hash recurses in C), 130 bytes of tuples doubled 64 times make it hash without end,
# and 8 bytes (LONG_BINPUT) make its memo an array of 16 GB. None of that can be overridden.

from __future__ import annotations

import io
import math
import mmap
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

_STORAGES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
        "Bool": torch.bool,
    }.items()
} | {"torch.storage.UntypedStorage": torch.uint8}  # fmt: skip
_NEW_DTYPES = {str(dtype): dtype for dtype in (torch.uint16, torch.uint32, torch.uint64)}
_KNOWN = frozenset(_STORAGES) | {
    "collections.OrderedDict", "torch.Size", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2",
}  # fmt: skip
"""The names that stand for tensors and their containers."""

MAGIC = 0x1950A86A20F9469CFC6C
"""First value of a file in the format before PyTorch 1.6."""

_MAX_DIMS = 8
_MAX_STEPS = 5_000_000  # a network of 2,000 tensors takes 100,000; far more only keeps the machine busy

_HARMLESS = re.compile(
    r"_codecs\.encode|(builtins|__builtin__)\.(set|frozenset|bytearray|complex|slice|getattr)"
    r"|collections\.(defaultdict|Counter|deque)|argparse\.Namespace|datetime\.\w+|pathlib\.\w+"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+|_?core\.multiarray\.(_reconstruct|scalar)|_?core\.numeric\._frombuffer)"
    r"|torch\.(device|float\d+|bfloat16|u?int\d+|bool|Tensor|nn\.parameter\.Parameter)"
    r"|easydict\.EasyDict|yacs\.config\.CfgNode|(mmcv\.utils|mmengine\.config)\.config\.(Config|ConfigDict)"
    r"|mmengine\.logging\.history_buffer\.HistoryBuffer"
)
"""What published checkpoints carry beside their weights; it is never looked up, let alone called."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of `size` numbers in the file, under a key."""

    key: str
    dtype: torch.dtype
    size: int


@dataclass(frozen=True, slots=True)
class TensorAt:
    """A tensor not yet read: a view of a storage, in elements of `dtype`."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Foreign:
    """What stands for a function or class that a pickle names, and for whatever it would have made with it."""

    name: str


Fetch = Callable[[TensorAt], torch.Tensor]


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Fetch]]:
    """What a file holds, with a `TensorAt` for every tensor, and the function that reads those.

    Raises:
        ValueError: the file is damaged, or needs foreign classes. Damage also shows as the errors of `zipfile`,
            `pickletools` and of plain Python; the caller names the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                yield _open_zip(archive, size)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:  # reads no more than there is
                yield _open_legacy(cast(BinaryIO, content), size)


def _open_zip(archive: zipfile.ZipFile, size: int) -> tuple[Any, Fetch]:
    names = archive.namelist()
    root = next((name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")), None)
    if root is None:
        raise ValueError(f"a zip archive of {', '.join(names[:3])}, …, not a PyTorch file; unpack it first")
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise ValueError(
            "its entries are compressed, which PyTorch never does: unzip it and zip it again with `zip -0`"
        )
    if sum(info.file_size for info in archive.infolist()) > size:
        raise ValueError(f"its entries claim more than the {size} bytes of the file: damaged, or malicious")
    _expect_little(f"{root}byteorder" not in names or archive.read(f"{root}byteorder") == b"little")
    tree = run(io.BytesIO(archive.read(f"{root}data.pkl")))
    return tree, _fetch_from(lambda storage: bytearray(archive.read(f"{root}data/{storage.key}")))


def _open_legacy(file: BinaryIO, size: int) -> tuple[Any, Fetch]:
    """Four pickles (a magic number, the version, the machine, the content), one of keys, then the storages' bytes."""
    if run(file) != MAGIC:
        raise ValueError("a pickle, but not one of PyTorch's")
    run(file)
    _expect_little(run(file)["little_endian"])
    storages: dict[str, Storage] = {}
    tree = run(file, storages)
    places: dict[str, tuple[int, int]] = {}
    for key in run(file):
        if not isinstance(key, str) or key not in storages:
            raise ValueError("lists a storage that no tensor uses: damaged")
        (count,) = struct.unpack("<q", file.read(8))
        bytes_ = storages[key].size * storages[key].dtype.itemsize
        if count != storages[key].size or file.tell() + bytes_ > size:
            raise ValueError(f"storage {key!r:.40} is cut short: {count} numbers, {size - file.tell()} bytes left")
        places[key] = file.tell(), bytes_
        file.seek(bytes_, io.SEEK_CUR)

    def content(storage: Storage) -> bytearray:
        start, length = places[storage.key]
        file.seek(start)
        return bytearray(file.read(length))

    return tree, _fetch_from(content)


def _expect_little(little: bool) -> None:
    if not little:
        raise ValueError("was written on a big-endian machine; re-save it on a little-endian one")


def _fetch_from(content: Callable[[Storage], bytearray]) -> Fetch:
    """Reads tensors from storages, which are read once each, so that tied weights stay tied."""
    read: dict[str, bytearray] = {}

    def fetch(tensor: TensorAt) -> torch.Tensor:
        storage = tensor.storage
        if storage.key not in read:
            read[storage.key] = content(storage)
        buffer = read[storage.key]
        count = len(buffer) // tensor.dtype.itemsize
        if storage.size * storage.dtype.itemsize != len(buffer) or not _fits(tensor, count):
            view = f"shape {tensor.shape}, strides {tensor.stride}, from {tensor.offset}"  # integers, at most 8
            raise ValueError(f"a tensor ({view:.200}) does not fit the {len(buffer)} bytes stored for it: damaged")
        if 0 in tensor.shape:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        return torch.frombuffer(buffer, dtype=tensor.dtype).as_strided(tensor.shape, tensor.stride, tensor.offset)

    return fetch


def _fits(tensor: TensorAt, count: int) -> bool:
    """Whether the view lies within `count` numbers and repeats none of them, as an expanded tensor would."""
    if len(tensor.shape) != len(tensor.stride) or min((tensor.offset, *tensor.shape, *tensor.stride)) < 0:
        return False
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride))
    return 0 in tensor.shape or (last < count and math.prod(tensor.shape) <= count)


def run(file: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """The value of the pickle that begins at the file's position, which moves behind it.

    Args:
        file: read from here.
        storages: gets every storage that the pickle names, by key.
    """
    machine = _Machine({} if storages is None else storages)
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if steps > _MAX_STEPS:
            raise ValueError(f"takes more than {_MAX_STEPS} steps to read: malicious")
        machine.step(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    """Pickle's stack machine, over data alone."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction; those that files of weights do not hold are refused."""
        stack = self.stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_named(argument.replace(" ", ".", 1) if argument else ".".join(self._pop(2))))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(_made(*self._pop(2)))
        elif name == "BUILD":
            stack.pop()  # attributes; of a state dict, its version numbers
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Instructions that fill tuples, lists and dicts."""
        stack = self.stack
        if name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._pop(int(name[5:])) if name[5:] else self._pop_to_mark()))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = self._pop(1) if name == "APPEND" else self._pop_to_mark()
            if not isinstance(stack[-1], Foreign):
                stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop_to_mark() if name == "SETITEMS" else self._pop(2)
            if not isinstance(stack[-1], Foreign):
                _fill(stack[-1], zip(items[::2], items[1::2]))
        elif name in ("DICT", "LIST"):
            items = self._pop_to_mark()
            stack.append(items if name == "LIST" else _fill({}, zip(items[::2], items[1::2])))
        else:
            raise ValueError(f"holds the pickle instruction {name}, which files of weights do not")

    def _pop(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _storage(self, pid: tuple[Any, ...]) -> Storage:
        kind, dtype, key, _, size, *view = pid  # whatever a file puts there: nothing is hashed, compared or shown
        if not (isinstance(key, str) and isinstance(size, int) and isinstance(dtype, Foreign) and size >= 0):
            raise ValueError("names a storage by something other than its type, key and size: damaged, or malicious")
        if kind != "storage" or dtype.name not in _STORAGES or view not in ([], [None]):
            raise ValueError(f"names a storage of {dtype.name:.80} in a way that this PyTorch format does not: damaged")
        found = Storage(key, _STORAGES[dtype.name], size)
        if self.storages.setdefault(key, found) != found:
            raise ValueError(f"names storage {key!r:.40} twice, differently: damaged")
        return found


_PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_SET": Foreign("builtins.set")}


def _named(name: str) -> Foreign:
    if name not in _KNOWN and not _HARMLESS.fullmatch(name):
        raise ValueError(
            f"needs {name[:80]}, and code in a file is never run. Where the file was made and can be "
            "trusted, save the weights alone: torch.save(model.state_dict(), path)"
        )
    return Foreign(name)


def _made(callee: Any, arguments: tuple[Any, ...]) -> Any:
    """What a call in the pickle stands for."""
    match callee.name.rpartition(".")[2] if callee.name in _KNOWN else None:
        case "OrderedDict":
            return _fill({}, *arguments) if arguments else {}
        case "_rebuild_tensor" | "_rebuild_tensor_v2":
            storage, offset, shape, stride, *_ = arguments
            return _tensor_at(storage, offset, shape, stride, storage.dtype)
        case "_rebuild_tensor_v3":
            storage, offset, shape, stride, _, _, dtype, *_ = arguments
            return _tensor_at(storage, offset, shape, stride, _NEW_DTYPES[dtype.name])
        case "_rebuild_parameter" | "_rebuild_parameter_with_state":
            return arguments[0]
        case "_rebuild_from_type_v2":  # a tensor with attributes: (how to rebuild it, its class, arguments, attributes)
            rebuild, _, inner, _ = arguments
            if rebuild.name == callee.name:
                raise ValueError("rebuilds a tensor from one that is not rebuilt yet: damaged, or malicious")
            return _made(rebuild, inner)
        case "Size":
            return tuple(*arguments)
        case _:
            return Foreign(callee.name)


def _tensor_at(storage: Any, offset: Any, shape: Any, stride: Any, dtype: torch.dtype) -> TensorAt:
    """A description whose every part has the right type; whether it fits the bytes is checked when it is read."""
    view = TensorAt(storage, offset, tuple(shape), tuple(stride), dtype)
    if max(len(view.shape), len(view.stride)) > _MAX_DIMS:
        raise ValueError(f"holds a tensor of more than {_MAX_DIMS} dimensions: damaged, or malicious")
    numbers = (offset, *view.shape, *view.stride)
    if not isinstance(storage, Storage) or not all(type(v) is int and v.bit_length() < 64 for v in numbers):
        raise ValueError("describes a tensor by something other than a storage and sizes: damaged, or malicious")
    return view


def _fill(target: dict[Any, Any], items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Put items into a dict; keys that are neither names nor numbers belong to no weights and are left out."""
    target.update((key, value) for key, value in items if isinstance(key, str | int))
    return target
