"""`posewright train`: a recipe or a pose system on annotations."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, command, existing, weights_file

if TYPE_CHECKING:
    from posewright.train.config import TrainConfig
    from posewright.train.loop import Fitted


def _start(name: str) -> str:
    """Type of an option that names weights to start from."""
    return name if name == "default" else weights_file(name)


_PATHS = {
    "val": ("JSON", existing, "annotations to choose the best weights on"),
    "val_images": ("FOLDER", existing, "folder of their images"),
    "val_boxes": ("JSON", existing, "detections to evaluate with instead of the annotated boxes"),
    "target": ("JSON", existing, "annotations of an unlabelled domain to adapt to: its images and boxes are read"),
    "target_images": ("FOLDER", existing, "folder of their images"),
    "out": ("FOLDER", str, "the run's folder"),
    "init": ("FILE", _start, 'weights to start from, of any toolkit; "default": those in the package'),
    "backbone": ("FILE", str, "ImageNet weights for the backbone: a file, or an id of `posewright weights list`"),
    "skeleton": ("JSON", existing, "file that says what the points are"),
    "sigmas": ("SOURCE", str, "of OKS: published, pck, or annotations of the same people again; default: the file's"),
}
"""Settings with an option of their own: what it takes, its type and its help."""


def add(commands: Commands) -> None:
    about = "train a pose system on annotations of any skeleton, in any format"
    parser = command(commands, "train", run, about)
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a recipe (`posewright recipes`) or a pose system")
    _add_paths(parser)
    parser.add_argument(
        "--reset-head", action="store_true", help="re-initialise the last layer if the number of keypoints differs"
    )
    parser.add_argument(
        "--rounds", metavar="NUMBER", type=int, help="whole trainings in a row, each from the weights of the last one"
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="take images whose names lead out of the folder of the images"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change any setting, such as lr=3e-4 or codec.sigma=3",
    )
    parser.add_argument("--resume", metavar="RUN", type=existing, help="resume the interrupted run in this folder")
    parser.add_argument("--find-lr", action="store_true", help="only sweep over learning rates and suggest one")


def _add_paths(parser: argparse.ArgumentParser) -> None:
    paths = parser.add_argument_group(
        "data and folders (settings, too; --train also forgets the recipe's other files, which --set train=... keeps)"
    )
    paths.add_argument(
        "--train", metavar="JSON", nargs="+", type=existing, help="annotations to train on, one file or several"
    )
    paths.add_argument(
        "--train-images",
        metavar="FOLDER",
        nargs="+",
        type=existing,
        help="folder of their images, for each file not beside them",
    )
    paths.add_argument(
        "--domains",
        metavar="DOMAIN",
        nargs="+",
        help="what each file of --train holds, which trains by WS-CDA: people, animals, unlabelled or target",
    )
    for name, (metavar, kind, about) in _PATHS.items():
        paths.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, type=kind, help=about)


def run(options: argparse.Namespace) -> int:
    from posewright.train import recipes
    from posewright.train.loop import resumed, rounds

    if options.resume:
        others = (
            "train", "train_images", "domains", "recipe", "set", "find_lr", "reset_head", "allow_outside", "rounds"
        )  # fmt: skip
        if given := [name for name in (*_PATHS, *others) if getattr(options, name)]:
            named = ", ".join("the recipe" if n == "recipe" else f"--{n.replace('_', '-')}" for n in given)
            raise ValueError(f"--resume uses the run's own settings: leave out {named}")
        config = replace(resumed(options.resume), out=str(options.resume))
    else:
        if not options.recipe:
            raise ValueError("name a recipe or a pose system (`posewright recipes`, `posewright models`)")
        config = _with_paths(recipes.find(options.recipe), options)
    if options.find_lr:
        from posewright.train.lr_finder import find_lr

        sweep = find_lr(config)
        text = f"learning rate {sweep.best:.1e}: --set lr={sweep.best:.1e}; see {Path(config.out) / 'find-lr.svg'}"
        answer(options, text, lr=sweep.best, out=config.out)
        return 0
    rows = rounds(config, resume=bool(options.resume))
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # the main process reports
    fitted = rows[-1]
    outcome = {"finished": fitted.finished, "steps": fitted.step, "metrics": fitted.metrics, "out": fitted.out}
    if config.rounds > 1:
        outcome["rounds"] = [f.metrics for f in rows if f.finished]
    if not fitted.finished:
        text = f"stopped at step {fitted.step}; resume with: posewright train --resume {config.out}"
        answer(options, text, **outcome)
        return 130
    best = "".join(f" {name} {value:.3f}" for name, value in fitted.metrics.items() if name in ("AP", "AR", "PCK"))
    page = fitted.out / "index.html"
    text = f"trained {fitted.step} steps; best:{best or ' not evaluated'}; see {page if page.exists() else fitted.out}"
    table = [] if config.rounds == 1 or not fitted.metrics else _table(rows)
    answer(options, "\n".join([*table, text]), **outcome)
    return 0


def _table(rows: list[Fitted]) -> list[str]:
    """The best metrics of each round as a Markdown table."""
    heads = ["Round", *rows[0].metrics]
    cells = [[str(n), *(f"{v:.3f}" for v in row.metrics.values())] for n, row in enumerate(rows, 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *cells)] + [""]


def _with_paths(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    from posewright.train.settings import override

    given = {name: getattr(options, name) for name in (*_PATHS, "rounds") if getattr(options, name) is not None}
    chosen = set(given)
    if options.domains:
        given["domains"] = tuple(options.domains)
    for name in ("train", "train_images"):
        if several := getattr(options, name):
            given[name] = several[0] if len(several) == 1 else tuple(several)
    if "train" in given:  # own data: nothing of the recipe's own paths may linger
        given = (
            dict.fromkeys(("train_images", "val", "val_images", "val_boxes", "skeleton", "target", "target_images"), "")
            | {"file_partial": ()}
            | given
        )
    if "val" in given and "val_boxes" not in given:
        given["val_boxes"] = ""
    for name in ("reset_head", "allow_outside"):
        given[name] = getattr(options, name) or getattr(config, name)
    return override(replace(config, **given), options.set, chosen)
