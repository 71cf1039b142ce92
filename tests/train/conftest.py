"""A few synthetic people, and a short training on them."""

import pytest

from posewright.data import augment
from posewright.synthetic import people as synthetic
from posewright.train.loop import TrainConfig

SLIM = "simplebaseline-r18-slim-128x96"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return {s: str(synthetic.make(folder, n, split=s, workers=1)) for s, n in (("train", 10), ("val", 4))}


@pytest.fixture
def config(files, tmp_path):
    return TrainConfig(
        model=SLIM,
        train=files["train"],
        out=str(tmp_path / "run"),
        batch=4,
        steps=6,
        lr=1e-3,
        warmup=2,
        ema=0.9,
        clip=1.0,
        workers=0,
        log_every=1,
        augment=augment.HRNET,
        device="cpu",
    )
