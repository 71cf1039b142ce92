"""The command line: one file per command, which declares it (`add`), calls the package and prints.

A file in this folder is a command by being there. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

from posewright import progress

DESCRIPTION = "Find the keypoints of people and animals in images: train, evaluate, predict."

FIRST = ("demo", "predict", "train", "eval")
"""The commands that help shows first; the others follow by name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 2 bad input (one line on stderr says what), 130 interrupted."""
    try:
        options, unknown = parser().parse_known_args(arguments)
        if unknown:
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        with progress.shown(not options.quiet):
            return options.run(options)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"posewright: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("posewright: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser of every command in this folder."""
    whole = argparse.ArgumentParser(prog="posewright", description=DESCRIPTION)
    whole.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    for name in [*FIRST, *(n for n in names if n not in FIRST)]:
        importlib.import_module(f"posewright.cli.{name}").add(commands)
    return whole


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from posewright import __version__

        print(f"posewright {__version__}")
        parser.exit()
