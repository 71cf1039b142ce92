"""`posewright demo`: the whole way from nothing to a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from posewright.cli._options import Commands, answer, command


def add(commands: Commands) -> None:
    about = "draw people, fine-tune the default model on them in a minute or two, and show how well"
    parser = command(commands, "demo", run, about)
    parser.add_argument(
        "--out", metavar="FOLDER", default="runs/demo", help="folder for everything it makes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="NUMBER", default=0, help="of the pictures and the training (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="train again where the folder holds a finished run")


def run(options: argparse.Namespace) -> int:
    from posewright.demo import demo

    lines = list(demo(Path(options.out), seed=options.seed, fresh=options.fresh))
    answer(options, "\n".join(lines), out=options.out, lines=lines)
    return 0
