"""Lite-HRNet (Yu et al., CVPR 2021), as released in mmpose 0.x and as in the MindSpore project."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.recipes._recipe import Recipe
from posewright.train.recipes.hrnet import W32

LITE18 = replace(
    W32,
    model="litehrnet-18-256x192",
    batch=512,
    loss_factor=1.0,
    lr=2e-3,
    warmup=500,
    augment=augment.LITEHRNET,
)
LITE18_384 = replace(LITE18, model="litehrnet-18-384x288", batch=256)

RECIPES = (
    Recipe(
        "litehrnet_18_coco",
        "Lite-HRNet-18 (Yu et al., CVPR 2021)",
        LITE18,
        ap=64.8,
        note="Adam 2e-3 after 500 steps of warm-up, divided by ten after 170 and 200 of 210 epochs, 8 x 64 people per"
        " step; rotation 30, scale 0.25, half bodies with probability 0.3. mmpose's loss has no factor of one half.",
        systems=("litehrnet-*",),
        small="litehrnet-naive-18-128x96",
    ),
    Recipe(
        "litehrnet_18_384x288_coco",
        "Lite-HRNet-18 at 384x288",
        LITE18_384,
        ap=67.6,
        note="8 x 32 people per step.",
        systems=("litehrnet-*-384x288",),
        small="litehrnet-naive-18-128x96",
    ),
    Recipe("litehrnet_30_coco", "Lite-HRNet-30", replace(LITE18, model="litehrnet-30-256x192"), ap=67.2),
    Recipe(
        "litehrnet_30_384x288_coco",
        "Lite-HRNet-30 at 384x288",
        replace(LITE18_384, model="litehrnet-30-384x288"),
        ap=70.4,
    ),
    Recipe(
        "litehrnet_naive_18_coco", "Naive Lite-HRNet-18", replace(LITE18, model="litehrnet-naive-18-256x192"), ap=62.8
    ),
    Recipe(
        "litehrnet_wider_naive_18_coco",
        "Wider naive Lite-HRNet-18",
        replace(LITE18, model="litehrnet-wider-naive-18-256x192"),
        ap=66.0,
    ),
    Recipe(
        "litehrnet_18_mindspore_coco",
        "Lite-HRNet-18 as in the MindSpore project",
        replace(LITE18, epochs=200, milestones=(), batch=64, keep_last=True, loss_factor=0.5, warmup=0),
        source="no AP published",
        note="Adam with a fixed rate of 2e-3, 200 epochs of 64 people per step, an epoch's last, smaller batch too.",
    ),
)
