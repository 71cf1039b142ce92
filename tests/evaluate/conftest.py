"""Random ground truth and results, and what is measured of them."""

import numpy as np
import pytest

from posewright.evaluate.coco_ap import measure
from posewright.evaluate.ground_truth import GroundTruth, Results
from posewright.skeletons import COCO17, to_category


def random_world(
    seed, *, images=5, most_people=5, most_results=8, skeletons=(COCO17,), scores=20, crowds=0.15, sized=False
):
    """Random ground truth and results: crowds, unlabelled people, ties, doubles, far-off results, any sizes."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[:images]
    annotations, results = [], []
    for image in ids:
        people = []
        for _ in range(rng.integers(0, most_people + 1)):
            category = int(rng.integers(len(skeletons)))
            points = skeletons[category].num_keypoints
            size = float(rng.choice([0.0, 3, 32, 60, 96, 200, 1e6], p=[0.02, 0.1, 0.2, 0.3, 0.2, 0.16, 0.02]))
            corner = rng.uniform(0, 400, 2)
            xy = corner + rng.random((points, 2)) * size
            visibility = rng.integers(0, 3, points) * (rng.random() > 0.2)
            people.append((category, xy, size))
            annotations.append({
                "id": len(annotations) + 1, "image_id": int(image), "category_id": category + 1,
                "bbox": [*corner.tolist(), size, size], "area": size**2, "iscrowd": int(rng.random() < crowds),
                "num_keypoints": int((visibility > 0).sum()),
                "keypoints": np.column_stack([xy * (visibility > 0)[:, None], visibility]).reshape(-1).tolist(),
            })  # fmt: skip
        for _ in range(rng.integers(0, most_results + 1)):
            category = int(rng.integers(len(skeletons)))
            xy = rng.uniform(0, 600, (skeletons[category].num_keypoints, 2))
            if people and rng.random() < 0.85:
                category, near, size = people[rng.integers(len(people))]
                xy = near + rng.normal(0, 1, near.shape) * size * rng.choice([0, 0.01, 0.05, 0.3])
            entry = {"image_id": int(image), "category_id": category + 1, "score": int(rng.integers(scores)) / scores}
            entry["keypoints"] = np.column_stack([xy, rng.random(len(xy))]).reshape(-1).tolist()
            results.append(entry | ({"bbox": rng.uniform(1, 200, 4).tolist()} if sized else {}))
    order = rng.permutation(len(annotations))
    categories = [to_category(s, n, f"kind{n}") for n, s in enumerate(skeletons, 1)]
    truth = {
        "images": [{"id": int(i)} for i in ids],
        "annotations": [annotations[n] for n in order],
        "categories": categories,
    }
    return truth, [results[n] for n in rng.permutation(len(results))]


@pytest.fixture(scope="session")
def world():
    """The function `random_world`."""
    return random_world


@pytest.fixture
def small_world():
    """People of three images, all small, and exact results for them."""
    truth, _ = random_world(16, crowds=0, images=3)
    annotations = [a | {"area": 500.0} for a in truth["annotations"] if a["num_keypoints"]]
    exact = [{k: a[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 0.9} for a in annotations]
    return truth | {"annotations": annotations}, exact


@pytest.fixture(scope="session")
def measured_of():
    """`measured_of(truth, results, **options)`: all that is measured of the content of two files."""
    return lambda truth, results, **options: measure(GroundTruth.read(truth), Results.of(results), **options)
