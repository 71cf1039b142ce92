"""The recipes: a table of published results, each with the settings that gave it.

Every family's rows stand in a file of its own, `recipes/hrnet.py` and so on, in its `RECIPES`; they are found by
looking, so a new recipe is one row, or one file. Batches are of all GPUs together. Most results started from ImageNet
weights of their backbones, which are given with `--backbone`, such as `--backbone imagenet_resnet50`; their recipes
start from scratch.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from posewright.models import names as spec_names
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import Recipe

_COCO_PEOPLE = 149_813
"""Annotated people in train2017 with keypoints: the training samples of an epoch."""


def table() -> dict[str, Recipe]:
    """All recipes by name, family by family."""
    modules: list[Any] = [
        importlib.import_module(f"posewright.train.recipes.{m.name}")
        for m in pkgutil.iter_modules(__path__)
        if not m.name.startswith("_")
    ]
    return {recipe.name: recipe for module in modules for recipe in module.RECIPES}


def find(name: str) -> TrainConfig:
    """The settings of a recipe, or of a pose system: its own recipe, else the one that its kind trains by.

    A pose system of a family that has no recipe gets HRNet's settings, with its codec's loss.

    Raises:
        LookupError: there is neither; the message names the nearest.
    """
    rows = table()
    if name in rows:
        return rows[name].config
    if name in spec_names():
        own = (row.config for row in rows.values() if row.config.model == name and not row.config.init)
        if found := next(own, None):
            return found
        if like := _like(name):
            return replace(like.config, model=name)
        return replace(rows["hrnet_w32_coco"].config, model=name)
    near = difflib.get_close_matches(name, [*rows, *spec_names()], n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise LookupError(f"no recipe or pose system is named {name!r}{hint} (`posewright recipes` and `models` list all)")


def small(config: TrainConfig, *, people: int, batch: int = 32) -> TrainConfig:
    """A recipe at a size for CPUs and tests: a small system of its kind that is shown fewer training samples.

    Optimiser, rate, schedule, loss and augmentation are the recipe's, and the warm-up is as large a part of the run; a
    rate that was published per GPU follows the batch. Of the rounds of an iterative training there are two; the whole
    network starts from scratch.

    Args:
        config: the recipe.
        people: training samples shown in all, repeats included.
        batch: training samples per step, where the recipe has more.
    """
    batch = min(batch, config.batch)
    steps = max(1, people // batch)
    whole = config.steps or config.epochs * _COCO_PEOPLE // config.batch
    like = _like(config.model)
    return replace(
        config,
        model=like.small if like else config.model,
        steps=steps,
        batch=batch,
        lr=config.lr * batch / config.batch
        if like and like.lr_follows_batch and config.lr == like.config.lr
        else config.lr,
        warmup=round(config.warmup * steps / whole),
        rounds=min(2, config.rounds),
        init="",
        backbone="",
        freeze=(),
    )


def _like(name: str) -> Recipe | None:
    """The recipe with the longest pattern, that is the narrowest, among those that fit a pose system."""
    fits = [(len(pattern), row) for row in table().values() for pattern in row.systems if fnmatchcase(name, pattern)]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None
