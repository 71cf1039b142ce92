"""RSN (Cai et al., ECCV 2020), also with UDP."""

from __future__ import annotations

from dataclasses import replace

from posewright.train.recipes._recipe import VAL_65, Recipe
from posewright.train.recipes.mspn import MSPN2

_MINIVAL = "minival2014, on the authors' own platform"

RECIPES = (
    Recipe(
        "rsn_18_coco",
        "RSN-18 (Cai et al., ECCV 2020)",
        replace(MSPN2, model="rsn-18-256x192"),
        ap=70.4,
        source="minival2014",
        note="MSPN's recipe. The authors' own platform gave 73.6.",
        systems=("rsn-*",),
        small="rsn-18-slim-128x96",
        lr_follows_batch=True,
    ),
    Recipe("rsn_50_coco", "RSN-50", replace(MSPN2, model="rsn-50-256x192"), ap=74.7, source=_MINIVAL),
    Recipe(
        "rsn_50_2stg_coco", "RSN-50, 2 stages", replace(MSPN2, model="rsn-50-2stg-256x192"), ap=77.2, source=_MINIVAL
    ),
    Recipe(
        "rsn_50_3stg_coco", "RSN-50, 3 stages", replace(MSPN2, model="rsn-50-3stg-256x192"), ap=78.2, source=_MINIVAL
    ),
    Recipe(
        "rsn_50_4stg_coco", "RSN-50, 4 stages", replace(MSPN2, model="rsn-50-4stg-256x192"), ap=79.0, source=_MINIVAL
    ),
    Recipe(
        "rsn_18_udp_coco",
        "RSN-18 with UDP (Huang et al., CVPR 2020)",
        replace(MSPN2, model="rsn-18-udp-256x192", steps=128_000, batch=288),
        ap=74.7,
        source=VAL_65,
        note="128,000 steps of 8 x 36 people.",
        systems=("rsn-18-udp-*",),
        small="rsn-18-slim-128x96",
        lr_follows_batch=True,
    ),
)
