"""Whether a state dict fits a network, and what to say where it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from posewright.models import families, find, names, naming_of
from posewright.spec import Spec
from posewright.weights import hub
from posewright.weights.conversion import known

State = Mapping[str, torch.Tensor]
Head = dict[str, tuple[torch.Size, torch.Size]]
"""Parameters whose shape depends on the number of keypoints, with their shapes for one keypoint and for two."""

COUNTER = ".num_batches_tracked"
_LISTED = 3
_ALIKE = 0.5  # of the names shared, below which a file is not said to be of any family
_CLASSIFIER = ("fc.weight", "classifier.weight", "head.fc.weight")


def head(spec: Spec) -> Head:
    """The parameters that depend on the number of keypoints: those whose shapes differ between one and two."""
    one, two = (unfilled(spec, k).state_dict() for k in (1, 2))
    return {k: (one[k].shape, two[k].shape) for k in one if one[k].shape != two[k].shape}


def blank(spec: Spec, given: State) -> nn.Module:
    """The network, without values, that a file's parameters are of: with its number of keypoints."""
    net = unfilled(spec)
    names = known(naming_of(net), net.state_dict())
    return unfilled(spec, num_keypoints({names.get(k, k): v for k, v in given.items()}, head(spec)))


def unfilled(spec: Spec, num_keypoints: int | None = None) -> nn.Module:
    """A spec's network without values."""
    return without_values(lambda: spec.build(num_keypoints))


def without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """A network on the meta device: names and shapes alone, which takes a fraction of the time."""
    with torch.device("meta"), _NoFilling():
        return build()


class _NoFilling(TorchFunctionMode):
    """Leaves out the random numbers of a new network: without values to fill they still take nearly all of its time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See torch.overrides."""
        kwargs = kwargs or {}
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        if getattr(func, "__module__", "") == "torch.nn.init" and "tensor" in kwargs:
            return kwargs["tensor"]
        return func(*args, **kwargs)


def num_keypoints(state: State, parts: Head) -> int | None:
    """How many keypoints the shapes of a head are for, None where they are not for any one number."""
    numbers = {_keypoints_of(tuple(state[k].shape), *map(tuple, parts[k])) if k in state else None for k in parts}
    return numbers.pop() if len(numbers) == 1 else None


def _keypoints_of(shape: tuple[int, ...], one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """The k for which shape = one + (k - 1) (two - one)."""
    if len(shape) != len(one):
        return None
    at = next(i for i, (a, b) in enumerate(zip(one, two)) if a != b)
    k = 1 + (shape[at] - one[at]) // (two[at] - one[at])
    return k if shape == tuple(a + (k - 1) * (b - a) for a, b in zip(one, two)) else None


def problems(want: State, found: State, skip: Collection[str] = ()) -> str:
    """Why `found` does not fit `want`, in words; empty if it fits.

    Args:
        want: the network's state dict.
        found: tensors under the network's names.
        skip: names that need not be found and are not looked at.
    """
    missing = [k for k in want if k not in found and k not in skip]
    unexpected = [k for k in found if k not in want and k not in skip]
    kinds = {name: (tensor.shape, tensor.is_floating_point()) for name, tensor in want.items() if name not in skip}
    wrong = [k for k, v in found.items() if k in kinds and (v.shape, v.is_floating_point()) != kinds[k]]
    parts = [f"{len(missing)} parameters missing ({few(missing)})"] if missing else []
    parts += [f"{len(unexpected)} unexpected ({few(unexpected)})"] if unexpected else []
    described = [f"{k} is {_kind(found[k], want[k])}, expected {_kind(want[k], found[k])}" for k in wrong]
    parts += [f"{len(wrong)} of another shape or kind ({few(described)})"] if wrong else []
    return "; ".join(parts)


def advice(spec: Spec, want: State, found: State, given: State) -> str:
    """The likely cause why a file does not fit, and a hint what to do about it; may be empty.

    Args:
        spec: what the network is.
        want: the network's state dict.
        found: the file's tensors under the network's names.
        given: the same under the file's own names.
    """
    parts = head(spec)
    theirs, wanted = num_keypoints(found, parts), num_keypoints(want, parts)
    if theirs != wanted and theirs is not None:
        return (
            f"the file has {theirs} keypoints, the network {wanted}: pass reset_head=True / --reset-head to "
            "re-initialise the head"
        )
    if any(k in given for k in _CLASSIFIER) and not any(k in found for k in parts):
        return "it looks like an ImageNet classifier, which load_backbone / --backbone puts into the backbone alone"
    guess = likely(given)
    return f"it looks like weights of {guess}" if guess not in (None, spec.name) else ""


def likely(given: State) -> str | None:
    """The pose system whose parameters' names and shapes are most like those of a file, if any is alike."""
    scores: dict[str, float] = {}
    for family in families():
        for spec in _networks(map(find, names(f"{family}-*"))):
            net = unfilled(spec)
            own = net.state_dict()
            ours = known(naming_of(net), own)
            shapes = {(ours.get(k, k), v.shape) for k, v in given.items() if not k.endswith(COUNTER)}
            other = {(k, v.shape) for k, v in own.items() if not k.endswith(COUNTER)}
            shared = {k for k, _ in shapes} & {k for k, _ in other}
            if len(shared) < _ALIKE / 2 * min(len(shapes), len(other)):
                break  # the family's other networks have similar names
            scores[spec.name] = len(shapes & other) / len(shapes | other)
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best and scores[best] > _ALIKE else None


def _networks(specs: Iterable[Spec]) -> list[Spec]:
    """One spec for each network that a family's specs build: the plainest of those with published weights."""
    first: dict[str, Spec] = {}
    published = {e.spec for e in hub.entries()}
    for spec in sorted(specs, key=lambda s: (s.name not in published, len(s.name))):
        first.setdefault(repr(spec.builder), spec)
    return list(first.values())


def few(names: Collection[str]) -> str:
    """The first few of a list in words."""
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(list(names)[:_LISTED]) + more


def optional(want: State, found: State, net: nn.Module) -> list[str]:
    """Names that a file may lack: a network's optional parameters, and counters, which old files do not have."""
    pattern = re.compile(naming_of(net).optional)
    return [k for k in want if k not in found and (k.endswith(COUNTER) or pattern.fullmatch(k))]


def added(net: nn.Module, given: State) -> list[str]:
    """A network's parameters that no published file has (`Naming.added`), unless this file has any of them."""
    pattern = re.compile(naming_of(net).added)
    names = [k for k in net.state_dict() if pattern.fullmatch(k)]
    return [] if any(k in given for k in names) else names


def halved(state: State) -> dict[str, torch.Tensor]:
    """The state dict in float16.

    Raises:
        ValueError: it has numbers beyond.
    """
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    if big := [k for k, v in half.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise ValueError(f"float16 reaches to 65504, but {few(big)} has numbers beyond: convert to float32")
    return half


def _kind(tensor: torch.Tensor, other: torch.Tensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "a single number"
    return shape if tensor.shape != other.shape else f"{shape} {tensor.dtype}".replace("torch.", "")
