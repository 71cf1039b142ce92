"""`posewright recipes`: the training recipes."""

from __future__ import annotations

import argparse

from posewright.cli._options import Commands, answer, command


def add(commands: Commands) -> None:
    parser = command(commands, "recipes", run, "list the training recipes, or show one's settings")
    parser.add_argument("name", metavar="NAME", nargs="*", help="recipe or pose system to show; `show` may precede it")


def run(options: argparse.Namespace) -> int:
    import msgspec

    from posewright.train import recipes

    wanted = options.name[1:] if options.name[:1] == ["show"] else options.name
    if len(wanted) > 1 or (options.name and not wanted):
        raise ValueError("`posewright recipes show` expects one name")
    if wanted:
        config = msgspec.json.encode(recipes.find(wanted[0]))
        answer(options, msgspec.json.format(config, indent=2).decode(), **msgspec.json.decode(config))
        return 0
    about = {name: recipe.about for name, recipe in recipes.table().items()}
    width = max(map(len, about))
    answer(options, "\n".join(f"{name:<{width}}  {line}" for name, line in about.items()), recipes=about)
    return 0
