"""A good file of every kind that Posewright reads, how it is read, and ways to corrupt it."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from posewright import evaluate, image, weights
from posewright.data import coco, skeleton_file
from posewright.predict import boxes
from posewright.report import run_folder
from posewright.train import config
from posewright.weights import checkpoint

NAMES = ["nose", "left_hand", "right_hand"]
ODD = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**400,
    1e308,
    -0.5,
    "",
    "é" * 5000,
    "../../etc/passwd",
    "\ud800",
    [],
    {},
    [[]],
]


class Kind(NamedTuple):
    """What one kind of file is called, its good contents, and what reads it."""

    name: str
    good: bytes
    read: Callable[[Path], object]


def kinds(folder: Path) -> list[Kind]:
    """Every kind; `folder` receives the good files that a reader needs beside the corrupted one."""
    truth = _written(folder / "truth.json", ANNOTATIONS)
    results = _written(folder / "results-good.json", RESULTS)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    image.write(folder / "1.jpg", pixels)
    pictures = [Kind(f"photo{s}", image.encode(pixels, s), image.read) for s in IMAGES]
    texts = [
        Kind("annotations.json", _json(ANNOTATIONS), lambda path: coco.read(path, folder)),
        Kind("truth-corrupted.json", _json(ANNOTATIONS), lambda path: evaluate.coco(path, results)),
        Kind("boxes-of-people.json", _json(ANNOTATIONS), boxes.annotated),
        Kind("results.json", _json(RESULTS), lambda path: evaluate.coco(truth, path)),
        Kind("detections.json", _json(DETECTIONS), boxes.detections),
        Kind("skeleton.json", _json(SKELETON), skeleton_file.read),
        Kind("log.jsonl", b"\n".join(_json({"step": i, "loss": 0.5}) for i in range(5)), _log),
        Kind("config.json", _json({"model": "lpn-18-128x96", "train": "a.json", "steps": 10}), _config),
    ]
    return pictures + texts + _tensors(folder) + _networks(folder)


IMAGES = (".jpg", ".png", ".bmp", ".webp", ".tiff")
SKELETON = {"points": NAMES, "bones": [NAMES[:2]], "mirror": [NAMES[1:]], "sigmas": [0.1, 0.1, 0.1], "upper": NAMES[:1]}
DETECTIONS = [{"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 20.0, 30.0], "score": 0.9}]
RESULTS = [{"image_id": 1, "category_id": 1, "keypoints": [5.0, 6.0, 2.0] * 3, "score": 0.5}]
ANNOTATIONS = {
    "images": [{"id": 1, "file_name": "1.jpg", "width": 30, "height": 40}],
    "annotations": [
        {
            "id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 20, 30], "area": 400.0, "iscrowd": 0,
            "keypoints": [5, 6, 2] * 3, "num_keypoints": 3,
        }
    ],
    "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2]], "sigmas": [0.1, 0.1, 0.1]}],
}  # fmt: skip


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _written(path: Path, value: Any) -> Path:
    path.write_bytes(_json(value))
    return path


def _log(path: Path) -> object:
    return run_folder.read_log(path.parent)


def _config(path: Path) -> object:
    return config.resumed(path.parent)


def _tensors(folder: Path) -> list[Kind]:
    """Weights and checkpoints."""
    state = {"conv.weight": torch.randn(4, 3, 3, 3), "bn.num_batches_tracked": torch.tensor(3)}
    torch.save({"state_dict": state, "epoch": 3}, folder / "net.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    checkpoint.write_checkpoint(folder / "last.pt", {"model": state, "step": 5, "config": {"lr": 0.1}})
    checkpoint.save(folder / "net.safetensors", state, {})
    checkpoint.write_mindspore(folder / "net.ckpt", state)
    names = ("net.pth", "old.pth", "net.safetensors", "net.ckpt")
    read = [Kind(name, (folder / name).read_bytes(), weights.read) for name in names]
    described = Kind("net-described.safetensors", (folder / "net.safetensors").read_bytes(), checkpoint.describe)
    return [*read, described, Kind("last.pt", (folder / "last.pt").read_bytes(), checkpoint.read_checkpoint)]


def _networks(folder: Path) -> list[Kind]:
    """A detector, where ONNX is installed."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError:
        return []
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    rows = np.random.default_rng(0).random((1, 84, 7)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
            helper.make_node("Mul", ["least", "none"], ["zero"]),
            helper.make_node("Add", ["rows", "zero"], ["output"]),
        ],
        "detector",
        [helper.make_tensor_value_info("images", kind, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", kind, list(rows.shape))],
        [onnx.numpy_helper.from_array(rows, "rows"), onnx.numpy_helper.from_array(np.zeros((), np.float32), "none")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return [Kind("detector.onnx", model.SerializeToString(), lambda path: boxes.OnnxDetector(path, category=0))]


def corrupted(good: bytes, rng: random.Random) -> bytes:
    """The contents with one or a few faults; JSON also by its values, so that most stay JSON."""
    if good[:1] in b"[{" and rng.random() < 0.7:
        return _odd_value(good, rng)
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        rng.choice(FAULTS)(data, rng)
    return bytes(data)


def _odd_value(good: bytes, rng: random.Random) -> bytes:
    """One value, at any depth, is another, missing, doubled or nested deep."""
    lines = [json.loads(line) for line in good.splitlines()]
    value: Any = copy.deepcopy(lines)
    holders = [(value, i) for i in range(len(value))]
    for holder, key in holders:
        inner = holder[key]
        if isinstance(inner, dict | list):
            holders += [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))]
    holder, key = rng.choice(holders)
    fault = rng.randrange(10)
    if fault == 0:
        del holder[key]
    elif fault == 1 and isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice((1, 2, 1000)))
    else:
        holder[key] = "@deep" if fault == 2 else rng.choice(ODD)
    depth = rng.choice((10, 500, 200_000))
    text = "\n".join(json.dumps(line) for line in value)
    return text.replace('"@deep"', "[" * depth + "]" * depth).encode()


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice((1, 4, 100))]


def _double(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + rng.choice((1, 8, 1000))]


def _overwrite(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    word = rng.choice(
        (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80", rng.randbytes(8))
    )
    data[start : start + len(word)] = word


FAULTS = (_flip, _flip, _cut, _remove, _double, _overwrite, _overwrite)
