"""The default model's recipe, whose metrics are in docs/default-model.md; and that of what starts from it."""

from __future__ import annotations

from dataclasses import replace

from posewright.data import augment
from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import Recipe

_COARSE = ("stem", "blocks.0", "blocks.1", "blocks.2")
"""The layers up to 1/4 of the input size."""

FIRST = TrainConfig(
    model="litebaseline-160x160",
    train="data/lspet/train.json",
    val="data/lspet/val.json",
    backbone="imagenet_efficientnet_lite0",
    freeze=_COARSE,
    epochs=60,
    batch=32,
    lr=1e-3,
    optimizer="adamw",
    weight_decay=0.05,
    schedule="cosine",
    warmup=300,
    clip=1.0,
    ema=0.999,
    augment=augment.Augment(
        padding=(1.25, 1.25),
        scale=(0.75, 1.3),
        rotation=45,
        flip=0.5,
        half_body=0.15,
        shift=0.25,
        shift_chance=0.5,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=10,
        grey=0.05,
        blur=0.1,
        erase=0.2,
    ),
    workers=1,
    eval_every=3,
)
"""From ImageNet's trunk, at 160x160."""

SECOND = replace(
    FIRST,
    model="litebaseline-192x192",
    backbone="",
    init="runs/people14_160/best.pt",
    epochs=40,
    augment=replace(FIRST.augment, padding=(1.1, 1.1), rotation=60, blur=0.15, erase=0.3),
    eval_every=4,
)
"""Larger, closer, turned further and hidden more."""

THIRD = replace(
    SECOND,
    train=("data/lspet/train_clean.json", "data/everyday/annotations/person_keypoints_train.json"),
    init="runs/people14_192/best.pt",
    epochs=14,
    lr=5e-4,
    weight_decay=0.1,
    use_target_weight=False,
    augment=replace(
        SECOND.augment,
        scale=(0.65, 1.35),
        half_body=0.3,
        channel_gain=0.1,
        blur=0.2,
        erase=0.5,
        cutout=0.15,
    ),
    eval_every=2,
)
"""With drawn people among the photographs; a point that nobody labelled is learned as none."""

FOURTH = replace(
    THIRD,
    train=(
        "data/lspet/train_clean2.json",
        "data/everyday/annotations/person_keypoints_train.json",
        "data/street/stanford40.first.json",
        "data/street/ccp.first.json",
    ),
    train_images=("", "", "data/stanford40/JPEGImages", "data/ccp/photos"),
    file_partial=(False, False, True, True),
    init="runs/people14_drawn/best.pt",
    epochs=6,
)
"""With photographs of everyday people, labelled by teachers: a point that they left out may be seen."""

FIFTH = replace(
    FOURTH,
    train=(
        *FOURTH.train[:2],
        "data/street/stanford40.labels.json",
        "data/street/ccp.labels.json",
        "data/street/others.labels.json",
    ),
    train_images=(*FOURTH.train_images, "data/stanford40/JPEGImages"),
    file_partial=(*FOURTH.file_partial, True),
    init="runs/people14_street.pt",
)
"""With more of these people, and fewer wrong points: another teacher has labelled them."""

RECIPES = (
    Recipe(
        "people14_160",
        "The default model's first part: people in sport, from an EfficientNet-Lite0 trained on ImageNet",
        FIRST,
        source="not from a paper",
        note="Leeds Sports Pose Extended in COCO's format. Rotations are large because many of these people are upside"
        " down. The layers up to 1/4 of the input size stay as trained on ImageNet: they change little in training, and"
        " would cost a third of the time.",
        systems=("litebaseline-*",),
        small="litebaseline-128x96",
    ),
    Recipe(
        "people14_192",
        "The default model's second part, at 192x192",
        SECOND,
        source="not from a paper",
        note="After people14_160, from its best weights (--init).",
    ),
    Recipe(
        "people14_drawn",
        "The default model's third part, with cleaned labels and drawn people",
        THIRD,
        source="not from a paper",
        note="After people14_192, from its best weights (--init). benchmarks/clean_labels.py cleans the labels, and the"
        " drawn people are the 1,000 images of `posewright data synth data/everyday --everyday`. Points without a"
        " label are learned as empty maps, so that what is hidden or cut off scores low.",
    ),
    Recipe(
        "people14_street",
        "The default model's fourth part, with photographs of everyday people that have no labels of their own",
        FOURTH,
        source="not from a paper",
        note="After people14_drawn, from its best weights (--init). BlazePose and this model's own third part labelled"
        " the people of Stanford 40 Actions and of Clothing Co-Parsing.",
    ),
    Recipe(
        "people14",
        "The default model: its fifth part, with everyday people whom two teachers labelled together",
        FIFTH,
        source="not from a paper",
        note="After people14_street, from the mean of two seeds (--init; benchmarks/average_weights.py)."
        " benchmarks/label_people.py labels the people, by BlazePose and by EfficientPose.",
    ),
    Recipe(
        "finetune",
        "Any points of your own from tens to thousands of images in minutes, from the default model's weights",
        TrainConfig(
            model="litebaseline-128x96",
            train="data/train.json",
            val="data/val.json",
            init="default",
            reset_head=True,
            freeze=_COARSE,
            steps=300,
            batch=32,
            lr=1e-3,
            optimizer="adamw",
            weight_decay=0.01,
            schedule="cosine",
            warmup=50,
            clip=1.0,
            ema=0.99,
            augment=augment.Augment(
                scale=(0.75, 1.25), rotation=30, flip=0.5, brightness=0.3, contrast=0.3, saturation=0.3, grey=0.1
            ),
            workers=1,
            eval_every=3,
        ),
        source="not from a paper",
        note="Of bodies that are wider than high, or look anywhere: --set model=litebaseline-160x160"
        " augment.rotation=180. Thousands of images earn more steps (--set steps=3000).",
    ),
)
