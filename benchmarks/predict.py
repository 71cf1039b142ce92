"""Photographs to keypoints: Posewright beside a loop in the manner of the papers' test scripts, in one process.

    python benchmarks/predict.py --out benchmarks/predict.md [--systems HRNet-W32 LPN-50] [--photographs FOLDER]
    python benchmarks/predict.py --precision int8 --out benchmarks/predict_int8.md
    python benchmarks/predict.py --precision bf16 --out benchmarks/predict_bf16.md

Both sides have the same network with the same (random) weights, the flip test, batches of 16 people and as many
threads, and take turns; each turn is all the people, from files. The loop reads, warps and normalises a person at a
time, runs torch's network as it is built, twice, and decodes a keypoint at a time. The ratio is the median over turns.
In int8, Posewright's side is the file that `posewright export --to openvino --precision int8 --flip` writes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import posewright as pw
from loader import provenance, publish
from loops import decode_multiscale, decode_quarter, decode_soft, flip
from posewright import geometry, image
from posewright.export import network_file
from posewright.export.int8_peak import int8_peak
from posewright.export.quantisation import Calibration
from posewright.predict import timing
from posewright.predict.predictor import Predictor
from posewright.spec import Spec
from posewright.synthetic.people import Scene, draw_scene
from posewright.types import Boxes

BATCH = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {"runtime": "auto"},
    "bf16": {"runtime": "auto", "precision": "bf16"},
    "int8": {"runtime": "torch"},
}
"""Of a predictor by Posewright; what is to be in int8 is exported from torch."""
DEFAULT_BATCH, DEFAULT_PEOPLE = 32, 256
"""Of the default model: people in a batch, as `load` has it, and at least so many per turn."""
CLOSE = 0.05
"""Input pixels by which a keypoint may differ and still be the same."""


@dataclass(frozen=True, slots=True)
class System:
    """A pose system, how the papers' scripts decode its maps, and by how much to be faster: in batches, one by one."""

    name: str
    decode: Callable[[np.ndarray], np.ndarray]
    goal: float


SYSTEMS = {
    "HRNet-W32": System("hrnet-w32-256x192", decode_quarter, 2.2),
    "SimpleBaseline-R50": System("simplebaseline-r50-256x192", decode_quarter, 2.4),
    "LPN-50": System("lpn-50-256x192", decode_soft, 2.8),
    "MSPN-2": System("mspn-2stg-256x192", decode_multiscale, 3.0),
}
LATENCY_GOAL = 2.0
INT8_GOAL = 6.0
"""bf16 has no goal of its own: it is held against that of float32."""


@dataclass(frozen=True, slots=True)
class Person:
    """A photograph's file and the box [4] of one person in it."""

    path: Path
    box: np.ndarray


def people_in(folder: Path | None, count: int, scratch: Path) -> list[Person]:
    """People of COCO's photographs, image by image; of drawn scenes where there are no photographs."""
    found: list[Person] = []
    if folder is not None:
        text = json.loads(next((folder / "annotations").glob("person_keypoints*.json")).read_text())
        names = {entry["id"]: entry["file_name"] for entry in text["images"]}
        wanted = sorted((a for a in text["annotations"] if a["num_keypoints"]), key=lambda a: a["image_id"])
        paths = {path.name: path for path in folder.rglob("*.jpg")}
        found = [Person(paths[names[a["image_id"]]], np.array(a["bbox"], float)) for a in wanted]
    else:
        rng = np.random.default_rng(0)
        for n in range(-(-count // 2)):
            path = scratch / f"{n}.jpg"
            image.write(path, image.resize(draw_scene(rng, Scene())[0], (480, 640)))
            found += [Person(path, np.array([x, 60.0, 220.0, 380.0])) for x in (40, 340)]
    return list(itertools.islice(itertools.cycle(found), count))


def plain_keypoints(system: System, spec: Spec, net: Any, people: list[Person]) -> np.ndarray:
    """Keypoints [N, K, 2] in image pixels, one thing after the other."""
    mean, std = (np.array(v, np.float32) / 255 for v in (spec.mean, spec.std))
    height, width = spec.size
    found = []
    for start in range(0, len(people), BATCH):
        inputs, matrices = [], []
        for person in people[start : start + BATCH]:
            pixels = cv2.imread(str(person.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is None:
                raise ValueError(f"{person.path} is not an image that OpenCV reads")
            if spec.colour == "rgb":
                pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            region = geometry.region_of_box(person.box, spec.size, padding=spec.padding, rule=spec.crop_rule)
            x, y, w = region[:3]
            source = np.array([[x, y], [x, y - w / 2], [x - w / 2, y - w / 2]], np.float32)
            target = np.array([[width, height], [width, height - width], [0, height - width]], np.float32) / 2
            matrices.append(cv2.getAffineTransform(source, target))
            crop = cv2.warpAffine(pixels, matrices[-1], (width, height), flags=cv2.INTER_LINEAR)
            tensor = torch.from_numpy(crop).permute(2, 0, 1).contiguous().float().div(255)
            inputs.append(tensor.sub_(torch.from_numpy(mean)[:, None, None]).div_(torch.from_numpy(std)[:, None, None]))
        with torch.no_grad():
            images = torch.stack(inputs)
            maps = net.supervised(images)[-1].numpy()
            mirrored = net.supervised(images.flip(3))[-1].numpy()
        maps = (maps + flip(mirrored, shift=not system.name.startswith("mspn"))) / 2
        for matrix, xy in zip(matrices, system.decode(maps)):
            back = cv2.invertAffineTransform(matrix)
            found.append([back @ (*point, 1.0) for point in xy])
    return np.array(found)


def our_keypoints(predictor: Predictor, people: list[Person]) -> np.ndarray:
    """Keypoints [N, K, 2] in image pixels."""
    items = ((path, np.stack([person.box for person in group])) for path, group in _by_image(people))
    return np.concatenate([poses.xy for poses in predictor.many(items, upright=False)])


def _by_image(people: list[Person]) -> Iterator[tuple[Path, Iterator[Person]]]:
    return itertools.groupby(people, key=lambda person: person.path)


def race(plain: Callable[[], Any], ours: Callable[[], Any], turns: int) -> tuple[float, float, float]:
    """Seconds of both and the ratio: medians over turns, in each of which both run, the first one in turn."""
    pairs = []
    for turn in range(turns):
        seconds = {}
        for work in (plain, ours) if turn % 2 == 0 else (ours, plain):
            start = time.perf_counter()
            work()
            seconds[work] = time.perf_counter() - start
        pairs.append((seconds[plain], seconds[ours]))
    slow, fast = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    return slow, fast, statistics.median(a / b for a, b in pairs)


def lively(net: Any, spec: Spec) -> Any:
    """A network with random weights and the statistics of noise: as built, maps are so flat that rounding decides."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        noise = torch.randn(4, 3, *spec.size)
        net.train()(noise)
        if final := getattr(net.eval(), "final_layer", None):
            final.weight /= net(noise).std()
    return net


def in_int8(by_torch: Predictor, people: list[Person], scratch: Path) -> Predictor:
    """An OpenVINO file, calibrated on a few of the photographs: more would change the keypoints, not the speed."""
    images = list(dict.fromkeys(person.path for person in people))[:8]
    path = scratch / f"{by_torch.spec.name}.xml"
    network_file.write(by_torch, path, "openvino", flip=by_torch.flip, int8=Calibration(images))
    return pw.load(str(path), batch=by_torch.batch)


def rows_of(title: str, people: list[Person], turns: int, precision: str, peak: float, scratch: Path) -> list[str]:
    """The lines of one system: in batches, and one person at a time."""
    system = SYSTEMS[title]
    torch.manual_seed(0)
    spec = pw.find(system.name)
    net = lively(spec.build(), spec)
    goal = INT8_GOAL if precision == "int8" else system.goal
    predictor = Predictor(spec, net, flip=True, batch=BATCH, device="cpu", **SETTINGS[precision])
    if precision == "int8":
        predictor = in_int8(predictor, people, scratch)
    plain, ours = partial(plain_keypoints, system, spec, net), partial(our_keypoints, predictor)
    want, got = plain(people[:BATCH]), ours(people[:BATCH])  # warms up, too
    regions = np.stack([geometry.region_of_box(p.box, spec.size, padding=spec.padding) for p in people[:BATCH]])
    distance = np.linalg.norm(got - want, axis=-1) * (spec.size[1] / regions[:, 2:3])
    one, box = people[:1], Boxes.of(people[0].box[None])
    races = {
        f"batch {BATCH}": (goal, len(people), race(lambda: plain(people), lambda: ours(people), turns)),
        "one by one": (
            LATENCY_GOAL,
            1,
            race(lambda: plain(one), lambda: predictor(one[0].path, box, upright=False), 2 * turns + 1),
        ),
    }
    needed = 2000 * timing.multiply_adds(spec) / peak  # milliseconds per person at the machine's limit
    same = 100 * (distance <= CLOSE).mean()
    lines = []
    for way, (goal, count, (slow, fast, factor)) in races.items():
        slow, fast = 1000 * slow / count, 1000 * fast / count
        cells = f"{slow:.1f} | {fast:.1f} | {factor:.2f} | {goal} | {slow / needed:.2f} | {100 * needed / fast:.0f} %"
        lines.append(f"| {title}, {way} | {predictor.runtime} | {cells} | {same:.1f} % |")
    return lines


def default_rows(people: list[Person], turns: int, precision: str, scratch: Path) -> list[str]:
    """The default model without the flip test: milliseconds per person, from files and from images in memory.

    There are many batches in a turn, so reading, network and decoding overlap.
    """
    predictor = pw.load(flip=False, batch=DEFAULT_BATCH, device="cpu", **SETTINGS[precision])
    if precision == "int8":
        predictor = in_int8(predictor, people, scratch)
    images = {person.path: image.read(person.path, upright=False) for person in people}
    crowd = people * -(-DEFAULT_PEOPLE // len(people))
    in_memory = [(images[path], np.stack([p.box for p in group])) for path, group in _by_image(crowd)]
    took: dict[str, list[float]] = {"from files": [], "from images in memory": []}
    for turn in range(3 * turns + 1):
        works = (partial(our_keypoints, predictor, crowd), lambda: list(predictor.many(in_memory)))
        for times, work in zip(took.values(), works):
            start = time.perf_counter()
            work()
            if turn:
                times.append(1000 * (time.perf_counter() - start) / len(crowd))
    return [
        f"| {source} | {predictor.runtime} | {statistics.median(times):.2f} | 3 |" for source, times in took.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="a folder with images and COCO annotations (default: drawn)")
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS, "default"], default=[*SYSTEMS, "default"])
    parser.add_argument("--precision", choices=SETTINGS, default="float32", help="of Posewright's side")
    parser.add_argument("--people", type=int, default=32, help="per turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the network (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="markdown file to write; default: print only")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    peak = int8_peak("openvino") if options.precision == "int8" else timing.peak(precision=options.precision)
    lines = [
        "# Photographs to keypoints, beside a loop in the manner of the papers' test scripts",
        "",
        *provenance(),
        f"The machine reaches {peak / 1e9:.0f} billion multiply-adds per second in large convolutions, in "
        f"{options.precision}.",
        "",
        'Milliseconds per person with the flip test. "most" is the factor at which the network alone would take all of',
        'the machine\'s multiply-adds; "peak" is the share of them that Posewright reaches with everything around the',
        f'network; "same" are keypoints within {CLOSE} input pixels of the loop\'s.',
        *(["Goals are those of float32."] if options.precision == "bf16" else []),
        "",
        "| system | runtime | loop | ours | times faster | goal | most | peak | same |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        people = people_in(options.photographs, options.people, Path(scratch))
        for title in options.systems:
            if title != "default":
                lines += rows_of(title, people, options.turns, options.precision, peak, Path(scratch))
                print(*lines[-2:], sep="\n", flush=True)
        if "default" in options.systems:
            lines += [
                "",
                "The default model without the flip test, "
                f"in batches of {DEFAULT_BATCH}, {DEFAULT_PEOPLE} people a turn:",
                "",
                "| | runtime | ms per person | goal |",
                "|---|---|---:|---:|",
            ]
            lines += default_rows(people, options.turns, options.precision, Path(scratch))
    publish(lines, options.out)


if __name__ == "__main__":
    main()
