"""MSPN (Li et al., arXiv 1901.00148), as released by its authors and as tuned in the MindSpore project."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import COCO, Recipe

MSPN2 = TrainConfig(
    model="mspn-2stg-256x192",
    train=COCO.format("train"),
    val=COCO.format("val"),
    steps=96_000,
    batch=256,
    loss="coarse-to-fine",
    lr=8 * 5e-4,
    weight_decay=1e-5,
    schedule="linear",
    warmup=2400,
    warmup_from=0.1,
    augment=augment.MSPN,
)
COCO2014 = replace(
    MSPN2,
    train="dataset/COCO/gt_json/train_val_minus_minival_2014.json",
    val="dataset/COCO/gt_json/minival_2014.json",
    val_boxes="dataset/COCO/det_json/minival_2014_det.json",
)
_MINIVAL = "minival2014, its detector's boxes"

RECIPES = (
    Recipe(
        "mspn_2stg_coco",
        "MSPN, 2 stages (Li et al., arXiv 1901.00148)",
        MSPN2,
        ap=74.5,
        source=_MINIVAL,
        note="Adam 5e-4 per GPU, that is 4e-3 with the published 8, weight decay 1e-5, 2,400 steps of warm-up from a"
        " tenth, then linearly to 0 at step 96,000 of 8 x 32 people.",
        systems=("mspn-*",),
        small="mspn-2stg-slim-128x96",
        lr_follows_batch=True,
    ),
    Recipe("mspn_1stg_coco", "MSPN, 1 stage", replace(MSPN2, model="mspn-1stg-256x192"), ap=71.5, source=_MINIVAL),
    Recipe("mspn_3stg_coco", "MSPN, 3 stages", replace(MSPN2, model="mspn-3stg-256x192"), ap=75.2, source=_MINIVAL),
    Recipe("mspn_4stg_coco", "MSPN, 4 stages", replace(MSPN2, model="mspn-4stg-256x192"), ap=75.9, source=_MINIVAL),
    Recipe(
        "mspn_4stg_384x288_coco",
        "MSPN, 4 stages, at 384x288",
        replace(MSPN2, model="mspn-4stg-384x288"),
        ap=76.9,
        source=_MINIVAL,
    ),
    Recipe(
        "mspn_2stg_coco2014",
        "MSPN, 2 stages, as its authors split COCO 2014: all but the 5,000 images of minival, evaluated on minival",
        COCO2014,
        ap=74.5,
        source=_MINIVAL,
    ),
    Recipe(
        "mspn_2stg_mindspore_coco2014",
        "MSPN, 2 stages, as tuned in the MindSpore project: 5 epochs from its published weights",
        replace(
            COCO2014,
            model="mspn-2stg-mindspore-256x192",
            steps=0,
            epochs=5,
            batch=62,
            keep_last=True,
            lr=5e-4,
            weight_decay=0.0,
            schedule="cosine",
            schedule_per="epoch",
            warmup=0,
            init="mspn.ckpt",
        ),
        source="no AP published",
        note="Adam 5e-4 on one device, a cosine that changes once per epoch, 62 people per step; an epoch's last,"
        " smaller batch is learned too.",
    ),
)
