"""Recipes of the systems that learn labels from coarse to fine, CPN, MSPN and RSN, and of G-RMI; see `recipes`."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train._heatmap_recipes import COCO
from posewright.train.config import TrainConfig

# -- CPN --------------------------------------------------------------------------------------------------------------


def cpn_50_coco() -> TrainConfig:
    """CPN-50 (Chen et al., CVPR 2018), PyTorch's release: 69.2 AP with the boxes of the original, whose AP is 69.7.

    Adam 5e-4 with weight decay 1e-5, halved after every 6 of 32 epochs, 32 people a step. Such an epoch shows everybody
    four times: plain, mirrored and turned twice by up to 45 degrees. Sizes are 0.7 to 1.35 of the box's; the three
    colours were scaled by 0.8 to 1.2 each, here the brightness is.
    """
    return TrainConfig(
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
        augment=augment.Augment(
            scale=(0.7, 1.35),
            scale_draw="uniform",
            rotation=45,
            rotation_draw="uniform",
            rotation_chance=0.5,
            mirror=0.25,
            brightness=0.2,
        ),
    )


def cpn_50_384x288_coco() -> TrainConfig:
    """CPN-50 at 384x288: 72.2 AP with the boxes of the original, whose AP is 72.3."""
    return replace(cpn_50_coco(), model="cpn-50-384x288")


def cpn_101_384x288_coco() -> TrainConfig:
    """CPN-101 at 384x288: 72.3 AP with the boxes of the original, whose AP is 72.9."""
    return replace(cpn_50_coco(), model="cpn-101-384x288")


# -- MSPN, RSN --------------------------------------------------------------------------------------------------------


def mspn_2stg_coco() -> TrainConfig:
    """MSPN, 2 stages (Li et al., arXiv 1901.00148): 74.5 AP on minival2014 with its detector's boxes.

    Adam 5e-4 with weight decay 1e-5, 2,400 steps of warm-up from a tenth, then straight down to 0 at step 96,000 of
    8 x 32 people. (The released script multiplies 5e-4 by the number of GPUs; the paper does not.)
    """
    return TrainConfig(
        model="mspn-2stg-256x192",
        train=COCO.format("train"),
        val=COCO.format("val"),
        steps=96_000,
        batch=256,
        loss="coarse-to-fine",
        lr=5e-4,
        weight_decay=1e-5,
        schedule="linear",
        warmup=2400,
        warmup_from=0.1,
        augment=augment.MSPN,
    )


def mspn_1stg_coco() -> TrainConfig:
    """MSPN, 1 stage: 71.5 AP on minival2014."""
    return replace(mspn_2stg_coco(), model="mspn-1stg-256x192")


def mspn_3stg_coco() -> TrainConfig:
    """MSPN, 3 stages: 75.2 AP on minival2014."""
    return replace(mspn_2stg_coco(), model="mspn-3stg-256x192")


def mspn_4stg_coco() -> TrainConfig:
    """MSPN, 4 stages: 75.9 AP on minival2014."""
    return replace(mspn_2stg_coco(), model="mspn-4stg-256x192")


def mspn_4stg_384x288_coco() -> TrainConfig:
    """MSPN, 4 stages, at 384x288: 76.9 AP on minival2014."""
    return replace(mspn_2stg_coco(), model="mspn-4stg-384x288")


def mspn_2stg_coco2014() -> TrainConfig:
    """MSPN as its authors split COCO 2014: everything but the 5,000 images of minival, judged on minival."""
    return replace(
        mspn_2stg_coco(),
        train="dataset/COCO/gt_json/train_val_minus_minival_2014.json",
        val="dataset/COCO/gt_json/minival_2014.json",
        val_boxes="dataset/COCO/det_json/minival_2014_det.json",
    )


def mspn_2stg_mindspore_coco2014() -> TrainConfig:
    """MSPN as the MindSpore case tunes it: 5 epochs from its published weights, Adam 5e-4, cosine, 62 people a step."""
    return replace(
        mspn_2stg_coco2014(),
        model="mspn-2stg-mindspore-256x192",
        steps=0,
        epochs=5,
        batch=62,
        weight_decay=0.0,
        schedule="cosine",
        warmup=0,
        init="mspn.ckpt",
    )


def rsn_18_coco() -> TrainConfig:
    """RSN-18 (Cai et al., ECCV 2020) as released: 70.4 AP on minival2014, 73.6 on the authors' own platform.

    MSPN's recipe; the rate, here too, is multiplied by the number of GPUs in the released script.
    """
    return replace(mspn_2stg_coco(), model="rsn-18-256x192")


def rsn_50_coco() -> TrainConfig:
    """RSN-50: 74.7 AP on minival2014, on the authors' own platform."""
    return replace(rsn_18_coco(), model="rsn-50-256x192")


def rsn_50_2stg_coco() -> TrainConfig:
    """RSN-50, 2 stages: 77.2 AP on minival2014, on the authors' own platform."""
    return replace(rsn_18_coco(), model="rsn-50-2stg-256x192")


def rsn_50_3stg_coco() -> TrainConfig:
    """RSN-50, 3 stages: 78.2 AP on minival2014, on the authors' own platform."""
    return replace(rsn_18_coco(), model="rsn-50-3stg-256x192")


def rsn_50_4stg_coco() -> TrainConfig:
    """RSN-50, 4 stages: 79.0 AP on minival2014, on the authors' own platform."""
    return replace(rsn_18_coco(), model="rsn-50-4stg-256x192")


def rsn_18_udp_coco() -> TrainConfig:
    """RSN-18 with UDP (Huang et al., CVPR 2020): 74.7 AP with boxes of 65.1 AP; 128,000 steps of 8 x 36 people."""
    return replace(rsn_18_coco(), model="rsn-18-udp-256x192", steps=128_000, batch=288)


# -- G-RMI ------------------------------------------------------------------------------------------------------------


def grmi_r101_coco() -> TrainConfig:
    """G-RMI-R101 (Papandreou et al., CVPR 2017): 64.9 AP on test-dev with its own boxes, trained on COCO alone.

    A fixed rate of 5e-3 for 800,000 steps of 24 people and a running average of the weights, whose decay is not stated;
    boxes are enlarged by 1 to 1.5. The paper names neither SGD's momentum (0.9 here, as for its detector) nor mirroring
    (with probability 0.5 here), and its losses' scale is unknown: see `losses.grmi`.
    """
    return TrainConfig(
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
        augment=augment.Augment(scale=(0.8, 1.2), scale_draw="uniform", mirror=0.5),
    )


RECIPES = (
    cpn_50_coco, cpn_50_384x288_coco, cpn_101_384x288_coco, mspn_2stg_coco, mspn_1stg_coco, mspn_3stg_coco,
    mspn_4stg_coco, mspn_4stg_384x288_coco, mspn_2stg_coco2014, mspn_2stg_mindspore_coco2014, rsn_18_coco,
    rsn_50_coco, rsn_50_2stg_coco, rsn_50_3stg_coco, rsn_50_4stg_coco, rsn_18_udp_coco, grmi_r101_coco,
)  # fmt: skip
