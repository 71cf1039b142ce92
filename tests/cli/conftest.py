"""A tiny data set and weights, and the command line as a function."""

import json

import pytest

from posewright.cli import main
from posewright.synthetic import people as synthetic
from posewright.train.loop import TrainConfig, fit


@pytest.fixture(scope="session")
def set_up(tmp_path_factory):
    """Six drawn images, and weights trained on them for one step."""
    folder = tmp_path_factory.mktemp("people")
    listing = synthetic.make(folder, 6, split="val", workers=1)
    config = TrainConfig(
        model="simplebaseline-r18-slim-128x96", train=str(listing), out=str(folder / "run"), steps=1, batch=2, workers=0
    )
    fit(config)
    return folder


@pytest.fixture(scope="session")
def listing(set_up):
    return set_up / "annotations" / "person_keypoints_val.json"


@pytest.fixture(scope="session")
def last(set_up):
    return set_up / "run" / "last.pt"


@pytest.fixture
def run(capsys):
    """Runs a command; its exit status, stdout and stderr."""

    def run(*arguments):
        status = main([str(a) for a in arguments])
        streams = capsys.readouterr()
        return status, streams.out, streams.err

    return run


@pytest.fixture
def edited(listing, tmp_path):
    """Makes a copy of the annotations, changed; its images are still found."""

    def edit(change):
        content = json.loads(listing.read_text())
        change(content)
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(content))
        return path

    return edit
