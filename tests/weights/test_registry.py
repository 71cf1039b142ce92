"""The table of published weights and metrics."""

from __future__ import annotations

from typing import get_args

import pytest

from posewright.models import families, find, names
from posewright.weights import _registry, hub
from posewright.weights._registry import Access


def test_the_table() -> None:
    entries = hub.entries()
    assert len(entries) >= 140
    assert len({e.id for e in entries}) == len(entries)
    for e in entries:
        assert all(url.startswith("https://") for url in e.urls), e.id
        assert set(e.sha256) <= set("0123456789abcdef"), e.id
        assert bool(e.file) or not e.fetchable, e.id
        assert f"posewright weights import {e.id}" in e.by_hand()
    assert [e.access for e in entries] == sorted((e.access for e in entries), key=list(get_args(Access)).index)
    assert {e.access for e in entries} == set(get_args(Access))
    assert len(hub.entry("mm_hrnet_w32_256x192_coco").fetchable) == 2
    assert hub.entries("hrnet-w32-256x192") == [hub.entry("hrnet_w32_256x192_coco")]
    assert hub.entry("cpn_r50_256x192_coco").licence == "GPL-3.0"
    files = {e.file for e in hub.entries("sb_*_mpii")}
    assert files == {f"pose_resnet_{d}_{s}.pth.tar" for d in (50, 101, 152) for s in ("256x256", "384x384")}
    assert len(hub.entries("imagenet_resnet*_caffe")) == 3
    assert {e.data for e in entries} <= hub.datasets().keys()
    assert hub.terms("ap10k").summary() == "AP-10K: CC BY 4.0"
    assert "about 136 MB or more, no checksum was published" in hub.entry("sb_r50_256x192_coco").by_hand()


def test_published_metrics() -> None:
    known, ids = names(), {e.id for e in hub.entries()}
    for p in _registry.results():
        assert p.weights in ids if p.weights else p.spec, p
        assert p.spec in known or not p.spec, p
        assert p.metrics, p
        assert all(0 < v < 1 for v in p.metrics.values()), p
        assert (p.boxes == "detected") == bool(p.detector), p
        assert p.boxes in get_args(_registry.BoxSource), p
        assert p.source, p


@pytest.mark.parametrize(
    ("spec", "detected", "gt"),
    [
        ("hrnet-w32-256x192", 0.744, 0.765),
        ("simplebaseline-r50-256x192", 0.704, 0.724),
        ("lpn-50-256x192", 0.691, 0.712),
        ("lpn-101-256x192", 0.704, 0.727),
        ("cpn-50-256x192", 0.692, 0.712),
        ("mspn-4stg-384x288", 0.769, None),
    ],
)
def test_published_on_both_box_sources(spec: str, detected: float, gt: float | None) -> None:
    found, annotated = hub.published(spec), hub.published(spec, "gt")
    assert found is not None
    assert found.metrics["AP"] == detected
    assert (annotated.metrics["AP"] if annotated else None) == gt
    assert hub.published("toy-64x48") is None


def test_all_ten_metrics_where_they_were_published() -> None:
    found = hub.published("hrnet-w48-384x288")
    assert found is not None
    assert list(found.metrics) == list(_registry.COCO_METRICS)
    assert (found.metrics["APM"], found.metrics["ARL"]) == (0.723, 0.876)
    assert found.summary() == "AP 0.763 (det 56.4)"
    mpii = hub.entry("sb_r152_384x384_mpii").published
    assert [p.metrics for p in mpii] == [{"PCKh": 0.902, "PCKh@0.1": 0.39433}]


SKELETON_OF = {
    "mpii": "mpii16", "crowdpose": "crowdpose14", "aic": "aic14", "ap10k": "ap10k17", "animalpose": "animalpose20",
    "TigDog": "tigdog18",
}  # fmt: skip


def test_entries_are_of_pose_systems_of_their_size_and_points() -> None:
    known = names()
    for e in hub.entries():
        if e.spec:
            assert e.spec in known, e.id
            assert e.size == "{}x{}".format(*find(e.spec).size), e.id
            assert find(e.spec).skeleton.name == SKELETON_OF.get(e.data, "coco17"), e.id


def test_every_family_with_published_weights_has_entries() -> None:
    count = {family: len(hub.entries(f"{family}-*")) for family in families()}
    assert count == {
        "cpn": 3, "grmi": 0, "hourglass": 4, "hrnet": 37, "litebaseline": 0, "litehrnet": 22, "lpn": 3, "mspn": 6,
        "rsn": 5, "simplebaseline": 40,
    }  # fmt: skip
    e = hub.entry("mm_hrnet_w32_udp_regress_256x192_coco")
    assert e.urls[0].endswith("/coco/td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192-9c0b77b4_20220926.pth")
    assert (e.spec, e.sha256) == ("hrnet-w32-udp-regress-256x192", "9c0b77b4")
    assert [p.summary() for p in e.published] == ["AP 0.759 (det 56.4)"]
