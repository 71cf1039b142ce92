"""Recipes of the systems that learn one heatmap a keypoint (or, for UDP, a disc and offsets); see `recipes`."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig

COCO = "data/coco/annotations/person_keypoints_{}2017.json"

# -- SimpleBaseline ---------------------------------------------------------------------------------------------------


def simplebaseline_r50_coco() -> TrainConfig:
    """SimpleBaseline-R50 (Xiao et al., ECCV 2018): 70.4 AP.

    Adam 1e-3, down tenfold after 90 and 120 of 140 epochs, 4 x 32 people a step; rotation 40, scale 0.3. The released
    script names a weight decay but its Adam does not use it.
    """
    return TrainConfig(
        model="simplebaseline-r50-256x192",
        train=COCO.format("train"),
        val=COCO.format("val"),
        epochs=140,
        milestones=(90 / 140, 120 / 140),
        batch=128,
        lr=1e-3,
        augment=augment.SIMPLEBASELINE,
    )


def simplebaseline_r101_coco() -> TrainConfig:
    """SimpleBaseline-R101: 71.4 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r101-256x192")


def simplebaseline_r152_coco() -> TrainConfig:
    """SimpleBaseline-R152: 72.0 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r152-256x192")


def simplebaseline_r50_384x288_coco() -> TrainConfig:
    """SimpleBaseline-R50 at 384x288: 72.2 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r50-384x288")


def simplebaseline_r101_384x288_coco() -> TrainConfig:
    """SimpleBaseline-R101 at 384x288: 73.6 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r101-384x288")


def simplebaseline_r152_384x288_coco() -> TrainConfig:
    """SimpleBaseline-R152 at 384x288: 74.3 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r152-384x288")


# -- HRNet ------------------------------------------------------------------------------------------------------------


def hrnet_w32_coco() -> TrainConfig:
    """HRNet-W32 (Sun et al., CVPR 2019): 74.4 AP.

    Adam 1e-3, down tenfold after 170 and 200 of 210 epochs, 4 x 32 people a step; rotation 45, scale 0.35, half bodies
    with probability 0.3. The released script names a weight decay but its Adam does not use it.
    """
    return TrainConfig(
        model="hrnet-w32-256x192",
        train=COCO.format("train"),
        val=COCO.format("val"),
        epochs=210,
        milestones=(170 / 210, 200 / 210),
        batch=128,
        lr=1e-3,
        augment=augment.HRNET,
    )


def hrnet_w32_384x288_coco() -> TrainConfig:
    """HRNet-W32 at 384x288: 75.8 AP."""
    return replace(hrnet_w32_coco(), model="hrnet-w32-384x288")


def hrnet_w48_coco() -> TrainConfig:
    """HRNet-W48: 75.1 AP."""
    return replace(hrnet_w32_coco(), model="hrnet-w48-256x192")


def hrnet_w48_384x288_coco() -> TrainConfig:
    """HRNet-W48 at 384x288: 76.3 AP, with 4 x 24 people a step."""
    return replace(hrnet_w32_coco(), model="hrnet-w48-384x288", batch=96)


# -- DARK -------------------------------------------------------------------------------------------------------------


def hrnet_w32_dark_coco() -> TrainConfig:
    """HRNet-W32 with DARK (Zhang et al., CVPR 2020): 75.6 AP. HRNet's recipe."""
    return replace(hrnet_w32_coco(), model="hrnet-w32-dark-256x192")


def hrnet_w32_dark_128x96_coco() -> TrainConfig:
    """HRNet-W32 with DARK at 128x96: 70.7 AP."""
    return replace(hrnet_w32_dark_coco(), model="hrnet-w32-dark-128x96")


def hrnet_w32_dark_384x288_coco() -> TrainConfig:
    """HRNet-W32 with DARK at 384x288: 76.6 AP."""
    return replace(hrnet_w32_dark_coco(), model="hrnet-w32-dark-384x288")


def hrnet_w48_dark_128x96_coco() -> TrainConfig:
    """HRNet-W48 with DARK at 128x96: 71.9 AP."""
    return replace(hrnet_w32_dark_coco(), model="hrnet-w48-dark-128x96")


def hrnet_w48_dark_384x288_coco() -> TrainConfig:
    """HRNet-W48 with DARK at 384x288: 76.8 AP, with 4 x 24 people a step."""
    return replace(hrnet_w48_384x288_coco(), model="hrnet-w48-dark-384x288")


def simplebaseline_r50_dark_128x96_coco() -> TrainConfig:
    """SimpleBaseline-R50 with DARK at 128x96: 62.6 AP. SimpleBaseline's recipe."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r50-dark-128x96")


def simplebaseline_r101_dark_128x96_coco() -> TrainConfig:
    """SimpleBaseline-R101 with DARK at 128x96: 63.2 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r101-dark-128x96")


def simplebaseline_r152_dark_128x96_coco() -> TrainConfig:
    """SimpleBaseline-R152 with DARK at 128x96: 63.1 AP."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r152-dark-128x96")


def hourglass_4_dark_coco() -> TrainConfig:
    """Hourglass of 4 stacks with DARK at 128x96: 69.6 AP.

    As SimpleBaseline, but Adam 2.5e-4 and 8 people a step on one GPU.
    """
    return replace(simplebaseline_r50_coco(), model="hourglass-4-dark-128x96", lr=2.5e-4, batch=8)


def hourglass_8_dark_coco() -> TrainConfig:
    """Hourglass of 8 stacks with DARK at 128x96: 70.8 AP."""
    return replace(hourglass_4_dark_coco(), model="hourglass-8-dark-128x96")


# -- UDP --------------------------------------------------------------------------------------------------------------


def hrnet_w32_udp_coco() -> TrainConfig:
    """HRNet-W32 with UDP's Gaussians (Huang et al., CVPR 2020). HRNet's recipe; mmpose measured 76.2 AP with it."""
    return replace(hrnet_w32_coco(), model="hrnet-w32-udp-256x192")


def hrnet_w32_udp_384x288_coco() -> TrainConfig:
    """HRNet-W32 with UDP's Gaussians at 384x288; mmpose measured 76.8 AP."""
    return replace(hrnet_w32_udp_coco(), model="hrnet-w32-udp-384x288")


def hrnet_w48_udp_coco() -> TrainConfig:
    """HRNet-W48 with UDP's Gaussians; mmpose measured 76.8 AP."""
    return replace(hrnet_w32_udp_coco(), model="hrnet-w48-udp-256x192")


def hrnet_w48_udp_384x288_coco() -> TrainConfig:
    """HRNet-W48 with UDP's Gaussians at 384x288; mmpose measured 77.3 AP."""
    return replace(hrnet_w48_384x288_coco(), model="hrnet-w48-udp-384x288")


def hrnet_w32_udp_offset_coco() -> TrainConfig:
    """HRNet-W32 with UDP's discs and offsets, the released configuration: 76.8 AP with boxes of 65.1 AP."""
    return replace(hrnet_w32_coco(), model="hrnet-w32-udp-offset-256x192", loss="udp-offset")


def hrnet_w32_udp_offset_384x288_coco() -> TrainConfig:
    """HRNet-W32 with UDP's discs and offsets at 384x288: 77.8 AP with boxes of 65.1 AP."""
    return replace(hrnet_w32_udp_offset_coco(), model="hrnet-w32-udp-offset-384x288")


def hrnet_w48_udp_offset_coco() -> TrainConfig:
    """HRNet-W48 with UDP's discs and offsets: 77.2 AP with boxes of 65.1 AP."""
    return replace(hrnet_w32_udp_offset_coco(), model="hrnet-w48-udp-offset-256x192")


def hrnet_w48_udp_offset_384x288_coco() -> TrainConfig:
    """HRNet-W48 with UDP's discs and offsets at 384x288: 77.8 AP with boxes of 65.1 AP."""
    return replace(hrnet_w48_384x288_coco(), model="hrnet-w48-udp-offset-384x288", loss="udp-offset")


def simplebaseline_r50_udp_coco() -> TrainConfig:
    """SimpleBaseline-R50 with UDP: 72.9 AP with boxes of 65.1 AP. SimpleBaseline's recipe: none was released."""
    return replace(simplebaseline_r50_coco(), model="simplebaseline-r50-udp-256x192")


def simplebaseline_r152_udp_coco() -> TrainConfig:
    """SimpleBaseline-R152 with UDP: 74.3 AP with boxes of 65.1 AP."""
    return replace(simplebaseline_r50_udp_coco(), model="simplebaseline-r152-udp-256x192")


# -- LPN --------------------------------------------------------------------------------------------------------------


def lpn_50_coco() -> TrainConfig:
    """LPN-50 (Zhang et al., arXiv 1911.10346): 69.1 AP after seven rounds of training, 66.9 to 68.9 after each.

    Every round, from the last one's weights: Adam 1e-3, down tenfold after 90 and 120 of 150 epochs, 32 people a step
    on one GPU, as the released configuration says; augmented as SimpleBaseline.
    """
    return replace(
        simplebaseline_r50_coco(),
        model="lpn-50-256x192",
        epochs=150,
        milestones=(90 / 150, 120 / 150),
        batch=32,
        rounds=7,
    )


def lpn_101_coco() -> TrainConfig:
    """LPN-101: 70.4 AP."""
    return replace(lpn_50_coco(), model="lpn-101-256x192")


def lpn_152_coco() -> TrainConfig:
    """LPN-152: 71.0 AP."""
    return replace(lpn_50_coco(), model="lpn-152-256x192")


# -- Lite-HRNet -------------------------------------------------------------------------------------------------------


def litehrnet_18_coco() -> TrainConfig:
    """Lite-HRNet-18 (Yu et al., CVPR 2021): 64.8 AP.

    Adam 2e-3 after 500 steps of warm-up, down tenfold after 170 and 200 of 210 epochs, 8 x 64 people a step; rotation
    30, scale 0.25, half bodies with probability 0.3. mmpose's loss has no factor of one half.
    """
    return replace(
        hrnet_w32_coco(),
        model="litehrnet-18-256x192",
        batch=512,
        loss_factor=1.0,
        lr=2e-3,
        warmup=500,
        augment=augment.LITEHRNET,
    )


def litehrnet_18_384x288_coco() -> TrainConfig:
    """Lite-HRNet-18 at 384x288: 67.6 AP, with 8 x 32 people a step."""
    return replace(litehrnet_18_coco(), model="litehrnet-18-384x288", batch=256)


def litehrnet_30_coco() -> TrainConfig:
    """Lite-HRNet-30: 67.2 AP."""
    return replace(litehrnet_18_coco(), model="litehrnet-30-256x192")


def litehrnet_30_384x288_coco() -> TrainConfig:
    """Lite-HRNet-30 at 384x288: 70.4 AP, with 8 x 32 people a step."""
    return replace(litehrnet_18_384x288_coco(), model="litehrnet-30-384x288")


def litehrnet_naive_18_coco() -> TrainConfig:
    """Naive Lite-HRNet-18: 62.8 AP."""
    return replace(litehrnet_18_coco(), model="litehrnet-naive-18-256x192")


def litehrnet_wider_naive_18_coco() -> TrainConfig:
    """Wider naive Lite-HRNet-18: 66.0 AP."""
    return replace(litehrnet_18_coco(), model="litehrnet-wider-naive-18-256x192")


# -- Stacked hourglass ------------------------------------------------------------------------------------------------


def hourglass_8_mpii() -> TrainConfig:
    """Hourglass of 8 stacks (Newell et al., ECCV 2016): 90.9 PCKh@0.5 on MPII's test set.

    RMSprop 2.5e-4, scale 0.25, rotation 30. The paper drops the rate once, when the accuracy stays; as in pytorch-pose,
    it falls tenfold after 60 and 90 of 100 epochs of 6 people a step.
    """
    return TrainConfig(
        model="hourglass-8-mpii-256x256",
        train="data/mpii/annotations/train.json",
        val="data/mpii/annotations/valid.json",
        epochs=100,
        milestones=(0.6, 0.9),
        batch=6,
        optimizer="rmsprop",
        lr=2.5e-4,
        augment=augment.Augment(scale=(0.75, 1.25), rotation=30, mirror=0.5),
    )


def hourglass_8_coco() -> TrainConfig:
    """Hourglass of 8 stacks on COCO by its recipe for MPII; others published 66.9 AP with theirs."""
    return replace(hourglass_8_mpii(), model="hourglass-8-256x256", train=COCO.format("train"), val=COCO.format("val"))


RECIPES = (
    simplebaseline_r50_coco, simplebaseline_r101_coco, simplebaseline_r152_coco, simplebaseline_r50_384x288_coco,
    simplebaseline_r101_384x288_coco, simplebaseline_r152_384x288_coco, hrnet_w32_coco, hrnet_w32_384x288_coco,
    hrnet_w48_coco, hrnet_w48_384x288_coco, hrnet_w32_dark_coco, hrnet_w32_dark_128x96_coco,
    hrnet_w32_dark_384x288_coco, hrnet_w48_dark_128x96_coco, hrnet_w48_dark_384x288_coco,
    simplebaseline_r50_dark_128x96_coco, simplebaseline_r101_dark_128x96_coco, simplebaseline_r152_dark_128x96_coco,
    hourglass_4_dark_coco, hourglass_8_dark_coco, hrnet_w32_udp_coco, hrnet_w32_udp_384x288_coco, hrnet_w48_udp_coco,
    hrnet_w48_udp_384x288_coco, hrnet_w32_udp_offset_coco, hrnet_w32_udp_offset_384x288_coco,
    hrnet_w48_udp_offset_coco, hrnet_w48_udp_offset_384x288_coco, simplebaseline_r50_udp_coco,
    simplebaseline_r152_udp_coco, lpn_50_coco, lpn_101_coco, lpn_152_coco, litehrnet_18_coco,
    litehrnet_18_384x288_coco, litehrnet_30_coco, litehrnet_30_384x288_coco, litehrnet_naive_18_coco,
    litehrnet_wider_naive_18_coco, hourglass_8_mpii, hourglass_8_coco,
)  # fmt: skip
