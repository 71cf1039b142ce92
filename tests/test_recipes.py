"""Recipes hold the published figures; settings are checked against the fields."""

import pytest

from posewright import recipes
from posewright.spec import find


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_names_a_pose_system_and_is_documented(name):
    config = recipes.find(name)
    assert find(config.model).name == config.model
    assert recipes.RECIPES[name].__doc__


def test_published_figures():
    sb, mspn = recipes.find("simplebaseline_r50_coco"), recipes.find("mspn_2stg_coco2014")
    assert (sb.lr, sb.epochs, sb.batch, sb.loss) == (1e-3, 140, 128, "mse")
    assert [d * sb.epochs for d in sb.drops] == pytest.approx([90, 120])
    assert (mspn.lr, mspn.weight_decay, mspn.steps, mspn.warmup, mspn.loss) == (
        5e-4,
        1e-5,
        96_000,
        2400,
        "coarse-to-fine",
    )
    assert mspn.val_boxes.endswith("minival_2014_det.json")


def test_a_pose_system_takes_its_familys_recipe():
    config = recipes.find("simplebaseline-r101-384x288")
    assert (config.model, config.epochs) == ("simplebaseline-r101-384x288", 140)
    with pytest.raises(
        LookupError, match="no recipe or pose system is named 'simplebase_r50'; nearest: simplebaseline_r50_coco"
    ):
        recipes.find("simplebase_r50")


def test_settings_are_typed_and_suggest():
    config = recipes.override(recipes.demo(), ["lr=3e-4", "augment.mirror=0", "drops=[0.5]", "out=my runs"])
    assert (config.lr, config.augment.mirror, config.drops, config.out) == (3e-4, 0, (0.5,), "my runs")
    with pytest.raises(ValueError, match="no setting 'epoch'; did you mean 'epochs'"):
        recipes.override(config, ["epoch=3"])
    with pytest.raises(ValueError, match=r"lr=fast: Expected `float`, got `str` - at `\$.lr`"):
        recipes.override(config, ["lr=fast"])
    with pytest.raises(ValueError, match="--set wants key=value, got 'lr'"):
        recipes.override(config, ["lr"])
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        recipes.override(config, ["batch=0"])
