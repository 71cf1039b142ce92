"""What several commands share: how one is declared, and the options of a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable
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
    parser.set_defaults(run=run)
    return parser


def model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="pose system (`posewright models`); a run's own checkpoint knows it")
    parser.add_argument(
        "--weights", metavar="FILE", help="a run's best.pt, or a published file; or the default model's"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    parser.add_argument(
        "--flip-test", action=argparse.BooleanOptionalAction, default=True, help="average with the mirrored image"
    )


def predictor_of(options: argparse.Namespace) -> Predictor:
    from posewright.predict.predictor import load

    return load(options.model, options.weights, device=options.device, flip=options.flip_test)
