"""`posewright export`: a pose system as a file for another runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, command, existing, weights_file

if TYPE_CHECKING:
    from posewright.export.quantisation import Calibration
    from posewright.types import Skeleton


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
    parser.add_argument(
        "--raw", action="store_true", help="yield the network's maps (default: keypoints in pixels of the crop, scores)"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored crop, inside of the file")
    parser.add_argument(
        "--precision", choices=("float32", "int8"), default="float32", help="of the network (default: %(default)s)"
    )
    parser.add_argument(
        "--calibrate",
        metavar="IMAGES|JSON",
        nargs="+",
        type=existing,
        help="with int8: image files and folders, or annotations, on which AP or PCK is measured before and after too",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        metavar="POINTS",
        help="with int8: AP or PCK that may be lost, in points of 0..100 (default: 0.5)",
    )


def run(options: argparse.Namespace) -> int:
    if (options.precision == "int8") != bool(options.calibrate):
        raise ValueError("--precision int8 and --calibrate IMAGES|JSON go together: int8 is calibrated on images")
    if options.max_loss is not None and not options.calibrate:
        raise ValueError("--max-loss is of --precision int8")
    from posewright import image
    from posewright.export import network_file
    from posewright.predict.predictor import load
    from posewright.weights import hub

    predictor = load(options.name, options.weights, device="cpu", runtime="torch")
    name = predictor.spec.name
    path = Path(options.out or f"{name}{network_file.SUFFIX[options.to]}")
    pictures = [image.read(file) for file in options.images or ()]
    licences = {e.licence for e in hub.entries(name) if options.weights in (None, e.id)}
    done = network_file.write(
        predictor,
        path,
        options.to,
        flip=options.flip,
        raw=options.raw,
        int8=_calibration(options, predictor.spec.skeleton) if options.calibrate else None,
        images=pictures,
        licence=licences.pop() if len(licences) == 1 else "",
    )
    alike, change = done.parity, done.change
    lines = [
        f"{path}: {name} for {options.to}; at float32 keypoints of {alike.people} images differ by at most "
        f"{alike.off:.2g} pixels"
    ]
    if alike.undecided:
        lines += [f"{alike.undecided} keypoints were not compared, as rounding decides where they lie"]
    if change:
        lines += [str(change)]
    lines += [f"`posewright predict --model {path} IMAGES` takes it"]
    answer(
        options,
        "\n".join(lines),
        file=path,
        model=name,
        difference=alike.off,
        images=alike.people,
        undecided=alike.undecided,
        int8=change,
    )
    return 0


def _calibration(options: argparse.Namespace, skeleton: Skeleton) -> Calibration:
    from posewright.data.skeleton_file import people_for
    from posewright.export.quantisation import MAX_LOSS, Calibration
    from posewright.predict.images import images_of

    annotations = [path for path in options.calibrate if Path(path).suffix == ".json"]
    if len(annotations) > 1:
        raise ValueError(f"--calibrate takes one file of annotations, got {len(annotations)}")
    others = [path for path in options.calibrate if path not in annotations]
    images = [file.path for file in images_of(others).files] if others else []
    people = people_for(skeleton, annotations[0]) if annotations else None
    return Calibration(images, people, MAX_LOSS if options.max_loss is None else options.max_loss)
