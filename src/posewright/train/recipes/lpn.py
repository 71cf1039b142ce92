"""LPN (Zhang et al., arXiv 1911.10346): iterative training."""

from __future__ import annotations

from dataclasses import replace

from posewright.train.recipes._recipe import Recipe
from posewright.train.recipes.simplebaseline import R50

LPN50 = replace(R50, model="lpn-50-256x192", epochs=150, milestones=(90 / 150, 120 / 150), batch=32, rounds=7)

RECIPES = (
    Recipe(
        "lpn_50_coco",
        "LPN-50 (Zhang et al., arXiv 1911.10346), seven rounds",
        LPN50,
        ap=69.1,
        note="66.9 AP after the first round, 68.9 after the last of the paper's table. Every round starts from the"
        " last one's weights: Adam 1e-3, divided by ten after 90 and 120 of 150 epochs, 32 people per step on one GPU,"
        " as in the released configuration; augmented as SimpleBaseline.",
        systems=("lpn-*",),
        small="lpn-18-128x96",
    ),
    Recipe("lpn_101_coco", "LPN-101", replace(LPN50, model="lpn-101-256x192"), ap=70.4),
    Recipe("lpn_152_coco", "LPN-152", replace(LPN50, model="lpn-152-256x192"), ap=71.0),
)
