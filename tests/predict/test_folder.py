"""A run over images: what is written when it ends well, badly, or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from posewright import image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.predict.folder import predict_images, settings_of
from posewright.predict.journal import NAME, Entry, Journal
from posewright.predict.predictor import Predictor
from posewright.predict.summary import Output
from posewright.spec import Spec
from posewright.types import Boxes, Skeleton

SPEC = Spec(
    "tiny", lambda channels: torch.nn.Identity(), GaussianHeatmap((32, 32), (8, 8)), Skeleton("two", ("a", "b")),
    (32, 32), mean=(0, 0, 0), std=(255, 255, 255),
)  # fmt: skip


class Net(torch.nn.Module):
    """Finds the brightest places in two colours, and counts the images."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += len(images)
        return torch.nn.functional.avg_pool2d(images[:, :2], 4)


def signal_after(count: int, number: int) -> Callable[[Journal, Entry], None]:
    """In place of `Journal.add`: signals the process once so many images are in the journal."""
    add = Journal.add

    def added(journal: Journal, entry: Entry) -> None:
        add(journal, entry)
        if len(journal) == count:
            os.kill(os.getpid(), number)

    return added


def predictor(net: Net) -> Predictor:
    made = Predictor(SPEC, net, flip=False, batch=1)
    made.net = net  # the one that counts, not its copy
    return made


def whole(pixels: np.ndarray) -> Boxes:
    return Boxes.of([[0, 0, pixels.shape[1], pixels.shape[0]]], source="whole")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for n in range(5):
        image.write(tmp_path / "in" / f"{n}.png", random.integers(0, 255, (32, 32, 3), np.uint8))
    return tmp_path / "in"


def results(out: Path) -> list[dict]:
    return json.loads((out / "results.json").read_text())


def test_results_name_image_and_box(folder, tmp_path):
    summary = predict_images(predictor(Net()), [folder], tmp_path / "out", whole, output=Output(csv=True, coco=True))
    assert (summary.images, summary.poses, summary.total) == (5, 5, 5)
    first = results(tmp_path / "out")[0]
    assert list(first)[:2] == ["image_id", "file_name"]
    assert (first["image_id"], first["file_name"], first["bbox"]) == (0, "0.png", [0, 0, 32, 32])
    assert "box" not in first
    table = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert table[0] == "file_name,image_id,person,point,x,y,score"
    assert table[1] == f"0.png,0,1,a,{','.join(map(str, first['keypoints'][:3]))}"
    assert len(table) == 11
    assert not (tmp_path / "out" / NAME).exists()


def test_a_drawing_never_replaces_an_image_of_the_run(folder):
    image.write(folder / "0_pose.jpg", np.zeros((32, 32, 3), np.uint8))
    before = (folder / "0_pose.jpg").read_bytes()
    with pytest.raises(ValueError, match=r"0_pose\.jpg: the drawing of .*0\.png would replace this image"):
        predict_images(predictor(Net()), [folder], folder, whole)
    assert (folder / "0_pose.jpg").read_bytes() == before


def test_a_file_of_another_program_is_not_replaced(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_text('{"my": "own"}\n')
    with pytest.raises(ValueError, match=rf"{NAME}: expected what an interrupted run left, got another file"):
        predict_images(predictor(Net()), [folder], tmp_path / "out", whole)
    assert (tmp_path / "out" / NAME).read_text() == '{"my": "own"}\n'
    (tmp_path / "out" / NAME).write_text('{"sett')  # of a run that was killed
    assert predict_images(predictor(Net()), [folder], tmp_path / "out", whole).images == 5


def test_an_image_that_may_not_be_read_is_skipped(folder, tmp_path, monkeypatch):
    read = Path.read_bytes

    def refused(path):
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    summary = predict_images(predictor(Net()), [folder], tmp_path / "out", whole)
    assert (summary.images, len(summary.failed), "2.png" in summary.failed[0]) == (4, 1, True)


def test_drawings_and_results_keep_the_folders(folder, tmp_path):
    for name in ("sub/0.png", "1.bmp"):
        image.write(folder / name, np.zeros((32, 32, 3), np.uint8))
    predict_images(predictor(Net()), [folder], tmp_path / "out", whole, recursive=True)
    drawn = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*_pose.jpg")}
    assert {"sub/0_pose.jpg", "0_pose.jpg", "1.bmp_pose.jpg", "1.png_pose.jpg"} <= drawn
    assert len(drawn) == 7
    found = results(tmp_path / "out")
    assert len({r["image_id"] for r in found}) == 7
    assert "sub/0.png" in {r["file_name"] for r in found}


def test_a_run_that_fails_leaves_the_earlier_results(folder, tmp_path):
    out = tmp_path / "out"
    predict_images(predictor(Net()), [folder], out, whole)
    before = (out / "results.json").read_bytes()
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ValueError, match="not an image"):
        predict_images(predictor(Net()), [tmp_path / "text.jpg"], out, whole)
    assert (out / "results.json").read_bytes() == before
    assert not (out / NAME).exists()

    class Fault(Net):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.calls == 2:
                raise RuntimeError("the network fails")
            return super().forward(images)

    with pytest.raises(RuntimeError):
        predict_images(predictor(Fault()), [folder], out, whole)
    assert (out / "results.json").read_bytes() == before
    again = Net()
    summary = predict_images(predictor(again), [folder], out, whole)
    assert summary.images == 5
    assert (out / "results.json").read_bytes() == before


RUN = """
import sys
from collections.abc import Callable
from pathlib import Path
from test_folder import Journal, Net, predictor, signal_after, whole
from posewright.predict.folder import predict_images
Journal.add = signal_after(3, int(sys.argv[1]))
summary = predict_images(predictor(Net()), [Path(sys.argv[2])], Path(sys.argv[3]), whole)
print(summary)
sys.exit(128 + summary.stopped if summary.stopped else 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_resumes_without_redoing_what_was_finished(folder, tmp_path, number):
    out, whole_out = tmp_path / "out", tmp_path / "undisturbed"
    predict_images(predictor(Net()), [folder], whole_out, whole)
    out.mkdir()
    (out / "results.json").write_text("[]")
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(int(number)), str(folder), str(out)],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == (-number if number == signal.SIGKILL else 128 + number), ended.stderr
    assert (out / "results.json").read_text() == "[]"
    lines = (out / NAME).read_text().splitlines()
    assert len(lines) - 1 == (3 if number == signal.SIGKILL else 4)  # what is being drawn is finished
    if number == signal.SIGTERM:
        assert f"interrupted: {len(lines) - 1} of 5 images are finished" in ended.stdout
    with (out / NAME).open("a") as file:
        file.write('{"name": "4.png", "image_')  # what a kill may leave of a line
    net = Net()
    summary = predict_images(predictor(net), [folder], out, whole)
    assert net.calls == 5 - summary.kept == 5 - (len(lines) - 1)
    assert results(out) == results(whole_out)
    assert "had been finished by an interrupted run" in str(summary)


@pytest.fixture
def half(folder, tmp_path, monkeypatch) -> Path:
    """The folder of a run that was interrupted after two images, while a third was being drawn."""
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", signal_after(2, signal.SIGINT))
        summary = predict_images(predictor(Net()), [folder], tmp_path / "out", whole)
    assert (summary.stopped, summary.images) == (signal.SIGINT, 3)
    return tmp_path / "out"


def test_other_settings_start_over_and_say_so(half, folder):
    net = Net()
    summary = predict_images(predictor(net), [folder], half, whole, output=Output(keypoint_threshold=0.1))
    assert (net.calls, summary.kept) == (5, 0)
    assert "an interrupted run with other settings (thresholds): all images are predicted again" in str(summary)


def test_other_weights_start_over(half, folder):
    net = Net()
    net.register_buffer("more", torch.ones(3))
    assert predict_images(predictor(net), [folder], half, whole).kept == 0


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "ncnn"])
def test_networks_of_all_runtimes_are_told_apart(tmp_path, monkeypatch, runtime):
    for package in ("onnx", *{"onnx": ["onnxruntime"], "openvino": ["openvino"], "ncnn": ["ncnn", "pnnx"]}[runtime]):
        pytest.importorskip(package)
    monkeypatch.setenv("POSEWRIGHT_CACHE", str(tmp_path))

    def settings(seed: int) -> dict[str, str]:
        torch.manual_seed(seed)
        net = torch.nn.Conv2d(3, 2, 3, stride=4, padding=1)
        return settings_of(Predictor(SPEC, net, flip=False, device="cpu", runtime=runtime), None)

    assert settings(0) == settings(0)
    assert {name for name, value in settings(0).items() if value != settings(1)[name]} == {"weights"}


def test_changed_images_and_lost_drawings_are_predicted_again(half, folder):
    image.write(folder / "0.png", np.zeros((32, 32, 3), np.uint8))
    (half / "1_pose.jpg").unlink()
    assert predict_images(predictor(Net()), [folder], half, whole).kept == 1


def test_each_image_is_decoded_once_unless_it_is_large(folder, tmp_path, monkeypatch):
    from posewright.predict import folder as module

    decode, names = image.decode, []
    monkeypatch.setattr(
        image, "decode", lambda data, name, **options: names.append(name) or decode(data, name, **options)
    )
    predict_images(predictor(Net()), [folder], tmp_path / "out", whole)
    assert sorted(names) == sorted(map(str, folder.iterdir()))
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.jpg")}
    monkeypatch.setattr(module, "_HELD", 0)
    predict_images(predictor(Net()), [folder], tmp_path / "again", whole)
    assert len(names) == 5 + 10
    assert drawn == {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.jpg")}


def test_two_runs_in_one_folder_are_refused(folder, tmp_path):
    pytest.importorskip("fcntl")

    def nested(pixels: np.ndarray) -> Boxes:
        with pytest.raises(BlockingIOError, match="is in use: another run writes its results there"):
            predict_images(predictor(Net()), [folder], tmp_path / "out", whole)
        return whole(pixels)

    assert predict_images(predictor(Net()), [folder / "0.png"], tmp_path / "out", nested).images == 1


def test_nothing_drawn_is_explained(folder, tmp_path):
    def none(pixels: np.ndarray) -> Boxes:
        return Boxes.of([], source="nobody")

    def summary(boxes, output):
        return str(predict_images(predictor(Net()), [folder], tmp_path / "out", boxes, output=output))

    assert "nothing was drawn: no boxes of people (boxes: nobody)" in summary(none, Output())
    assert "best pose scores" in summary(whole, Output(score_threshold=5))
    assert "--keypoint-threshold is 5; a lower one shows what was found" in summary(whole, Output(0, 5))
    assert "was drawn:" not in summary(whole, Output(0, -1))
