"""`posewright models`: the pose systems."""

from __future__ import annotations

import argparse

from posewright.cli._options import Commands, answer, command


def add(commands: Commands) -> None:
    parser = command(commands, "models", run, "list the pose systems, or show everything about one")
    parser.add_argument(
        "pattern", metavar="PATTERN", nargs="*", default=["*"], help='such as "mspn*", or: show NAME (default: all)'
    )
    parser.add_argument("--layers", action="store_true", help="with show NAME: kernel and output shape of each layer")


def run(options: argparse.Namespace) -> int:
    from posewright import catalogue
    from posewright.models import find, names

    if options.pattern[0] == "show":
        if len(options.pattern) != 2:
            raise ValueError("`posewright models show` expects one name")
        lines = catalogue.page(options.pattern[1])
        if options.layers:
            lines += ["", *catalogue.layers(find(options.pattern[1]))]
        answer(options, "\n".join(lines), name=lines[0], lines=lines[1:])
    elif options.layers:
        raise ValueError("--layers is for one pose system: posewright models show NAME --layers")
    else:
        lines = catalogue.table(options.pattern[0])
        answer(options, "\n".join(lines), models=names(options.pattern[0]))
    return 0
