"""`posewright models`: the pose systems."""

from __future__ import annotations

import argparse

from posewright.cli._options import Commands, command


def add(commands: Commands) -> None:
    parser = command(commands, "models", run, "list the pose systems, or show everything about one")
    parser.add_argument("pattern", nargs="*", default=["*"], help='such as "mspn*", or: show NAME (default: all)')


def run(options: argparse.Namespace) -> int:
    from posewright import catalogue

    if options.pattern[0] == "show":
        if len(options.pattern) != 2:
            raise ValueError("`posewright models show` wants one name")
        print("\n".join(catalogue.page(options.pattern[1])))
    else:
        print("\n".join(catalogue.table(options.pattern[0])))
    return 0
