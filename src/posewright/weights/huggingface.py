"""Weights as a folder in the layout of the Hugging Face hub: `model.safetensors`, `config.json` and a README card.

`huggingface_hub.upload_folder` takes such a folder as it is, and a `snapshot_download` of one is read back here.
Nothing here uses the network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from posewright import __version__
from posewright.files import ready_folder, write_text
from posewright.models import find
from posewright.skeletons import to_category
from posewright.spec import Spec
from posewright.types import Skeleton
from posewright.weights.checkpoint import convert, describe

FILE, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class _Config(msgspec.Struct):
    """The fields of `config.json` that are read back; others are for people and other tools."""

    posewright_spec: str


def save_folder(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    spec: Spec | None = None,
    *,
    licence: str = "other",
    half: bool = False,
) -> Path:
    """Write weights of any toolkit as a folder of the Hugging Face hub.

    Args:
        source: any file that `checkpoint.load` reads.
        folder: made where it is missing; its three files are replaced.
        spec: what the source is; may be left out for Posewright's own files, which say so.
        licence: for the card, as the hub names it, such as "apache-2.0".
        half: write float16.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not fit the spec, or is of no known one.
        OSError: the folder cannot be written.
    """
    folder = ready_folder(Path(folder))
    convert(source, folder / FILE, "safetensors", spec, half=half)
    about = describe(folder / FILE)
    if about is None:
        raise ValueError(f"{source}: its number of points is not that of {spec.name if spec else 'its system'}")
    spec = find(about.spec).with_codec(about.codec)
    config = msgspec.json.format(msgspec.json.encode(_config(spec, about.skeleton)), indent=2)
    write_text(folder / CONFIG, config.decode() + "\n")
    write_text(folder / CARD, _card(spec, about.skeleton, about.metrics, licence))
    return folder


def weights_of(folder: str | os.PathLike[str]) -> Path:
    """The file of weights in a folder that `save_folder` wrote: what `pw.load(weights=...)` takes.

    Raises:
        FileNotFoundError: the folder lacks the weights or `config.json`.
        ValueError: `config.json` is not Posewright's, or names another pose system than the weights.
    """
    path, config = Path(folder) / FILE, Path(folder) / CONFIG
    for needed in (path, config):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed}: no such file; expected a folder with {FILE} and {CONFIG}")
    try:
        named = msgspec.json.decode(config.read_bytes(), type=_Config).posewright_spec
    except msgspec.DecodeError as error:
        raise ValueError(f"{config}: expected the field posewright_spec: {error}") from None
    about = describe(path)
    if about is None or about.spec != named:
        raise ValueError(f"{config}: says {named!r}, but {path.name} holds {about.spec if about else 'no name'!r}")
    return path


def _config(spec: Spec, skeleton: Skeleton) -> dict[str, Any]:
    return {
        "library_name": "posewright",
        "library_version": __version__,
        "posewright_spec": spec.name,
        "skeleton": to_category(skeleton),
        "num_keypoints": skeleton.num_keypoints,
        "image_size": list(spec.size),
        "box_padding": list(spec.padding),
        "crop_rule": spec.crop_rule,
        "colour_order": spec.colour,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "codec": repr(spec.codec),
    }


def _card(spec: Spec, skeleton: Skeleton, metrics: dict[str, float], licence: str) -> str:
    measured = "".join(f"| {name} | {value:.4f} |\n" for name, value in metrics.items())
    table = f"\n| metric | value |\n|---|---:|\n{measured}" if measured else ""
    height, width = spec.size
    return f"""---
library_name: posewright
pipeline_tag: keypoint-detection
license: {licence}
---

# {spec.name}

{spec.paper or "A pose system of Posewright."}

Input: a crop of {height} x {width} (height x width). Keypoints: {", ".join(skeleton.points)}.
{table}
```python
import posewright as pw
from posewright.weights import huggingface

predictor = pw.load(weights=huggingface.weights_of("this folder"))
poses = predictor("photo.jpg")
```
"""
