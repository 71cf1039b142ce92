"""The loader: right crops, the same for any number of workers, resumable, small, and quiet when it must end."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posewright import geometry, image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.data import coco
from posewright.data.augment import HRNET, NONE, Augment
from posewright.data.image_files import Strings
from posewright.data.loader import Loader, _settle
from posewright.models import find
from posewright.predict.predictor import Predictor
from posewright.skeletons import COCO17, to_category
from posewright.spec import Spec
from posewright.types import Boxes, Skeleton

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]

BUG = Skeleton("bug", ("head", "left_wing", "right_wing"), mirror=(("left_wing", "right_wing"),))
PACKED = ("xy", "visibility", "box", "area")
COLOURS = ((255, 255, 255), (255, 0, 0), (0, 0, 255))
SPEC = Spec("test-64x48", lambda k: torch.nn.Conv2d(3, k, 1), GaussianHeatmap((64, 48), (16, 12)), BUG, (64, 48))
LIVELY = replace(HRNET, brightness=0.2, erase=0.3, cutout=0.2)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Eleven bugs, each a white head, a red left and a blue right wing on a picture of its own."""
    folder = tmp_path_factory.mktemp("bugs")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for n in range(1, 12):
        xy = np.array([[60.0, 30], [40, 60], [80, 62]]) + rng.integers(-8, 8, (3, 2))
        picture = np.zeros((90, 120, 3), np.uint8)
        for point, colour in zip(xy, COLOURS):
            image.draw_disc(picture, point, 6, colour)
        image.write(folder / "images" / f"{n}.png", picture)
        images.append({"id": n, "file_name": f"{n}.png", "width": 120, "height": 90})
        keypoints = np.column_stack([xy, [2, 2, n % 3]]).ravel().tolist()
        box = [*(xy.min(0) - 8).tolist(), *(np.ptp(xy, 0) + 16).tolist()]
        annotations.append({"id": 100 + n, "image_id": n, "category_id": 1, "bbox": box, "keypoints": keypoints})
    content = {"images": images, "annotations": annotations, "categories": [to_category(BUG, name="bug")]}
    (folder / "train.json").write_text(json.dumps(content))
    return coco.read(folder / "train.json")


def same(one, other):
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.target, other.target)
        and torch.equal(one.weight, other.weight)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("xy", "visibility", "index"))
    )


def test_any_number_of_workers_gives_the_same(people):
    plain = Loader(people, SPEC, LIVELY, 4, seed=5)
    for workers in (1, 2):
        loader = Loader(people, SPEC, LIVELY, 4, seed=5, workers=workers)
        for epoch in (0, 3):
            pairs = list(zip(plain.epoch(epoch), loader.epoch(epoch), strict=True))
            assert len(pairs) == len(loader) == 2
            assert all(same(*pair) for pair in pairs)
        loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_goes_on_from_any_batch(people, workers):
    loader = Loader(people, SPEC, LIVELY, 2, workers=workers)
    whole = list(loader.epoch(1))
    next(loader.epoch(2))  # left after its first batch
    for first in (0, 3, 5):
        rest = list(loader.epoch(1, first))
        assert len(rest) == 5 - first
        assert all(same(*pair) for pair in zip(rest, whole[first:]))
    loader.close()


def test_batches_are_what_they_say(people):
    (batch,) = Loader(people, SPEC, NONE, 11, shuffle=False).epoch(0)
    assert batch.images.shape == (11, 3, 64, 48)
    assert batch.images.dtype == batch.target.dtype == batch.weight.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.target.shape == (11, 3, 16, 12)
    assert batch.index.tolist() == list(range(11))
    crop = geometry.crop(Boxes.of(people.box[4:5], cleaned=True), (64, 48))
    pixels = image.warp_all(image.read(people[4].path), crop)
    assert torch.equal(batch.images[4:5], image.to_tensor(pixels, SPEC.colour, SPEC.mean, SPEC.std))
    np.testing.assert_allclose(batch.xy[4], crop.to_input(people[4].xy[None])[0], atol=1e-9)
    target, weight = SPEC.codec.encode(batch.xy, batch.visibility)
    np.testing.assert_array_equal(batch.target, target)
    np.testing.assert_array_equal(batch.weight, weight)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
@pytest.mark.parametrize("rule", ["standard", "udp", "dark", "cpn"])
def test_points_stay_on_their_pixels(people, rule, mirror):
    """However a crop is turned, scaled and mirrored, each point's colour is where the point is."""
    augment = Augment(scale=(0.7, 1.3), rotation=60, rotation_chance=1.0, flip=mirror)
    spec = replace(SPEC, padding=(1.4, 1.4))
    object.__setattr__(spec, "crop_rule", rule)  # the codec would refuse others; here only the crop matters
    head, red, blue = COLOURS
    colours = (head, blue, red) if mirror else (head, red, blue)  # in a mirror the red wing is the right one
    inside = 0
    for batch in Loader(people, spec, augment, 11).epoch(0):
        pixels = batch.images * torch.tensor(spec.std).view(3, 1, 1) + torch.tensor(spec.mean).view(3, 1, 1)
        for picture, xy in zip(pixels, batch.xy):
            for (x, y), colour in zip(np.rint(xy).astype(int), colours):
                if 1 <= x < 47 and 1 <= y < 63:
                    np.testing.assert_allclose(picture[:, y, x], colour, atol=90)
                    inside += 1
    assert inside > 22


def test_a_plain_crop_is_the_predictors(people):
    """By CPN's rule, in which pixels and points lie differently and the outside has the mean's colour."""
    spec = find("cpn-50-256x192").with_skeleton(people.skeleton)
    (batch,) = Loader(people, spec, NONE, 11, shuffle=False).epoch(0)
    batches = []

    def net(images: torch.Tensor) -> torch.Tensor:
        batches.append(images)
        return torch.zeros(len(images), 3, *spec.codec.map_size)

    predictor = Predictor(spec, net, flip=False, device="cpu")
    for row, number in enumerate(people.paths):
        boxes = people.gt_boxes()[number]
        predictor(people.paths[number], boxes, upright=False)
        assert torch.equal(batch.images[row : row + 1], batches[row])
        crop = geometry.crop(boxes, spec.size, padding=spec.padding, rule=spec.crop_rule)
        np.testing.assert_allclose(batch.xy[row], crop.to_input(people.xy[row][None])[0], atol=1e-6)


def test_mirrored_points_change_names_and_visibility(people):
    (plain,) = Loader(people, SPEC, NONE, 11, shuffle=False).epoch(0)
    (mirror,) = Loader(people, SPEC, Augment(flip=1.0), 11, shuffle=False).epoch(0)
    np.testing.assert_allclose(mirror.xy, (np.array([48.0, 0]) + plain.xy * [-1, 1])[:, [0, 2, 1]], atol=1e-9)
    np.testing.assert_array_equal(mirror.visibility, plain.visibility[:, [0, 2, 1]])
    assert {0, 1, 2} == set(mirror.visibility[:, 1].tolist())


def test_order(people):
    def orders(loader, *epochs):
        return [[n for batch in loader.epoch(e) for n in batch.index.tolist()] for e in epochs]

    first, second, again = orders(Loader(people, SPEC, batch=1, seed=1), 0, 1, 0)
    assert first == again != second
    assert sorted(first) == sorted(second) == list(range(11))
    assert orders(Loader(people, SPEC, batch=1, seed=2), 0) != [first]
    assert orders(Loader(people, SPEC, batch=4, shuffle=False), 0) == [list(range(11))]


@pytest.mark.parametrize(
    ("batch", "shuffle", "sizes"),
    [(4, True, [4, 4]), (4, False, [4, 4, 3]), (11, True, [11]), (50, True, [11]), (50, False, [11])],
)
def test_last_batch(people, batch, shuffle, sizes):
    loader = Loader(people, SPEC, batch=batch, shuffle=shuffle)
    assert [len(b.images) for b in loader.epoch(0)] == sizes
    assert len(loader) == len(sizes)


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_state_is_left_alone(people, workers):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(Loader(people, SPEC, LIVELY, 4, workers=workers).epoch(0))
    assert torch.equal(torch_before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])


def test_images_are_not_turned(people, monkeypatch):
    asked, read = [], image.read
    monkeypatch.setattr(image, "read", lambda path, *, upright=True: asked.append(upright) or read(path))
    list(Loader(people, SPEC, batch=11).epoch(0))
    assert asked == [False] * 11


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(people, tmp_path, workers):
    broken, gone = tmp_path / "broken.png", tmp_path / "gone.png"
    broken.write_bytes(b"not a picture")
    for path, error, message in (
        (broken, ValueError, "broken.png: not an image that can be read"),
        (gone, FileNotFoundError, "gone.png: no such image file"),
    ):
        paths = [str(people[n].path) for n in range(10)] + [str(path)]
        loader = Loader(replace(people, image_path=Strings.of(paths)), SPEC, batch=4, workers=workers)
        with pytest.raises(error, match=message) as caught:
            list(loader.epoch(0)) + list(loader.epoch(1))
        assert str(caught.value).endswith(f"(annotation 111 of {people.annotations})")
        assert "Traceback" not in str(caught.value)
        loader.close()


def test_refusals(people):
    with pytest.raises(ValueError, match=r"test-64x48 is for the points .*with_skeleton\(people\.skeleton\)"):
        Loader(people, SPEC.with_skeleton(COCO17))
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        Loader(people, SPEC, batch=0)
    loader = Loader(people, SPEC)
    loader.close()
    with pytest.raises(ValueError, match="the loader is closed"):
        next(loader.epoch(0))


def test_what_workers_get_survives_a_spawn(people):
    loader = Loader(people, SPEC, LIVELY, 4)
    assert loader._pool is not None
    crops = loader._pool.dataset
    task = (2, np.array([3, 1]))
    for one, other in zip(crops[task], pickle.loads(pickle.dumps(crops))[task]):
        np.testing.assert_array_equal(one, other)


def _copied() -> int:
    """Bytes of memory that this process has had to copy for itself, or taken new, because it wrote to them.

    Not what the system calls private: a page becomes that too when the other process, which does other work at the
    same time, writes to it.
    """
    import resource  # Windows lacks it

    return resource.getpagesize() * resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _growth(read, tasks, passes, answer):
    _settle(0)
    for task in tasks[:3]:
        read(task)
    start = _copied()
    grown = []
    for _ in range(passes):
        for task in tasks:
            read(task)
        grown.append(_copied() - start)
    answer.send(grown)


def _growth_in_a_worker(read, tasks, passes=1):
    """How much memory a worker has copied or taken after each pass over the tasks, in bytes."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_growth, args=(read, tasks, passes, sender))
    process.start()
    grown = receiver.recv()
    process.join()
    return grown


@pytest.mark.skipif(sys.platform == "win32", reason="workers are not forked there")
def test_workers_share_the_annotations(people, monkeypatch):
    """A list of dictionaries is copied into every worker that reads it, page by page; packed arrays are not."""
    number = 160_000
    names = [f"{n:012d}.jpg" for n in range(number)]
    more_people = replace(
        people,
        image_id=np.arange(number),
        image_path=Strings.of(names),
        image=np.arange(number, dtype=np.int32),
        annotation_id=np.arange(number),
        category_id=np.ones(number, np.int64),
        **{name: np.resize(getattr(people, name), (number, *getattr(people, name).shape[1:])) for name in PACKED},
    )
    picture = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(image, "read", lambda path, *, upright: picture)
    pool = Loader(more_people, replace(SPEC, codec=GaussianHeatmap((8, 8), (2, 2)), size=(8, 8)), HRNET)._pool
    assert pool is not None
    tasks = [(0, places) for places in np.split(np.arange(0, number, 4), 100)]  # a page holds more than four
    once, twice = _growth_in_a_worker(pool.dataset.__getitem__, tasks, 2)
    plain = [{"name": name, "points": [float(n), 1.0, 2.0]} for n, name in enumerate(names)]
    copied = _growth_in_a_worker(lambda task: [plain[n]["name"] for n in task[1]], tasks)[0]
    assert once < copied / 4
    assert twice < copied / 4


SCRIPT = """
    import multiprocessing, os, signal, sys
    import test_loader_people
    from posewright.data.loader import Loader

    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.append(number))
    loader = Loader(*test_loader_people.made(), batch=2, workers=2)
    batches, after = 0, 0
    while after < 8:
        for batch in loader.epoch(batches):
            batches += 1
            after += bool(stop)
            if batches == 2:  # one from each worker
                print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    print("saved", flush=True)
"""

MADE = """
    import torch
    from posewright.codecs.heatmap import GaussianHeatmap
    from posewright.data import coco
    from posewright.spec import Spec

    def made():
        people = coco.read({path!r})
        codec = GaussianHeatmap((64, 48), (16, 12))
        return people, Spec("t", lambda k: torch.nn.Conv2d(3, k, 1), codec, people.skeleton, (64, 48))
"""


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_signals_to_all_let_the_parent_finish(people, tmp_path):
    """Ctrl-C and `timeout` signal the whole group: the parent still gets its batches, and leaves no worker behind."""
    (tmp_path / "test_loader_people.py").write_text(textwrap.dedent(MADE).format(path=str(people.annotations)))
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        for number in (signal.SIGINT, signal.SIGTERM):
            os.killpg(process.pid, number)
        out, errors = process.communicate(timeout=60)
    assert (out, errors, process.returncode) == ("saved\n", "", 0)
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while not all(map(_gone, workers)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)


def test_a_person_looks_the_same_in_any_batch(people):
    """What is drawn depends on seed, epoch and place alone."""
    one, other = (
        {n: b.images[k] for b in Loader(people, SPEC, LIVELY, size, seed=9).epoch(2) for k, n in enumerate(b.index)}
        for size in (1, 11)
    )
    assert all(torch.equal(picture, other[n]) for n, picture in one.items())


def test_shares_of_a_team_make_the_whole_batch(people):
    whole = list(Loader(people, SPEC, LIVELY, 5, seed=1).epoch(0))
    shares = [list(Loader(people, SPEC, LIVELY, 5, seed=1, share=(n, 2)).epoch(0)) for n in (0, 1)]
    for batch, one, two in zip(whole, *shares, strict=True):
        assert (len(one.index), len(two.index)) == (3, 2)
        for name in ("images", "target", "weight"):
            assert torch.equal(getattr(batch, name), torch.cat([getattr(one, name), getattr(two, name)]))
        assert np.array_equal(batch.index, np.concatenate([one.index, two.index]))
    with pytest.raises(ValueError, match="3 processes cannot share a batch of 2 people"):
        Loader(people, SPEC, batch=2, share=(0, 3))


def test_a_smaller_last_batch_may_be_kept(people):
    size = len(people) - 1
    assert len(Loader(people, SPEC, batch=size)) == 1
    loader = Loader(people, SPEC, batch=size, keep_last=True)
    assert [len(b.images) for b in loader.epoch(0)] == [size, 1] == [loader.people_in(0), loader.people_in(1)]
    with pytest.raises(ValueError, match="2 processes cannot share a last batch of 1 people"):
        Loader(people, SPEC, batch=size, keep_last=True, share=(0, 2))


def test_people_of_a_turn_share_their_batches(people):
    """Turns follow one another; every person comes once; a resumed epoch has the same batches left."""
    people = people.subset(np.arange(10))
    turns = np.arange(10) % 2
    loader = Loader(people, SPEC, batch=2, turns=turns, keep_last=True)
    batches = [batch.index for batch in loader.epoch(3)]
    assert len(batches) == len(loader)
    assert [set(turns[index]) for index in batches] == [{n % 2} for n in range(len(batches))]
    assert [len(index) for index in batches] == [loader.people_in(n) for n in range(len(batches))]
    assert sorted(np.concatenate(batches)) == list(range(len(people)))
    assert [batch.index.tolist() for batch in loader.epoch(3, 1)] == [index.tolist() for index in batches[1:]]
    with pytest.raises(ValueError, match="turns must have as many people each, got"):
        Loader(people, SPEC, turns=np.minimum(np.arange(len(people)), 1))
