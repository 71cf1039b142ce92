"""What several commands share: how one is declared, how it answers, and options that mean the same everywhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posewright.predict.predictor import Predictor

Commands = Any
"""What `ArgumentParser.add_subparsers` returns: argparse has no public name for it."""


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], about: str, **more: Any
) -> argparse.ArgumentParser:
    """Declare a command: its help is `about`, and `main` calls `run` with the parsed options for the exit status."""
    parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", **more)
    parser.add_argument("--quiet", action="store_true", help="no progress and no report, only errors")
    parser.add_argument("--json", action="store_true", help="report as one JSON object on standard output")
    parser.set_defaults(run=run, parser=parser)
    return parser


def answer(options: argparse.Namespace, text: str, **values: Any) -> None:
    """Print the outcome of a command: `text`, with --json `values` as one object, with --quiet what `failed` alone."""
    if options.json:
        import msgspec

        print(msgspec.json.encode(values, enc_hook=str).decode())
    elif not options.quiet:
        print(text)
    else:
        for reason in values.get("failed", ()):
            print(f"posewright: skipped: {reason}", file=sys.stderr)


def existing(path: str) -> str:
    """Type of an option that names a file or folder: a wrong one is reported before anything heavy is loaded."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return path


def weights_file(name: str) -> str:
    """Type of an option that names weights: a file, or the id of published ones."""
    from posewright.weights import hub

    if not Path(name).exists() and not any(e.id == name for e in hub.entries()):
        raise FileNotFoundError(f"{name}: no such file, nor the id of published weights (`posewright weights list`)")
    return name


def category_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--category",
        metavar="NAME",
        type=lambda text: int(text) if text.isdecimal() else text,
        default="person",
        help="what is to be found, or taken of --boxes: person, dog, ..., or its number (default: %(default)s)",
    )


def running_options(parser: argparse.ArgumentParser) -> None:
    """How networks are run."""
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)"
    )
    parser.add_argument(
        "--runtime",
        choices=("auto", "torch", "onnx", "openvino", "ncnn"),
        default="auto",
        help="what runs the network; auto: the fastest that is installed (default: %(default)s)",
    )
    parser.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        help="average with the mirrored image (default: where the skeleton has mirror pairs)",
    )


def model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="pose system (`posewright models`), or an exported file; a run's own checkpoint knows it",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        type=weights_file,
        help="a run's best.pt, or a published file; or the default model's",
    )
    running_options(parser)
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16", "fp16", "int8"),
        default="float32",
        help="of the network's arithmetic; int8 takes a file of `posewright export` (default: %(default)s)",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="NUMBER",
        help="refuse larger images, before they are decoded (default: 200 million, or POSEWRIGHT_MAX_PIXELS)",
    )


def predictor_of(options: argparse.Namespace, codec: Mapping[str, Any] | None = None) -> Predictor:
    from posewright.predict.predictor import load

    if options.max_pixels is not None:
        os.environ["POSEWRIGHT_MAX_PIXELS"] = str(options.max_pixels)  # every reader's, in worker processes too
    return load(
        options.model,
        options.weights,
        codec=codec,
        device=options.device,
        flip=options.flip_test,
        runtime=options.runtime,
        precision=options.precision,
    )
