"""Which runtime runs a network: torch, ONNX Runtime, OpenVINO or ncnn; and the network made ready for it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor, nn

from posewright.files import write_bytes
from posewright.progress import say
from posewright.runtime import ncnn_runtime, network_cache, torch_runtime
from posewright.runtime.crops import CropNetwork, Normalise
from posewright.runtime.ncnn_runtime import NcnnModel, Untranslated
from posewright.runtime.onnx_runtime import OnnxModel, traced
from posewright.runtime.openvino_runtime import OpenVinoModel
from posewright.runtime.upsampling import with_plain_convolutions

Runtime = Literal["torch", "onnx", "openvino", "ncnn"]
Precision = Literal["float32", "bf16", "fp16", "int8"]
Network: TypeAlias = Callable[[Tensor], Tensor]

_ORDER: tuple[Runtime, ...] = ("openvino", "onnx", "torch")
_ORDERS: dict[str, tuple[Runtime, ...]] = {
    "hourglass": ("ncnn", "openvino", "onnx", "torch"),
    "hrnet": ("ncnn", "openvino", "onnx", "torch"),
    "litehrnet": ("onnx", "torch", "openvino"),
    "lpn": ("onnx", "openvino", "torch"),
}
"""The runtimes from the fastest on, by family where that has another order: at float32, batches of 1 and 8, by
`OMP_NUM_THREADS=1 taskset -c 1 chrt -r 10 posewright bench NAME --batch 1 8` on one core of an AMD EPYC with AVX-512
(torch 2.13, ONNX Runtime 1.31, OpenVINO 2026.4, ncnn 1.0.20261020); the times are in benchmarks/runtimes.md. ncnn is
named where it is the fastest by more than a tenth."""
_PACKAGES: dict[Runtime, tuple[str, ...]] = {
    "torch": ("torch",),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "ncnn": ("onnx", "pnnx", "ncnn"),
}
"""What each needs: its own, and what writes what it reads."""
_TOLERANCE = {"float32": 1e-3, "bf16": 0.3, "fp16": 0.3}
"""Of the maps' root mean square; float32 networks differ by 1e-6, bf16 ones by a few hundredths."""


def installed() -> list[Runtime]:
    """The runtimes that can be used here; the others need an extra."""
    return [runtime for runtime, packages in _PACKAGES.items() if all(map(find_spec, packages))]


def fastest(family: str, device: torch.device, precision: Precision = "float32", images: int = 1) -> Runtime:
    """The fastest installed runtime for a family of networks: torch on a GPU, else the first installed of the table.

    ncnn is passed over where it would leave threads idle: each of them computes an image by itself.

    Args:
        family: as in the names of pose systems.
        device: where they run.
        precision: of the arithmetic.
        images: how many a network computes at a time, at least.
    """
    if device.type != "cpu":
        return "torch"
    available = [r for r in installed() if r != "ncnn" or torch.get_num_threads() <= images]
    order: tuple[Runtime, ...] = _ORDERS.get(family, _ORDER) if precision == "float32" else ("openvino", "torch")
    for runtime in order:
        if runtime in available:
            return runtime
    return "torch"


def ready(net: nn.Module, size: tuple[int, int], device: torch.device, precision: Precision = "float32") -> Network:
    """A copy of a network for prediction by torch: images [N, 3, H, W] float32 to maps [N, C, h, w].

    Args:
        net: takes such images; stays as it is.
        size: their (height, width).
        device: where it runs.
        precision: of the arithmetic; the maps are float32 in any case.

    Raises:
        ValueError: the device does not compute in that precision.
    """
    return _in_torch(torch_runtime.prepared(net, size, device), device, precision)


def translated(
    net: nn.Module,
    normalise: Normalise,
    size: tuple[int, int],
    runtime: Runtime,
    precision: Precision = "float32",
) -> CropNetwork:
    """A copy of a network for prediction by ONNX Runtime, OpenVINO or ncnn: crops to maps.

    The network is read from a file, which is written once into the cache (`network_cache`); its maps are compared with
    the network's own before it is used for the first time.

    Args:
        net: takes images [N, 3, H, W]; stays as it is.
        normalise: makes them of crops.
        size: (height, width) of both.
        runtime: any but "torch".
        precision: of the arithmetic; the maps are float32 in any case.

    Raises:
        ModuleNotFoundError: the runtime is not installed; the message says how to get it.
        Untranslated: the runtime cannot run the network, or yields other maps than it.
        ValueError: the runtime cannot compute in that precision.
    """
    if runtime != "openvino" and precision != "float32":
        raise ValueError(f"runtime {runtime!r} computes in float32, not in {precision}: use runtime 'openvino'")
    if runtime not in installed():
        raise ModuleNotFoundError(
            f"runtime {runtime!r} is not installed: `pip install posewright[{runtime}]`, or use runtime 'torch'"
        )
    by_ncnn = runtime == "ncnn"
    # Without groups, OpenVINO is faster with transposed convolutions as they are.
    plain = precision != "float32" and any(isinstance(m, nn.ConvTranspose2d) and m.groups > 1 for m in net.modules())
    suffix, versions = (".param", ncnn_runtime.versions()) if by_ncnn else (".onnx", "plain" if plain else "")
    path = network_cache.place_of(nn.Sequential(normalise, net), size, suffix, versions)
    own = None
    if not network_cache.mark_used(path):
        prepared = torch_runtime.prepared(net, size)
        own = nn.Sequential(normalise, with_plain_convolutions(prepared) if plain else prepared).eval()
        if by_ncnn:
            ncnn_runtime.write(own[1], size, path)
        else:
            write_bytes(path, traced(own, torch.zeros(2, *size, 3, dtype=torch.uint8), "crops", ("maps",)))
        network_cache.make_room(path.parent)
    if by_ncnn:
        model = NcnnModel(path, normalise)
    else:
        model = OnnxModel(path, "uint8") if runtime == "onnx" else OpenVinoModel(path, precision)
    ready = CropNetwork(model, zlib.crc32(f"{path.stem} {precision}".encode()))
    if own is not None:
        _compare(own, ready, size, path, _TOLERANCE[precision])
    return ready


def _in_torch(net: nn.Module, device: torch.device, precision: Precision) -> Network:
    if precision == "float32":
        return net
    if precision == "bf16" and not torch_runtime.can_bf16(device):
        raise ValueError(f"{device} does not compute in bf16: use float32")
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("torch computes in fp16 on GPUs, not on CPUs: use bf16 or float32")

    def run(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16):
            return net(images).float()

    return run


def _compare(own: nn.Module, other: CropNetwork, size: tuple[int, int], path: Path, tolerance: float) -> None:
    """Refuse, and remove, a file whose maps are not the network's own."""
    crops = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    with torch.inference_mode():
        want = own(torch.from_numpy(crops))
    off = float((torch.from_numpy(other(crops)) - want).norm() / want.norm().clamp_min(1e-30))
    if not off < tolerance:
        network_cache.remove(path)
        raise Untranslated(
            f"the network's file yields other maps than the network (by {off:.1e} of their root mean square, at most "
            f"{tolerance:g} is taken): use runtime 'torch'"
        )


def fitted(
    net: nn.Module,
    normalise: Normalise,
    size: tuple[int, int],
    device: torch.device,
    asked: str,
    family: str,
    precision: Precision = "float32",
    images: int = 1,
) -> tuple[Runtime, Network | CropNetwork]:
    """The runtime as by `chosen`, and the network: for torch as by `ready`, for others as by `translated`.

    "auto" is torch where the cache cannot be written, or the network cannot be translated, which is said.

    Raises:
        ModuleNotFoundError, ValueError: see there.
        OSError: another runtime than torch was asked for, and the cache cannot be written.
    """
    runtime = chosen(asked, family, device, precision, images)
    if runtime == "torch":
        return runtime, ready(net, size, device, precision)
    try:
        return runtime, translated(net, normalise, size, runtime, precision)
    except (OSError, Untranslated) as error:
        if asked != "auto" or os.environ.get("POSEWRIGHT_RUNTIME", "auto") != "auto":
            raise
        why = "" if isinstance(error, Untranslated) else ", as the cache cannot be used"
        say(f"runtime: torch instead{why}: {error}")
        return "torch", ready(net, size, device, precision)


def chosen(asked: str, family: str, device: torch.device, precision: Precision = "float32", images: int = 1) -> Runtime:
    """The runtime asked for; "auto" is the environment's POSEWRIGHT_RUNTIME, else the `fastest`, which is said.

    Raises:
        ValueError: there is no such runtime; or int8 is asked for, which takes more than a network.
    """
    if precision == "int8":
        raise ValueError(
            "int8 needs an exported file, calibrated on images: `posewright export NAME --to openvino --precision int8 "
            "--calibrate IMAGES`, then `posewright predict --model FILE`"
        )
    if asked == "auto":
        asked = os.environ.get("POSEWRIGHT_RUNTIME", "auto")
    if asked == "auto":
        found = fastest(family, device, precision, images)
        if found != "torch":
            _announce(found)
        return found
    if asked not in (names := get_args(Runtime)):
        raise ValueError(f"runtime: expected auto, {', '.join(names)}, got {asked!r}")
    if asked != "torch" and device.type != "cpu":
        raise ValueError(f"runtime {asked!r} runs on the CPU, not on {device}: use runtime 'torch' there")
    return asked  # pyright: ignore[reportReturnType]


@cache
def _announce(runtime: Runtime) -> None:
    """Once for each runtime, however many predictors are made."""
    say(f"runtime: {runtime} (--runtime {', '.join(get_args(Runtime))} chooses another)")
