"""What every pose system promises, whatever its network."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch

from posewright.models import families, find, names
from posewright.spec import Spec
from posewright.weights import conversion
from posewright.weights.state_dict import unfilled

KEYPOINTS = 5

SMALLEST = {
    "cpn": ("cpn-50-256x192", 64),
    "grmi": ("grmi-r50-353x257", 65),
    "hourglass": ("hourglass-1-256x256", 64),
    "hrnet": ("hrnet-w32-256x192", 64),
    "litebaseline": ("litebaseline-128x96", 64),
    "litehrnet": ("litehrnet-18-256x192", 64),
    "lpn": ("lpn-50-256x192", 64),
    "mspn": ("mspn-2stg-256x192", 64),
    "rsn": ("rsn-18-udp-256x192", 64),
    "simplebaseline": ("simplebaseline-r18-slim-128x96", 64),
}
"""Of each family a small spec that has all the family's parts, and the side of a square input for it."""


@cache
def distinct() -> list[Spec]:
    """Specs that differ in network or sizes, one of each kind."""
    kinds = {f"{s.builder} {s.size} {s.codec.map_size} {s.codec.channels(KEYPOINTS)}": s for s in map(find, names())}
    return sorted(kinds.values(), key=lambda s: s.name)


def every_network() -> list[Any]:
    """All of `distinct`; those that vary only in depth, width or size from one with smaller images are slow tests."""
    cases, quick = [], set()
    for spec in sorted(distinct(), key=lambda s: (s.size, s.name)):
        kind = (getattr(spec.builder, "func", spec.builder), type(spec.codec))
        cases.append(pytest.param(spec, id=spec.name, marks=[pytest.mark.slow] * (kind in quick)))
        quick.add(kind)
    return cases


@cache
def small_net(family: str) -> Any:
    torch.manual_seed(0)
    return find(SMALLEST[family][0]).build(KEYPOINTS)


def small_images(family: str, count: int = 2) -> torch.Tensor:
    side = SMALLEST[family][1]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", every_network())
def test_maps_are_as_the_codec_reads_them(spec, quick_on_meta):
    net = unfilled(spec, KEYPOINTS).eval()
    with torch.device("meta"):
        assert net(torch.empty(1, 3, *spec.size)).shape == (1, spec.codec.channels(KEYPOINTS), *spec.codec.map_size)
        with pytest.raises(ValueError, match=r"multiples of \d+.*; got HxW"):
            net(torch.empty(1, 3, spec.size[0] + 1, spec.size[1]))


@pytest.mark.parametrize("family", families())
def test_training_reaches_every_parameter(family):
    net = small_net(family).train()
    net.zero_grad()
    maps = net.supervised(small_images(family))
    sum(m.square().mean() for m in maps).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("family", families())
def test_last_supervised_map_is_the_prediction(family):
    net, images = small_net(family).eval(), small_images(family)
    with torch.inference_mode():
        torch.testing.assert_close(net(images), net.supervised(images)[-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", families())
def test_people_of_a_batch_do_not_meet(family):
    net, images = small_net(family).eval(), small_images(family, 3)
    with torch.inference_mode():
        together = net(images)
        alone = torch.cat([net(image[None]) for image in images])
    scale = together.std().item()
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4 * scale)


KINDS = (
    "cpn-18-128x96", "grmi-r18-129x97", "hourglass-1-128x96", "hrnet-w8-128x96", "hrnet-w8-udp-128x96",
    "litebaseline-128x96", "litehrnet-18-256x192", "litehrnet-naive-18-128x96", "lpn-18-128x96",
    "mspn-2stg-slim-128x96", "rsn-18-slim-128x96", "rsn-18-udp-256x192", "simplebaseline-r18-128x96",
)  # fmt: skip
"""A system for each way in which parameters are named; the others have more of the same."""

OTHERS = {repr(find(name).builder): name for name in names() if name not in KINDS}.values()


@pytest.mark.parametrize("name", [*KINDS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_names_of_other_code_are_distinct_and_lead_back(name):
    net: Any = unfilled(find(name), 1)
    own = net.state_dict()
    for style in get_args(conversion.Format):
        if style == "mmpose" and net.naming.mmpose is None:
            continue
        foreign = conversion.foreign(net.naming, own, style)
        assert len(set(foreign.values())) == len(own)
        assert conversion.ours(net.naming, own, foreign.values()) == {v: k for k, v in foreign.items()}
    readable = conversion.known(net.naming, own)
    for rules in net.naming.others:  # nor does another spelling give a name to two parameters
        alone = conversion.known(replace(net.naming, mmpose=None, mindspore=rules, others=()), own)
        assert {k: readable[k] for k in alone} == alone


@pytest.mark.parametrize(
    "family", [f if f == "simplebaseline" else pytest.param(f, marks=pytest.mark.slow) for f in families()]
)
def test_runs_as_onnx(family, onnx_outputs):
    """In any batch."""
    net, images = small_net(family).eval(), small_images(family, 3)
    with torch.inference_mode():
        want = net(images).numpy()
    np.testing.assert_allclose(onnx_outputs(net, images), want, rtol=0, atol=1e-4 * want.std())
