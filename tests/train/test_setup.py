"""What a run starts from: its data, its weights, and what of them is kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posewright.train import setup
from posewright.train.distributed import Team
from posewright.train.loop import fit
from posewright.train.setup import preflight, prepared
from posewright.weights import checkpoint


def fit_steps(run, steps):
    for batch, _ in zip(run.loader.epoch(0), range(steps)):
        run.train_step(batch, 1e-3)


def test_a_batch_too_small_for_its_parts_is_refused(config):
    with pytest.raises(
        ValueError, match="a batch of 4 people cannot be split into 5 micro-batches by 1 processes: choose a la"
    ):
        fit(replace(config, accumulate=5))


def test_a_batch_that_does_not_fit_is_told_in_how_many_parts_it_does():
    def attempt(people, most=10):
        tried.append(people)
        if people > most:
            raise torch.OutOfMemoryError

    tried = []
    preflight(attempt, 20, 2, "memory")
    assert tried == [10]
    with pytest.raises(
        ValueError, match=r"33 people split into 1 micro-batches do not fit into cuda:0: split into 4 .*accumulate=4"
    ):
        preflight(attempt, 33, 1, "cuda:0")
    with pytest.raises(ValueError, match=r"3 people split into 1 micro-batches .*: split into 3 they do"):
        preflight(lambda n: attempt(n, 1), 3, 1, "memory")
    with pytest.raises(ValueError, match="not even one sample fits into memory: choose a smaller pose system"):
        preflight(lambda n: attempt(n, 0), 8, 1, "memory")


def test_sigmas_of_the_validation_file_do(config, files, tmp_path):
    """Also where the training file has none; training has no use for them."""

    def renamed(path, sigmas):
        content = json.loads(Path(path).read_text())
        content["categories"][0] |= {"keypoints": [f"p{n}" for n in range(17)], "skeleton": []}
        for name in ("sigmas", "posewright"):
            content["categories"][0].pop(name, None)
        content["categories"][0] |= {"sigmas": sigmas} if sigmas else {}
        where = tmp_path / Path(path).name
        where.write_text(json.dumps(content))
        return str(where), str(Path(path).parents[1])

    train, images = renamed(files["train"], None)
    val, _ = renamed(files["val"], [0.05] * 17)
    config = replace(config, train=train, train_images=images, val=val, val_images=images)
    with prepared(config, Team()) as run:
        assert run.spec.skeleton.sigmas == run.val[0].skeleton.sigmas == (0.05,) * 17
    with prepared(replace(config, sigmas="pck"), Team()) as run:
        assert run.spec.skeleton.sigmas is run.val[0].skeleton.sigmas is None


@pytest.mark.parametrize("parts", [("conv1", "bn1", "layer1"), ("conv1", "layer1.0.bn1.")])
def test_frozen_parts_stay_as_they_start(config, parts):
    fit(replace(config, out=config.out + "-first", steps=1))
    config = replace(config, freeze=parts, ema=0.0, init=config.out + "-first/last.pt")
    with prepared(config, Team()) as run:
        before = {k: v.clone() for k, v in run.net.state_dict().items()}
        fit_steps(run, 2)
        after = run.net.state_dict()
    frozen = {k for k in before if any(k.startswith(p.rstrip(".") + ".") for p in parts)}
    assert frozen
    assert {k for k in before if torch.equal(before[k], after[k])} == frozen


def test_a_part_to_freeze_that_there_is_not_is_refused(config):
    with pytest.raises(ValueError, match=r"freeze: no parameter's name begins with 'layer'; they are such as conv1"):
        fit(replace(config, freeze=("layer",)))


def test_published_weights_are_given_by_their_id(config, monkeypatch, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"lpn_50_256x192_coco is not in the cache: download it first \(posewright wei"
    ):
        fit(replace(config, init="lpn_50_256x192_coco"))
    fit(replace(config, out=str(tmp_path / "first"), steps=1))
    monkeypatch.setattr(setup.hub, "cached", lambda name: tmp_path / "first" / "last.pt")
    with prepared(replace(config, init="lpn_50_256x192_coco"), Team()) as run:
        kept = checkpoint.read_checkpoint(tmp_path / "first" / "last.pt")["model"]
        assert all(torch.equal(value, kept[name]) for name, value in run.net.state_dict().items())


def test_a_resumed_run_needs_the_files_no_more_that_it_began_with(config, tmp_path):
    fit(replace(config, out=str(tmp_path / "first"), steps=1))
    begin = tmp_path / "first" / "last.pt"
    config = replace(config, init=str(begin))
    fit(config, stop_at=1)
    begin.unlink()
    assert fit(config, resume=True).finished


def test_sets_are_mixed_and_evaluated_with_the_requested_sigmas(config, files, tmp_path, capfd):
    arms = {"points": ["left_wrist", "right_wrist", "tail"], "bones": [["left_wrist", "tail"]]}
    (tmp_path / "arms.json").write_text(json.dumps(arms))
    config = replace(
        config, train=(files["train"], files["val"]), val=files["val"], skeleton=str(tmp_path / "arms.json"), steps=1
    )
    fitted = fit(config)
    said = capfd.readouterr().err
    assert ".json + " in said
    assert "never labelled: tail" in said
    assert "no OKS sigmas are known for arms: evaluated with PCK, not AP (see the setting sigmas)" in said
    assert set(fitted.metrics) == {"PCK"}
    assert checkpoint.describe(fitted.out / "best.pt").skeleton.bones == (("left_wrist", "tail"),)
    with pytest.raises(ValueError, match="no sigmas are published for points named tail"):
        fit(replace(config, sigmas="published", out=str(tmp_path / "again")))
    assert "AP" in fit(replace(config, skeleton="", out=str(tmp_path / "coco"))).metrics
    assert set(fit(replace(config, skeleton="", sigmas="pck", out=str(tmp_path / "pck"))).metrics) == {"PCK"}


def test_nothing_is_flipped_where_no_point_has_a_mirror_pair(config, tmp_path, capfd):
    file = json.loads(Path(config.train).read_text())
    points = [f"spot{n}" for n in range(len(file["categories"][0]["keypoints"]))]
    file["categories"] = [{"id": 1, "name": "spots", "keypoints": points}]
    path = tmp_path / "spots.json"
    path.write_text(json.dumps(file))
    images = Path(config.train).parents[1] / "train"
    spots = replace(config, train=str(path), train_images=str(images))
    with prepared(spots, Team()) as run:
        assert (run.config.augment.flip, run.config.flip_test) == (0, False)
    assert "spots" in (said := capfd.readouterr().err)
    assert "has no mirror pairs, so nothing is flipped, in training or in the flip test" in said
    with prepared(replace(spots, flip_without_pairs=True), Team()) as run:
        assert (run.config.augment.flip, run.config.flip_test) == (0.5, True)


def test_select_data_and_outside_images_are_settings(config, tmp_path, capfd):
    with prepared(config, Team()) as run:
        every = len(run.loader.people)
    with prepared(replace(config, select_data=True), Team()) as run:
        assert 0 < len(run.loader.people) <= every
    assert f"select_data keeps {len(run.loader.people)} people" in capfd.readouterr().err
    file = json.loads(Path(config.train).read_text())
    for entry in file["images"]:
        entry["file_name"] = str(Path(config.train).parents[1] / "train" / entry["file_name"])
    path = tmp_path / "elsewhere" / "deep" / "absolute.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(file))
    with pytest.raises(ValueError, match="leads outside"), prepared(replace(config, train=str(path)), Team()):
        pass
    with prepared(replace(config, train=str(path), allow_outside=True), Team()) as run:
        assert len(run.loader.people) == every


def test_freezing_random_weights_is_refused(config):
    with pytest.raises(ValueError, match=r"freeze would keep conv1, bn1 at random values.*--set freeze=\[\]"):
        fit(replace(config, freeze=("conv1", "bn1")))


def test_points_to_be_the_same_as_one_that_there_is_not_are_named(config, capfd):
    with prepared(replace(config, same_points={"snout": "noze", "muzzle": "nose"}), Team()) as run:
        name = run.spec.skeleton.name
    note = f"same_points: nothing is matched with noze: no points of {name} (did you mean 'nose'?)"
    assert note in capfd.readouterr().err
