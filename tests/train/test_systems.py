"""Every pose system predicts: boxes and an image in, keypoints in the image out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posewright import image
from posewright.geometry import crop as crop_of
from posewright.models import find, names
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

BOXES = np.array([[60.3, 20.8, 50.1, 100.4], [-20.0, 90.0, 60.0, 90.0]])  # the second reaches out of the image


def ways() -> list[str]:
    """Names of systems that cut crops or read maps differently, one of each way."""
    kinds = {repr((s.codec, s.crop_rule, s.padding, s.skeleton)): s.name for s in map(find, names())}
    return sorted(kinds.values())


def picture() -> np.ndarray:
    return image.resize(np.random.default_rng(0).integers(0, 255, (15, 20, 3), dtype=np.uint8), (150, 200))


@pytest.mark.parametrize("name", ways())
def test_crop_and_codec_of_every_system_go_together(name):
    """A network that says what it was taught finds the points, to the pixel of its maps that codecs may round to."""
    spec = find(name)
    rng = np.random.default_rng(0)
    xy = rng.uniform(0.1, 0.9, (spec.skeleton.num_keypoints, 2)) * spec.size[::-1]
    target, _ = spec.codec.encode(xy, np.full(len(xy), 2))
    finest = torch.from_numpy(target).reshape(-1, spec.codec.channels(len(xy)), *spec.codec.map_size)[-1]

    def net(images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (3, *spec.size)
        return finest.expand(len(images), *finest.shape)

    poses = Predictor(spec, net, flip=False)(picture(), BOXES)
    for box, found in zip(BOXES, poses.xy):
        crop = crop_of(Boxes.of([box]), spec.size, padding=spec.padding, rule=spec.crop_rule)
        stride = np.array(spec.size[::-1]) / spec.codec.map_size[::-1]
        assert np.abs((crop.to_input(found[None])[0] - xy) / stride).max() <= 1
        assert np.abs(found - crop.to_image(xy[None])[0]).max() < 4


def check_network(name: str, *, flip: bool) -> None:
    spec = find(name)
    torch.manual_seed(0)
    poses = Predictor(spec, spec.build(), flip=flip)(picture(), BOXES)
    assert poses.xy.shape == (2, spec.skeleton.num_keypoints, 2)
    assert np.isfinite(poses.score).all()
    assert np.isfinite(poses.instance_score).all()


def test_a_small_system_predicts():
    check_network("simplebaseline-r18-slim-128x96", flip=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_system_predicts(name):
    check_network(name, flip=False)
