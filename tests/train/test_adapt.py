"""CC-SSL: views are undone exactly, confidence follows their agreement, and rounds learn from what is kept."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from posewright.data import coco
from posewright.image import follow
from posewright.models import find
from posewright.synthetic import animals
from posewright.train import adapt
from posewright.train.adapt import check_in_time, consecutive, consensus, pseudo_labels, threshold, views
from posewright.train.config import PseudoLabels, TrainConfig
from posewright.train.distributed import Team
from posewright.train.loop import fit, resumed, rounds
from posewright.train.setup import prepared
from posewright.train.state import Run

SLIM = "simplebaseline-r18-slim-128x96"
SCENE = animals.AnimalScene(length=(30.0, 45.0), height=(120, 120), width=(160, 160))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rodents")
    video = replace(SCENE, frames=3)
    target = animals.make(folder / "video", 6, scene=video, split="target", workers=1)
    return str(animals.make(folder, 6, scene=SCENE, workers=1)), str(target)


@pytest.fixture
def config(files, tmp_path):
    source, target = files
    return TrainConfig(
        model=SLIM, train=source, target=target, out=str(tmp_path / "run"), steps=2, batch=4, workers=0, device="cpu",
        flip_test=False, pseudo=PseudoLabels(keep=(0.0, 0.5), views=2, recoloured=1),
    )  # fmt: skip


class Finds(nn.Module):
    """A network that finds the brightest spot of the image, smeared as a target is, for each of 4 points."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        maps = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)
        maps = (maps - maps.amin((2, 3), keepdim=True)) / (
            maps.amax((2, 3), keepdim=True) - maps.amin((2, 3), keepdim=True)
        )
        return maps.repeat(1, 4, 1, 1)


@pytest.mark.parametrize("name", [SLIM, "simplebaseline-r18-slim-dark-128x96", "hourglass-1-128x96"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_maps_of_scaled_and_rotated_views_come_back_to_where_they_were(name, mirrored):
    spec = find(name).with_skeleton(animals.RODENT4)
    picture = np.zeros((200, 160, 3), np.uint8)
    y, x = np.mgrid[:200, :160]
    spot = 255 * np.exp(-((x - 70) ** 2 + (y - 110) ** 2) / 60)
    picture[:] = spot[..., None].astype(np.uint8)
    region = np.array([80.0, 100.0, 96.0, 128.0])
    settings = PseudoLabels(views=5, recoloured=0, scale=0.2, mirrored=mirrored)
    crop, crops = views(spec, picture, region, settings, np.random.default_rng(0))
    assert len(crops) == 5
    alone = consensus(spec, Finds(), crop[:1], crops[:1])
    together = consensus(spec, Finds(), crop, crops)
    assert np.unravel_index(together[0].argmax(), together[0].shape) == pytest.approx(
        np.unravel_index(alone[0].argmax(), alone[0].shape), abs=1
    )
    # views agree, so the confidence stays; the classic crops put a mirrored heatmap one cell to the side
    assert together.max() > (0.85 if mirrored else 0.9) * alone.max()
    found, _ = spec.codec.decode(together[None])
    assert crop[:1].to_image(found)[0, 0] == pytest.approx([70, 110], abs=4)


def test_left_and_right_of_mirrored_views_are_swapped_back():
    """A network that goes by colour, whatever is left or right, contradicts itself in every second view."""

    class ByColour(Finds):
        def forward(self, images):
            maps = nn.functional.avg_pool2d(images.clamp(min=0), 4)
            return maps[:, [2, 0, 1, 2]]  # red at the left ear, green at the right one

    spec = find(SLIM).with_skeleton(animals.RODENT4)
    picture = np.zeros((128, 96, 3), np.uint8)
    picture[32:48, 16:32, 0] = picture[80:96, 64:80, 1] = 255
    region = np.array([48.0, 64.0, 96.0, 128.0])
    settings = PseudoLabels(views=3, recoloured=1, scale=0.0, rotation=0.0, mirrored=True)
    crop, crops = views(spec, picture, region, settings, np.random.default_rng(0))
    assert (np.linalg.det(crop.matrix[..., :2]) < 0).tolist() == [False, True, False, False]
    left, right = consensus(spec, ByColour(), crop[:3], crops[:3])[1:3]
    own, other = left[9:11, 5:7].mean(), left[21:23, 17:19].mean()
    assert other == pytest.approx(own / 2, rel=0.1)  # one view of three
    assert right[9:11, 5:7].mean() == pytest.approx(other, rel=0.1)
    nameless = replace(spec, skeleton=replace(spec.skeleton, mirror=()))
    crop, _ = views(nameless, picture, region, settings, np.random.default_rng(0))
    assert (np.linalg.det(crop.matrix[..., :2]) > 0).all()


def test_views_that_disagree_lower_the_confidence(files):
    class Stubborn(Finds):
        """Finds its points in one place of the input, whatever is shown."""

        def forward(self, images):
            maps = torch.zeros(len(images), 4, 32, 24)
            maps[:, :, 8, 6] = 1
            return maps

    spec = find(SLIM).with_skeleton(animals.RODENT4)
    target = coco.read(files[1])
    one = PseudoLabels(views=1, recoloured=0, temporal=False)
    _, sure = pseudo_labels(spec, Stubborn(), target, one, 0)
    _, unsure = pseudo_labels(spec, Stubborn(), target, replace(one, views=4), 0)
    assert sure.min() == 1
    assert unsure.max() < 0.6


def test_the_published_threshold_counts_one_more_zero():
    confidence = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.9, 0.95, 0.99, 1.0]]).T
    assert (confidence > threshold(confidence, 0.2)).sum() == 2  # of 13 numbers, element trunc(0.8 * 13) = 10 and above
    assert (confidence > threshold(confidence, 0.8)).sum() == 10
    assert (confidence > threshold(confidence, 1.0)).all()


def test_frames_are_compared_with_the_one_before(files):
    target = coco.read(files[1])
    assert list(consecutive(target)) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    xy, confidence = np.zeros((2, 3, 2)), np.array([[1.0, 1.0, 1.0], [0.95, 0.5, 0.5]])
    check_in_time(np.array([[1.0, 0], [2.0, 0], [40.0, 0]]), xy, confidence, 0, 1)
    assert confidence.tolist() == [
        [1, 1, 0],
        [0.95, 0.9, 0.5],
    ]  # fell little; fell; leapt
    assert xy[1].tolist() == [[0, 0], [2, 0], [0, 0]]
    texture = np.random.default_rng(0).integers(0, 255, (40, 40, 1), np.uint8).repeat(3, 2)
    smooth = np.asarray(torch.nn.functional.avg_pool2d(torch.from_numpy(texture).float().permute(2, 0, 1), 5, 1, 2))
    frame = smooth.transpose(1, 2, 0).astype(np.uint8)
    moved = np.roll(frame, (2, 3), (0, 1))
    assert follow(frame, moved, np.array([[20.0, 20.0]]))[0] == pytest.approx([23, 22], abs=0.3)


def test_rounds_label_the_target_without_its_labels_and_resume(config, files, tmp_path):
    content = json.loads(Path(files[1]).read_text())
    for annotation in content["annotations"]:  # other points: they must not matter
        annotation["keypoints"] = [v if n % 3 == 2 else 1.0 for n, v in enumerate(annotation["keypoints"])]
    altered = tmp_path / "altered.json"
    altered.write_text(json.dumps(content))
    whole = rounds(config)
    assert [r.finished for r in whole] == [True, True]
    kept = json.loads((tmp_path / "run" / "round2" / "pseudo.json").read_text())
    assert not (tmp_path / "run" / "round1" / "pseudo.json").exists()
    points = np.array([a["keypoints"] for a in kept["annotations"]]).reshape(-1, 4, 3)
    assert 0 < (points[..., 2] > 0).sum() <= 12
    second = resumed(tmp_path / "run" / "round2")
    assert second.file_weights == (1.0, 10.0)
    assert second.init == str(tmp_path / "run" / "round1" / "last.pt")

    other = replace(
        config,
        out=str(tmp_path / "other"),
        target=str(altered),
        target_images=str(Path(files[1]).parents[1] / "target"),
    )
    assert not rounds(other, stop_at=1)[-1].finished
    assert rounds(resumed(other.out), resume=True)[-1].finished
    again = json.loads((tmp_path / "other" / "round2" / "pseudo.json").read_text())
    assert [a["keypoints"] for a in again["annotations"]] == [a["keypoints"] for a in kept["annotations"]]


def test_a_share_of_every_point_can_be_kept(config, monkeypatch):
    def snouts_are_surest(spec, net, people, settings, seed):
        return people.xy, np.linspace(0.1, 0.3, len(people))[:, None] + (0.6, 0.2, 0.2, 0.0)

    monkeypatch.setattr(adapt, "pseudo_labels", snouts_are_surest)
    rounds(replace(config, pseudo=replace(config.pseudo, per_point=True)))
    labels = json.loads((Path(config.out) / "round2" / "pseudo.json").read_text())
    points = np.array([a["keypoints"] for a in labels["annotations"]]).reshape(-1, 4, 3)
    assert (points[..., 2] > 0).sum(0).tolist() == [3, 3, 3, 3]


def test_a_small_target_can_come_more_than_once_per_epoch(config):
    several = replace(config, pseudo=replace(config.pseudo, repeats=3))
    assert rounds(several)[-1].finished
    second = resumed(Path(several.out) / "round2")
    assert second.train == (config.train, *[str(Path(several.out) / "round2" / "pseudo.json")] * 3)
    assert second.file_weights == (1.0, 10.0, 10.0, 10.0)
    with pytest.raises(ValueError, match=r"views and repeats must be 1 or more, .* got 5, 0, 2"):
        PseudoLabels(repeats=0)


def test_labels_need_weights_and_heatmaps(config):
    with pytest.raises(ValueError, match=r"give --init, or begin pseudo\.keep with 0"):
        rounds(replace(config, pseudo=PseudoLabels()))
    with pytest.raises(ValueError, match="which reset_head re-initialises: leave reset_head out"):
        rounds(replace(config, out=f"{config.out}2", pseudo=PseudoLabels(), init="default", reset_head=True))
    spec = find("hrnet-w8-udp-offset-128x96")
    with pytest.raises(ValueError, match="maxima of heatmaps, one per keypoint; UdpOffsetHeatmap has more"):
        pseudo_labels(spec, nn.Identity(), SimpleNamespace(), PseudoLabels(), 0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"pseudo.keep must be shares between 0 and 1"):
        PseudoLabels(keep=(20,))
    with pytest.raises(ValueError, match="file_weights must be 1 numbers of 0 or more, one per file"):
        replace(config, file_weights=(1.0, 2.0))


def test_a_files_weight_counts_its_samples(config, files, monkeypatch):
    """A file of weight 0 adds nothing to the gradients; weights of 1 change nothing."""
    config = replace(config, target="", train=(files[0], files[0]), batch=12)

    def gradients(weights):
        with prepared(replace(config, file_weights=weights, shuffle=False), Team()) as run:
            (batch,) = run.loader.epoch(0)
            monkeypatch.setattr(run.optimizer, "step", lambda: None)
            run.net.eval()
            loss, _ = run._loss(run.learner, batch)
            loss.backward()
            return loss.item(), [p.grad.clone() for p in run.net.parameters() if p.grad is not None]

    plain, first = gradients(())
    same, second = gradients((1.0, 1.0))
    assert same == pytest.approx(plain)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first, second))
    half, third = gradients((1.0, 0.0))
    assert half < plain
    assert any(not torch.allclose(a, b) for a, b in zip(first, third))


def test_what_a_partly_labelled_file_leaves_out_is_not_learned_as_empty(config, files, tmp_path):
    """Without use_target_weight, a point without a label pushes its map to zero, but not in a partly labelled file."""
    content = json.loads(Path(files[0]).read_text())
    for annotation in content["annotations"]:
        annotation["keypoints"][:3] = [0, 0, 0]  # the first point is nobody's
    less = Path(files[0]).with_name("less.json")
    less.write_text(json.dumps(content))
    images = str(less.parent.parent / "train")
    config = replace(config, target="", train_images=images, use_target_weight=False, shuffle=False)

    def pushed(partial, train):
        with prepared(replace(config, train=train, file_partial=partial, batch=6 * len(train)), Team()) as run:
            (batch, *_) = run.loader.epoch(0)
            maps = torch.full_like(batch.target, 0.5).requires_grad_()
            run._weighted((maps,), batch.target, batch.weight, batch.index).backward()
            assert maps.grad is not None
            own = run.loader.people.origin
            return maps.grad[:, 0].abs().sum((1, 2)), None if own is None else own[batch.index]

    assert (pushed((), (str(less),))[0] > 0).all()
    assert (pushed((False,), (str(less),))[0] > 0).all()
    assert (pushed((True,), (str(less),))[0] == 0).all()
    force, origin = pushed((False, True), (str(less), str(less)))
    assert origin is not None
    assert set(origin) == {0, 1}
    assert np.array_equal(force.numpy() > 0, origin == 0)


def test_partly_labelled_files_are_named_one_by_one(config):
    with pytest.raises(ValueError, match="file_partial must be 1 of true and false, one per file, and needs use_targ"):
        replace(config, file_partial=(True, False), use_target_weight=False)
    with pytest.raises(ValueError, match="got \\(True,\\) and use_target_weight=true"):
        replace(config, file_partial=(True,))
    mspn = replace(config, model="mspn-2stg-slim-128x96", use_target_weight=False, file_partial=(True,), target="")
    with pytest.raises(ValueError, match="reads from the weights who is visible"), prepared(mspn, Team()):
        pass


def test_fit_knows_no_target(config):
    """A single training is on `train` alone; the rounds are what labels."""
    assert fit(replace(config, steps=1)).finished
    assert adapt.labelled_round(config, 0, Path(config.out), Team()).target == ""


def pplo(config, thresholds, **changes):
    settings = PseudoLabels(thresholds=thresholds, alternate=True, weight=1.0, views=1, recoloured=0, temporal=False)
    return replace(config, pseudo=settings, **changes)


@pytest.fixture
def weights(config, tmp_path, monkeypatch):
    """Of a network trained on the source for a step; what it finds in the target is half sure, in each box's middle."""

    def half_sure(spec, net, people, settings, seed):
        xy = people.box[:, None, :2] + people.box[:, None, 2:] / 2
        return np.repeat(xy, 4, 1), np.full((len(people), 4), 0.5)

    monkeypatch.setattr(adapt, "pseudo_labels", half_sure)
    source = replace(config, target="", steps=1, out=str(tmp_path / "source"))
    assert fit(source).finished
    return str(tmp_path / "source" / "last.pt")


def test_pplo_keeps_what_is_above_a_confidence_that_falls(config, weights, tmp_path, capsys):
    """Self-paced: nothing is above the first confidence, so its round is on the source; all is above the last one."""
    config = pplo(config, (0.9, 0.4), init=weights)
    whole = rounds(config)
    said = capsys.readouterr().err
    assert "0 of 24 points kept, those above 0.900; half are above 0.500, the highest is 0.500" in said
    assert [r.finished for r in whole] == [True, True]
    first, second = (resumed(tmp_path / "run" / f"round{n}") for n in (1, 2))
    assert isinstance(first.train, str)
    assert (len(second.train), second.file_weights, second.turns) == (2, (1.0, 1.0), (0, 1))
    kept = coco.read(tmp_path / "run" / "round2" / "pseudo.json", Path(config.target).parents[1] / "target")
    assert (kept.visibility == 2).all()
    assert np.allclose(kept.xy[:, 0], kept.box[:, :2] + kept.box[:, 2:] / 2, atol=0.01)

    again = replace(config, out=str(tmp_path / "again"))
    assert not rounds(again, stop_at=1)[-1].finished
    assert rounds(resumed(again.out), resume=True)[-1].finished
    last = [torch.load(tmp_path / run / "round2" / "last.pt") for run in ("run", "again")]
    assert all(torch.equal(value, last[1]["model"][name]) for name, value in last[0]["model"].items())


def test_source_and_target_take_turns(config, weights, monkeypatch, tmp_path):
    config = pplo(config, (0.4,), init=weights, steps=0, epochs=1, batch=4)
    origins = []

    def noted(run, batch, lr):
        origins.append(set(run.loader.people.origin[batch.index].tolist()))
        return step(run, batch, lr)

    step = Run.train_step
    monkeypatch.setattr(Run, "train_step", noted)
    rounds(config)
    assert origins == [{0}, {1}]
    origins.clear()
    rounds(replace(config, out=str(tmp_path / "mixed"), pseudo=replace(config.pseudo, alternate=False)))
    assert origins == [{0, 1}] * 3


def test_pplo_goes_on_from_domains(config, files, weights, tmp_path):
    """The pseudo-labelled species is one more domain, that of the target."""
    adapted = pplo(
        config, (0.4,), init=weights, model="simplebaseline-r18-slim-wscda-128x96", train=(files[0], files[0]),
        domains=("people", "animals"), steps=1,
    )  # fmt: skip
    assert rounds(adapted)[-1].finished
    settings = resumed(tmp_path / "run" / "round1")
    assert settings.domains == ("people", "animals", "target")
    assert settings.turns == (0, 0, 1)


def test_a_target_needs_no_points(config, files, weights, tmp_path):
    content = json.loads(Path(files[1]).read_text())
    content["categories"] = [{"id": 1, "name": "mouse"}]
    for annotation in content["annotations"]:
        del annotation["keypoints"], annotation["num_keypoints"]
    boxes = Path(files[1]).with_name("instances_target.json")
    boxes.write_text(json.dumps(content))
    assert rounds(pplo(config, (0.4,), init=weights, target=str(boxes), steps=1))[-1].finished


def test_confidences_must_fall():
    with pytest.raises(ValueError, match="thresholds must be confidences of 0 or more, one per round, each at most"):
        PseudoLabels(thresholds=(0.5, 0.6))
    with pytest.raises(ValueError, match="turns must be 1 numbers, one per file, got"):
        TrainConfig(model=SLIM, train="a.json", turns=(0, 1))
