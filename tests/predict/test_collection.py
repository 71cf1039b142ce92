"""Collections in shards: every image once whatever interrupts the run, wherever the images lie."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posewright import image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.predict import collection_ray
from posewright.predict.boxes import detections
from posewright.predict.collection import MANIFEST, predict_collection
from posewright.predict.collection_ray import reason_in
from posewright.predict.collection_sources import Unread, names_of
from posewright.predict.collection_tars import tar_members
from posewright.predict.predictor import Predictor
from posewright.spec import Spec
from posewright.types import Boxes, Skeleton

fsspec = pytest.importorskip("fsspec")
parquet = pytest.importorskip("pyarrow.parquet")

SPEC = Spec(
    "tiny", lambda channels: torch.nn.Identity(), GaussianHeatmap((32, 32), (8, 8)), Skeleton("two", ("a", "b")),
    (32, 32), mean=(0, 0, 0), std=(255, 255, 255),
)  # fmt: skip


class Net(torch.nn.Module):
    """Finds the brightest places in two colours; signals its own process before the given image."""

    def __init__(self, before: int = 0, number: int = 0, marker: str = "") -> None:
        super().__init__()
        self.calls, self.before, self.number, self.marker = 0, before, number, marker

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += len(images)
        if self.number and self.calls >= self.before and first(self.marker):
            number, self.number = self.number, 0
            os.kill(os.getpid(), number)
        return torch.nn.functional.avg_pool2d(images[:, :2], 4)


def first(marker: str) -> bool:
    """Whether nobody has asked with this file before; always without one."""
    if not marker:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def whole(pixels: np.ndarray) -> Boxes:
    return Boxes.of([[0, 0, pixels.shape[1], pixels.shape[0]]], source="whole")


class Tools:
    """Makes a predictor around a network that is seen from outside."""

    def __init__(self, *settings: int | str, boxes=whole) -> None:
        self.settings, self.boxes = settings, boxes

    def __call__(self):
        made = Predictor(SPEC, Net(), flip=False, batch=1)
        self.net = made.net = Net(*self.settings)  # the one that counts, not its copy
        return made, self.boxes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for n in range(10):
        image.write(tmp_path / "in" / f"{n}.png", random.integers(0, 255, (32, 40, 3), np.uint8))
    return tmp_path / "in"


def run(sources, out="out", tools=None, **options):
    return predict_collection(tools or Tools(), [str(s) for s in sources], str(out), **{"shard_size": 3} | options)


def rows(out: str | Path) -> list[dict]:
    system, path = fsspec.core.url_to_fs(str(out))
    files = sorted(system.glob(f"{path}/part-*.parquet"))
    return [row for file in files for row in parquet.read_table(io.BytesIO(system.cat_file(file))).to_pylist()]


def tar(path: Path, names: list[Path]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w", format=tarfile.GNU_FORMAT) as file:
        for name in names:  # without the headers before headers that Python writes by default
            file.add(name, name.name)
    return path


def test_every_image_has_a_row_and_every_file_is_accounted_for(folder):
    (folder / "5.png").write_bytes(b"broken")
    (folder / "about.md").write_text("not an image")
    summary = run(["in"])
    found = rows("out")
    assert [row["file_name"] for row in found] == [f"in/{n}.png" for n in range(10)]
    assert len({row["image_id"] for row in found}) == 10
    assert [n for n, row in enumerate(found) if row["error"]] == [5]
    assert "in/5.png: not an image" in found[5]["error"]
    expected = Tools()()[0](folder / "3.png", whole)
    (pose,) = found[3]["poses"]
    assert (found[3]["height"], found[3]["width"], pose["bbox"]) == (32, 40, [0, 0, 40, 32])
    np.testing.assert_allclose(np.reshape(pose["keypoints"], (2, 3))[:, :2], expected.xy[0], atol=1e-3)
    assert pose["score"] == pytest.approx(expected.instance_score[0], rel=1e-5)
    assert (summary.shards, summary.finished, summary.kept) == (4, 4, 0)
    assert (summary.counts.images, summary.counts.poses, summary.counts.failed) == (10, 9, 1)
    assert "1 files are neither images nor tar shards: in/about.md" in str(summary)
    manifest = json.loads(Path("out", MANIFEST).read_text())
    assert [shard["images"] for shard in manifest["shards"]] == [3, 3, 3, 1]
    assert manifest["settings"]["model"].startswith("tiny")
    metadata = parquet.read_schema(next(Path("out").glob("part-00000000-*"))).metadata
    assert json.loads(metadata[b"posewright.category"])["keypoints"] == ["a", "b"]


def test_coco_shards_hold_images_annotations_and_categories(folder):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    (folder / "1.png").write_bytes(b"broken")
    run(["in"], shard_format="coco", shard_size=6)
    first_shard, second = sorted(Path("out").glob("part-*.json"))
    content = json.loads(first_shard.read_text())
    assert [entry["file_name"] for entry in content["images"]] == [f"in/{n}.png" for n in range(6)]
    assert "not an image" in content["images"][1]["error"]
    assert len(content["annotations"]) == 5
    assert {len(a["keypoints"]) for a in content["annotations"]} == {6}
    loaded = COCO(str(second))
    assert len(loaded.getAnnIds(imgIds=loaded.getImgIds())) == 4


RUN = """
import sys
from test_collection import Tools, run
summary = run(["in"], tools=Tools(int(sys.argv[1]), int(sys.argv[2])), shard_format=sys.argv[3])
print(summary)
sys.exit(128 + summary.stopped if summary.stopped else 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGKILL, "parquet"), (signal.SIGTERM, "coco")])
def test_a_killed_run_resumes_without_making_a_shard_twice(folder, number, kind):
    run(["in"], "undisturbed", shard_format=kind)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, "8", str(int(number)), kind], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
    )  # fmt: skip
    assert ended.returncode == (-number if number == signal.SIGKILL else 128 + number), ended.stderr
    before = {path: path.stat() for path in Path("out").glob("part-*")}
    assert len(before) == 2  # of three images each: the eighth is in the third
    if number == signal.SIGTERM:
        assert "interrupted: 2 of 4 shards are finished; the same command resumes" in ended.stdout
    tools = Tools()
    summary = run(["in"], tools=tools, shard_format=kind)
    assert (summary.kept, summary.finished, tools.net.calls) == (2, 4, 4)
    assert "2 shards had been finished before" in str(summary)
    for path, state in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (state.st_ino, state.st_mtime_ns)
    assert not [path for path in Path("out").iterdir() if path.suffix == ".partial"]
    shards = {path.name: path.read_bytes() for path in Path("out").glob("part-*")}
    assert shards == {path.name: path.read_bytes() for path in Path("undisturbed").glob("part-*")}


def test_a_finished_run_does_nothing_again(folder):
    run(["in"])
    image.write(folder / "new.png", np.zeros((32, 32, 3), np.uint8))
    tools = Tools()
    summary = run(["in"], tools=tools)
    assert (tools.net.calls, summary.kept, summary.counts.images) == (0, 4, 10)
    assert "resuming the listing of 10 images and tar shards; later ones need another folder" in str(summary)


def test_sources_of_every_kind(folder, tmp_path):
    images = sorted(folder.iterdir())
    tar(tmp_path / "s-00.tar", images[:2])
    tar(tmp_path / "s-01.tar.gz", [*images[2:4], Path(__file__)])
    (tmp_path / "list.txt").write_text(f"# some\nin/4.png\n\n{images[5]}\nmemory://bucket/a.png\ns-00.tar\n")
    memory = fsspec.filesystem("memory")
    for name, path in (("/bucket/a.png", images[6]), ("/bucket/sub/b.png", images[7]), ("/bucket/.c.png", images[8])):
        memory.pipe(name, path.read_bytes())
    (tmp_path / "odd[1]").mkdir()
    (tmp_path / "odd[1]" / "0.png").write_bytes(images[0].read_bytes())
    unread = Unread()

    def names(*sources, **options):
        return list(names_of([str(s) for s in sources], unread=unread, **options))

    assert names("in") == names("in/", "in/") == [f"in/{n}.png" for n in range(10)]
    assert names("in/[2-4].png") == ["in/2.png", "in/3.png", "in/4.png"]
    assert names(tmp_path / "in/[2-4].png") == [str(folder / f"{n}.png") for n in (2, 3, 4)]
    assert names("s-{00..00}.tar", "s-{01..01}.tar.gz") == ["s-00.tar", "s-01.tar.gz"]
    assert names("list.txt") == ["in/4.png", str(images[5]), "memory://bucket/a.png", "s-00.tar"]
    assert names(tmp_path / "list.txt")[0] == str(tmp_path / "in/4.png")
    assert names("memory://bucket") == ["memory://bucket/a.png"]
    assert names("memory://bucket", recursive=True) == ["memory://bucket/a.png", "memory://bucket/sub/b.png"]
    assert names("memory://bucket/*/*.png") == ["memory:///bucket/sub/b.png"]
    assert names(folder.as_uri())[0] == f"{folder.as_uri()}/0.png"
    assert names("odd[1]") == ["odd[1]/0.png"]
    assert unread.count == 0
    run(["s-{00..00}.tar", "s-01.tar.gz", "list.txt", "memory://bucket/sub", folder.as_uri(), "odd[1]"])
    found = rows("out")
    assert [row["error"] for row in found if row["error"]] == []
    assert [row["file_name"] for row in found[:5]] == [
        "s-00.tar/0.png", "s-00.tar/1.png", "s-01.tar.gz/2.png", "s-01.tar.gz/3.png", "in/4.png",
    ]  # fmt: skip
    assert len(found) == 4 + 3 + 2 + 1 + 10 + 1
    assert [len(row["poses"]) for row in found] == [1] * len(found)


def test_a_tar_that_is_cut_short_yields_what_there_is_and_says_so(folder, tmp_path):
    path = tar(tmp_path / "cut.tar", sorted(folder.iterdir()))
    path.write_bytes(path.read_bytes()[:9000])
    members = list(tar_members("cut.tar"))
    assert members[0] == ("cut.tar/0.png", (folder / "0.png").read_bytes())
    assert "cut.tar: the tar shard is damaged or cut short" in str(members[-1][1])
    assert 1 < len(members) < 10
    (tmp_path / "text.tar").write_text("hello")
    tar(tmp_path / "none.tar", [Path(__file__)])
    summary = run(["text.tar", "none.tar"])
    assert (summary.counts.images, summary.counts.failed) == (2, 2)
    assert "text.tar: the tar shard is damaged" in str(summary)
    assert "none.tar: this tar shard holds no image" in str(summary)


def cut_in_a_header(data: bytes) -> bytes:
    return data[: data.index(b"3.png") + 100]


def cut_between_members(data: bytes) -> bytes:
    return data[: data.index(b"3.png")]


def with_a_wrong_checksum(data: bytes) -> bytes:
    return data.replace(b"3.png", b"8.png", 1)


def with_a_zeroed_header(data: bytes) -> bytes:
    at = data.index(b"3.png")
    return data[:at] + bytes(512) + data[at + 512 :]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("damage", [cut_in_a_header, cut_between_members, with_a_wrong_checksum, with_a_zeroed_header])
def test_a_tar_damaged_in_the_middle_yields_what_is_before_and_says_so(folder, tmp_path, damage, suffix):
    data = damage(tar(tmp_path / "good.tar", sorted(folder.iterdir())).read_bytes())
    address = f"memory://{tmp_path.name}/bad{suffix}"
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/bad{suffix}", data if suffix == ".tar" else gzip.compress(data))
    *members, (name, wrong) = list(tar_members(address))
    assert members == [(f"{address}/{n}.png", (folder / f"{n}.png").read_bytes()) for n in range(3)]
    assert name == address
    assert "the tar shard is damaged or cut short" in str(wrong)


def test_a_compressed_tar_with_other_bytes_than_were_written_says_so(folder, tmp_path):
    path = tar(tmp_path / "s.tar.gz", sorted(folder.iterdir()))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # of the checksum
    path.write_bytes(data)
    assert "CRC check failed" in str(list(tar_members("s.tar.gz"))[-1][1])
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    assert "the tar shard is damaged or cut short" in str(list(tar_members("s.tar.gz"))[-1][1])


class Pipe(io.BytesIO):
    """A stream that gives what it has in small pieces, and cannot seek."""

    def read(self, size=-1):
        return super().read(min(size, 700))

    def seekable(self):
        return False

    def seek(self, *_):
        raise OSError("cannot seek")


@pytest.mark.parametrize("form", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("padding", [1024, 10240])
def test_a_good_tar_is_read_to_its_end_also_where_it_cannot_seek(folder, monkeypatch, form, padding):
    from fsspec.implementations.memory import MemoryFileSystem

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=form) as file:
        for name in sorted(folder.iterdir()):
            file.add(name, name.name)
    data = content.getvalue()
    if form == "w":
        end = data.rstrip(b"\0")
        data = end.ljust(-(-len(end) // 512) * 512, b"\0") + bytes(padding)
    monkeypatch.setattr(MemoryFileSystem, "open", lambda *_: Pipe(data))
    members = list(tar_members("memory://any.tar"))
    assert members == [(f"memory://any.tar/{n}.png", (folder / f"{n}.png").read_bytes()) for n in range(10)]


def test_a_tar_or_an_image_that_is_not_there_has_a_row_and_the_next_are_read(folder, tmp_path):
    tar(tmp_path / "s.tar", sorted(folder.iterdir())[:2])
    long = "n" * 300
    (tmp_path / "list.txt").write_text(f"gone.tar\n{long}.tar\ns.tar\nin/gone.png\n{long}.png\nin/0.png")
    summary = run(["list.txt"])
    assert (summary.counts.images, summary.counts.failed) == (7, 4)
    failed = [row["error"] for row in rows("out") if row["error"]]
    assert failed[0] == "gone.tar: the tar shard cannot be read (No such file or directory)"
    assert "n.tar: the tar shard cannot be read (File name too long)" in failed[1]
    assert failed[2] == "in/gone.png: no such image file"
    assert "n.png: cannot be read (File name too long)" in failed[3]


@pytest.mark.parametrize("kind", ["parquet", "coco"])
def test_a_disk_that_cannot_be_read_stops_the_run_and_is_not_taken_for_one_that_cannot_be_written(
    folder, monkeypatch, kind
):
    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(image, "read", broken)
    with pytest.raises(OSError, match=r"^\[Errno 5\] in/0\.png: cannot be read \(Input/output error\)$"):
        run(["in"], shard_format=kind)


def test_an_image_that_cannot_be_read_has_the_id_of_the_box_file_too(folder, tmp_path):
    (folder / "1.png").write_bytes(b"broken")
    (folder / "other.png").write_bytes((folder / "2.png").read_bytes())
    found = [{"image_id": n, "category_id": 1, "bbox": [n, 0, 9, 9], "score": 0.5} for n in range(10)]
    (tmp_path / "det.json").write_text(json.dumps(found))
    run(["in"], tools=Tools(boxes=detections(tmp_path / "det.json")), shard_size=20)
    assert [row["image_id"] for row in rows("out")] == [*range(10), -11]
    assert [n for n, row in enumerate(rows("out")) if row["error"]] == [1, 10]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
def test_names_that_are_not_utf_8_are_read_and_written_with_their_bytes_in_hex(folder, tmp_path):
    odd = Path(os.fsdecode(b"caf\xe9"))
    odd.mkdir()
    for n in range(2):
        (odd / os.fsdecode(b"%d\xff.png" % n)).write_bytes((folder / f"{n}.png").read_bytes())
    (odd / os.fsdecode(b"2\xff.png")).write_bytes(b"broken")
    (odd / os.fsdecode(b"\xff.md")).write_text("no image")
    tar(odd / os.fsdecode(b"s\xff.tar"), [odd / os.fsdecode(b"0\xff.png")])
    summary = run([odd])
    names = [row["file_name"] for row in rows("out")]
    assert names == [rf"caf\xe9/{n}\xff.png" for n in range(3)] + [r"caf\xe9/s\xff.tar/0\xff.png"]
    assert [row["error"][:18] for row in rows("out")] == ["", "", r"caf\xe9/2\xff.png:", ""]
    assert r"caf\xe9/\xff.md" in str(summary)


def test_results_go_to_object_stores_and_boxes_come_from_files(folder, tmp_path):
    out = f"memory://results/{tmp_path.name}"
    found = [{"image_id": n, "category_id": 1, "bbox": [n, 0, 9, 9], "score": 0.5} for n in range(9)]
    (tmp_path / "det.json").write_text(json.dumps([*found, found[0] | {"bbox": [99, 0, 9, 9]}]))
    summary = run(["in"], out, Tools(boxes=detections(tmp_path / "det.json")))
    assert (summary.finished, summary.counts.poses) == (4, 9)
    assert [row["image_id"] for row in rows(out)] == list(range(10))
    assert [pose["bbox"] for row in rows(out) for pose in row["poses"]] == [[n, 0, 9, 9] for n in range(9)]
    assert run(["in"], out, Tools(boxes=detections(tmp_path / "det.json"))).kept == 4


def test_what_cannot_be_is_said(folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("# nothing\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for sources, options, kind, message in (
        (["gone"], {}, FileNotFoundError, "gone: no such file or folder"),
        (["gone.txt"], {}, FileNotFoundError, r"gone\.txt: no such file"),
        (["in/*.tif"], {}, FileNotFoundError, r"in/\*\.tif: nothing matches this pattern"),
        (["empty"], {}, ValueError, "empty: no images and no tar shards; --recursive takes those of sub-folders"),
        (["none.txt"], {}, ValueError, r"none\.txt: lists no image"),
        (["bytes.txt"], {}, ValueError, r"bytes\.txt: expected a text file with one image or tar shard per line"),
        ([__file__], {}, ValueError, r"expected a folder, a \.txt list, a tar shard or an image"),
        (["nowhere://x"], {}, ValueError, "nowhere://x: Protocol not known"),
        (["in"], {"shard_size": 0}, ValueError, "expected at least 1 image per shard, got 0"),
    ):
        with pytest.raises(kind, match=message):
            run(sources, "not-made", **options)
    assert not list(Path("not-made").glob("p*"))
    run(["in"])
    with pytest.raises(ValueError, match=r"out: holds results of a run with other settings \(shards, sources\)"):
        run(["in", "in/0.png"], shard_size=4)
    Path("out", "plan.json").unlink()
    with pytest.raises(ValueError, match=r"out: holds shards of results, but no plan\.json that says of what"):
        run(["in"])
    for name, message in (
        ("pyarrow", "--shard-format coco does not need it"),
        ("fsspec.core", "collections need fsspec"),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError, match=rf"{message}|pip install posewright\[collection\]"):
            run(["in"], "other")
        monkeypatch.undo()


def test_two_runs_in_one_folder_are_refused(folder):
    pytest.importorskip("fcntl")

    def nested(pixels: np.ndarray) -> Boxes:
        with pytest.raises(BlockingIOError, match="out is in use: another run writes its results there"):
            run(["in"])
        return whole(pixels)

    assert run(["in/0.png"], tools=Tools(boxes=nested)).counts.poses == 1


def test_a_full_disk_stops_the_run_and_what_is_finished_stays(folder, monkeypatch):
    from posewright import files

    sync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 5:  # the plan and its settings, then two shards
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write out/part-00000002-.*: No space left on device; free some space"):
        run(["in"])
    assert len(list(Path("out").glob("part-*"))) == 2
    assert run(["in"]).kept == 2


def test_a_report_of_ray_s_is_cut_down_to_its_reason():
    report = """\x1b[36mray::MapWorker(MapBatches(_Worker)).submit()\x1b[39m (pid=20498, ip=192.0.2.2, actor_id=dccf39)
  File "collection_ray.py", line 42, in __call__
    names.append(make_shard(self.folder, shard, self.predictor, self.boxes))
                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
OSError: [Errno 28] cannot write out/part-00000000-c768cab2.parquet: No space left on device

The above exception was the direct cause of the following exception:

\x1b[36mray::MapWorker(MapBatches(_Worker)).submit()\x1b[39m (pid=20498, ip=192.0.2.2, actor_id=dccf39)
ray.exceptions.UserCodeException: UDF failed to process a data block.
Failed to apply UDF transform after 1/1 attempts (total backoff 0.0s).
To change retry attempts, configure `ray.data.DataContext.get_current()` if you believe this to be transient.
"""
    assert reason_in(report).startswith("OSError: [Errno 28] cannot write out/part-00000000-c768cab2.parquet: No space")
    assert reason_in("a\nray.exceptions.ActorDiedError: it died\nb").endswith("it died")
    assert reason_in("lost\n") == "lost"
    assert reason_in("") == "nothing was said"


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("plan.json", 20, r"out/plan\.json: .*; it is damaged: remove the folder, or choose another"),
        ("plan.jsonl", 70, r"out/plan\.jsonl: .*; it is damaged: remove the folder, or choose another"),
        ("plan.jsonl", None, r"out/plan\.jsonl: expected 4 lines, got 3; it is damaged"),
    ],
)
def test_a_damaged_plan_is_named(folder, name, keep, message):
    run(["in"])
    path = Path("out", name)
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep else b"".join(data.splitlines(keepends=True)[:3]))
    with pytest.raises(ValueError, match=message):
        run(["in"])


def test_a_file_is_no_folder_for_shards(folder):
    Path("out").write_text("mine")
    with pytest.raises(ValueError, match="out: expected a folder for shards of results, got a file; choose another"):
        run(["in"])


def test_an_address_of_ray_s_client_says_what_it_needs():
    def init(address, **_):
        raise ValueError("Ray Client requires pip package `ray[client]`. If you installed the minimal Ray, reinstall.")

    with pytest.raises(ModuleNotFoundError, match=r'^--ray ray://h:1: such addresses need .*"ray\[client\]"`$'):
        collection_ray._connect(SimpleNamespace(init=init), "ray://h:1", 0)


RAY = """
import sys
from test_collection import Tools, run
print(run(["in"], "out", Tools(3, 9, sys.argv[1]), shard_size=2, ray="local", workers=2))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
def test_a_cluster_makes_every_image_once_though_a_worker_is_killed(folder, tmp_path):
    """In a process of its own, for Ray warns and logs as it likes, and leaves processes to those who started it."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install posewright[collection]")
    marker = tmp_path / "killed"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    settings = {"PYTHONPATH": path, "RAY_worker_niceness": "0"}  # or a busy machine would hardly run the workers
    ended = subprocess.run(
        [sys.executable, "-c", RAY, str(marker)], capture_output=True, text=True, env=os.environ | settings
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert marker.exists()
    assert [row["file_name"] for row in rows("out")] == [f"in/{n}.png" for n in range(10)]
    assert "10 images, 10 poses in 5 of 5 shards in out" in ended.stdout
    shards = {path.name: path.read_bytes() for path in Path("out").glob("part-*")}
    run(["in"], "undisturbed", shard_size=2)
    assert shards == {path.name: path.read_bytes() for path in Path("undisturbed").glob("part-*")}
