"""Translated networks in the cache: found again, and not more of them than there is room for."""

import os
import time

import pytest
from torch import nn

from posewright.runtime import network_cache

HOUR = 3600


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path))
    return tmp_path / "networks"


def network(folder, name: str, hours: float, *parts: int) -> None:
    """Files of so many bytes, used so many hours ago."""
    folder.mkdir(exist_ok=True)
    for suffix, size in zip((".param", ".bin"), parts):
        path = folder / f"{name}{suffix}"
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - hours * HOUR,) * 2)


def left(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_is_of_weights_size_and_versions(folder):
    net = nn.Conv2d(3, 4, 1)
    path = network_cache.place_of(net, (64, 48), ".onnx")
    assert path.parent == folder
    assert path.suffix == ".onnx"
    assert path == network_cache.place_of(net, (64, 48), ".onnx")
    others = [network_cache.place_of(net, (48, 64), ".onnx"), network_cache.place_of(net, (64, 48), ".onnx", "pnnx 2")]
    nn.init.zeros_(net.weight)
    others.append(network_cache.place_of(net, (64, 48), ".onnx"))
    assert len({path, *others}) == 4


def test_those_used_longest_ago_give_way(folder):
    network(folder, "old", 30, 1, 100)
    network(folder, "older", 40, 100)
    network(folder, "young", 2, 100)
    network_cache.make_room(folder, most=250)
    assert left(folder) == ["old.bin", "old.param", "young.param"]
    network_cache.make_room(folder, most=100)
    assert left(folder) == ["young.param"]


def test_a_network_is_as_old_as_its_last_use(folder):
    network(folder, "used", 40, 1, 100)
    network(folder, "other", 30, 100)
    assert network_cache.mark_used(folder / "used.param")  # its weights were not touched
    network_cache.make_room(folder, most=150)
    assert left(folder) == ["used.bin", "used.param"]


def test_those_of_the_last_hour_stay(folder):
    network(folder, "old", 2, 100)
    network(folder, "other", 0.2, 100)
    network(folder, "new", 0.1, 100)
    network_cache.make_room(folder, most=50)
    assert left(folder) == ["new.param", "other.param"]


def test_what_is_not_there_is_not_made(folder):
    assert not network_cache.mark_used(folder / "none.onnx")
    assert not folder.exists()
