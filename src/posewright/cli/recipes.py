"""`posewright recipes`: the training recipes."""

from __future__ import annotations

import argparse

from posewright.cli._options import Commands, command


def add(commands: Commands) -> None:
    parser = command(commands, "recipes", run, "list the training recipes, or show one's settings")
    parser.add_argument("name", nargs="?", help="recipe or pose system to show")


def run(options: argparse.Namespace) -> int:
    import msgspec

    from posewright.train import recipes

    if options.name:
        print(msgspec.json.format(msgspec.json.encode(recipes.find(options.name)), indent=2).decode())
        return 0
    width = max(map(len, recipes.RECIPES))
    for name, recipe in recipes.RECIPES.items():
        print(f"{name:<{width}}  {(recipe.__doc__ or '').splitlines()[0]}")
    return 0
