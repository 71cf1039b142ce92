"""The recipes: one function a published result, each returning a TrainConfig; variants call another and replace fields.

The functions are in `_heatmap_recipes` and `_ladder_recipes`; here they are found by name. Their figures are those of
the papers and of the released training scripts: AP on COCO val2017 with the 56.4 AP person boxes where nothing else is
said. Batches are of all GPUs together. Most results started from ImageNet weights of their backbones, which are given
with `--backbone`, such as `--backbone imagenet_resnet50`; their recipes start from scratch. Paths point at the usual
layouts, `data/coco/annotations/...`; the command line replaces them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase

from posewright.data import augment
from posewright.models import names as spec_names
from posewright.train import _heatmap_recipes as heatmaps
from posewright.train import _ladder_recipes as ladders
from posewright.train.config import TrainConfig

_COCO_PEOPLE = 149_813
"""People in train2017 that one can learn from: epochs times this are the people that a recipe shows."""


def demo() -> TrainConfig:
    """A small SimpleBaseline that learns synthetic people within minutes on two CPU cores. Not from a paper."""
    return TrainConfig(
        model="simplebaseline-r18-slim-128x96",
        train="",
        steps=1500,
        batch=32,
        lr=2e-3,
        optimizer="adamw",
        weight_decay=0.01,
        schedule="cosine",
        warmup=50,
        clip=1.0,
        ema=0.99,
        augment=augment.Augment(scale=(0.85, 1.15), rotation=10, mirror=0.5),
        workers=1,
        eval_every=3,
    )


def people14() -> TrainConfig:
    """The default model: people in sport, from an EfficientNet-Lite0 trained on ImageNet. Not from a paper.

    Leeds Sports Pose Extended in COCO's format; see docs/default-model.md for the figures. The turns are large because
    many of these people are upside down. What the trunk has up to 1/4 stays as it was on ImageNet: it changes little
    in training, and costs a third of the time.
    """
    return TrainConfig(
        model="litebaseline-160x160",
        train="data/lspet/train.json",
        val="data/lspet/val.json",
        backbone="imagenet_efficientnet_lite0",
        freeze=("stem", "blocks.0", "blocks.1", "blocks.2"),
        epochs=60,
        batch=32,
        lr=1e-3,
        optimizer="adamw",
        weight_decay=0.05,
        schedule="cosine",
        warmup=300,
        clip=1.0,
        ema=0.999,
        augment=augment.Augment(
            padding=(1.25, 1.25),
            scale=(0.75, 1.3),
            rotation=45,
            mirror=0.5,
            half_body=0.15,
            shift=0.25,
            shift_chance=0.5,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
            hue=10,
            grey=0.05,
            blur=0.1,
            erase=0.2,
        ),
        workers=1,
        eval_every=3,
    )


Recipe = Callable[[], TrainConfig]

RECIPES: dict[str, Recipe] = {
    recipe.__name__: recipe for recipe in (*heatmaps.RECIPES, *ladders.RECIPES, demo, people14)
}

_OF_SYSTEM: tuple[tuple[str, Recipe, str], ...] = (
    ("rsn-18-udp-*", ladders.rsn_18_udp_coco, "rsn-18-slim-128x96"),
    ("rsn-*", ladders.rsn_18_coco, "rsn-18-slim-128x96"),
    ("mspn-*", ladders.mspn_2stg_coco, "mspn-2stg-slim-128x96"),
    ("cpn-*", ladders.cpn_50_coco, "cpn-18-128x96"),
    ("grmi-*", ladders.grmi_r101_coco, "grmi-r18-129x97"),
    ("lpn-*", heatmaps.lpn_50_coco, "lpn-18-128x96"),
    ("litehrnet-*-384x288", heatmaps.litehrnet_18_384x288_coco, "litehrnet-naive-18-128x96"),
    ("litehrnet-*", heatmaps.litehrnet_18_coco, "litehrnet-naive-18-128x96"),
    ("hourglass-*-dark-*", heatmaps.hourglass_4_dark_coco, "hrnet-w8-dark-128x96"),
    ("hourglass-*-mpii-*", heatmaps.hourglass_8_mpii, "hourglass-1-128x96"),
    ("hourglass-*", heatmaps.hourglass_8_coco, "hourglass-1-128x96"),
    ("hrnet-*-udp-offset-*", heatmaps.hrnet_w32_udp_offset_coco, "hrnet-w8-udp-offset-128x96"),
    ("hrnet-*-udp-regress-*", heatmaps.hrnet_w32_udp_offset_coco, "hrnet-w8-udp-offset-128x96"),
    ("hrnet-*-udp-*", heatmaps.hrnet_w32_udp_coco, "hrnet-w8-udp-128x96"),
    ("hrnet-*-dark-*", heatmaps.hrnet_w32_dark_coco, "hrnet-w8-dark-128x96"),
    ("hrnet-*", heatmaps.hrnet_w32_coco, "hrnet-w8-128x96"),
    ("simplebaseline-*-udp-*", heatmaps.simplebaseline_r50_udp_coco, "hrnet-w8-udp-128x96"),
    ("simplebaseline-*-dark-*", heatmaps.simplebaseline_r50_dark_128x96_coco, "hrnet-w8-dark-128x96"),
    ("litebaseline-*", people14, "litebaseline-128x96"),
    ("simplebaseline-*", heatmaps.simplebaseline_r50_coco, "simplebaseline-r18-slim-128x96"),
)
"""Patterns of pose systems' names, the recipe of all that have none of their own, and a small system like them."""


def find(name: str) -> TrainConfig:
    """The recipe of that name; a pose system's name gives its own recipe, or else that of its family with the system.

    Raises:
        LookupError: there is neither; the message names the nearest.
    """
    if name in RECIPES:
        return RECIPES[name]()
    if name in spec_names():
        own = (recipe() for recipe in RECIPES.values() if recipe is not demo)
        found = next((config for config in own if config.model == name and not config.init), None)
        return found or replace(_like(name)[0](), model=name)
    near = difflib.get_close_matches(name, [*RECIPES, *spec_names()], n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise LookupError(f"no recipe or pose system is named {name!r}{hint} (`posewright recipes` and `models` list all)")


def small(config: TrainConfig, *, people: int, batch: int = 32) -> TrainConfig:
    """A recipe at a size for CPUs and tests: a small system of its family that is shown fewer people.

    Optimiser, rate, schedule, loss and augmentation are the recipe's, and the warm-up is as large a part of the run.
    Of the rounds of an iterative training there are two; all of the network is learnt from scratch.

    Args:
        config: the recipe.
        people: how many are shown in all, each as often as that gives.
        batch: people a step, where the recipe has more.
    """
    batch = min(batch, config.batch)
    steps = max(1, people // batch)
    whole = config.steps or config.epochs * _COCO_PEOPLE // config.batch
    return replace(
        config,
        model=_like(config.model)[1],
        steps=steps,
        batch=batch,
        warmup=round(config.warmup * steps / whole),
        rounds=min(2, config.rounds),
        init="",
        backbone="",
        freeze=(),
    )


def _like(name: str) -> tuple[Recipe, str]:
    """The recipe for a pose system that has none of its own, and a small system like it."""
    return next((recipe, small) for pattern, recipe, small in _OF_SYSTEM if fnmatchcase(name, pattern))
