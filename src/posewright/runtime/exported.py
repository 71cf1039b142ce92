"""Exported networks: files that say what they are, and the pose system that they say.

An ONNX file says it under "posewright" in its metadata, an OpenVINO file in its runtime information, as JSON.
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from posewright import __version__
from posewright.files import convert, regular, short
from posewright.models import codec_changes, find
from posewright.runtime.crops import flip_tested
from posewright.runtime.onnx_runtime import OnnxModel
from posewright.runtime.openvino_runtime import OpenVinoModel, said_by
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
        decoded: whether it yields keypoints and scores, or else maps.
        flip: whether it averages with the mirrored crop.
        input: what goes in, in words.
        output: what comes out, in words.
        precision: "float32" or "int8".
        licence: of the weights, as far as it is known.
        codec: fields of its codec that are not as published; see `Spec.with_codec`.
    """

    posewright: str
    spec: str
    skeleton: dict[str, Any]
    rules: dict[str, Any]
    decoded: bool
    flip: bool
    input: str
    output: str
    precision: str = "float32"
    licence: str = ""
    codec: dict[str, Any] = {}


def metadata_of(
    spec: Spec, *, decoded: bool, flip: bool, precision: Literal["float32", "int8"] = "float32", licence: str = ""
) -> Metadata:
    """What a file of this pose system says of itself; see `Metadata`."""
    (height, width), points = spec.size, spec.skeleton.num_keypoints
    return Metadata(
        posewright=__version__,
        spec=spec.name,
        skeleton=to_category(spec.skeleton),
        rules=rules_of(spec),
        decoded=decoded,
        flip=flip,
        input=f"crops [N, {height}, {width}, 3] uint8 RGB",
        output=f"keypoints [N, {points}, 2] x, y in pixels of the crop and scores [N, {points}], float32"
        if decoded
        else f"maps [N, {spec.codec.channels(points)}, ...] float32, to be decoded by the codec",
        precision=precision,
        licence=licence,
        codec=codec_changes(spec),
    )


def rules_of(spec: Spec) -> dict[str, Any]:
    """Size, colours, mean, std, padding, crop rule, border, codec and scoring of a pose system, as JSON has them."""
    codec: Any = spec.codec
    plain = {
        "size": spec.size,
        "colour": spec.colour,
        "mean": spec.mean,
        "std": spec.std,
        "padding": spec.padding,
        "crop_rule": spec.crop_rule,
        "border": spec.border,
        "codec": {"type": type(codec).__name__, **dataclasses.asdict(codec)},
        "scoring": spec.scoring,
        "nms": spec.nms,
    }
    return msgspec.json.decode(msgspec.json.encode(plain))


class ExportedNetwork:
    """The graph of an exported file. Safe to call from several threads.

    Attributes:
        path: the file.
        runtime: what runs it: "onnx" or "openvino".
        decoded, flip, precision: see `Metadata`.

    Args:
        path: the file.
        said: what it says of itself.
        run: the graph.
        computes: the precision that it is run in.
    """

    def __init__(
        self, path: Path, said: Metadata, run: Callable[[np.ndarray], list[np.ndarray]], computes: str
    ) -> None:
        self.path, self._run, self._computes = path, run, computes
        self.decoded, self.flip, self.precision = said.decoded, said.flip, said.precision
        self.runtime: Literal["onnx", "openvino"] = "onnx" if path.suffix == ".onnx" else "openvino"

    @cached_property
    def fingerprint(self) -> int:
        """CRC-32 of the file, and of the weights beside it: another for other weights, or another precision."""
        parts = [self.path] if self.runtime == "onnx" else [self.path, self.path.with_suffix(".bin")]
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part.read_bytes(), checksum)
        return checksum if self._computes == self.precision else zlib.crc32(self._computes.encode(), checksum)

    def __call__(self, crops: Any) -> Any:
        """What the file yields for crops [N, H, W, 3] uint8 RGB: a list of keypoints and scores, or of maps."""
        return self._run(np.ascontiguousarray(crops))

    def check_flip(self, flip: bool | None) -> bool | None:
        """Whether to average with the mirrored image: as asked, where the file leaves it open.

        Raises:
            ValueError: something else is asked than the file does.
        """
        if not (self.decoded or self.flip):
            return flip
        if flip in (None, self.flip):
            return self.flip
        done = "with" if flip else "without"
        raise ValueError(f"{self.path}: whether it averages with the mirrored image is fixed: export it {done} --flip")

    def maps(self, crops: np.ndarray, spec: Spec, *, flip: bool) -> np.ndarray:
        """Crops [N, H, W, 3] uint8 RGB to the maps [N, C, h, w] that `keypoints` decodes. Arguments are those of it.

        Raises:
            ValueError: the file decodes by itself, or does not yield maps.
        """
        if self.decoded:
            raise ValueError(f"{self.path}: expected a file that yields maps, this one decodes them by itself")

        def run(crops: np.ndarray) -> np.ndarray:
            return self._outputs(crops, 1, "maps")[0]

        return flip_tested(run, crops, spec) if flip and not self.flip else run(crops)

    def keypoints(self, crops: np.ndarray, spec: Spec, *, flip: bool) -> tuple[np.ndarray, np.ndarray]:
        """Crops [N, H, W, 3] uint8 RGB to keypoints [N, K, 2] in input pixels and scores [N, K], float64.

        Args:
            crops: N above 0.
            spec: whose codec decodes maps.
            flip: as `check_flip` says.

        Raises:
            ValueError: the network yields NaN or infinity, or something else than keypoints and scores.
        """
        if not self.decoded:
            return spec.codec.decode(self.maps(crops, spec, flip=flip))
        xy, score = (array.astype(np.float64) for array in self._outputs(crops, 2, "keypoints and scores"))
        if xy.shape[1:] != (spec.skeleton.num_keypoints, 2) or score.shape != xy.shape[:2]:
            raise self._unfit("keypoints and scores", [xy, score])
        if not (np.isfinite(xy).all() and np.isfinite(score).all()):
            raise ValueError(f"{self.path}: yields NaN or infinity; its weights are unusable")
        return xy, score

    def _outputs(self, crops: np.ndarray, count: int, wanted: str) -> list[np.ndarray]:
        """What the graph yields, where that is as many arrays as the file says."""
        if len(arrays := self(crops)) != count:
            raise self._unfit(wanted, arrays)
        return arrays

    def _unfit(self, wanted: str, arrays: list[np.ndarray]) -> ValueError:
        shapes = ", ".join(map(str, (array.shape for array in arrays)))
        return ValueError(
            f"{self.path}: says that it yields {wanted}, but yields arrays of shape {shapes}: export it again"
        )


def opened(path: str | os.PathLike[str], precision: str = "float32") -> tuple[Spec, ExportedNetwork]:
    """An exported file: its pose system, and its network.

    Args:
        path: the file; `posewright export` writes such.
        precision: "bf16" or "fp16" compute the maps of an OpenVINO file so; "int8" expects a file in int8.

    Raises:
        ModuleNotFoundError: what reads it is not installed; the message says how to get it.
        FileNotFoundError: there is no such file, or an OpenVINO file's weights are not beside it.
        ValueError: it is no such file, does not say what it is, or says rules that are not those of its pose system;
            or it does not compute in that precision.
    """
    path = regular(Path(path), "an exported network's file")
    is_onnx = path.suffix == ".onnx"
    if not is_onnx:
        regular(path.with_suffix(".bin"), f"the weights that go with {path.name}")
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
    told = {"border": rules["border"]} | said.rules  # which older files leave to the pose system
    if other := [name for name in rules if rules[name] != told.get(name)]:
        raise ValueError(
            f"{path}: was exported with another {', '.join(other)} than {spec.name} has in this version "
            f"({__version__}; the file's is {short(said.posewright, 20)}): export it again"
        )
    if precision == "int8" and said.precision != "int8":
        raise ValueError(
            f"{path}: computes in {short(said.precision, 20)}; int8 needs a file that was exported so, with images to "
            "calibrate on: `posewright export NAME --precision int8 --calibrate IMAGES`"
        )
    if precision in ("bf16", "fp16") and (is_onnx or said.decoded):
        why = "ONNX files compute" if is_onnx else "files that decode compute"
        raise ValueError(f"{path}: {why} in the precision they were exported in, not in {precision}")
    if said.precision == "int8" and precision == "float32":
        precision = "int8"
    run = OnnxModel(path, "uint8") if is_onnx else OpenVinoModel(path, precision)
    return spec, ExportedNetwork(path, said, run, precision)


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
