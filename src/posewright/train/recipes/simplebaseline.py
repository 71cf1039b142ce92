"""SimpleBaseline (Xiao et al., ECCV 2018), with DARK and UDP."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import COCO, VAL_65, Recipe

R50 = TrainConfig(
    model="simplebaseline-r50-256x192",
    train=COCO.format("train"),
    val=COCO.format("val"),
    epochs=140,
    milestones=(90 / 140, 120 / 140),
    batch=128,
    lr=1e-3,
    augment=augment.SIMPLEBASELINE,
)


def _r(depth: int, rest: str) -> TrainConfig:
    return replace(R50, model=f"simplebaseline-r{depth}-{rest}")


RECIPES = (
    Recipe(
        "simplebaseline_r50_coco",
        "SimpleBaseline-R50 (Xiao et al., ECCV 2018)",
        R50,
        ap=70.4,
        note="Adam 1e-3, divided by ten after 90 and 120 of 140 epochs, 4 x 32 people per step; rotation 40, scale 0.3."
        " The released script names a weight decay but its Adam does not use it.",
        systems=("simplebaseline-*",),
        small="simplebaseline-r18-slim-128x96",
    ),
    Recipe("simplebaseline_r101_coco", "SimpleBaseline-R101", _r(101, "256x192"), ap=71.4),
    Recipe("simplebaseline_r152_coco", "SimpleBaseline-R152", _r(152, "256x192"), ap=72.0),
    Recipe("simplebaseline_r50_384x288_coco", "SimpleBaseline-R50 at 384x288", _r(50, "384x288"), ap=72.2),
    Recipe("simplebaseline_r101_384x288_coco", "SimpleBaseline-R101 at 384x288", _r(101, "384x288"), ap=73.6),
    Recipe("simplebaseline_r152_384x288_coco", "SimpleBaseline-R152 at 384x288", _r(152, "384x288"), ap=74.3),
    Recipe(
        "simplebaseline_r50_dark_128x96_coco",
        "SimpleBaseline-R50 with DARK at 128x96",
        _r(50, "dark-128x96"),
        ap=62.6,
        systems=("simplebaseline-*-dark-*",),
        small="simplebaseline-r18-slim-dark-128x96",
    ),
    Recipe(
        "simplebaseline_r101_dark_128x96_coco",
        "SimpleBaseline-R101 with DARK at 128x96",
        _r(101, "dark-128x96"),
        ap=63.2,
    ),
    Recipe(
        "simplebaseline_r152_dark_128x96_coco",
        "SimpleBaseline-R152 with DARK at 128x96",
        _r(152, "dark-128x96"),
        ap=63.1,
    ),
    Recipe(
        "simplebaseline_r50_udp_coco",
        "SimpleBaseline-R50 with UDP",
        _r(50, "udp-256x192"),
        ap=72.9,
        source=VAL_65,
        note="No recipe was released: SimpleBaseline's.",
        systems=("simplebaseline-*-udp-*",),
        small="hrnet-w8-udp-128x96",
    ),
    Recipe(
        "simplebaseline_r152_udp_coco", "SimpleBaseline-R152 with UDP", _r(152, "udp-256x192"), ap=74.3, source=VAL_65
    ),
)
