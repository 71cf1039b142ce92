"""Where a prediction's time goes, step by step; how fast the network is, and how fast the machine could be."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from posewright import geometry, image
from posewright.draw import draw
from posewright.predict.inputs import Detector
from posewright.predict.predictor import Predictor
from posewright.predict.scoring import rescore
from posewright.runtime import selection, torch_runtime
from posewright.runtime.crops import Normalise
from posewright.runtime.selection import Precision, Runtime
from posewright.spec import Spec
from posewright.types import Boxes, Poses

PLAIN = Normalise("rgb", (0.0,) * 3, (1.0,) * 3)
"""Leaves crops as they are."""
STEPS: tuple[str, ...] = ("read", "detect", "warp", "network", "decode", "draw")


def measure(
    predictors: Mapping[str, Predictor],
    picture: Path,
    boxes: Boxes,
    *,
    detector: Detector | None = None,
    turns: int = 5,
) -> dict[str, dict[str, float]]:
    """Milliseconds per person of each step, by predictor: the median over turns, each of which runs all predictors.

    Reading and detecting are counted once per image, so per person they cost less the more people there are. The
    network's step holds the normalisation, the mirrored images where there is a flip test, and their average; of an
    exported file that decodes by itself it holds that, too. Without a detector that step is left out.

    Args:
        predictors: by any name; all of one pose system.
        picture: the image file.
        boxes: of the people in it, whatever the detector finds.
        detector: looks for people in the image.
        turns: how often each is run, after one that does not count.
    """
    steps = [step for step in STEPS if detector is not None or step != "detect"]
    spent: dict[str, dict[str, list[float]]] = {name: {step: [] for step in steps} for name in predictors}
    for turn in range(turns + 1):
        for name, predictor in predictors.items():
            seconds = _one(predictor, picture, boxes, detector)
            for step in steps if turn else ():
                spent[name][step].append(1000 * seconds[step] / len(boxes))
    return {name: {step: statistics.median(all_turns) for step, all_turns in by.items()} for name, by in spent.items()}


def _one(predictor: Predictor, picture: Path, boxes: Boxes, detector: Detector | None) -> dict[str, float]:
    """Seconds of each step, once."""
    spec, spent = predictor.spec, dict.fromkeys(STEPS, 0.0)

    def timed(step: str, function: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter()
        result = function(*given)
        spent[step] += time.perf_counter() - start
        return result

    def finished_maps(crops: np.ndarray) -> np.ndarray | torch.Tensor:
        maps = predictor.maps(crops)
        return maps.cpu() if isinstance(maps, torch.Tensor) else maps  # a GPU only begins with them before

    pixels = timed("read", image.read, picture)
    if detector is not None:
        timed("detect", detector, pixels)
    crop = geometry.crop(boxes, spec.size, padding=spec.padding, rule=spec.crop_rule)
    found = []
    for start in range(0, len(boxes), predictor.batch):
        crops = timed("warp", image.warp_all, pixels, crop[start : start + predictor.batch], spec.border)
        if predictor.decodes_by_itself:
            found.append(timed("network", predictor.keypoints, crops))
        else:
            found.append(timed("decode", spec.codec.decode, timed("network", finished_maps, crops)))
    xy, score = (np.concatenate(arrays) for arrays in zip(*found))
    poses = Poses(crop.to_image(xy), score, rescore(score, boxes.score, spec.scoring), boxes, spec.skeleton)
    timed("draw", draw, pixels, poses)
    return spent


def multiply_adds(spec: Spec) -> float:
    """How many multiply-adds the network needs for one image."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        spec.build().eval()(torch.empty(1, 3, *spec.size))
    return counter.get_total_flops() / 2


def peak(device: str | torch.device = "cpu", precision: Precision = "float32") -> float:
    """Multiply-adds per second that a device reaches: the most of any installed runtime in large convolutions.

    ncnn is left out: it computes convolutions with fewer multiplications than they have.

    Raises:
        ValueError: no runtime computes in that precision there.
    """
    device = torch_runtime.device_of(device)
    net, crops, work = large_convolutions()
    size = crops.shape[1:3]
    images = PLAIN(torch.from_numpy(crops)).to(device)
    runs: list[Callable[[], Any]] = []
    runtimes: list[Runtime] = selection.installed() if device.type == "cpu" else ["torch"]
    for runtime in runtimes:
        if runtime == "ncnn":
            continue
        try:
            if runtime == "torch":
                run = selection.ready(net, size, device, precision)
                runs.append(torch.inference_mode()(lambda run=run: run(images).cpu()))
            else:
                runs.append(partial(selection.translated(net, PLAIN, size, runtime, precision), crops))
        except ValueError:  # it does not compute in that precision
            continue
    if not runs:
        raise ValueError(f"{device} does not compute in {precision}: use float32")
    return max(rate(run, work) for run in runs)


def large_convolutions() -> tuple[torch.nn.Sequential, np.ndarray, float]:
    """A network of large convolutions, crops for one run of it, and the multiply-adds of that run."""
    side, channels, count = 16, 256, 8 * torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)]
        net = torch.nn.Sequential(torch.nn.Conv2d(3, channels, 1), *layers)
    work = count * side**2 * channels * (3 + len(layers) * channels * 9)
    return net, np.zeros((count, side, side, 3), np.uint8), work


def rate(run: Callable[[], Any], work: float) -> float:
    """How much of the work is done per second, at best."""
    best = 0.0
    for _ in range(6):
        start = time.perf_counter()
        run()
        best = max(best, work / (time.perf_counter() - start))
    return best


def surroundings() -> dict[str, Any]:
    """The machine and the versions that a measurement is of."""
    versions = {}
    for package in ("torch", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "ncnn"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    told = Path("/proc/cpuinfo")
    lines = told.read_text(errors="replace").splitlines() if told.is_file() else []
    cpu = next((line for line in lines if line.startswith("model name")), "")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "machine": platform.machine(),
        "cpu": cpu.partition(":")[2].strip() or platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": load,
        "python": platform.python_version(),
        "versions": versions,
    }
