"""Evaluation at the size of COCO val2017, side by side with the way the published code goes about it.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/evaluate.py

Prints the table of benchmarks/evaluate.md. The loops stand for the published evaluations: one image, one pair of poses
and one joint at a time. Both sides take turns in one process; the median of their turns is compared.
"""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posewright.evaluate.coco_ap import coco
from posewright.evaluate.oks import oks_nms, soft_oks_nms
from posewright.evaluate.pck import accuracy
from posewright.predict.scoring import rescore
from posewright.skeletons import COCO17, to_category

IMAGES, PEOPLE, POSES, TURNS = 2693, 11004, 104_000, 3
SIGMAS = np.array(COCO17.sigmas)


# -- the data -------------------------------------------------------------------------------------------------------


def make() -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, np.ndarray]]:
    """Random annotations, results, and the same results as arrays."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, IMAGES, PEOPLE)
    corner, size = rng.uniform(0, 500, (PEOPLE, 2)), rng.uniform(20, 250, PEOPLE)
    xy = corner[:, None] + rng.random((PEOPLE, 17, 2)) * size[:, None, None]
    visibility = rng.integers(0, 3, (PEOPLE, 17)) * (rng.random(PEOPLE) < 0.58)[:, None]
    whose = rng.integers(0, PEOPLE, POSES)
    noise = rng.normal(0, 1, (POSES, 17, 2)) * rng.choice([0.01, 0.03, 0.15], (POSES, 1, 1))
    poses = {
        "xy": xy[whose] + noise * size[whose][:, None, None],
        "score": rng.random((POSES, 17)),
        "box_score": rng.random(POSES),
        "area": (size[whose] * 1.25) ** 2 * 4 / 3,
        "image": image[whose],
    }
    annotations = [
        {
            "id": n + 1, "image_id": int(image[n]), "category_id": 1, "iscrowd": int(rng.random() < 0.02),
            "bbox": [*corner[n].tolist(), size[n], size[n]], "area": 0.6 * size[n] ** 2,
            "num_keypoints": int((visibility[n] > 0).sum()),
            "keypoints": np.column_stack([xy[n], visibility[n]]).reshape(-1).round(3).tolist(),
        }
        for n in range(PEOPLE)
    ]  # fmt: skip
    triples = np.concatenate([poses["xy"].round(4), poses["score"][..., None]], 2).reshape(POSES, -1).tolist()
    results = [
        {"image_id": int(i), "category_id": 1, "keypoints": row, "score": float(s)}
        for i, row, s in zip(poses["image"], triples, poses["box_score"])
    ]
    images = [{"id": n} for n in range(IMAGES)]
    return {"images": images, "annotations": annotations, "categories": [to_category(COCO17)]}, results, poses


# -- the published way ------------------------------------------------------------------------------------------------


def loop_rescore(score: np.ndarray, box_score: np.ndarray) -> np.ndarray:
    out = np.zeros(len(score))
    for n in range(len(score)):
        total, count = 0.0, 0
        for k in range(17):
            if score[n, k] > 0.2:
                total += score[n, k]
                count += 1
        out[n] = box_score[n] * (total / count if count else 0.0)
    return out


def loop_oks(one: np.ndarray, others: np.ndarray, area: float, areas: np.ndarray) -> np.ndarray:
    out = np.zeros(len(others))
    for n, other in enumerate(others):
        dx, dy = other[:, 0] - one[:, 0], other[:, 1] - one[:, 1]
        exponent = (dx**2 + dy**2) / (SIGMAS * 2) ** 2 / ((area + areas[n]) / 2 + np.spacing(1)) / 2
        out[n] = np.sum(np.exp(-exponent)) / len(exponent)
    return out


def loop_nms(poses: dict[str, np.ndarray], soft: bool) -> list[int]:
    score = loop_rescore(poses["score"], poses["box_score"])
    by_image: dict[int, list[int]] = {}
    for n, image in enumerate(poses["image"].tolist()):
        by_image.setdefault(image, []).append(n)
    kept = []
    for image in sorted(by_image):
        left = np.array(by_image[image])
        order = score[left].argsort()[::-1]
        left, decayed, taken = left[order], score[left][order], 0
        while len(left) and not (soft and taken == 20):
            best, left, decayed = left[0], left[1:], decayed[1:]
            kept.append(int(best))
            taken += 1
            like = loop_oks(poses["xy"][best], poses["xy"][left], float(poses["area"][best]), poses["area"][left])
            if soft:
                decayed = decayed * np.exp(-(like**2) / 0.9)
                order = decayed.argsort()[::-1]
            else:
                order = np.flatnonzero(like <= 0.9)
            left, decayed = left[order], decayed[order]
    return kept


def loop_accuracy(output: np.ndarray, target: np.ndarray) -> float:
    shares = []
    for k in range(output.shape[1]):
        hits = []
        for n in range(len(output)):
            (ty, tx), (py, px) = (np.unravel_index(m[n, k].argmax(), m.shape[2:]) for m in (target, output))
            if tx > 1 and ty > 1:
                hits.append(np.hypot((px - tx) / (output.shape[2] / 10), (py - ty) / (output.shape[3] / 10)) < 0.5)
        if hits:
            shares.append(np.mean(hits))
    return float(np.mean(shares))


def pycocotools(truth: Path, results: Path) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        evaluate = COCOeval(known, known.loadRes(str(results)), "keypoints")
        evaluate.evaluate()
        evaluate.accumulate()
        evaluate.summarize()
    return [float(v) for v in evaluate.stats]


# -- ours -----------------------------------------------------------------------------------------------------------


def fused_nms(poses: dict[str, np.ndarray], soft: bool) -> list[int]:
    score = rescore(poses["score"], poses["box_score"], "above 0.2")
    nms = soft_oks_nms if soft else oks_nms
    return nms(poses["xy"], score, poses["area"], SIGMAS, 0.9, poses["image"]).tolist()


# -- the table ------------------------------------------------------------------------------------------------------


def compare(name: str, published: Callable[[], Any], ours: Callable[[], Any], tolerance: float = 0.0) -> str:
    """A row of the table; refuses to compare what does not give the same."""
    times: dict[str, list[float]] = {"published": [], "ours": []}
    for _ in range(TURNS):
        answers = []
        for side, function in (("published", published), ("ours", ours)):
            start = time.perf_counter()
            answers.append(np.asarray(function()))
            times[side].append(time.perf_counter() - start)
        if answers[0].shape != answers[1].shape or np.abs(answers[0] - answers[1]).max() > tolerance:
            raise RuntimeError(f"{name}: the two sides give different answers")
    slow, fast = (float(np.median(times[side])) for side in ("published", "ours"))
    return f"| {name} | {slow:.3g} s | {fast:.3g} s | {slow / fast:.1f} |"


def main() -> None:
    truth, results, poses = make()
    rng = np.random.default_rng(1)
    target = rng.random((16, 17, 64, 48)).astype(np.float32)
    output = np.where(rng.random(target.shape) < 0.5, target, 0).astype(np.float32)
    print("| work | published way | here | factor |", "|---|---:|---:|---:|", sep="\n")
    print(compare("rescoring + OKS-NMS", lambda: loop_nms(poses, False), lambda: fused_nms(poses, False)), flush=True)
    print(
        compare("rescoring + soft OKS-NMS", lambda: loop_nms(poses, True), lambda: fused_nms(poses, True)), flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "truth.json"), Path(folder, "results.json")
        for path, content in zip(paths, (truth, results)):
            path.write_text(json.dumps(content))
        ours = lambda: list(coco(*paths).values())  # noqa: E731
        print(compare("AP and AR, from files (pycocotools)", lambda: pycocotools(*paths), ours, 1e-9), flush=True)
    heat_maps = lambda: accuracy(output, target).mean  # noqa: E731
    print(compare("heat-map accuracy of 16 people", lambda: loop_accuracy(output, target), heat_maps, 1e-12))


if __name__ == "__main__":
    main()
