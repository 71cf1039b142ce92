"""Networks that were translated for a runtime, as files in the cache: one is written once, and the oldest give way."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from posewright import __version__
from posewright.files import cache_folder

_MOST_BYTES = 4 * 2**30
"""Of all files together; HRNet-W48 has 250 MB."""
_RECENT = 3600.0
"""Seconds within which another process may be about to read what was used."""


def place_of(net: nn.Module, size: tuple[int, int], suffix: str, versions: str = "") -> Path:
    """The file of a network that takes images of a (height, width); named by its weights and code, and by versions.

    Args:
        net: with all that the file holds.
        size: of its images.
        suffix: of the file.
        versions: of what translates it, beside torch's and our own.
    """
    digest = hashlib.sha256()
    digest.update(f"{torch.__version__} {__version__} {versions} {size} {net!r}".encode())
    for file in sorted({inspect.getsourcefile(type(module)) or "" for module in net.modules()}):
        if Path(file).is_file() and "site-packages" not in file:
            digest.update(Path(file).read_bytes())
    for name, tensor in net.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return cache_folder() / "networks" / f"{digest.hexdigest()}{suffix}"


def mark_used(path: Path) -> bool:
    """Count a network's file as used now; whether it is there at all."""
    with suppress(OSError):  # not there yet, or another user's, which may be read all the same
        os.utime(path)
    return path.is_file()


def remove(path: Path) -> None:
    """Remove a network's file and those beside it that belong to it."""
    for part in path.parent.glob(f"{path.stem}.*"):
        part.unlink(missing_ok=True)


def make_room(folder: Path, most: int = _MOST_BYTES) -> None:
    """Remove the networks that were used longest ago, until the files take at most so many bytes.

    Those that were used within the last hour stay, whatever they take.
    """
    networks: defaultdict[str, list[os.stat_result]] = defaultdict(list)
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process makes room, too
            networks[path.stem].append(path.stat())
    used = {stem: max(part.st_mtime for part in parts) for stem, parts in networks.items()}
    sizes = {stem: sum(part.st_size for part in parts) for stem, parts in networks.items()}
    total, now = sum(sizes.values()), time.time()
    for stem in sorted(used, key=lambda stem: used[stem]):
        if total <= most or used[stem] > now - _RECENT:
            return
        with suppress(PermissionError):  # a file that is open, on Windows
            remove(folder / f"{stem}.onnx")
            total -= sizes[stem]
