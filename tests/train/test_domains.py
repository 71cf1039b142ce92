"""WS-CDA: the losses of the paper, who minimises what, what is read of each domain, and runs that resume."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import posewright as pw
from posewright import losses
from posewright.data import sources
from posewright.models import find
from posewright.models._adaptation import AdaptationNetwork
from posewright.synthetic import animals
from posewright.train.config import DomainAdaptation, TrainConfig
from posewright.train.distributed import Team
from posewright.train.domains import DomainLearner, balanced
from posewright.train.loop import fit, resumed
from posewright.train.setup import prepared
from posewright.weights import checkpoint
from posewright.weights.state_dict import added

PLAIN, ADAPTED = "simplebaseline-r18-slim-128x96", "simplebaseline-r18-slim-wscda-128x96"
SCENE = animals.AnimalScene(length=(30.0, 45.0), height=(100, 100), width=(120, 120))


def built(name: str) -> Any:
    return find(name).build(4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Stand-ins for people, for labelled animals, and for boxes of animals without any points."""
    folder = tmp_path_factory.mktemp("domains")
    paths = [
        animals.make(folder / name, count, scene=SCENE, seed=seed, workers=1)
        for seed, (name, count) in enumerate({"people": 4, "animals": 2, "unlabelled": 3}.items())
    ]
    content = json.loads(paths[2].read_text())
    for annotation in content["annotations"]:
        del annotation["keypoints"], annotation["num_keypoints"]
    content["categories"] = [{"id": 1, "name": "mouse"}, {"id": 2, "name": "car"}]
    paths[2].write_text(json.dumps(content))
    return tuple(map(str, paths))


@pytest.fixture
def config(files, tmp_path):
    return TrainConfig(
        model=ADAPTED, train=files, domains=("people", "animals", "unlabelled"), out=str(tmp_path / "run"), steps=3,
        batch=6, workers=0, device="cpu", flip_test=False, loss_factor=1.0,
    )  # fmt: skip


def test_the_domain_loss_of_the_paper():
    """Of y and z: -w1 [y ln y' + (1 - y) ln(1 - y')] - y [z ln z' + (1 - z) ln(1 - z')]."""
    logits = torch.tensor([[math.log(3), math.log(4)], [math.log(3), math.log(4)], [math.log(3), 7.0]])  # 3/4, 4/5
    animal, target = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 1])
    each = [-math.log(3 / 4) - math.log(4 / 5), -math.log(3 / 4) - math.log(1 / 5), -math.log(1 / 4)]
    assert losses.domain(logits, animal, target).item() == pytest.approx(sum(each) / 3, rel=1e-6)
    heavier = [-2 * math.log(3 / 4) - math.log(4 / 5), -2 * math.log(3 / 4) - math.log(1 / 5), -2 * math.log(1 / 4)]
    found = losses.domain(logits, animal, target, species_factor=2.0)
    assert found.item() == pytest.approx(sum(heavier) / 3, rel=1e-6)


def test_gradients_are_scaled_on_their_way_back():
    values = torch.tensor([1.5, -2.0], requires_grad=True)
    scaled = losses.scaled_gradient(values, -0.5)
    assert torch.equal(scaled, values)
    scaled.square().sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-1.5, 2.0]


def gradients(learner, alpha):
    """Of the domain loss alone, in every parameter of network and discriminator."""
    learner.alpha = alpha
    learner.zero_grad()
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    animal = torch.tensor([True, True, False, False])
    *_, logits = learner(images, animal, torch.ones(4, dtype=torch.bool))
    losses.domain(logits, animal, torch.tensor([True, False, False, False])).backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in learner.named_parameters()}


def test_the_discriminator_minimises_what_the_features_maximise():
    torch.manual_seed(0)
    learner = DomainLearner(built(ADAPTED), -1.0).eval()
    confusing, helping, without = (gradients(learner, alpha) for alpha in (-1.0, 1.0, 0.0))
    extractor = [n for n in confusing if n.startswith(("net.conv1", "net.bn1", "net.layer"))]
    rest = [n for n in confusing if n.startswith(("net.adaptation", "net.deconv", "net.final"))]
    discriminator = [n for n in confusing if n.startswith("discriminator")]
    assert len(extractor) + len(rest) + len(discriminator) == len(confusing)
    assert any(confusing[n].abs().max() > 0 for n in extractor)
    assert all(torch.equal(confusing[n], -helping[n]) for n in extractor)
    assert all(without[n].abs().max() == 0 for n in extractor)
    assert all(confusing[n].abs().max() == 0 for n in rest)
    assert any(confusing[n].abs().max() > 0 for n in discriminator)
    for n in discriminator:
        assert torch.equal(confusing[n], helping[n])
        assert torch.equal(confusing[n], without[n])


def test_people_go_around_the_adaptation_network_and_unlabelled_animals_do_not_reach_the_estimator():
    torch.manual_seed(0)
    net = built(ADAPTED).eval()
    torch.nn.init.normal_(net.final_layer.weight)
    torch.nn.init.constant_(net.adaptation.layers[-1].bias, 100.0)
    plain = built(PLAIN).eval()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("adaptation")})
    images = torch.rand(3, 3, 64, 64)
    estimated = []
    net.deconv_layers.register_forward_pre_hook(lambda _, inputs: estimated.append(len(inputs[0])))
    animal, labelled = torch.tensor([False, True, True]), torch.tensor([True, True, False])
    maps, logits = DomainLearner(net, -1.0).eval()(images, animal, labelled)
    assert estimated == [2]
    assert logits.shape == (3, 2)
    assert torch.allclose(maps[0], plain(images[:1])[0], rtol=1e-4, atol=1e-5)
    assert torch.allclose(maps[1], net(images[1:2])[0], rtol=1e-4, atol=1e-5)  # at prediction all are animals
    assert not torch.allclose(maps[1], plain(images[1:2])[0], rtol=1e-4, atol=1e-5)


def test_a_new_adaptation_network_changes_nothing():
    features = torch.rand(2, 64, 4, 3)
    assert torch.equal(AdaptationNetwork(64)(features), features)


@pytest.mark.parametrize("name", ["simplebaseline-r18-slim", "litebaseline", "hourglass-1"])
def test_weights_learned_on_people_start_an_adapted_network(name, tmp_path):
    people, adapted = find(f"{name}-128x96"), find(f"{name}-wscda-128x96")
    plain, net = built(people.name).eval(), built(adapted.name).eval()
    checkpoint.save(tmp_path / "people.safetensors", plain.state_dict(), {})
    loaded = checkpoint.load(net, tmp_path / "people.safetensors", adapted)
    assert {n.split(".")[0] for n in loaded.new} == {"adaptation"}
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(net(images), plain(images))
    state = net.state_dict()
    del state["adaptation.layers.0.bias"]  # a file with a part of them is damaged
    assert added(net, state) == []


def loss_of(config):
    """The loss of the first batch, all samples in it, and the gradients of the network."""
    with prepared(replace(config, batch=12, shuffle=False), Team()) as run:
        (batch,) = run.loader.epoch(0)
        run.net.eval()
        loss, maps = run._loss(run.learner, batch)
        loss.backward()
        return loss.item(), {n: p.grad.clone() for n, p in run.net.named_parameters() if p.grad is not None}, maps


def test_the_total_is_the_domain_loss_and_beta_times_the_pose_loss(config):
    one, two = (loss_of(replace(config, adaptation=DomainAdaptation(beta=beta)))[0] for beta in (100.0, 200.0))
    pose = (two - one) / 100
    domain = one - 100 * pose
    assert domain == pytest.approx(math.log(2) * (1 + 2 / 3), abs=0.1)  # a new discriminator knows nothing
    heavier, _, maps = loss_of(replace(config, adaptation=DomainAdaptation(beta=100.0, animal_factor=3.0)))
    assert heavier > one
    assert (maps[:8].abs().amax((1, 2, 3)) > 0).all()
    assert (maps[8:] == 0).all()  # of unlabelled animals no map is made


def test_without_discriminator_only_the_pose_loss_reaches_the_network(config):
    """Switched off by alpha = 0: the gradients are those of a training without domains, times beta."""
    files = config.train[:2]
    off = replace(
        config, train=files, domains=("people", "animals"), model=PLAIN,
        adaptation=DomainAdaptation(alpha=0.0, beta=2.0, balanced=False),
    )  # fmt: skip
    _, with_domains, _ = loss_of(replace(off, steps=1))
    _, plain, _ = loss_of(replace(off, domains=()))
    assert with_domains.keys() == plain.keys()
    for name, gradient in plain.items():
        assert torch.allclose(with_domains[name], 2 * gradient, rtol=1e-3, atol=1e-7), name
    _, confused, _ = loss_of(replace(off, adaptation=replace(off.adaptation, alpha=-1.0)))
    assert not torch.allclose(confused["conv1.weight"], 2 * plain["conv1.weight"], rtol=1e-3, atol=1e-7)
    assert torch.allclose(confused["final_layer.weight"], 2 * plain["final_layer.weight"], rtol=1e-3, atol=1e-7)


def test_a_batch_of_unlabelled_samples_trains_the_discriminator_alone(config):
    with prepared(replace(config, batch=4, shuffle=False), Team()) as run:
        batches, net, domains = list(run.loader.epoch(0)), run.net.eval(), run.domains
        assert domains is not None
        assert not domains.labelled[batches[-1].index].any()
        loss, _ = run._loss(run.learner, batches[-1])
        loss.backward()
        assert loss.item() == pytest.approx(2 * math.log(2), abs=0.1)
        found = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
        assert found["final_layer.weight"].abs().max() == 0
        assert found["conv1.weight"].abs().max() > 0


def test_a_run_resumes_bit_exactly_and_is_an_ordinary_pose_system(config, files):
    config = replace(config, val=files[0], ema=0.9, optimizer="adamw", eval_every=10, log_every=1)
    assert fit(config).finished
    rows = [json.loads(line) for line in (Path(config.out) / "log.jsonl").read_text().splitlines()]
    assert rows[0]["domain_loss"] == pytest.approx(math.log(2) * (1 + 2 / 3), abs=0.5)  # of as many of each domain
    stopped = replace(config, out=f"{config.out}-stopped")
    assert not fit(stopped, stop_at=1).finished
    assert fit(resumed(stopped.out), resume=True).finished
    whole, parts = (checkpoint.read_checkpoint(Path(c.out) / "last.pt") for c in (config, stopped))
    for name in ("model", "discriminator"):
        assert whole[name].keys() == parts[name].keys()
        assert all(torch.equal(whole[name][k], parts[name][k]) for k in whole[name]), name
    moments = whole["optimizer"]["state"]
    assert len(moments) == len(list(DomainLearner(built(ADAPTED), 0).parameters()))
    best = Path(config.out) / "best.pt"
    assert not any("discriminator" in k for k in checkpoint.read(best))
    predictor = pw.load(ADAPTED, weights=best)
    poses = predictor(np.zeros((100, 120, 3), np.uint8), np.array([[10.0, 10.0, 60.0, 60.0]]))
    assert poses.xy.shape == (1, 4, 2)


def test_the_points_of_unlabelled_animals_are_never_read(config, files, tmp_path):
    content = json.loads(Path(files[2]).read_text())
    for n, annotation in enumerate(content["annotations"]):
        annotation["keypoints"] = [float(n), 3.0, 2] * 4
    other = Path(files[2]).with_name("labelled.json")
    other.write_text(json.dumps(content))
    images = str(Path(files[2]).parents[1] / "train")
    same = replace(config, train=(*files[:2], str(other)), train_images=("", "", images))
    assert loss_of(config)[0] == loss_of(same)[0]


def test_boxes_of_named_categories_alone(files):
    first = sources.read_all(files[1:2], [""])
    boxes = sources.read_all(files[2:], [""], first.skeleton, unlabelled=[0], categories=["mouse"])
    assert len(boxes) == 3
    assert (boxes.visibility == 0).all()
    assert boxes.skeleton == first.skeleton
    with pytest.raises(LookupError, match=r"no category zebra; it has: car, mouse\. .* adaptation\.categories=\[\]"):
        sources.read_all(files[2:], [""], first.skeleton, unlabelled=[0], categories=["zebra"])
    with pytest.raises(ValueError, match=r"no usable annotations: of 3 annotations, 3 of another category"):
        sources.read_all(files[2:], [""], first.skeleton, unlabelled=[0], categories=["car"])
    with pytest.raises(ValueError, match="name a file with labelled points before it"):
        sources.read_all(files[2:], [""], unlabelled=[0])


def test_points_that_are_the_same_by_other_names(files, tmp_path):
    content = json.loads(Path(files[0]).read_text())
    content["categories"][0]["keypoints"] = ["nose", "l", "r", "tailbase"]
    content["categories"][0].pop("posewright", None)
    content["categories"][0]["skeleton"] = []
    people = Path(files[0]).with_name("person_keypoints_other.json")
    people.write_text(json.dumps(content))
    read = sources.read_all(
        [files[1], str(people)],
        ["", str(Path(files[0]).parents[1] / "train")],
        same_points={"nose": "snout", "l": "leftear"},
    )
    assert read.skeleton.points == ("snout", "leftear", "rightear", "tailbase")
    labelled = read.visibility[read.origin == 1] > 0
    assert labelled.any(0).tolist() == [True, True, False, True]


def test_smaller_domains_are_shown_as_often():
    assert balanced(np.array([0, 1, 1, 1, 0])).tolist() == [0, 0, 1, 2, 3, 4]


def test_what_cannot_be_adapted_is_said(config):
    with pytest.raises(ValueError, match="HRNet is not divided into a feature extractor and a keypoint estimator"):
        fit(replace(config, model="hrnet-w8-128x96"))
    with pytest.raises(ValueError, match="domains must be 3 of people, animals, unlabelled, target, one per file"):
        replace(config, domains=("people",))
    with pytest.raises(ValueError, match="no domain 'cats'"):
        replace(config, domains=("people", "cats", "animals"))
    with pytest.raises(ValueError, match="alpha of 0 or less, or features would help the discriminator"):
        DomainAdaptation(alpha=1.0)
    with pytest.raises(ValueError, match="animal_factor must be 0 or more"):
        DomainAdaptation(animal_factor=-1.0)
