"""A folder in the hub's layout is written and read back: the same keypoints, and faults are named."""

import json

import numpy as np
import pytest
import torch

from posewright.models import find
from posewright.predict.predictor import Predictor, load
from posewright.skeletons import to_category
from posewright.types import Skeleton
from posewright.weights import checkpoint, huggingface

PAWS = Skeleton("paws", ("left_paw", "right_paw", "tail"), (("tail", "left_paw"),), (("left_paw", "right_paw"),))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network of three points and its own file."""
    spec = find("simplebaseline-r18-slim-128x96").with_skeleton(PAWS)
    torch.manual_seed(0)
    net = spec.build()
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    note = {"spec": spec.name, "skeleton": to_category(PAWS), "metrics": {"PCK": 0.5}, "config": {}}
    checkpoint.save(path, net.state_dict(), note)
    return path, Predictor(spec, net)


def test_a_folder_there_and_back(trained, tmp_path):
    path, predictor = trained
    folder = huggingface.save_folder(path, tmp_path / "hub", licence="mit")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    image = np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8)
    boxes = [[5, 5, 30, 40]]
    found = load(weights=huggingface.weights_of(folder))
    assert found.spec.skeleton == PAWS
    np.testing.assert_array_equal(found(image, boxes).xy, predictor(image, boxes).xy)
    config = json.loads((folder / "config.json").read_text())
    assert config["image_size"] == [128, 96]
    assert config["skeleton"]["keypoints"] == list(PAWS.points)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: posewright\npipeline_tag: keypoint-detection\nlicense: mit\n---\n")
    assert "| PCK | 0.5000 |" in card


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_folder_that_lacks_a_file_is_named(trained, tmp_path, file):
    folder = huggingface.save_folder(trained[0], tmp_path)
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{file}: no such file"):
        huggingface.weights_of(folder)


@pytest.mark.parametrize(("text", "said"), [("{}", "posewright_spec"), ('{"posewright_spec": "x"}', "says 'x', but")])
def test_a_config_that_does_not_fit_is_named(trained, tmp_path, text, said):
    folder = huggingface.save_folder(trained[0], tmp_path)
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        huggingface.weights_of(folder)
