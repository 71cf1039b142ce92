"""A page of a small run and evaluation, with errors of several kinds."""

import json

import numpy as np
import pytest
import torch

from posewright.data import coco
from posewright.evaluate import evaluator
from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.report import page
from posewright.synthetic import people as synthetic


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    return coco.read(synthetic.make(tmp_path_factory.mktemp("people"), 6, workers=1))


@pytest.fixture(scope="session")
def results(people):
    """Everyone but the last, found exactly; the first with left and right inverted, and scored best; one of nobody."""
    found = []
    for n in range(len(people) - 1):
        person = people[n]
        xy = person.xy[people.skeleton.flip_index] if n == 0 else person.xy
        keypoints = np.insert(xy, 2, 1, axis=1).ravel().tolist()
        box = person.box.tolist()
        found.append({
            "image_id": person.image_id, "category_id": 1, "keypoints": keypoints, "score": 1 - n / 100, "box": box,
        })  # fmt: skip
    nobody = np.insert(np.random.default_rng(0).uniform(0, 20, (17, 2)), 2, 1, axis=1).ravel().tolist()
    return [*found, found[0] | {"keypoints": nobody, "score": 0.3, "box": [0, 0, 20, 20]}]


@pytest.fixture(scope="session")
def written(people, results, tmp_path_factory):
    """The page's file."""
    folder = tmp_path_factory.mktemp("page")
    rows = [{"step": step, "loss": 1 / step, "accuracy": step / 10} for step in range(1, 9)]
    rows.append({"step": 8, "AP": 0.4, "AP50": 0.8, "AP75": 0.3})
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluation = evaluator.evaluate_found(people, results, boxes="gt")
    spec = find("simplebaseline-r18-slim-128x96")
    predictor = Predictor(spec, lambda images: torch.rand(len(images), 17, 32, 24), flip=False, device="cpu")
    content = page.sections("hrnet-w32-256x192", people, evaluation, settings='{"steps": 8}', predictor=predictor)
    page.write(folder / "index.html", "A run </script><b>", "subtitle & more", folder, content)
    return folder / "index.html"
