"""Stacked hourglass (Newell et al., ECCV 2016), also with DARK."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import COCO, Recipe
from posewright.train.recipes.simplebaseline import R50

MPII = TrainConfig(
    model="hourglass-8-mpii-256x256",
    train="data/mpii/annotations/train.json",
    val="data/mpii/annotations/valid.json",
    epochs=100,
    milestones=(0.6, 0.9),
    batch=6,
    optimizer="rmsprop",
    lr=2.5e-4,
    augment=augment.Augment(scale=(0.75, 1.25), rotation=30, flip=0.5),
)
DARK4 = replace(R50, model="hourglass-4-dark-128x96", lr=2.5e-4, batch=8)

RECIPES = (
    Recipe(
        "hourglass_4_dark_coco",
        "Hourglass of 4 stacks with DARK at 128x96",
        DARK4,
        ap=69.6,
        note="As SimpleBaseline, but Adam 2.5e-4 and 8 people per step on one GPU.",
        systems=("hourglass-*-dark-*",),
        small="hrnet-w8-dark-128x96",
    ),
    Recipe(
        "hourglass_8_dark_coco",
        "Hourglass of 8 stacks with DARK at 128x96",
        replace(DARK4, model="hourglass-8-dark-128x96"),
        ap=70.8,
    ),
    Recipe(
        "hourglass_8_mpii",
        "Hourglass of 8 stacks (Newell et al., ECCV 2016)",
        MPII,
        source="90.9 PCKh@0.5 on MPII's test set",
        note="RMSprop 2.5e-4, scale 0.25, rotation 30. The paper lowers the rate once, when the accuracy stays; as in"
        " pytorch-pose, it is divided by ten after 60 and 90 of 100 epochs of 6 people per step.",
        systems=("hourglass-*-mpii-*",),
        small="hourglass-1-128x96",
    ),
    Recipe(
        "hourglass_8_coco",
        "Hourglass of 8 stacks on COCO by its recipe for MPII",
        replace(MPII, model="hourglass-8-256x256", train=COCO.format("train"), val=COCO.format("val")),
        ap=66.9,
        source="val2017 by others, with their recipe",
        systems=("hourglass-*",),
        small="hourglass-1-128x96",
    ),
)
