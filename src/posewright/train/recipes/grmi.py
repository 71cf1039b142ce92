"""G-RMI (Papandreou et al., CVPR 2017)."""

from __future__ import annotations

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import COCO, Recipe

RECIPES = (
    Recipe(
        "grmi_r101_coco",
        "G-RMI-R101 (Papandreou et al., CVPR 2017)",
        TrainConfig(
            model="grmi-r101-353x257",
            train=COCO.format("train"),
            val=COCO.format("val"),
            steps=800_000,
            batch=24,
            loss="grmi",
            optimizer="sgd",
            momentum=0.9,
            lr=5e-3,
            milestones=(),
            ema=0.9999,
            augment=augment.Augment(scale=(0.8, 1.2), scale_draw="uniform", flip=0.5),
        ),
        ap=64.9,
        source="test-dev with its own boxes, trained on COCO alone",
        note="A fixed rate of 5e-3 for 800,000 steps of 24 people and a running average of the weights, whose decay is"
        " not stated; boxes are enlarged by 1 to 1.5. The paper names neither SGD's momentum (0.9 here, as for its"
        " detector) nor flips (with probability 0.5 here), and the scale of its losses is unknown (means here).",
        systems=("grmi-*",),
        small="grmi-r18-129x97",
    ),
)
