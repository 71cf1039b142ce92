"""WS-CDA and PPLO (Cao et al., ICCV 2019): animals learned from people, few labelled animals and many boxes."""

from __future__ import annotations

from dataclasses import replace

from posewright.train.config import DomainAdaptation, PseudoLabels, TrainConfig
from posewright.train.recipes._recipe import COCO, Recipe

_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
"""COCO's categories of animals."""

_LIMBS = {"shoulder": "F_Elbow", "elbow": "F_Knee", "wrist": "F_Paw", "hip": "B_Elbow", "knee": "B_Knee",
          "ankle": "B_Paw", "eye": "Eye", "ear": "EarBase"}  # fmt: skip
SAME_POINTS = {"nose": "Nose"} | {
    f"{side}_{point}": f"{side[0].upper()}_{name}" for side in ("left", "right") for point, name in _LIMBS.items()
}
"""People's points by COCO's, LSP's and MPII's names -> those of Animal-Pose that are moved like them."""

WSCDA = TrainConfig(
    model="simplebaseline-r50-animalpose-wscda-256x256",
    train=("data/animalpose/train.json", COCO.format("train"), "data/coco/annotations/instances_train2017.json"),
    val="data/animalpose/val.json",
    domains=("animals", "people", "unlabelled"),
    adaptation=DomainAdaptation(categories=_ANIMALS),
    same_points=SAME_POINTS,
    init="mm_resnet_50_256x192_coco",
    reset_head=True,
    steps=60_000,
    batch=64,
    lr=5e-4,
    milestones=(2 / 3, 11 / 12),
    loss_factor=1.0,
    eval_every=1,
)
_OPEN = (
    "Published: the losses, alpha = -1 and beta = 500, and that training starts from weights learned on people. Not"
    " published, and chosen here: the layers of discriminator and adaptation network, w1 = w2 = 1, as many samples of"
    " each domain, which points of people are those of animals, rate and schedule."
)

RECIPES = (
    Recipe(
        "wscda_animalpose",
        "Animals by WS-CDA (Cao et al., ICCV 2019)",
        WSCDA,
        source="no metrics quoted here",
        note=_OPEN + " The files of --train are, in this order, labelled animals, people, and boxes of animals; other"
        " orders are named with --domains.",
    ),
    Recipe(
        "wscda_animalpose_plain",
        "Animals from people's weights and the same labels, without adaptation",
        replace(
            WSCDA,
            model="simplebaseline-r50-animalpose-256x256",
            train=WSCDA.train[:2],
            domains=("animals", "people"),
            adaptation=DomainAdaptation(alpha=0.0),
        ),
        source="what WS-CDA is compared with",
        note="An alpha of 0 leaves the discriminator without effect; pose loss and draw of samples are the same.",
    ),
    Recipe(
        "pplo_animalpose",
        "An unseen species by PPLO, after WS-CDA (Cao et al., ICCV 2019)",
        replace(
            WSCDA,
            target="data/animalpose/unseen.json",
            init="runs/wscda_animalpose/last.pt",
            reset_head=False,
            pseudo=PseudoLabels(
                thresholds=(0.9, 0.8, 0.7, 0.6, 0.5),
                alternate=True,
                weight=1.0,
                views=1,
                recoloured=0,
                temporal=False,
            ),
            steps=4_000,
            lr=1e-4,
            milestones=(),
        ),
        source="no metrics quoted here",
        note="Of the unseen species boxes alone are read. Published: pseudo labels of high confidence, the confidence"
        " falling as training goes on, in turn with the labelled samples. Not published: the confidences; these are"
        " maxima of heatmaps whose targets have a maximum of 1.",
    ),
)
