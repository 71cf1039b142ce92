"""Graphs on a GPU: what they hold lies where their input does; and, where there is one, keypoints are the CPU's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch.backends import cudnn

from posewright import models
from posewright.predict.predictor import Predictor
from posewright.runtime.decoders import decoder, has_decoder
from posewright.runtime.gpu_runtime import exact_convolutions
from posewright.runtime.graph import PoseGraph
from posewright.spec import Spec

from .test_decoders import CASES

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
SYSTEMS = ["simplebaseline-r18-slim-128x96", "litebaseline-128x96", "mspn-2stg-256x192", "lpn-50-256x192"]


@pytest.mark.parametrize("name", CASES)
def test_decoders_make_nothing_on_another_device_than_their_maps(name: str) -> None:
    codec = CASES[name]
    maps = torch.empty(3, codec.channels(17), *codec.map_size, device="meta")
    xy, score = decoder(codec, 17).to("meta")(maps)
    assert (xy.device.type, score.device.type) == ("meta", "meta")
    assert (xy.shape, score.shape) == ((3, 17, 2), (3, 17))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", SYSTEMS)
def test_graphs_make_nothing_on_another_device_than_their_crops(name: str, flip: bool) -> None:
    spec = models.find(name)
    with torch.device("meta"):
        net = spec.build().eval()
    graph = PoseGraph(net, spec, flip=flip).to("meta")
    crops = torch.empty(2, *spec.size, 3, dtype=torch.uint8, device="meta")
    xy, score = graph(crops)
    assert (xy.device.type, xy.shape) == ("meta", (2, spec.skeleton.num_keypoints, 2))
    assert score.shape == (2, spec.skeleton.num_keypoints)


def test_every_published_codec_decodes_in_a_graph() -> None:
    assert [name for name in models.names() if not has_decoder(models.find(name).codec)] == []


def lively(spec: Spec) -> torch.nn.Module:
    """A network whose maps differ from crop to crop, as those of untrained ones hardly do."""
    torch.manual_seed(0)
    net = spec.build().eval()
    for parameter in net.parameters():
        parameter.data *= 1.2
    return net


def test_float32_is_no_tf32_while_keypoints_are_sought() -> None:
    before = cudnn.benchmark, cudnn.allow_tf32
    with exact_convolutions():
        assert (cudnn.benchmark, cudnn.allow_tf32) == (True, False)
    with suppress(ValueError), exact_convolutions():
        raise ValueError("unusable")
    assert (cudnn.benchmark, cudnn.allow_tf32) == before


@on_a_gpu
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", SYSTEMS)
def test_keypoints_of_a_gpu_are_those_of_the_cpu(name: str, flip: bool) -> None:
    spec = models.find(name)
    net = lively(spec)
    crops = np.random.default_rng(0).integers(0, 256, (11, *spec.size, 3), np.uint8)
    on_cpu = Predictor(spec, net, flip=flip, device="cpu")
    on_gpu = Predictor(spec, net, flip=flip, device="cuda", batch=4)
    (want, sure), (xy, score) = on_cpu.keypoints(crops), on_gpu.keypoints(crops)
    assert np.median(np.abs(xy - want)) < 0.05
    assert np.allclose(score, sure, rtol=1e-2, atol=1e-3)
    assert all(np.array_equal(a, b) for a, b in zip(on_gpu.keypoints(crops), (xy, score)))  # replayed


@on_a_gpu
def test_threads_share_a_gpu_without_mixing_their_crops() -> None:
    spec = models.find(SYSTEMS[0])
    predictor = Predictor(spec, lively(spec), device="cuda", batch=4)
    crops = np.random.default_rng(1).integers(0, 256, (24, 4, *spec.size, 3), np.uint8)
    alone = [predictor.keypoints(batch) for batch in crops]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(predictor.keypoints, crops))
    for (xy, score), (other, sure) in zip(alone, together):
        assert np.array_equal(xy, other)
        assert np.array_equal(score, sure)


@on_a_gpu
def test_nan_is_refused_on_a_gpu() -> None:
    spec = models.find(SYSTEMS[0])
    net = lively(spec)
    next(net.parameters()).data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinity"):
        Predictor(spec, net, device="cuda").keypoints(np.zeros((1, *spec.size, 3), np.uint8))
