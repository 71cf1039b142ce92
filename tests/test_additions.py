"""What one addition costs: a model, codec, data format, recipe and command, one new file each, nothing else touched.

The files lie in a temporary folder that the package's folders are told to look into as well, so that everything finds
them as if they were in the package.
"""

import json
import os
import subprocess
import sys

import pytest

CODEC = '''
"""OneHot: the nearest map pixel is 1."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from posewright.losses import weighted_mse

STRIDE = 4


@dataclass(frozen=True, slots=True)
class OneHot:
    size: tuple[int, int]

    @property
    def map_size(self):
        return self.size[0] // STRIDE, self.size[1] // STRIDE

    @property
    def crop_rules(self):
        return ("standard",)

    @property
    def losses(self):
        return MappingProxyType({"one-hot": weighted_mse})

    def channels(self, num_keypoints):
        return num_keypoints

    def encode(self, xy, visibility):
        rows, columns = np.indices(self.map_size)
        nearest = np.rint(np.asarray(xy) / STRIDE)[..., None, None]
        target = (columns == nearest[..., 0, :, :]) & (rows == nearest[..., 1, :, :])
        return target.astype(np.float32), (np.asarray(visibility) > 0).astype(np.float32)

    def decode(self, maps):
        maps = np.asarray(torch.as_tensor(maps).cpu(), np.float64)
        flat = maps.reshape(*maps.shape[:2], -1)
        rows, columns = np.divmod(flat.argmax(-1), maps.shape[-1])
        return STRIDE * np.stack([columns, rows], -1).astype(np.float64), flat.max(-1)

    def unflip(self, maps, skeleton):
        return torch.as_tensor(maps).flip(-1)[:, list(skeleton.flip_index)]
'''

MODEL = '''
"""Toy: two convolutions."""

from torch import nn

from posewright.codecs.onehot import OneHot
from posewright.skeletons import SKELETONS
from posewright.spec import Spec


class Toy(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Conv2d(8, channels, 3, 2, 1)

    def supervised(self, images):
        return (self.head(self.stem(images).relu()),)

    def forward(self, images):
        return self.supervised(images)[-1]


SPECS = {"toy-64x48": Spec("toy-64x48", Toy, OneHot((64, 48)), SKELETONS["coco17"], (64, 48), paper="Doe, 2026")}
'''

RECIPE = '''
"""Toy's training."""

from posewright.train.config import TrainConfig
from posewright.train.recipes._recipe import Recipe

CONFIG = TrainConfig(model="toy-64x48", train="", steps=2, batch=2, lr=1e-3, workers=0, device="cpu", eval_every=1)
RECIPES = (Recipe("toy_drawn", "Toy on drawn people", CONFIG),)
'''

FORMAT = '''
"""Lines: the names of the points, then per person the image and x, y of every point, separated by commas."""

from posewright import coco_format
from posewright.data.formats import Annotated


def is_format(path):
    return path.suffix == ".lines"


def read(path):
    points, *people = (line.split(",") for line in path.read_text().split())
    names = sorted({name for name, *_ in people})
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "person", "keypoints": points}],
        "annotations": [person(n, names.index(name), numbers) for n, (name, *numbers) in enumerate(people)],
    }
    return Annotated(path, coco_format.read_annotations(content))


def person(number, image, numbers):
    x, y = [float(n) for n in numbers[::2]], [float(n) for n in numbers[1::2]]
    box = [min(x), min(y), max(x) - min(x) + 1, max(y) - min(y) + 1]
    keypoints = [value for point in zip(x, y) for value in (*point, 2)]
    person = {"id": number, "image_id": image, "category_id": 1, "bbox": box, "keypoints": keypoints}
    return person | {"area": box[2] * box[3]}
'''

COMMAND = '''
"""`posewright greet`."""

from posewright.cli._options import answer, command


def add(commands):
    command(commands, "greet", run, "say hello")


def run(options):
    answer(options, "hello", greeting="hello")
    return 0
'''

FILES = {
    "codecs/onehot.py": CODEC,
    "models/toy.py": MODEL,
    "data/formats/lines.py": FORMAT,
    "train/recipes/toy.py": RECIPE,
    "cli/greet.py": COMMAND,
}

START = """
import contextlib, importlib, io, json, sys
from pathlib import Path
for folder in {folders}:
    importlib.import_module("posewright." + folder.replace("/", ".")).__path__.append(str(Path({root!r}) / folder))
from posewright.cli import main
for line in sys.stdin:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            status = main(json.loads(line))
        except SystemExit as left:
            status = left.code
    print(json.dumps([status, output.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of the new files, in which commands run."""
    return tmp_path_factory.mktemp("additions")


@pytest.fixture(scope="module")
def posewright(root):
    """The command line with the new files found; it returns what was printed."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    start = START.format(folders=[name.rpartition("/")[0] for name in FILES], root=str(root))
    environment = os.environ | {"POSEWRIGHT_CACHE": str(root / "cache")}
    command, pipe = [sys.executable, "-c", start], subprocess.PIPE
    with (
        (root / "errors.txt").open("w+") as errors,
        subprocess.Popen(
            command, cwd=root, env=environment, stdin=pipe, stdout=pipe, stderr=errors, text=True
        ) as process,
    ):

        def run(*arguments):
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([str(a) for a in arguments]) + "\n")
            process.stdin.flush()
            status, text = json.loads(process.stdout.readline() or "[null, null]")
            assert status == 0, (root / "errors.txt").read_text()
            return text

        yield run


def test_it_trains_by_its_recipe_and_by_its_own_name_and_is_evaluated_and_predicts(posewright):
    listing = json.loads(posewright("data", "synth", "drawn", "--images", 3, "--split", "val", "--json"))["annotations"]
    for recipe, settings in (("toy_drawn", []), ("toy-64x48", ["steps=1", "batch=2", "workers=0", "warmup=0"])):
        paths = ("--train", listing, "--val", listing, "--out", f"runs/{recipe}")
        fitted = json.loads(posewright("train", recipe, *paths, "--json", "--set", "seed=1", *settings))
        assert fitted["finished"]
        assert "AP" in fitted["metrics"]
    weights = ("--weights", "runs/toy_drawn/best.pt", "--json")
    assert json.loads(posewright("eval", "--data", listing, *weights))["model"] == "toy-64x48"
    assert json.loads(posewright("predict", "drawn/val", *weights))["images"] == 3


def in_lines(listing):
    """The people of a COCO file as lines in a file beside the images."""
    content = json.loads(listing.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    people = [
        [names[a["image_id"]], *(value for n, value in enumerate(a["keypoints"]) if n % 3 < 2)]
        for a in content["annotations"]
    ]
    path = listing.with_suffix(".lines")
    rows = [content["categories"][0]["keypoints"], *people]
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    return path, len(people)


def test_a_data_format_is_trained_on_evaluated_and_listed(posewright, root):
    listing = json.loads(posewright("data", "synth", "lines", "--images", 3, "--split", "val", "--json"))["annotations"]
    lines, people = in_lines(root / listing)
    sets = ("--train", lines, "--val", lines, "--train-images", "lines/val", "--val-images", "lines/val")
    fitted = json.loads(posewright("train", "toy_drawn", *sets, "--out", "runs/lines", "--json"))
    assert fitted["finished"]
    weights = ("--weights", "runs/lines/best.pt", "--out", "evaluated")
    text = posewright("eval", "--data", lines, "--images", "lines/val", *weights)
    assert f"{people} people in 3 images" in text
    assert "lines        Lines: the names of the points, then per person" in posewright("data", "formats")


def test_it_is_listed_and_documented(posewright):
    assert "toy-64x48" in posewright("models", "toy*")
    page = posewright("models", "show", "toy-64x48")
    assert "Doe, 2026" in page
    assert "OneHot" in page
    assert "toy_drawn" in posewright("recipes")
    assert json.loads(posewright("recipes", "show", "toy_drawn"))["model"] == "toy-64x48"


def test_a_command_is_found_helped_and_completed(posewright):
    assert posewright("greet") == "hello\n"
    assert "say hello" in posewright("--help")
    assert "greet" in posewright("completion", "bash")
