"""Networks translated by pnnx and run by ncnn, on the CPU: every thread computes images of its own."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posewright.files import regular, short, write_bytes
from posewright.runtime.crops import Normalise
from posewright.runtime.onnx_runtime import traced


class Untranslated(ValueError):
    """A runtime cannot run a network."""


def versions() -> str:
    """Those of what translates and runs: another makes another file."""
    return " ".join(f"{package} {metadata.version(package)}" for package in ("ncnn", "pnnx"))


def write(net: nn.Module, size: tuple[int, int], path: Path) -> None:
    """Write a network as ncnn reads it: `path` (.param), and its weights beside it (.bin).

    Args:
        net: takes images [1, 3, H, W]; in evaluation mode, on the CPU.
        size: their (height, width).
        path: appears last, so where it is both files are whole.

    Raises:
        Untranslated: pnnx cannot translate the network, or ncnn cannot run it.
    """
    import pnnx

    height, width = size
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        file.write_bytes(traced(net, torch.zeros(1, 3, height, width), "images", ("maps",)))
        command = [pnnx.EXEC_PATH, file.name, f"inputshape=[1,3,{height},{width}]", "fp16=0"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)  # writes nowhere else
        made = file.with_suffix(".ncnn.param")
        if run.returncode or not made.is_file():
            last = (run.stderr or run.stdout).strip().rpartition("\n")[2]
            raise Untranslated(f"pnnx cannot translate this network for ncnn ({short(last)}): use runtime 'torch'")
        _loaded(made)
        for part in (made.with_suffix(".bin"), made):
            write_bytes(path.with_suffix(part.suffix), part.read_bytes())


class NcnnModel:
    """A network's files behind one call, on the CPU: crops to maps. Safe to call from several threads.

    Convolutions of 3x3 pixels are computed by Winograd's F(4, 3), with fewer multiplications than they have, and with
    rounding errors of 1e-6; F(6, 3) would be less exact.

    Args:
        path: the .param file, with its .bin beside it; see `write`.
        normalise: makes images of crops.

    Raises:
        FileNotFoundError: there are no such files.
        Untranslated: they hold no network that ncnn can run.
    """

    def __init__(self, path: Path, normalise: Normalise) -> None:
        self._net, self._mat = _loaded(path), _ncnn().Mat
        mean, std = normalise.get_buffer("mean"), normalise.get_buffer("std")
        self._mean, self._factor = mean.flatten().tolist(), (1 / std).flatten().tolist()
        order = self._mat.PixelType
        self._order = order.PIXEL_RGB2BGR if normalise.swaps_colours else order.PIXEL_RGB
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), "posewright-ncnn")
        self._own = threading.local()

    def __call__(self, crops: np.ndarray) -> list[np.ndarray]:
        """The maps [N, C, h, w] of crops [N, H, W, 3] uint8 RGB, N above 0."""
        return [np.stack(list(self._pool.map(self._maps, crops)))]

    def _maps(self, crop: np.ndarray) -> np.ndarray:
        height, width = crop.shape[:2]
        image = self._mat.from_pixels(crop, self._order, width, height)
        image.substract_mean_normalize(self._mean, self._factor)
        if not hasattr(self._own, "memory"):
            # Kept from image to image: where the system gives other memory each time, two threads lose up to a third.
            self._own.memory = [_ncnn().UnlockedPoolAllocator() for _ in range(2)]
        maps_memory, scratch = self._own.memory
        run = self._net.create_extractor()
        run.set_blob_allocator(maps_memory)
        run.set_workspace_allocator(scratch)
        run.input("in0", image)
        failed, maps = run.extract("out0")
        if failed:
            raise RuntimeError(f"ncnn could not run the network (its code is {failed}): is there enough memory?")
        return np.array(maps)


def _loaded(path: Path) -> Any:
    """The ncnn.Net of a .param file and the .bin beside it; computes in float32, on the thread that calls it."""
    net = _ncnn().Net()
    net.opt.num_threads = 1  # threads of its own would spin, waiting for each other in every layer
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = net.opt.use_winograd63_convolution = False
    weights = regular(path.with_suffix(".bin"), "a network's weights")
    if net.load_param(str(regular(path, "a network's file"))) or net.load_model(str(weights)):
        raise Untranslated("this network has what ncnn cannot run: use runtime 'torch'")
    return net


def _ncnn() -> Any:
    import ncnn

    return ncnn  # a compiled module, without types
