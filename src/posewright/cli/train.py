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


def add(commands: Commands) -> None:
    about = "train a pose system on COCO-format annotations of any skeleton"
    parser = command(commands, "train", run, about)
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a recipe (`posewright recipes`) or a pose system")
    paths = parser.add_argument_group("data and folders (short for --set train=... and so on)")
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
    for flag, metavar, kind, about_flag in (
        ("val", "JSON", existing, "annotations to choose the best weights on"),
        ("val-images", "FOLDER", existing, "folder of their images"),
        ("val-boxes", "JSON", existing, "detections to evaluate with instead of the annotated boxes"),
        ("out", "FOLDER", str, "the run's folder"),
        ("init", "FILE", weights_file, "weights to start from, of any toolkit"),
        ("backbone", "FILE", str, "ImageNet weights for the backbone: a file, or an id of `posewright weights list`"),
        ("skeleton", "JSON", existing, "file that says what the points are"),
        (
            "sigmas",
            "SOURCE",
            str,
            "of OKS: published, pck, or annotations of the same people again; default: the file's",
        ),
    ):
        paths.add_argument(f"--{flag}", metavar=metavar, type=kind, help=about_flag)
    parser.add_argument(
        "--reset-head", action="store_true", help="re-initialise the last layer if the number of keypoints differs"
    )
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change any setting")
    parser.add_argument("--resume", metavar="RUN", type=existing, help="resume the interrupted run in this folder")
    parser.add_argument("--find-lr", action="store_true", help="only sweep over learning rates and suggest one")


def run(options: argparse.Namespace) -> int:
    from posewright.train import recipes
    from posewright.train.loop import resumed, rounds

    if options.resume:
        if options.recipe or options.set or options.find_lr:
            raise ValueError("--resume uses the run's own settings: leave out the recipe, --set and --find-lr")
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
    fitted = rounds(config, resume=bool(options.resume))
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # the main process reports
    outcome = {"finished": fitted.finished, "steps": fitted.step, "metrics": fitted.metrics, "out": fitted.out}
    if not fitted.finished:
        answer(
            options, f"stopped at step {fitted.step}; resume with: posewright train --resume {config.out}", **outcome
        )
        return 130
    best = "".join(f" {name} {value:.3f}" for name, value in fitted.metrics.items() if name in ("AP", "AR", "PCK"))
    answer(options, f"trained {fitted.step} steps; best:{best or ' not evaluated'}; see {fitted.out}", **outcome)
    return 0


def _with_paths(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    from posewright.train.config import override

    names = ("val", "val_images", "val_boxes", "out", "init", "backbone", "skeleton", "sigmas")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    for name in ("train", "train_images"):
        if several := getattr(options, name):
            given[name] = several[0] if len(several) == 1 else tuple(several)
    if "train" in given:  # own data: nothing of the recipe's own paths may linger
        given = {"train_images": "", "val": "", "val_images": "", "val_boxes": "", "skeleton": ""} | given
    if "val" in given and "val_boxes" not in given:
        given["val_boxes"] = ""
    return override(replace(config, **given, reset_head=options.reset_head or config.reset_head), options.set)
