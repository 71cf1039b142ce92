"""Loading a predictor: by name, by weights of a run or of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posewright.models import find
from posewright.predict.predictor import Predictor, load
from posewright.skeletons import LSP14, to_category
from posewright.types import Skeleton
from posewright.weights import checkpoint, hub

DOTS = Skeleton("dots", ("red", "green", "blue"))
SLIM = "simplebaseline-r18-slim-128x96"


def test_weights_trained_here_need_no_name(tmp_path):
    spec = find(SLIM).with_skeleton(LSP14)
    net = spec.build()
    content = {"posewright": "0", "spec": SLIM, "skeleton": to_category(LSP14), "model": net.state_dict()}
    checkpoint.write_checkpoint(tmp_path / "best.pt", content)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    boxes = [[10, 8, 40, 60], [50, 20, 60, 60]]
    want = Predictor(spec, net)(pixels, boxes)
    for predictor in (load(weights=tmp_path / "best.pt"), load(SLIM, str(tmp_path / "best.pt"), num_keypoints=14)):
        assert predictor.spec.skeleton.points == LSP14.points
        np.testing.assert_array_equal(predictor(pixels, boxes).xy, want.xy)
    with pytest.raises(ValueError, match=rf"best\.pt: holds weights of '{SLIM}', not of 'simplebaseline-r18-128x96'"):
        load("simplebaseline-r18-128x96", tmp_path / "best.pt")
    with pytest.raises(ValueError, match=r"best\.pt: finds \('right_ankle'.*not the points of 'dots'"):
        load(weights=tmp_path / "best.pt", skeleton=DOTS)


def test_weights_of_others_need_a_name_and_perhaps_a_skeleton(tmp_path):
    net = find(SLIM).build(3)
    torch.save(net.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not say what it holds"):
        load(weights=tmp_path / "other.pth")
    assert load(SLIM, tmp_path / "other.pth", skeleton=DOTS).spec.skeleton is DOTS
    assert load(SLIM, tmp_path / "other.pth", num_keypoints=3).spec.skeleton.points == ("point_1", "point_2", "point_3")
    with pytest.raises(ValueError, match=r"skeleton 'dots' has 3 points, but num_keypoints=4"):
        load(SLIM, tmp_path / "other.pth", skeleton=DOTS, num_keypoints=4)
    with pytest.raises(ValueError, match=r"final_layer"):
        load(SLIM, tmp_path / "other.pth")


def test_loading_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{SLIM}: no weights are available locally; train it"):
        load(SLIM)
    with pytest.raises(FileNotFoundError, match=r"or give a file .*, such as sb_r50_256x192_coco: http"):
        load("simplebaseline-r50-256x192")
    with pytest.raises(FileNotFoundError, match=r"gone\.pt"):
        load(weights=tmp_path / "gone.pt")


def test_weights_that_were_imported_need_no_file(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path / "cache"))
    spec = find("lpn-50-256x192")
    torch.manual_seed(3)
    net = spec.build()
    torch.save(net.state_dict(), tmp_path / "lpn_50_256x192.pth")
    hub.import_file("lpn_50_256x192_coco", tmp_path / "lpn_50_256x192.pth")
    images = torch.ones(1, 3, 256, 192)
    with torch.inference_mode():
        torch.testing.assert_close(load("lpn-50-256x192").net(images), net.eval()(images), atol=1e-4, rtol=1e-4)
