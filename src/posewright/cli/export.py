"""`posewright export`: a pose system as a file for another runtime."""

from __future__ import annotations

import argparse
from pathlib import Path

from posewright.cli._options import Commands, answer, command, existing, weights_file


def add(commands: Commands) -> None:
    parser = command(commands, "export", run, "write a pose system as an ONNX or OpenVINO file that `predict` takes")
    parser.add_argument("name", metavar="NAME", nargs="?", help="pose system; a run's own checkpoint knows it")
    parser.add_argument(
        "--weights", metavar="FILE", type=weights_file, help="a run's best.pt, or a published file; or the default's"
    )
    parser.add_argument("--to", choices=("onnx", "openvino"), default="onnx", help="format (default: %(default)s)")
    parser.add_argument("--out", metavar="FILE", help="the file, .onnx or .xml (default: the pose system's name)")
    parser.add_argument(
        "--images", metavar="FILE", nargs="+", type=existing, help="compare keypoints on these (default: drawn people)"
    )


def run(options: argparse.Namespace) -> int:
    from posewright import image
    from posewright.export import network_file
    from posewright.predict.predictor import load
    from posewright.weights import hub

    predictor = load(options.name, options.weights, device="cpu", runtime="torch")
    name = predictor.spec.name
    path = Path(options.out or f"{name}{network_file.SUFFIX[options.to]}")
    pictures = [image.read(file) for file in options.images or ()]
    licences = {e.licence for e in hub.entries(name) if options.weights in (None, e.id)}
    licence = licences.pop() if len(licences) == 1 else ""
    done = network_file.write(predictor, path, options.to, images=pictures, licence=licence)
    text = (
        f"{done.path}: {name} for {options.to}; keypoints of {done.people} images differ by at most {done.off:.2g} "
        f"pixels; `posewright predict --model {done.path} IMAGES` takes it"
    )
    answer(options, text, file=done.path, model=name, difference=done.off, images=done.people)
    return 0
