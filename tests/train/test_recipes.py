"""Recipes hold the published values and fit their pose systems; settings are checked against the fields."""

import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from posewright.data.augment import CPN, HRNET, LITEHRNET, MSPN, NONE, SIMPLEBASELINE
from posewright.losses import LossSettings, objective
from posewright.models import find, names
from posewright.train import recipes
from posewright.train.config import TrainConfig, resumed
from posewright.train.optim import optimizer, rate
from posewright.train.settings import override


def check(config):
    """The system exists, and the recipe's loss, optimiser and schedule can be made for it."""
    spec = find(config.model)
    objective(spec.codec, config.loss, spec.skeleton, LossSettings(config.loss_factor, config.ohkm_topk))
    head = torch.nn.Conv2d(1, 1, 1)
    optimizer(head, config.optimizer, lr=config.lr, weight_decay=config.weight_decay, momentum=config.momentum)
    rate(5, 10, schedule=config.schedule, milestones=config.milestones, factor=config.gamma, warmup=config.warmup)


@pytest.mark.parametrize("name", recipes.table())
def test_every_recipe_fits_its_pose_system_and_is_documented(name):
    config = recipes.find(name)
    check(config)
    row = recipes.table()[name]
    assert row.about.startswith(f"{row.title}: ")
    assert row.ap is None or 60 < row.ap < 80
    small = recipes.small(config, people=6400)
    check(small)
    assert find(small.model).codec.channels(1) == find(config.model).codec.channels(1)
    assert small.steps * small.batch == pytest.approx(6400, abs=small.batch)
    assert (small.optimizer, small.augment, small.loss) == (config.optimizer, config.augment, config.loss)
    assert small.lr == config.lr or (config.loss == "coarse-to-fine" and 4e-4 < small.lr <= 5e-4)


def test_a_small_recipe_needs_no_weights_to_start_from():
    small = recipes.small(recipes.find("people14"), people=64)
    assert (small.model, small.init, small.backbone, small.freeze) == ("litebaseline-128x96", "", "", ())


def test_every_pose_system_has_a_recipe():
    models = {name: recipes.find(name) for name in names()}
    assert all(config.model == name for name, config in models.items())
    kinds = {(find(name).codec.__class__, config.loss, config.loss_factor): config for name, config in models.items()}
    for config in kinds.values():
        check(config)


def steps_of_drops(config):
    return [round(drop * config.epochs, 6) for drop in config.milestones]


@pytest.mark.parametrize(
    ("name", "epochs", "milestones", "batch", "lr", "augmentation"),
    [
        ("simplebaseline_r50_coco", 140, [90, 120], 128, 1e-3, SIMPLEBASELINE),
        ("simplebaseline_r152_384x288_coco", 140, [90, 120], 128, 1e-3, SIMPLEBASELINE),
        ("hrnet_w32_coco", 210, [170, 200], 128, 1e-3, HRNET),
        ("hrnet_w48_384x288_coco", 210, [170, 200], 96, 1e-3, HRNET),
        ("hrnet_w32_dark_128x96_coco", 210, [170, 200], 128, 1e-3, HRNET),
        ("hrnet_w32_udp_offset_coco", 210, [170, 200], 128, 1e-3, HRNET),
        ("hourglass_8_dark_coco", 140, [90, 120], 8, 2.5e-4, SIMPLEBASELINE),
        ("lpn_50_coco", 150, [90, 120], 32, 1e-3, SIMPLEBASELINE),
        ("litehrnet_18_coco", 210, [170, 200], 512, 2e-3, LITEHRNET),
        ("litehrnet_30_384x288_coco", 210, [170, 200], 256, 2e-3, LITEHRNET),
        ("cpn_50_coco", 128, [24, 48, 72, 96, 120], 32, 5e-4, None),
        ("hourglass_8_mpii", 100, [60, 90], 6, 2.5e-4, None),
    ],
)
def test_settings_of_training_by_epochs(name, epochs, milestones, batch, lr, augmentation):
    config = recipes.find(name)
    assert (config.epochs, config.batch, config.lr, config.steps) == (epochs, batch, lr, 0)
    assert steps_of_drops(config) == milestones
    assert config.schedule == "step"
    assert augmentation in (None, config.augment)


def test_single_settings():
    mspn = recipes.find("mspn_2stg_coco2014")
    assert (mspn.lr, mspn.weight_decay, mspn.steps, mspn.batch) == (4e-3, 1e-5, 96_000, 256)
    assert (mspn.schedule, mspn.warmup, mspn.warmup_from, mspn.augment) == ("linear", 2400, 0.1, MSPN)
    assert mspn.val_boxes.endswith("minival_2014_det.json")
    udp = recipes.find("rsn_18_udp_coco")
    assert (udp.steps, udp.batch, udp.loss) == (128_000, 288, "coarse-to-fine")
    assert recipes.find("lpn_101_coco").rounds == 7
    cpn = recipes.find("cpn_101_384x288_coco")
    assert (cpn.gamma, cpn.weight_decay, cpn.loss, cpn.augment, cpn.batch) == (0.5, 1e-5, "cpn", CPN, 12)
    grmi = recipes.find("grmi_r101_coco")
    assert (grmi.optimizer, grmi.momentum, grmi.lr, grmi.milestones, grmi.steps) == ("sgd", 0.9, 5e-3, (), 800_000)
    assert recipes.find("hourglass_8_mpii").optimizer == "rmsprop"
    lite = recipes.find("litehrnet_18_coco")
    assert (lite.loss_factor, lite.warmup, lite.warmup_from) == (1.0, 500, 0.001)


def test_batches_of_dark_and_the_mindspore_projects():
    batches = {n: recipes.find(f"hrnet_{n}_coco").batch for n in ("w32_dark_384x288", "w48_dark_384x288", "w48_dark")}
    assert batches == {"w32_dark_384x288": 112, "w48_dark_384x288": 72, "w48_dark": 120}
    mspn = recipes.find("mspn_2stg_mindspore_coco2014")
    assert (mspn.lr, mspn.schedule, mspn.schedule_per, mspn.keep_last) == (5e-4, "cosine", "epoch", True)
    lite = recipes.find("litehrnet_18_mindspore_coco")
    assert (lite.lr, lite.batch, lite.epochs, lite.loss_factor, lite.milestones) == (2e-3, 64, 200, 0.5, ())


def test_every_recipe_is_as_it_was_frozen():
    """Settings that differ from the defaults; a change of a recipe is a change of this file."""
    defaults = msgspec.to_builtins(TrainConfig(model="", train=""))
    frozen = json.loads(Path(__file__).with_name("recipes.json").read_text())
    assert frozen == {name: differing(row.config, defaults) for name, row in recipes.table().items()}


def differing(config, defaults):
    settings = json.loads(msgspec.json.encode(config))
    plain = json.loads(msgspec.json.encode(NONE))
    augment = {k: v for k, v in settings.pop("augment").items() if v != plain[k]}
    defaults = json.loads(msgspec.json.encode(defaults))
    return {k: v for k, v in settings.items() if v != defaults[k]} | {"augment": augment}


def test_a_family_without_a_recipe_trains_by_hrnets(monkeypatch):
    monkeypatch.setattr(recipes, "spec_names", lambda: ["toy-128x96"])
    config = recipes.find("toy-128x96")
    assert (config.model, config.loss, config.lr, config.epochs) == ("toy-128x96", "", 1e-3, 210)
    assert recipes.small(config, people=64).model == "toy-128x96"


def test_a_small_recipe_keeps_its_parts():
    small = recipes.small(recipes.find("mspn_2stg_coco"), people=32_000)
    assert (small.model, small.steps, small.batch, small.warmup) == ("mspn-2stg-slim-128x96", 1000, 32, 25)
    assert recipes.small(recipes.find("hourglass_8_mpii"), people=600).batch == 6
    assert recipes.small(recipes.find("lpn_50_coco"), people=64).rounds == 2


def test_a_pose_system_takes_its_own_or_its_familys_recipe():
    assert recipes.find("simplebaseline-r101-384x288").epochs == 140
    assert recipes.find("hrnet-w48-384x288").batch == 96
    assert recipes.find("mspn-2stg-mindspore-256x192").init == ""
    assert recipes.find("simplebaseline-r18-slim-128x96").epochs == 140
    assert recipes.find("hourglass-2-mpii-256x256").train.startswith("data/mpii")
    with pytest.raises(
        LookupError, match="no recipe or pose system is named 'simplebase_r50'; nearest: simplebaseline_r50_coco"
    ):
        recipes.find("simplebase_r50")


def test_settings_are_typed_and_suggest():
    config = override(recipes.find("finetune"), ["lr=3e-4", "augment.flip=0", "milestones=[0.5]", "out=my runs"])
    assert (config.lr, config.augment.flip, config.milestones, config.out) == (3e-4, 0, (0.5,), "my runs")
    assert override(config, ['train=["a.json", "b.json"]']).train == ("a.json", "b.json")
    assert override(config, ["loggers=wandb,mlflow"]).loggers == ("wandb", "mlflow")
    assert override(config, ["loggers=mlflow"]).loggers == ("mlflow",)
    assert override(config, ["freeze="]).freeze == ()
    with pytest.raises(ValueError, match="loggers"):
        override(config, ["loggers=comet"])
    assert override(config, ['keypoint_weight={"nose": 2}']).keypoint_weight == {"nose": 2}
    with pytest.raises(ValueError, match="no setting 'epoch'; did you mean 'epochs'"):
        override(config, ["epoch=3"])
    with pytest.raises(ValueError, match=r"lr=fast: Expected `float`, got `str` - at `\$.lr`"):
        override(config, ["lr=fast"])
    with pytest.raises(ValueError, match="--set expects key=value, got 'lr'"):
        override(config, ["lr"])
    with pytest.raises(ValueError, match=r"min_lr must be 0 or more and not above lr \(0.0003\), got 1"):
        override(config, ["min_lr=1"])
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        override(config, ["batch=0"])


def test_an_object_changes_what_it_names_and_refuses_what_there_is_not():
    recipe = recipes.find("finetune")
    changed = override(recipe, ['augment={"rotation": 90}'])
    assert changed.augment == replace(recipe.augment, rotation=90)
    assert override(changed, ["codec.sigma=3", 'codec={"blur": 5}']).codec == {"sigma": 3, "blur": 5}
    with pytest.raises(ValueError, match=r"no setting 'augment.rotaton'; did you mean 'augment.rotation'\?"):
        override(recipe, ['augment={"rotaton": 90}'])
    with pytest.raises(ValueError, match=r"no setting 'pseudo.veiws'; did you mean 'pseudo.views'\?"):
        override(recipe, ['pseudo={"veiws": 2}'])


def test_what_a_recipe_has_in_place_of_a_setting_gives_way_to_it():
    recipe = recipes.find("finetune")
    changed = override(recipe, ["epochs=2"])
    assert (recipe.steps, changed.steps, changed.epochs) == (300, 0, 2)
    assert override(recipe, ["epochs=2", "steps=0"]) == changed
    changed = override(recipe, ["backbone=mine.pth"])
    assert (recipe.init, changed.init, changed.backbone) == ("default", "", "mine.pth")
    assert override(replace(recipe, backbone="mine.pth"), [], ["backbone"]) == changed
    assert override(recipes.find("people14_160"), ["init=mine.pt"]).backbone == ""
    for settings, message in (
        (
            ["epochs=2", "steps=5"],
            "expected epochs or steps, of which only one can count, got both (epochs=2, steps=5)",
        ),
        (["backbone=a.pth", "init=b.pt"], "expected backbone or init, of which only one can count, got both"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            override(recipe, settings)


@pytest.mark.parametrize(
    "setting",
    ["clip=-1", "weight_decay=-3", "gamma=-2", "milestones=[2]", "warmup=-5", "warmup_from=2", "save_minutes=-1",
     "momentum=-1", "loss_factor=-1", "ohkm_topk=0", "ema=1"],
)  # fmt: skip
def test_numbers_out_of_their_ranges_are_refused(setting):
    with pytest.raises(ValueError, match=f"{setting.partition('=')[0]} must be"):
        override(recipes.find("finetune"), [setting])


def test_fields_of_the_codec_are_settings():
    config = override(recipes.find("hrnet_w32_coco"), ["codec.sigma=3", "codec.quarter=false", "codec.flip_shift=null"])
    assert config.codec == {"sigma": 3, "quarter": False, "flip_shift": None}
    codec = "GaussianHeatmap, the codec of hrnet-w32-256x192"
    for setting, message in (
        ("codec.sigm=3", f"{codec}, has no setting 'sigm'; did you mean 'sigma'?"),
        ("codec.width=3", f"{codec}, has no setting 'width'; it has flip_shift, sigma, empty, separately"),
        ("codec.map_size=[8,8]", "has no setting 'map_size'"),
        ("codec.quarter=3", f"{codec}, cannot have sigma=3, quarter=3, flip_shift=None: Expected `bool`, got `int`"),
        ("codec.separately=true", "separately is of the quarter rule, which quarter=False turns off"),
        ("codec.sigma=-1", "sigma must be above 0, got -1.0"),
        ("codec.sigma.x=1", "no setting 'codec.sigma.x'"),
        ("codec=3", "Expected `object`, got `int`"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            override(config, [setting])
    with pytest.raises(ValueError, match="DarkHeatmap needs crop rule standard, got 'dark'"):
        override(replace(config, model="hrnet-w32-dark-256x192", codec={}), ["codec.crop=standard"])


@pytest.mark.parametrize("content", [b"\xff{}", b"[" * 100_000, b'"text"', b'{"lr": "\xff"}'])
def test_a_damaged_configuration_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json: not a run's configuration"):
        resumed(tmp_path)
