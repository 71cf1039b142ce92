"""What any file of weights holds: its tensors by name, and what it says beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch

from posewright.weights import mindspore_file, torch_file
from posewright.weights.state_dict import few
from posewright.weights.torch_file import Foreign, TensorAt

State = dict[str, torch.Tensor]

NESTS = ("state_dict", "model", "best_state_dict", "net", "model_state_dict")
"""Where training scripts put the state dict in what they save."""

_PREFIX = re.compile(r"(module\.|_orig_mod\.)+")  # of DataParallel and of torch.compile
_MAX_NAME = 500  # characters of a tensor's name, of which published ones have up to 100
_MAX_DEPTH = 100  # of containers within each other; an optimiser's state has 4
_MAX_VALUES = 100_000  # in what a file says of itself, which its reader may walk or show
_MAX_MESSAGE = 1000  # characters


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever a file's reader raises into one error that names the file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file of weights") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: expected a file of weights, got a folder") from None
    except PermissionError:
        raise
    except ValueError as error:
        raise ValueError(f"{path}: {error!s:.{_MAX_MESSAGE}}") from None
    except Exception as error:  # a damaged file can raise anything in zipfile, pickletools, safetensors
        reason = f"{type(error).__name__}: {error!s:.{_MAX_MESSAGE}}"
        raise ValueError(f"{path}: damaged, or not a file of weights ({reason})") from error


def tensors(path: Path) -> State:
    """The tensors of a file by their names there, without what toolkits put around them; see `checkpoint.read`."""
    start = _start(path)
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        with torch_file.opened(path) as (tree, fetch):
            return _cleaned({k: fetch(v) for k, v in _state_dict(tree).items()})
    if start[8:9] == b"{":
        with safetensors.safe_open(path, "pt") as file:
            return _cleaned({k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118  # not a dict
    if start[:1] == b"\n":
        return _cleaned(mindspore_file.parse(path.read_bytes()))
    raise ValueError(_not_weights(start))


def content(path: Path) -> dict[str, Any]:
    """All that a PyTorch file holds; see `checkpoint.read_checkpoint`."""
    _start(path)
    with torch_file.opened(path) as (tree, fetch):
        if not isinstance(tree, dict):
            raise ValueError(f"expected a checkpoint (a dict), got a {type(tree).__name__}")
        return _with_tensors(tree, fetch, {})


def notes(path: Path) -> Any:
    """What a file says beside its tensors, if it is of a format that can say anything."""
    start, note = _start(path), None
    if start[:4] == b"PK\x03\x04":
        with torch_file.opened(path) as (tree, fetch):
            keys = ("posewright", "spec", "codec", "skeleton", "metrics", "config") if isinstance(tree, dict) else ()
            note = {k: _with_tensors(tree[k], fetch, {}) for k in keys if k in tree}
    elif start[8:9] == b"{":
        with safetensors.safe_open(path, "pt") as file:
            note = json.loads((file.metadata() or {}).get("posewright", "null"))
    _expect_small(note)
    return note


def _start(path: Path) -> bytes:
    """The first bytes of a file, which tell what it is."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("is a pipe or a device; expected a file of weights")
    with path.open("rb") as file:
        return file.read(512)


def _not_weights(start: bytes) -> str:
    """What a file is that does not hold weights, and what to do."""
    if not start:
        return "is empty"
    if start.lstrip()[:1] == b"<":
        return "is a web page, not weights: open the link in a browser and download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"
    if start[257:262] == b"ustar":
        return "is a tar archive: unpack it; PyTorch's own tar format (before 0.1.10) is re-saved with torch 1.x to 2.5"
    if start[:2] == b"\x1f\x8b":
        return "is compressed by gzip: unpack it first"
    return f"begins with {start[:8]!r}; expected a file of PyTorch, safetensors or MindSpore"


def _state_dict(tree: Any) -> dict[str, TensorAt]:
    """The state dict within what a PyTorch file holds."""
    for _ in range(len(NESTS)):
        if not isinstance(tree, dict):
            raise ValueError(f"expected a state dict, got a {type(tree).__name__}")
        tree = next((tree[name] for name in NESTS if isinstance(tree.get(name), dict)), tree)
    found = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, TensorAt)}
    if not found:
        raise ValueError(f"holds no named tensors, alone or under {', '.join(NESTS)}: {few(list(map(str, tree)))}")
    return found


def _cleaned(tensors: State) -> State:
    """Without prefixes of wrappers and without the data preprocessor that mmpose saves."""
    state: State = {}
    for key, tensor in tensors.items():
        name = key[match.end() :] if (match := _PREFIX.match(key)) else key
        if len(name) > _MAX_NAME or not name.isprintable():
            raise ValueError(f"a tensor's name is {name[:40]!r}…: expected up to {_MAX_NAME} printable characters")
        if name in state:
            raise ValueError(f"holds {name!r} twice, with and without a prefix such as 'module.'")
        if not name.startswith("data_preprocessor."):
            state[name] = tensor
    return state


def _with_tensors(value: Any, fetch: torch_file.Fetch, done: dict[int, Any], depth: int = 0) -> Any:
    """What a checkpoint holds, with tensors for their descriptions; what is shared stays shared, and is read once."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > _MAX_DEPTH:
        raise ValueError(f"damaged, or malicious: nested more than {_MAX_DEPTH} deep")
    if id(value) not in done:
        match value:
            case TensorAt():
                done[id(value)] = fetch(value)
            case dict():
                done[id(value)] = {k: _with_tensors(v, fetch, done, depth + 1) for k, v in value.items()}
            case list() | tuple():
                done[id(value)] = type(value)(_with_tensors(v, fetch, done, depth + 1) for v in value)
            case _:
                kind = value.name if isinstance(value, Foreign) else type(value).__name__
                raise ValueError(f"holds a {kind:.80}; expected tensors, numbers, strings and containers of those")
    return done[id(value)]


def _expect_small(note: Any) -> None:
    """Refuse content that takes too long to walk: lists that double again and again need few bytes."""
    waiting: list[Any] = [note]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    raise ValueError(f"says more than {_MAX_VALUES} things of itself: damaged, or malicious")
