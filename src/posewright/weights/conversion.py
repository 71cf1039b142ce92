"""From our names of parameters to other toolkits' and back, by the rules that each network brings (`Naming`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from posewright.models._network import Naming, Rules

Format = Literal["official", "mmpose", "mindspore", "safetensors"]

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_MMPOSE_0: Rules = ((r"^head\.", "keypoint_head."),)


def foreign(naming: Naming, own: Collection[str], style: Format) -> dict[str, str]:
    """A network's own names of its parameters -> those of another toolkit.

    Raises:
        ValueError: mmpose has no such network.
    """
    if style == "mmpose":
        if naming.mmpose is None:
            raise ValueError("mmpose has no such network")
        return {key: _rewritten(key, naming.mmpose) for key in own}
    if style == "mindspore":
        return {key: _rewritten(_in_mindspores_words(key, own), naming.mindspore) for key in own}
    return {key: key for key in own}


def known(naming: Naming, own: Collection[str]) -> dict[str, str]:
    """Every spelling of a network's parameters that is read -> its own name.

    Those are its own, mmpose 0.x's and 1.x's, MindSpore's and the network's `others`, all with torch's or MindSpore's
    words for the tensors of a batch normalisation.
    """
    spellings = [(), naming.mindspore, *naming.others]
    if naming.mmpose is not None:
        spellings += [naming.mmpose, (*naming.mmpose, *_MMPOSE_0)]
    words = {key: {key, _in_mindspores_words(key, own)} for key in own}
    table = {_rewritten(word, rules): key for rules in spellings for key in own for word in words[key]}
    return table | {key: key for key in own}


def ours(naming: Naming, own: Collection[str], keys: Iterable[str]) -> dict[str, str]:
    """Each name in a file -> the network's own, where it has such a parameter; other names stay.

    Raises:
        ValueError: two names are for one parameter.
    """
    listed = list(keys)
    table = {} if all(key in own for key in listed) else known(naming, own)
    names = {key: table.get(key, key) for key in listed}
    by_name: dict[str, str] = {}
    for key, name in names.items():
        if (other := by_name.setdefault(name, key)) != key:
            raise ValueError(f"{other} and {key} are both names for {name}: expected one tensor for each parameter")
    return names


def backbone(naming: Naming, own: Iterable[str]) -> dict[str, str]:
    """The parameters of a network's backbone -> the names that an ImageNet classifier has for them."""
    found = ((key, pattern, name) for key in own for pattern, name in naming.imagenet)
    return {key: re.sub(pattern, name, key) for key, pattern, name in found if re.fullmatch(pattern, key)}


def without_biases(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same network without biases before normalisations, as mmpose has MSPN and RSN: they go into the means.

    Biases of zero, such as a network has that was loaded from mmpose, leave every other bit as it was.
    """
    state = dict(state)
    for name in [k for k in state if k.endswith(".conv.bias")]:
        mean = f"{name.removesuffix('.conv.bias')}.bn.running_mean"
        if mean in state:
            state[mean] = state[mean] - state.pop(name)
    return state


def _in_mindspores_words(key: str, own: Collection[str]) -> str:
    """A parameter's name, with MindSpore's word for it if it is a tensor of a batch normalisation."""
    stem, _, last = key.rpartition(".")
    return f"{stem}.{_NORM[last]}" if last in _NORM and f"{stem}.running_mean" in own else key


def _rewritten(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
