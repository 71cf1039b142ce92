"""One function a published recipe, each returning a TrainConfig; variants call another and replace fields.

The figures are those of the papers and of the released training scripts. Batches are of all GPUs together. A recipe's
paths point at the usual COCO layout, `data/coco/annotations/...`; the command line replaces them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from posewright.data import augment
from posewright.spec import find as find_spec
from posewright.spec import names as spec_names
from posewright.train import TrainConfig

_COCO = "data/coco/annotations/person_keypoints_{}2017.json"


def simplebaseline_r50_coco() -> TrainConfig:
    """SimpleBaseline-R50 (Xiao et al., ECCV 2018): 70.4 AP on val2017 with the 56.4 AP person boxes.

    Adam 1e-3, down tenfold after 90 and 120 of 140 epochs, 4 x 32 people a step; rotation 40, scale 0.3. The released
    script names a weight decay but its Adam does not use it.
    """
    return TrainConfig(
        model="simplebaseline-r50-256x192",
        train=_COCO.format("train"),
        val=_COCO.format("val"),
        epochs=140,
        drops=(90 / 140, 120 / 140),
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


def mspn_2stg_coco() -> TrainConfig:
    """MSPN, 2 stages (Li et al., arXiv 1901.00148): 74.5 AP on minival2014 with its detector's boxes.

    Adam 5e-4 with weight decay 1e-5, 2,400 steps of warm-up, then straight down to 0 at step 96,000 of 8 x 32 people.
    (The released script multiplies 5e-4 by the number of GPUs; the paper does not.)
    """
    return TrainConfig(
        model="mspn-2stg-256x192",
        train=_COCO.format("train"),
        val=_COCO.format("val"),
        steps=96_000,
        batch=256,
        loss="coarse-to-fine",
        lr=5e-4,
        weight_decay=1e-5,
        schedule="linear",
        warmup=2400,
        augment=augment.MSPN,
    )


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


def lpn_50_coco() -> TrainConfig:
    """LPN-50, one round (Zhang et al., arXiv 1911.10346): Adam 1e-3, down tenfold after 90 and 120 of 150 epochs."""
    return replace(simplebaseline_r50_coco(), model="lpn-50-256x192", epochs=150, drops=(90 / 150, 120 / 150))


def demo() -> TrainConfig:
    """A small SimpleBaseline that learns synthetic people within minutes on two CPU cores. Not from a paper."""
    return TrainConfig(
        model="simplebaseline-r18-slim-128x96",
        train="",
        steps=1500,
        batch=32,
        lr=2e-3,
        optimizer="adamw",
        weight_decay=0.01,
        schedule="cosine",
        warmup=50,
        clip=1.0,
        ema=0.99,
        augment=augment.Augment(scale=(0.85, 1.15), rotation=10, mirror=0.5),
        workers=1,
        eval_every=3,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    recipe.__name__: recipe
    for recipe in (
        simplebaseline_r50_coco,
        simplebaseline_r101_coco,
        simplebaseline_r152_coco,
        mspn_2stg_coco,
        mspn_2stg_coco2014,
        mspn_2stg_mindspore_coco2014,
        lpn_50_coco,
        demo,
    )
}

_OF_FAMILY: dict[str, Callable[[], TrainConfig]] = {
    "simplebaseline": simplebaseline_r50_coco,
    "mspn": mspn_2stg_coco,
    "lpn": lpn_50_coco,
}


def find(name: str) -> TrainConfig:
    """The recipe of that name; the name of a pose system gives its family's recipe with that system.

    Raises:
        LookupError: there is neither; the message names the nearest.
    """
    if name in RECIPES:
        return RECIPES[name]()
    if (family := name.split("-")[0]) in _OF_FAMILY:
        return replace(_OF_FAMILY[family](), model=find_spec(name).name)
    near = difflib.get_close_matches(name, [*RECIPES, *spec_names()], n=3, cutoff=0.5)
    raise LookupError(f"no recipe or pose system is named {name!r}; nearest: {', '.join(near) or ', '.join(RECIPES)}")


def override(config: TrainConfig, settings: Sequence[str]) -> TrainConfig:
    """The configuration with `key=value` settings applied; `augment.key=value` reaches into the augmentation.

    Raises:
        ValueError: a key does not exist (the nearest is named) or a value has the wrong type.
    """
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set wants key=value, got {setting!r}")
        *path, last = key.strip().split(".")
        place: Any = plain
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = _keys(plain)
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"settings: {', '.join(known)}"
            raise ValueError(f"no setting {key!r}; {hint}")
        place[last] = _value(text)
    try:
        return msgspec.convert(plain, type(config))
    except msgspec.ValidationError as error:
        raise ValueError(f"--set {' '.join(settings)}: {error}") from None


def _value(text: str) -> Any:
    """Numbers, true/false, null and lists as JSON has them; anything else is text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _keys(plain: dict[str, Any]) -> list[str]:
    nested = [f"{k}.{inner}" for k, v in plain.items() if isinstance(v, dict) for inner in v]
    return [*plain, *nested]
