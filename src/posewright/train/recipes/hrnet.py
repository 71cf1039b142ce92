"""HRNet (Sun et al., CVPR 2019), with DARK (Zhang et al., CVPR 2020) and UDP (Huang et al., CVPR 2020)."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import COCO, VAL_65, Recipe

W32 = TrainConfig(
    model="hrnet-w32-256x192",
    train=COCO.format("train"),
    val=COCO.format("val"),
    epochs=210,
    milestones=(170 / 210, 200 / 210),
    batch=128,
    lr=1e-3,
    augment=augment.HRNET,
)
OFFSET = replace(W32, loss="udp-offset")
_MMPOSE = "val2017, boxes of 56.4 AP, by mmpose"

RECIPES = (
    Recipe(
        "hrnet_w32_coco",
        "HRNet-W32 (Sun et al., CVPR 2019)",
        W32,
        ap=74.4,
        note="Adam 1e-3, divided by ten after 170 and 200 of 210 epochs, 4 x 32 people per step; rotation 45, scale"
        " 0.35, half bodies with probability 0.3. The released script names a weight decay but its Adam does not use"
        " it.",
        systems=("hrnet-*",),
        small="hrnet-w8-128x96",
    ),
    Recipe("hrnet_w32_384x288_coco", "HRNet-W32 at 384x288", replace(W32, model="hrnet-w32-384x288"), ap=75.8),
    Recipe("hrnet_w48_coco", "HRNet-W48", replace(W32, model="hrnet-w48-256x192"), ap=75.1),
    Recipe(
        "hrnet_w48_384x288_coco",
        "HRNet-W48 at 384x288",
        replace(W32, model="hrnet-w48-384x288", batch=96),
        ap=76.3,
        note="4 x 24 people per step.",
    ),
    Recipe(
        "hrnet_w32_dark_coco",
        "HRNet-W32 with DARK (Zhang et al., CVPR 2020)",
        replace(W32, model="hrnet-w32-dark-256x192"),
        ap=75.6,
        systems=("hrnet-*-dark-*",),
        small="hrnet-w8-dark-128x96",
    ),
    Recipe(
        "hrnet_w32_dark_128x96_coco",
        "HRNet-W32 with DARK at 128x96",
        replace(W32, model="hrnet-w32-dark-128x96"),
        ap=70.7,
    ),
    Recipe(
        "hrnet_w32_dark_384x288_coco",
        "HRNet-W32 with DARK at 384x288",
        replace(W32, model="hrnet-w32-dark-384x288", batch=112),
        ap=76.6,
    ),
    Recipe(
        "hrnet_w48_dark_coco",
        "HRNet-W48 with DARK",
        replace(W32, model="hrnet-w48-dark-256x192", batch=120),
        source="released without an AP of its own",
    ),
    Recipe(
        "hrnet_w48_dark_128x96_coco",
        "HRNet-W48 with DARK at 128x96",
        replace(W32, model="hrnet-w48-dark-128x96"),
        ap=71.9,
    ),
    Recipe(
        "hrnet_w48_dark_384x288_coco",
        "HRNet-W48 with DARK at 384x288",
        replace(W32, model="hrnet-w48-dark-384x288", batch=72),
        ap=76.8,
    ),
    Recipe(
        "hrnet_w32_udp_coco",
        "HRNet-W32 with UDP's Gaussians (Huang et al., CVPR 2020)",
        replace(W32, model="hrnet-w32-udp-256x192"),
        ap=76.2,
        source=_MMPOSE,
        systems=("hrnet-*-udp-*",),
        small="hrnet-w8-udp-128x96",
    ),
    Recipe(
        "hrnet_w32_udp_384x288_coco",
        "HRNet-W32 with UDP's Gaussians at 384x288",
        replace(W32, model="hrnet-w32-udp-384x288"),
        ap=76.8,
        source=_MMPOSE,
    ),
    Recipe(
        "hrnet_w48_udp_coco",
        "HRNet-W48 with UDP's Gaussians",
        replace(W32, model="hrnet-w48-udp-256x192"),
        ap=76.8,
        source=_MMPOSE,
    ),
    Recipe(
        "hrnet_w48_udp_384x288_coco",
        "HRNet-W48 with UDP's Gaussians at 384x288",
        replace(W32, model="hrnet-w48-udp-384x288", batch=96),
        ap=77.3,
        source=_MMPOSE,
    ),
    Recipe(
        "hrnet_w32_udp_offset_coco",
        "HRNet-W32 with UDP's discs and offsets",
        replace(OFFSET, model="hrnet-w32-udp-offset-256x192"),
        ap=76.8,
        source=VAL_65,
        note="The released configuration.",
        systems=("hrnet-*-udp-offset-*", "hrnet-*-udp-regress-*"),
        small="hrnet-w8-udp-offset-128x96",
    ),
    Recipe(
        "hrnet_w32_udp_offset_384x288_coco",
        "HRNet-W32 with UDP's discs and offsets at 384x288",
        replace(OFFSET, model="hrnet-w32-udp-offset-384x288"),
        ap=77.8,
        source=VAL_65,
    ),
    Recipe(
        "hrnet_w48_udp_offset_coco",
        "HRNet-W48 with UDP's discs and offsets",
        replace(OFFSET, model="hrnet-w48-udp-offset-256x192"),
        ap=77.2,
        source=VAL_65,
    ),
    Recipe(
        "hrnet_w48_udp_offset_384x288_coco",
        "HRNet-W48 with UDP's discs and offsets at 384x288",
        replace(OFFSET, model="hrnet-w48-udp-offset-384x288", batch=96),
        ap=77.8,
        source=VAL_65,
    ),
)
