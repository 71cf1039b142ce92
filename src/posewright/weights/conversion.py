"""What other toolkits call our parameters: the way back of the families' `rename`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

import torch

from posewright.weights.state_dict import few

Format = Literal["official", "mmpose", "mindspore", "safetensors"]
FORMATS: tuple[Format, ...] = ("official", "mmpose", "mindspore", "safetensors")

Rules = tuple[tuple[str, str], ...]
"""Patterns and what to put for them, one after the other."""

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

_BODY_AND_HEAD: Rules = ((r"^(?=deconv_layers\.|final_layer\.)", "head."), (r"^(?!head\.)", "backbone."))


def _multistage(kind: str, block: Rules) -> Rules:
    predictions = tuple(
        (rf"^stage{s}\.upsample\.up{u}\.res_conv{c}\.", f"head.predict_layers.{4 * s + u - 1}.conv_layers.{c - 1}.")
        for s in range(4)
        for u in range(1, 5)
        for c in (1, 2)
    )
    units = ((r"\.u_skip\.", ".in_skip."), (r"\.skip([12])\.", r".out_skip\1."))
    places = ((r"^top\.conv\.", "backbone.top.top.0."), (r"^stage(\d)\.", rf"backbone.multi_stage_{kind}.\1."))
    return (*predictions, *places, *units, *block)


_MMPOSE: dict[str, Rules] = {
    "simplebaseline": _BODY_AND_HEAD,
    "hrnet": _BODY_AND_HEAD,
    "litehrnet": ((r"^keypoint_head\.", "head."),),
    "mspn": _multistage("mspn", ((r"(layer\d\.\d+)\.conv_bn_relu(\d)\.(conv|bn)\.", r"\1.\3\2."),)),
    "rsn": _multistage("rsn", ((r"(layer\d\.\d+)\.conv_bn_relu3\.", r"\1.conv_bn3."),)),
}
_NOT_IN_MMPOSE = r"stage4\.2\.fuse_layers\.0\.0\..*|.*\.(se|prm)\..*"  # UDP-Pose's HRNet and RSN

_MINDPOSE: Rules = ((r"\.downsample\.", ".down_sample."), (r"\bdeconv_layers\.", "deconv_layer."))
_LITE_MEMBERS: Rules = (
    *((rf"\.branch1\.{i}\.{m}\.", f".branch1.{2 * i + n}.") for i in (0, 1) for n, m in enumerate(("conv", "bn"))),
    *(
        (rf"\.branch2\.{i}\.{m}\.", f".branch2.{2 * i + (i > 0) + n}.")
        for i in (0, 1, 2)
        for n, m in enumerate(("conv", "bn"))
    ),
    (r"(\.projects\.\d)\.depthwise_conv\.conv\.", r"\1.0."),
    (r"(\.projects\.\d)\.depthwise_conv\.bn\.", r"\1.1."),
    (r"(\.projects\.\d)\.pointwise_conv\.conv\.", r"\1.2."),
    (r"(\.projects\.\d)\.pointwise_conv\.bn\.", r"\1.3."),
    (r"\.conv\.(?=\w+$)", ".0."),
    (r"\.bn\.(?=\w+$)", ".1."),
)
"""Where MindSpore's Lite-HRNet has one flat sequence."""


def _lite(first: str) -> Rules:
    """MindSpore leaves lists out of names, and puts a piece of their first member's name before the later members'."""
    return (
        *_LITE_MEMBERS,
        (r"^keypoint_head\.", "heat_map."),
        (r"^backbone\.(?:stage|transition)0\.", "0."),
        (r"^backbone\.transition(\d)\.", r"0.0.\1."),
        (r"^backbone\.stage(\d)\.", rf"0.0.layers.0.{first}.\1."),
        (r"^backbone\.", ""),
    )


def names(family: str, keys: Collection[str], to: Format) -> dict[str, str]:
    """Our names of a network's parameters -> those of another toolkit.

    Raises:
        ValueError: the toolkit has no such network.
    """
    if to == "mmpose":
        if family not in _MMPOSE or any(re.fullmatch(_NOT_IN_MMPOSE, k) for k in keys):
            raise ValueError(f"mmpose has no such {family}; it has {', '.join(_MMPOSE)} of the usual structure")
        return {k: _rewritten(k, _MMPOSE[family]) for k in keys}
    if to == "mindspore":
        rules = _mindspore_rules(family, keys)
        return {k: _rewritten(_norm_name(k, keys), rules) for k in keys}
    return {k: k for k in keys}


def without_biases(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same network without biases before normalisations, as mmpose has MSPN and RSN: they go into the means.

    Biases of zero, such as a network has that was loaded from mmpose, leave every other bit as it was.
    """
    state = dict(state)
    for name in [k for k in state if k.endswith(".conv.bias")]:
        mean = f"{name.removesuffix('.conv.bias')}.bn.running_mean"
        if mean in state:
            state[mean] = state[mean] - state.pop(name)
    return state


def halved(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict in float16.

    Raises:
        ValueError: it has numbers beyond.
    """
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    if big := [k for k, v in half.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise ValueError(f"float16 reaches to 65504, but {few(big)} has numbers beyond: convert to float32")
    return half


def wrapped(family: str, state: dict[str, torch.Tensor]) -> dict[str, object]:
    """A state dict as the original code of a family saves and expects it."""
    match family:
        case "mspn" | "rsn":
            return {"model": state}
        case "cpn" | "hourglass":
            return {"state_dict": {f"module.{k}": v for k, v in state.items()}}
        case "litehrnet":
            return {"meta": {}, "state_dict": state}
        case _:
            return dict(state)


def _mindspore_rules(family: str, keys: Collection[str]) -> Rules:
    if family == "litehrnet":
        weighting = any(".cross_resolution_weighting." in k for k in keys)
        return _lite("cross_resolution_weighting.conv1" if weighting else "0.branch2")
    if family == "simplebaseline":
        return (*_BODY_AND_HEAD, *_MINDPOSE)
    if family == "hrnet":
        return ((r"^final_layer\.", "head.head."), *_BODY_AND_HEAD, *_MINDPOSE)
    return ()


def _norm_name(key: str, keys: Collection[str]) -> str:
    """A parameter's name with MindSpore's words for the tensors of a batch normalisation."""
    stem, _, last = key.rpartition(".")
    return f"{stem}.{_NORM[last]}" if last in _NORM and f"{stem}.running_mean" in keys else key


def _rewritten(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
