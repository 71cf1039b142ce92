"""`posewright bench`: where a prediction's time goes, by runtime, precision and batch size."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from posewright.cli._options import Commands, answer, command, existing, weights_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from posewright.predict.inputs import Detector
    from posewright.predict.predictor import Predictor
    from posewright.spec import Spec


def add(commands: Commands) -> None:
    parser = command(commands, "bench", run, "measure where a prediction's time goes, by runtime, precision and batch")
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="pose system (default: that of the weights), or a file that `export` wrote",
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=weights_file, help="their values cost no time: random ones by default"
    )
    parser.add_argument("--image", metavar="FILE", type=existing, help="read and drawn on (default: a drawn scene)")
    parser.add_argument(
        "--runtime", nargs="+", choices=("torch", "onnx", "openvino", "ncnn"), help="which (default: all installed)"
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=("float32", "bf16", "fp16"),
        help="of the arithmetic; runtimes without it are left out (default: float32, or that of the file)",
    )
    parser.add_argument("--detector", metavar="ONNX", type=weights_file, help="measured, too: a file, or yolox-nano")
    parser.add_argument(
        "--batch", type=int, nargs="+", metavar="NUMBER", default=[1, 16], help="people at once (default: 1 16)"
    )
    parser.add_argument(
        "--turns", type=int, metavar="NUMBER", default=5, help="how often each is run (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda, ... (default: %(default)s)")
    parser.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        help="average with the mirrored image (default: no, or as the file does)",
    )


def run(options: argparse.Namespace) -> int:
    from posewright.predict import timing
    from posewright.predict.detector import OnnxDetector
    from posewright.runtime.exported import SUFFIXES
    from posewright.weights import hub

    if min(options.batch) < 1 or options.turns < 1:
        raise ValueError("--batch and --turns expect numbers from 1 on")
    system = _of_file(options) if (options.name or "").endswith(SUFFIXES) else _of_network(options)
    detector = OnnxDetector(hub.resolve(options.detector)) if options.detector else None
    needed = timing.multiply_adds(system.spec) * (2 if system.flip else 1)
    rows, left_out = _measured(options, system, detector)
    runtime_of = {row["precision"]: row["runtime"] for row in rows}
    peaks = {precision: _peak(options.device, precision, runtime) for precision, runtime in runtime_of.items()}
    for row in rows:
        row["peak_share"] = needed / (row["network"] / 1000) / peaks[row["precision"]]
    around = timing.surroundings() | {"peak_multiply_adds_per_second": peaks}
    name = system.spec.name
    title = f"{name}, {needed / 1e9:.2f} GMACs, ms per person (median of {options.turns} turns)"
    answer(options, "\n".join([title, *_lines(rows, around), *left_out]), model=name, rows=rows, surroundings=around)
    return 0


class _System(NamedTuple):
    """What is measured: a pose system, the runtimes and precisions that it runs in, and what makes a predictor."""

    spec: Spec
    flip: bool
    ways: list[tuple[Any, Any]]
    predictor: Callable[[Any, Any, int], Predictor]  # of runtime, precision and batch size


def _of_network(options: argparse.Namespace) -> _System:
    import torch

    from posewright.models import find
    from posewright.predict.predictor import Predictor, load
    from posewright.runtime import selection

    if options.weights:
        loaded = load(options.name, options.weights, device="cpu", runtime="torch")
        spec, net = loaded.spec, loaded.net
    else:
        spec = find(options.name or "default")
        torch.manual_seed(0)  # the same weights every time, so that a network is translated once
        net = spec.build()
    flip = bool(options.flip_test)

    def predictor(runtime: Any, precision: Any, batch: int) -> Predictor:
        settings = {"runtime": runtime, "precision": precision, "device": options.device}
        return Predictor(spec, net, flip=flip, batch=batch, **settings)

    runtimes, precisions = options.runtime or selection.installed(), options.precision or ["float32"]
    return _System(spec, flip, [(r, p) for r in runtimes for p in precisions], predictor)


def _of_file(options: argparse.Namespace) -> _System:
    from posewright.predict.predictor import load
    from posewright.runtime.exported import opened

    spec, net = opened(options.name)
    if net.precision == "int8" and options.precision:
        raise ValueError(f"{options.name}: computes in int8, as it was exported: leave --precision out")
    flip = net.flip if options.flip_test is None else options.flip_test

    def predictor(runtime: Any, precision: Any, batch: int) -> Predictor:
        settings = {"runtime": runtime, "precision": precision, "device": options.device}
        return load(options.name, options.weights, flip=flip, batch=batch, **settings)

    ways = [(r, p) for r in options.runtime or [net.runtime] for p in options.precision or [net.precision]]
    return _System(spec, flip, ways, predictor)


def _peak(device: str, precision: Any, runtime: Any) -> float:
    from posewright.export.int8_peak import int8_peak
    from posewright.predict import timing

    return int8_peak(runtime) if precision == "int8" else timing.peak(device, precision)


def _measured(
    options: argparse.Namespace, system: _System, detector: Detector | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per batch size, runtime and precision, in milliseconds per person; and why some were left out."""
    import numpy as np

    from posewright import image
    from posewright.predict import timing
    from posewright.progress import bar
    from posewright.synthetic.people import Scene, draw_scene
    from posewright.types import Boxes

    rows, left_out = list[dict[str, Any]](), dict[str, None]()
    with tempfile.TemporaryDirectory() as folder, bar("measuring", "batch sizes") as report:
        picture = Path(options.image or Path(folder) / "scene.jpg")
        if not options.image:
            image.write(picture, draw_scene(np.random.default_rng(0), Scene())[0])
        height, width = image.read(picture).shape[:2]
        for done, batch in enumerate(options.batch):
            report(done, len(options.batch), f"batch {batch}")
            predictors = {}
            for way in system.ways:
                try:
                    predictors[way] = system.predictor(*way, batch)
                except ValueError as error:
                    left_out[f"left out: {error}"] = None
            if not predictors:
                raise ValueError(next(iter(left_out)))
            boxes = Boxes.of([[width * 0.1, height * 0.1, width * 0.5, height * 0.8]] * batch)
            taken = timing.measure(predictors, picture, boxes, detector=detector, turns=options.turns)
            for (runtime, precision), steps in taken.items():
                row = {"runtime": runtime, "precision": precision, "batch": batch, **steps}
                rows.append(row | {"all": sum(steps.values())})
    return rows, list(left_out)


def _lines(rows: list[dict[str, Any]], around: dict[str, Any]) -> list[str]:
    """A table of the rows, and what they were measured on."""
    steps = list(rows[0])[3:-1]
    lines = [f"{'runtime':<10}{'precision':<10}{'batch':>6}" + "".join(f"{step:>9}" for step in steps) + "  of peak"]
    for row in rows:
        cells = "".join(f"{row[step]:9.2f}" for step in steps)
        lines.append(f"{row['runtime']:<10}{row['precision']:<10}{row['batch']:>6}{cells}{row['peak_share']:9.0%}")
    versions = ", ".join(f"{name} {version}" for name, version in around["versions"].items())
    peaks = around["peak_multiply_adds_per_second"].items()
    return [
        *lines,
        f"{around['cpu']}, {around['threads']} threads, load {around['load']}; {versions}",
        "peak, of the machine's large convolutions: "
        + ", ".join(f"{peak / 1e9:.0f} billion multiply-adds per second in {precision}" for precision, peak in peaks),
    ]
