"""Videos in and out: times, sound, what is broken, and what an interruption leaves."""

from __future__ import annotations

import csv
import dataclasses
import itertools
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

import posewright as pw
from posewright import image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.predict.frames import open_frames
from posewright.predict.predictor import Predictor
from posewright.predict.recording import predict_video
from posewright.predict.video import follow
from posewright.spec import Spec
from posewright.types import Boxes, Skeleton

av = pytest.importorskip("av")
pytest.importorskip("scipy")

SPEC = Spec(
    "tiny", lambda channels: torch.nn.Identity(), GaussianHeatmap((32, 32), (32, 32)),
    Skeleton("three", ("red", "green", "blue")), (32, 32), mean=(0, 0, 0), std=(255, 255, 255),
)  # fmt: skip
PREDICTOR = Predictor(SPEC, lambda images: images, flip=False)  # each colour's brightest place
TIMES = [0.0, 0.04, 0.08, 0.2, 0.24, 0.4, 0.44, 0.48, 0.52, 0.6]
CORNERS = np.array([(20, 20), (8, 36), (44, 24)])  # of red, green and blue, in a person's box


def picture(x: float) -> np.ndarray:
    """A person of three coloured dots, whose box starts at (x, 10)."""
    out = np.zeros((96, 160, 3), np.uint8)
    for corner, colour in zip(CORNERS, np.eye(3) * 255):
        image.draw_disc(out, (corner[0] + x, corner[1] + 10), 3, tuple(int(c) for c in colour))
    return out


def detector(pixels: np.ndarray) -> Boxes:
    """The box of that person, wherever the green dot is."""
    detector.calls += 1
    rows, columns = np.nonzero(pixels[..., 1] > 128)
    if not len(rows):
        return Boxes.of([])
    return Boxes.of([[columns.mean() - 8, rows.mean() - 36, 56, 64]], [0.9], "dots")


@pytest.fixture
def make(write_video) -> Callable[..., Path]:
    """Makes a video of the person, who walks that many pixels in a second."""

    def make(path: Path, times=TIMES, *, speed: float = 60, **options) -> Path:
        return write_video(path, [picture(10 + speed * time) for time in times], times, **options)

    return make


@pytest.fixture
def clip(make, tmp_path) -> Path:
    return make(tmp_path / "clip.mp4", sound="aac")


def run(path, tmp_path, **options):
    detector.calls = 0
    return predict_video(open_frames(path), PREDICTOR, tmp_path / "out", detector, **options)


def pictures(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as file:
        decoded = list(file.decode(video=0))
    return [float(f.time) for f in decoded], [f.to_ndarray(format="rgb24") for f in decoded]


def test_a_video_becomes_a_video_lines_and_a_table(clip, tmp_path):
    summary = run(clip, tmp_path, every=5)
    assert (summary.frames, summary.people, summary.poses) == (10, 1, 10)
    assert detector.calls == 2
    out = tmp_path / "out"
    lines = [json.loads(line) for line in (out / "clip_poses.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(10))
    np.testing.assert_allclose([line["time"] for line in lines], TIMES, atol=1e-3)
    with (out / "clip_poses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "time", "id", "point", "x", "y", "score"]
    assert len(rows) == 30
    for row in rows:  # found where it was drawn, also in frames without a detector
        corner = CORNERS[SPEC.skeleton.points.index(row["point"])]
        assert abs(float(row["x"]) - (corner[0] + 10 + 60 * float(row["time"]))) < 4
        assert abs(float(row["y"]) - (corner[1] + 10)) < 4
        assert row["id"] == "1"
    times, drawn = pictures(out / "clip_pose.mp4")
    np.testing.assert_allclose(times, TIMES, atol=2e-3)
    assert drawn[0].shape == (96, 160, 3)
    with av.open(str(out / "clip_pose.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize(
    ("name", "sound", "codec"),
    [
        ("clip.mp4", "aac", "mpeg4"),
        ("clip.avi", "pcm_s16le", "mpeg4"),
        ("clip.mkv", "ac3", "mpeg4"),  # which MP4 describes by its first packet only
        ("clip.ts", "aac", "libx264"),  # described in each packet
    ],
)
def test_sound_is_kept(make, tmp_path, name, sound, codec):
    if sound == "ac3" and sound not in av.codecs_available:
        pytest.skip("FFmpeg without an encoder for AC-3")
    clip = make(tmp_path / name, [n / 25 for n in range(12)], sound=sound, codec=codec)
    run(clip, tmp_path)
    with av.open(str(tmp_path / "out" / "clip_pose.mp4")) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds > 0.2


def test_a_truncated_video_yields_what_there_is_and_says_so(make, tmp_path):
    clip = make(tmp_path / "clip.mkv", [n / 25 for n in range(50)], speed=30)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    summary = run(clip, tmp_path)
    assert 5 < summary.frames < 45
    assert "the video ends early" in str(summary)
    assert len(pictures(tmp_path / "out" / "clip_pose.mp4")[0]) == summary.frames


def test_videos_joined_end_to_end_go_on_in_time(make, tmp_path):
    clip = make(tmp_path / "clip.ts", [n / 25 for n in range(10)], sound="mp2")
    (tmp_path / "twice.ts").write_bytes(clip.read_bytes() * 2)
    summary = run(tmp_path / "twice.ts", tmp_path)
    times, _ = pictures(tmp_path / "out" / "twice_pose.mp4")
    assert summary.frames == len(times) == 20
    assert np.diff(times[1:]).min() > 0.03
    assert summary.length == pytest.approx(19 / 25, abs=0.05)
    assert "the sound ends after" in str(summary)


def test_frames_of_one_time_are_all_written(make, tmp_path):
    times = [0.0, 0.04, 0.08, 0.080001, 0.080002, 0.12]  # as such frames are read
    clip = make(tmp_path / "clip.mkv", [n / 25 for n in range(6)])
    frames = open_frames(clip)
    frames.frames = (dataclasses.replace(frame, time=time) for frame, time in zip(frames.frames, times))
    assert predict_video(frames, PREDICTOR, tmp_path / "out", detector).frames == 6
    assert len(pictures(tmp_path / "out" / "clip_pose.mp4")[0]) == 6


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_a_video_begins_at_0(make, tmp_path, name):
    clip = make(tmp_path / name, [4 + n / 25 for n in range(5)])
    np.testing.assert_allclose([frame.time for frame in open_frames(clip).frames], np.arange(5) / 25, atol=2e-3)


def test_broken_frames_are_left_out_and_counted(make, tmp_path):
    clip = make(tmp_path / "clip.mkv", [n / 25 for n in range(30)], codec="mpeg4")
    with av.open(str(clip)) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    for at, size in places[10:13]:
        start = data.index(b"\x00\x00\x01", at)
        data[start : start + size - 16] = bytes([0xFF]) * (size - 16)
    clip.write_bytes(data)
    summary = run(clip, tmp_path)
    assert 20 <= summary.frames < 30
    assert "broken pieces of the video were left out" in str(summary)


def test_folders_of_frames_are_videos_on_request(tmp_path):
    for n in range(6):
        image.write(tmp_path / "frames" / f"{n:03}.png", picture(10 + n))
    (tmp_path / "frames" / "002.png").write_bytes(b"broken")
    frames = open_frames(tmp_path / "frames", rate=10)
    summary = predict_video(frames, PREDICTOR, tmp_path / "out", detector)
    assert (summary.frames, summary.length) == (5, 0.5)
    assert "002.png: not an image" in str(summary)
    assert (tmp_path / "out" / "frames_pose.mp4").exists()


def test_who_leaves_and_comes_back_is_searched_for(tmp_path):
    shown = [n for n in range(30) if not 8 <= n < 16]
    for n in range(30):
        image.write(tmp_path / "frames" / f"{n:03}.png", picture(30) if n in shown else picture(30) * 0)
    detector.calls = 0
    frames = open_frames(tmp_path / "frames", rate=25)
    found = {v.number: v.ids.tolist() for v in follow(frames, PREDICTOR, detector, every=100)}
    assert [n for n, ids in found.items() if ids] == shown
    assert {i for ids in found.values() for i in ids} == {1}
    assert 8 <= detector.calls <= 10  # once at the start, and in each frame without anybody


def test_pw_video_yields_frame_time_and_poses(clip):
    detector.calls = 0
    found = list(pw.video(clip, PREDICTOR, detector, smooth="one-euro"))
    assert len(found) == 10
    for n, each in enumerate(found):
        frame, time, poses = each
        assert frame.shape == (96, 160, 3)
        assert time == pytest.approx(TIMES[n], abs=1e-3)
        assert (len(poses), each.ids.tolist(), each.number) == (1, [1], n)
    with pytest.raises(ValueError, match="smooth must be"):
        pw.video(clip, PREDICTOR, detector, smooth="kalman")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="every must be at least 1"):
        pw.video(clip, PREDICTOR, detector, every=0)


def test_smoothing_that_looks_ahead_yields_every_frame_once_and_keeps_motion(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(40):
        image.write(tmp_path / "frames" / f"{n:03}.png", picture(10 + n + float(rng.normal(0, 1.5))))
    errors, detector.calls = {}, 0
    for smooth in ("none", "savitzky-golay"):
        found = list(pw.video(tmp_path / "frames", PREDICTOR, detector, smooth=smooth))
        assert [v.number for v in found] == list(range(40))
        green = np.array([v.poses.xy[0, 1, 0] for v in found])
        errors[smooth] = np.abs(green - (CORNERS[1, 0] + 10 + np.arange(40))).mean()
    assert errors["savitzky-golay"] < 0.75 * errors["none"]


def test_leaving_early_ends_the_reading(clip):
    videos = pw.video(clip, PREDICTOR, detector)
    next(videos)
    videos.close()  # pyright: ignore[reportAttributeAccessIssue]


def test_without_pyav_opencv_reads_and_no_video_is_written(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    summary = run(clip, tmp_path)
    assert summary.frames == 10
    assert "read by OpenCV" in str(summary)
    assert "no annotated video is written: videos are written by PyAV: pip install posewright[video]" in str(summary)
    assert [path.name for path in summary.files] == ["clip_poses.jsonl", "clip_poses.csv"]


def test_a_camera_runs_until_it_is_stopped_and_its_newest_frame_is_taken(tmp_path, monkeypatch):
    taken = []

    def pictures(source):
        assert source == 3
        for n in itertools.count():
            taken.append(n)
            yield picture(10 + n % 20)

    monkeypatch.setattr(image, "capture", pictures)
    frames = open_frames("3")
    assert (frames.name, frames.live, frames.file) == ("camera 3", True, "")

    def stopping(pixels):
        found = detector(pixels)
        if detector.calls == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return found

    detector.calls = 0
    summary = predict_video(frames, PREDICTOR, tmp_path / "out", stopping, every=1)
    assert summary.stopped == signal.SIGINT
    lines = [json.loads(line) for line in (tmp_path / "out" / "camera3_poses.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines]
    assert len(lines) == summary.frames >= 1
    assert times == sorted(set(times))
    assert len(list(open_frames(tmp_path / "out" / "camera3_pose.mp4").frames)) == len(lines)
    assert len(taken) >= len(lines)


def test_a_codec_or_an_encoder_that_is_missing_is_said(make, tmp_path, monkeypatch):
    clip = make(tmp_path / "clip.mp4")
    (tmp_path / "odd.mp4").write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(ValueError, match=r"odd\.mp4: its codec cannot be decoded by this installation of FFmpeg"):
        open_frames(tmp_path / "odd.mp4")
    codec = av.codec.Codec

    def without(*missing):
        def find(name, mode="r"):
            if name in missing:
                raise av.codec.codec.UnknownCodecError(name)
            return codec(name, mode)

        monkeypatch.setattr("av.codec.Codec", find)

    without("libx264", "h264")
    summary = run(clip, tmp_path)
    assert "this installation of FFmpeg has no H.264 encoder: the video is MPEG-4 part 2" in str(summary)
    with av.open(str(tmp_path / "out" / "clip_pose.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "mpeg4"
    without("libx264", "h264", "mpeg4")
    summary = run(clip, tmp_path)
    assert "no annotated video is written: " in str(summary)
    assert "this installation of FFmpeg encodes neither H.264 nor MPEG-4" in str(summary)
    assert [path.name for path in summary.files] == ["clip_poses.jsonl", "clip_poses.csv"]


def test_a_video_without_frames_is_refused(tmp_path):
    with av.open(str(tmp_path / "none.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    with pytest.raises(ValueError, match=r"none\.avi: no picture in it can be decoded"):
        run(tmp_path / "none.avi", tmp_path)
    assert not (tmp_path / "out").exists()


FULL = """
import resource, sys
from pathlib import Path
from test_video import PREDICTOR, detector, open_frames, predict_video
clip, *outs = map(Path, sys.argv[1:])
detector.calls = 0
for limit, out in zip((12_000, 3_000), outs):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        predict_video(open_frames(clip), PREDICTOR, out, detector)
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as Unix does")
def test_a_full_disk_gives_one_error_and_what_was_written_can_be_read(make, tmp_path):
    """A limit on the size of files stands for it: the first is reached by the video, the second by a table."""
    clip = make(tmp_path / "clip.mp4", [n / 25 for n in range(150)], speed=8)
    full = {tmp_path / "a": "clip_pose.mp4", tmp_path / "b": "clip_poses.jsonl"}
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(clip), *map(str, full)],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    for (out, name), error in zip(full.items(), ended.stdout.splitlines(), strict=True):
        assert f"cannot write {out / name}: File too large; free some space or choose another folder; " in error
        lines = [json.loads(line) for line in (out / "clip_poses.jsonl").read_text().splitlines()]
        rows = (out / "clip_poses.csv").read_text().splitlines()
        assert len(lines) > 5
        assert len(rows) == 1 + 3 * len(lines)
        assert len(list(open_frames(out / "clip_pose.mp4").frames)) > 0 or name != "clip_pose.mp4"


RUN = """
import os, sys
from pathlib import Path
from test_video import PREDICTOR, detector, open_frames, predict_video
calls = 0
detector.calls = 0
def slow(pixels):
    global calls
    calls += 1
    if calls == 20:
        import time
        time.sleep(0.5)  # what came before gets to the disk
        os.kill(os.getpid(), int(sys.argv[1]))
    return detector(pixels)
summary = predict_video(open_frames(sys.argv[2]), PREDICTOR, Path(sys.argv[3]), slow, every=1)
print(summary)
sys.exit(128 + summary.stopped)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_written_before_a_kill_can_be_read(make, tmp_path, number):
    clip, out = make(tmp_path / "clip.mp4", [n / 5 for n in range(40)], speed=8), tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(int(number)), str(clip), str(out)],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == (-number if number == signal.SIGKILL else 128 + number), ended.stderr
    lines = [json.loads(line) for line in (out / "clip_poses.jsonl").read_text().splitlines()]
    assert 15 <= len(lines) < 40
    assert len((out / "clip_poses.csv").read_text().splitlines()) == 1 + 3 * len(lines)
    times, _ = pictures(out / "clip_pose.mp4")
    assert len(times) >= len(lines) - 6  # fragments of a second: 5 frames here
    if number == signal.SIGTERM:
        assert len(times) == len(lines)
        assert "stopped: " in ended.stdout
