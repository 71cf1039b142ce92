"""Exported networks: files that say what they are, and the pose system that they say.

An ONNX file says it under "posewright" in its metadata, an OpenVINO file in its runtime information, as JSON.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import msgspec

from posewright import __version__
from posewright.files import convert, regular, short
from posewright.models import codec_changes, find
from posewright.runtime.onnx_runtime import OnnxNetwork
from posewright.runtime.openvino_runtime import OpenVinoNetwork, said_by
from posewright.skeletons import from_category, to_category
from posewright.spec import Spec

SUFFIXES = (".onnx", ".xml")
"""Of ONNX and OpenVINO files."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What an exported file says of itself.

    Attributes:
        posewright: the version that wrote it.
        spec: name of the pose system.
        skeleton: what it finds, as a COCO category.
        rules: all that makes it a pose system beside the network, as `rules_of` says.
        codec: fields of its codec that are not as published; see `Spec.with_codec`.
        input: what goes in, in words.
        output: what comes out, in words.
        precision: "float32" or "int8".
        licence: of the weights, as far as it is known.
    """

    posewright: str
    spec: str
    skeleton: dict[str, Any]
    rules: dict[str, Any]
    input: str
    output: str
    precision: str = "float32"
    licence: str = ""
    codec: dict[str, Any] = {}


def metadata_of(spec: Spec, *, precision: str = "float32", licence: str = "") -> Metadata:
    """What a file of this pose system says of itself."""
    height, width = spec.size
    return Metadata(
        posewright=__version__,
        spec=spec.name,
        skeleton=to_category(spec.skeleton),
        rules=rules_of(spec),
        input=f"images [N, 3, {height}, {width}] float32, {spec.colour}: (grey levels 0..255 - mean) / std",
        output=f"maps [N, {spec.codec.channels(spec.skeleton.num_keypoints)}, ...] float32, to be decoded by the codec",
        precision=precision,
        licence=licence,
        codec=codec_changes(spec),
    )


def rules_of(spec: Spec) -> dict[str, Any]:
    """Size, colour order, mean, std, padding, crop rule, codec and scoring of a pose system, as JSON has them."""
    codec: Any = spec.codec
    plain = {
        "size": spec.size,
        "colour": spec.colour,
        "mean": spec.mean,
        "std": spec.std,
        "padding": spec.padding,
        "crop_rule": spec.crop_rule,
        "codec": {"type": type(codec).__name__, **dataclasses.asdict(codec)},
        "scoring": spec.scoring,
        "nms": spec.nms,
    }
    return msgspec.json.decode(msgspec.json.encode(plain))


def opened(path: str | os.PathLike[str], precision: str = "float32") -> tuple[Spec, OnnxNetwork | OpenVinoNetwork]:
    """An exported file: its pose system, and its network, images [N, 3, H, W] to maps [N, C, h, w].

    Raises:
        ModuleNotFoundError: what reads it is not installed; the message says how to get it.
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, does not say what it is, or says rules that are not those of its pose system.
    """
    path = regular(Path(path), "an exported network's file")
    is_onnx = path.suffix == ".onnx"
    note = _said_by_onnx(path) if is_onnx else said_by(path)
    if not note:
        raise ValueError(f"{path}: does not say what it finds: it was not written by `posewright export`")
    wanted = "what an exported file says of itself"
    try:
        said: Metadata = convert(msgspec.json.decode(note), Metadata, str(path), wanted)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: expected {wanted}, this is not JSON: {short(str(error))}") from None
    spec = find(said.spec).with_skeleton(from_category(said.skeleton, str(path)))
    try:
        spec = spec.with_codec(said.codec)
    except ValueError as error:
        raise ValueError(f"{path}: {short(str(error))}") from None
    rules = rules_of(spec)
    if other := [name for name in rules if rules[name] != said.rules.get(name)]:
        raise ValueError(
            f"{path}: was exported with another {', '.join(other)} than {spec.name} has in this version "
            f"({__version__}; the file's is {short(said.posewright, 20)}): export it again"
        )
    return spec, OnnxNetwork(path) if is_onnx else OpenVinoNetwork(path, precision)


def _said_by_onnx(path: Path) -> str:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{path}: ONNX files need `pip install posewright[onnx]`") from None
    try:
        properties = onnx.load(path, load_external_data=False).metadata_props
    except DecodeError as error:
        raise ValueError(f"{path}: not an ONNX network that can be read ({short(str(error))})") from None
    return next((entry.value for entry in properties if entry.key == "posewright"), "")
