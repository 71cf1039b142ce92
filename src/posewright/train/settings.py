"""Settings as `key=value`, by which a configuration is changed from the command line."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from posewright.models import find
from posewright.train.config import TrainConfig

_OBJECTS = ("pseudo", "adaptation", "augment", "codec")
"""Settings that hold others by their names, in contrast to tables whose keys are points."""

_IN_PLACE_OF = {"backbone": "init", "init": "backbone", "epochs": "steps"}
"""Settings of which one alone counts: where somebody names the first, a recipe's second is cleared."""


def override(config: TrainConfig, settings: Sequence[str], chosen: Collection[str] = ()) -> TrainConfig:
    """The configuration with `key=value` settings applied.

    `augment.key=value` reaches into the augmentation, `codec.key=value` into the codec of the pose system; an object,
    `augment={"key": value}`, does so for each of its keys, and the others stay. A list is JSON, or names with commas
    between them. What a recipe has in place of a setting gives way to it: its `init` to a backbone, its `steps` to
    epochs.

    Args:
        config: such as a recipe's.
        settings: to apply.
        chosen: names of further settings that somebody has chosen, which `config` has already; all others are the
            recipe's.

    Raises:
        ValueError: a key does not exist (the nearest is named), a value has the wrong type, or two settings are given
            of which one is in place of the other.
        LookupError: fields of the codec are set, and no pose system is named so.
    """
    plain: dict[str, Any] = msgspec.to_builtins(config)
    pairs = [pair for setting in settings for pair in _single(*parsed(setting, "--set"))]
    for key, value in pairs:
        *path, last = key.split(".")
        place: Any = plain
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or (last not in place and path != ["codec"]):
            known = _keys(plain)
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"settings: {', '.join(known)}"
            raise ValueError(f"no setting {key!r}; {hint}")
        several = isinstance(place.get(last), list | tuple) and isinstance(value, str)
        place[last] = list(filter(None, value.split(","))) if several else value
    try:
        changed = msgspec.convert(plain, type(config))
    except msgspec.ValidationError as error:
        raise ValueError(f"--set {' '.join(settings)}: {error}") from None
    changed = _alone(changed, {*chosen, *(key for key, _ in pairs)})
    if changed.codec:
        find(changed.model).with_codec(changed.codec)
    return changed


def _single(key: str, value: Any) -> list[tuple[str, Any]]:
    """A setting as it is, or one per key of an object that holds settings."""
    if key in _OBJECTS and isinstance(value, dict):
        return [(f"{key}.{name}", inner) for name, inner in value.items()]
    return [(key, value)]


def _alone(config: TrainConfig, chosen: Collection[str]) -> TrainConfig:
    """The configuration without what is in place of the chosen settings, which was not chosen itself."""
    for name, other in _IN_PLACE_OF.items():
        if name not in chosen or not getattr(config, name) or not getattr(config, other):
            continue
        if other in chosen:
            raise ValueError(
                f"expected {name} or {other}, of which only one can count, got both ({name}={getattr(config, name)}, "
                f"{other}={getattr(config, other)}): leave one out"
            )
        config = replace(config, **{other: 0 if other == "steps" else ""})
    return config


def parsed(setting: str, option: str) -> tuple[str, Any]:
    """Key and value of `key=value`: numbers, true/false, null and lists as JSON has them; anything else is text.

    Raises:
        ValueError: there is no "="; the message names the option that it was given to.
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise ValueError(f"{option} expects key=value, got {setting!r}")
    try:
        return key.strip(), msgspec.json.decode(text)
    except msgspec.DecodeError:
        return key.strip(), text


def _keys(plain: dict[str, Any]) -> list[str]:
    nested = [f"{k}.{inner}" for k, v in plain.items() if isinstance(v, dict) for inner in v]
    return [*plain, *nested]
