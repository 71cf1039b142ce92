"""CPN (Chen et al., CVPR 2018), as in PyTorch's release."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import COCO, Recipe

CPN50 = TrainConfig(
    model="cpn-50-256x192",
    train=COCO.format("train"),
    val=COCO.format("val"),
    epochs=4 * 32,
    milestones=tuple(n / 32 for n in range(6, 32, 6)),
    gamma=0.5,
    batch=32,
    loss="cpn",
    lr=5e-4,
    weight_decay=1e-5,
    augment=augment.CPN,
)
_BOXES = "val2017, boxes of the original, whose AP is {}"

RECIPES = (
    Recipe(
        "cpn_50_coco",
        "CPN-50 (Chen et al., CVPR 2018)",
        CPN50,
        ap=69.2,
        source=_BOXES.format(69.7),
        note="Adam 5e-4 with weight decay 1e-5, halved after every 6 of 32 epochs, 32 people per step. Such an epoch"
        " shows everybody four times: plain, flipped and rotated twice by up to 45 degrees.",
        systems=("cpn-*",),
        small="cpn-18-128x96",
    ),
    Recipe(
        "cpn_50_384x288_coco",
        "CPN-50 at 384x288",
        replace(CPN50, model="cpn-50-384x288", batch=12),
        ap=72.2,
        source=_BOXES.format(72.3),
        note="12 people per step.",
    ),
    Recipe(
        "cpn_101_384x288_coco",
        "CPN-101 at 384x288",
        replace(CPN50, model="cpn-101-384x288", batch=12),
        ap=72.3,
        source=_BOXES.format(72.9),
        note="12 people per step.",
    ),
)
