"""The weights inside the package: they are there, small, said what they are, and find people."""

import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

import posewright as pw
from posewright import image
from posewright.cli import main
from posewright.data import sources
from posewright.demo import SCENE
from posewright.evaluate.distances import TORSO
from posewright.evaluate.pck import pck, segment
from posewright.models import DEFAULT
from posewright.skeletons import LSP14
from posewright.synthetic import people as synthetic
from posewright.train.config import TrainConfig, resumed
from posewright.weights import checkpoint, hub


@pytest.fixture(scope="module")
def file() -> Path:
    path = hub.local_weights(DEFAULT)
    assert path is not None
    return path


def test_the_file_is_small_and_says_what_it_is(file):
    assert file.stat().st_size <= 8_000_000
    about = checkpoint.describe(file)
    assert about is not None
    assert about.spec == DEFAULT
    assert about.skeleton.points == LSP14.points
    assert about.metrics["PCK"] >= 0.6
    assert {str(v.dtype) for v in checkpoint.read(file).values()} == {"torch.float16", "torch.int64"}


def test_its_tensors_are_those_that_were_trained(file):
    """The file was rewritten with today's names of settings: not a bit of a tensor may differ."""
    digest = hashlib.sha256()
    for key, value in sorted(checkpoint.read(file).items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode() + value.numpy().tobytes())
    assert digest.hexdigest() == "b84a7dfd8c4b66f4b0087bf5e4824ce7cae2383f2d904ec3c85f45443b67299f"


def test_its_settings_have_the_names_of_today(file):
    about = checkpoint.describe(file)
    assert about is not None
    known = msgspec.to_builtins(TrainConfig(model=DEFAULT, train="train.json"))
    assert set(about.config) <= set(known)
    assert set(about.config["augment"]) <= set(known["augment"])
    assert (about.config["ohkm_topk"], about.config["augment"]["flip"]) == (8, 0.5)


def test_a_run_with_old_names_of_settings_gets_one_line(tmp_path):
    old = {"model": DEFAULT, "train": "train.json", "drops": [0.8], "augment": {"mirror": 0.5}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    with pytest.raises(
        ValueError, match=r"of another version.*\(drops, augment\.mirror\): start a new run.*--init .*best\.pt"
    ):
        resumed(tmp_path)


@pytest.mark.parametrize("name", [None, "default", DEFAULT])
def test_it_is_what_one_gets_without_weights(name):
    predictor = pw.load(name)
    assert predictor.spec.name == DEFAULT
    assert predictor.spec.skeleton.points == LSP14.points


def test_it_needs_neither_cache_nor_network(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("POSEWRIGHT_OFFLINE", "1")
    poses = pw.load()(np.zeros((50, 40, 3), np.uint8))
    assert poses.xy.shape == (1, 14, 2)
    assert poses.boxes.source == "whole image"


def test_it_finds_drawn_people(tmp_path):
    """Other drawn people than those that it learned from: chance is nearly 0 at this threshold."""
    people = sources.read_all([synthetic.make(tmp_path, 12, scene=SCENE, workers=1)], [""], LSP14)
    groups, boxes = people.by_image(), people.gt_boxes()
    found = pw.load().many((people.paths[i], boxes[i]) for i in groups)
    xy = np.concatenate([poses.xy for poses in found])
    samples = [people[int(n)] for group in groups.values() for n in group]
    truth, visibility = np.stack([s.xy for s in samples]), np.stack([s.visibility for s in samples])
    torso = segment(truth, visibility, LSP14, *TORSO)
    assert pck(xy, truth, visibility, torso, 0.2).mean > 0.55


def test_the_command_finds_the_very_pose_that_the_call_finds(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    image.write(tmp_path / "7.jpg", pixels)
    assert main(["predict", str(tmp_path / "7.jpg"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
    (want,) = pw.load()(tmp_path / "7.jpg").to_coco(7)
    assert result["keypoints"] == want["keypoints"]
    assert result["score"] == want["score"]
