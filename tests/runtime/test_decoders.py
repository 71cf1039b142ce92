"""Decoders inside of graphs find what the codecs' own find, by torch, ONNX Runtime and OpenVINO alike."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from posewright import codecs, models
from posewright.codecs.cpn import CpnMultiScaleHeatmap
from posewright.codecs.dark import DarkHeatmap
from posewright.codecs.grmi import OffsetHeatmap
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.codecs.hourglass import HourglassHeatmap
from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.codecs.udp import UdpHeatmap, UdpMultiScaleHeatmap, UdpOffsetHeatmap
from posewright.runtime.decoders import decoder
from posewright.runtime.graph import Unflip
from posewright.runtime.onnx_runtime import OnnxModel, traced
from posewright.runtime.openvino_runtime import OpenVinoModel
from posewright.skeletons import COCO17
from posewright.spec import Spec

SIZES = ((128, 96), (32, 24))
CASES = {
    "quarter": GaussianHeatmap(*SIZES),
    "each axis on its own": GaussianHeatmap(*SIZES, separately=True, empty=-1, compensation=0.5),
    "soft-arg-max": GaussianHeatmap(*SIZES, decoding="soft-argmax"),
    "soft-arg-max without quarter": GaussianHeatmap(*SIZES, decoding="soft-argmax", beta=20, quarter=False),
    "hourglass": HourglassHeatmap(*SIZES),
    "dark": DarkHeatmap(*SIZES),
    "dark by mmpose": DarkHeatmap(*SIZES, crop="standard", blur=17, empty=-1),
    "dark, quarter": DarkHeatmap(*SIZES, refine="quarter"),
    "udp": UdpHeatmap(*SIZES),
    "udp by mmpose 0": UdpHeatmap(*SIZES, blur=11, toolkit="mmpose0"),
    "udp by mmpose 1": UdpHeatmap(*SIZES, blur=11, toolkit="mmpose1"),
    "udp, none": UdpHeatmap(*SIZES, refine="none"),
    "udp offset": UdpOffsetHeatmap(*SIZES),
    "udp offset, raw": UdpOffsetHeatmap(*SIZES, blurs=(23, 1)),
    "rsn with udp": UdpMultiScaleHeatmap(*SIZES),
    "g-rmi": OffsetHeatmap((65, 49), (65, 49), 8.0),
    "g-rmi at a stride": OffsetHeatmap((128, 96), (32, 24), 25.0),
    "mspn": MultiScaleHeatmap(*SIZES),
    "mspn, two shifts": MultiScaleHeatmap(*SIZES, blur=9, shifts=(0.18, 0.03)),
    "mspn by mmpose": MmposeMultiScaleHeatmap(*SIZES),
    "cpn": CpnMultiScaleHeatmap(*SIZES),
}


def awkward(codec):
    """Maps [N, C, h, w] of 17 points: blobs, also across the border, noise, ties, plateaus, single pixels, nothing."""
    rng, (height, width) = np.random.default_rng(7), codec.map_size
    y, x = np.mgrid[:height, :width]
    at = rng.uniform((-3, -3), (width + 3, height + 3), (40, 2))
    blobs = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 8)
    spots = np.zeros((49, height, width))
    for spot, place in zip(spots, np.ndindex(7, 7)):
        spot[tuple([0, 1, 2, side // 2, -3, -2, -1][i] for i, side in zip(place, (height, width)))] = 1
    middle_x, middle_y = width // 2, height // 2
    flat = [
        *(np.hypot(x - middle_x - d, y - middle_y - d) <= r for r in (1, 2.5, 4, 9) for d in (0, 0.5)),
        np.abs(x - middle_x) <= 2,
        np.abs(y - middle_y) <= 2,
        np.exp(-((x - middle_x) ** 2) / 8),
        np.maximum(1 - np.hypot(x - middle_x - 0.5, y - middle_y) / 5, 0),
        ((x == middle_x - 4) | (x == middle_x + 4)) & (y == middle_y),
        *(np.full((height, width), value) for value in (0.7, 0.0, -0.01)),
    ]
    noise = rng.normal(size=(20, height, width))
    kinds = [
        blobs,
        blobs + 0.005 * rng.normal(size=blobs.shape),
        noise,
        -np.abs(noise),
        np.round(noise, 1),
        spots,
        flat,
    ]
    maps = np.concatenate([np.asarray(kind, np.float64) for kind in kinds])
    if isinstance(codec, (MultiScaleHeatmap, MmposeMultiScaleHeatmap, CpnMultiScaleHeatmap, UdpMultiScaleHeatmap)):
        maps = maps * 255
    maps = maps[: len(maps) // 17 * 17].reshape(-1, 17, height, width)
    if codec.channels(1) == 3:
        ways = rng.normal(size=(2, *maps.shape)) * (4 if isinstance(codec, OffsetHeatmap) else 0.5)
        maps = np.stack([maps, *ways], 2).reshape(len(maps), -1, height, width)
    return maps.astype(np.float32)


def check(codec, run, maps):
    want, want_score = codec.decode(maps)
    xy, score = (np.asarray(array) for array in run(maps))
    assert xy.dtype == score.dtype == np.float32
    # A Newton step far out of the map's maximum is of a curvature close to 0, and known to no more digits than that.
    step = np.maximum(np.abs(want - codec.size[1] / 2).max(-1) / 50, 1)
    off = np.abs(xy - want).max(-1) / step
    assert off.max() <= 0.05, np.argwhere(off > 0.05)[:5].tolist()
    np.testing.assert_allclose(score, want_score, atol=2e-5 * max(1, np.abs(want_score).max()))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_every_codec_in_every_runtime(name, runtime, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[runtime])
    codec, path = CASES[name], tmp_path / "decoder.onnx"
    maps = awkward(codec)
    path.write_bytes(traced(decoder(codec, 17), torch.zeros(2, *maps.shape[1:]), "maps", ("keypoints", "scores")))
    run = OnnxModel(path) if runtime == "onnx" else OpenVinoModel(path)
    check(codec, run, maps)
    check(codec, run, maps[:1])


def by_torch(codec):
    made = decoder(codec, 17)

    def run(maps):
        with torch.inference_mode():
            return [tensor.numpy() for tensor in made(torch.from_numpy(maps))]

    return run


PUBLISHED = sorted({repr(spec.codec): spec.codec for spec in map(models.find, models.names())}.items())


@pytest.mark.parametrize(
    "codec",
    [
        pytest.param(codec, id=name, marks=pytest.mark.slow if codec.map_size[0] > 96 else ())
        for name, codec in PUBLISHED
    ],
)
def test_every_published_codec(codec):
    maps = awkward(codec)
    check(codec, by_torch(codec), maps[:: 12 if codec.map_size[0] > 64 else 3])


def test_every_codec_has_a_decoder():
    found = {
        value
        for module in pkgutil.iter_modules(codecs.__path__)
        if not module.name.startswith("_")
        for value in vars(importlib.import_module(f"posewright.codecs.{module.name}")).values()
        if is_dataclass(value) and value.__module__ == f"posewright.codecs.{module.name}"
    }
    assert found == {type(codec) for codec in CASES.values()}
    for kind in found:
        assert decoder(kind((64, 48), (16, 12)), 3)(torch.zeros(2, kind((64, 48), (16, 12)).channels(3), 16, 12))
    with pytest.raises(ValueError, match=r"Other has no decoder for graphs: export raw maps \(--raw\)"):
        decoder(type("Other", (), {})(), 3)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shift", [None, True, False])
def test_maps_of_mirrored_crops_are_mirrored_back(name, shift):
    codec = replace(CASES[name], flip_shift=shift)
    spec = Spec("any", nn.Identity, codec, COCO17, codec.size, crop_rule=codec.crop_rules[0])
    maps = torch.from_numpy(awkward(codec)[:2])
    np.testing.assert_array_equal(Unflip(spec)(maps), codec.unflip(maps, COCO17))
