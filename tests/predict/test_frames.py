"""Frames of a video: turned as its flag says, read ahead, and one line for what is not a video."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from posewright.predict.frames import distinct_stems, is_video, open_frames, read_ahead

av = pytest.importorskip("av")


@pytest.fixture
def clip(write_video, tmp_path) -> Path:
    """Three frames of noise, with sound."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 96, 160, 3)).astype(np.uint8)
    return write_video(tmp_path / "clip.mp4", noise, [0.0, 0.04, 0.08], sound="aac")


@pytest.mark.parametrize(
    ("matrix", "turns"),  # as MP4 has it: a, b, u, c, d, v
    [((0, 1, 0, -1, 0, 0), -1), ((-1, 0, 0, 0, -1, 0), 2), ((0, -1, 0, 1, 0, 0), 1)],
    ids=["90 degrees clockwise", "upside down", "90 degrees counter-clockwise"],
)
def test_a_rotation_flag_is_obeyed(clip, matrix, turns):
    upright = next(open_frames(clip).frames).image
    data = bytearray(clip.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # of the first track; version 0
    for n, value in enumerate(matrix):
        data[place + 4 * n : place + 4 * n + 4] = (value << 16).to_bytes(4, "big", signed=True)
    clip.write_bytes(data)
    turned = next(open_frames(clip).frames).image
    assert turned.shape == ((96, 160, 3) if turns == 2 else (160, 96, 3))
    np.testing.assert_array_equal(turned, np.rot90(upright, turns))


def test_a_flag_that_mirrors_is_obeyed(clip):
    upright = next(open_frames(clip).frames).image
    data = bytearray(clip.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 4] = (-1 << 16).to_bytes(4, "big", signed=True)
    clip.write_bytes(data)
    np.testing.assert_array_equal(next(open_frames(clip).frames).image, upright[:, ::-1])


def test_what_is_not_a_video_is_refused_in_one_line(clip, tmp_path, monkeypatch):
    (tmp_path / "text.mp4").write_text("hello " * 99)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        part.sample_rate = 16000
        file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    for name, message in (
        ("text.mp4", "not a video that can be read"),
        ("empty.mp4", "not a video that can be read"),
        ("sound.mp4", "expected a video, got a file with audio"),
    ):
        with pytest.raises(ValueError, match=message):
            open_frames(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such file"):
        open_frames(tmp_path / "gone.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="got a pipe or a device"):
        open_frames(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="camera -1: cameras are numbered from 0"):
        open_frames(-1)
    with pytest.raises(ValueError, match="camera 97: not there, in use by another program, or not permitted"):
        open_frames(97)
    monkeypatch.setattr("posewright.predict.frames._next", lambda packets: (None, ""))
    with pytest.raises(ValueError, match="no picture in it can be decoded"):
        next(open_frames(clip).frames)


def test_folders_are_no_videos_whatever_they_are_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2024", "clip.mp4"):
        Path(name).mkdir()
        assert not is_video(name)
    assert all(map(is_video, ["0", 2024, "gone.mp4", "rtsp://host/stream"]))


def test_videos_of_one_name_are_told_apart():
    assert distinct_stems(["a/x.mp4", "b/y.mp4"]) == ["x", "y"]
    assert distinct_stems(["v/a/x.mp4", "v/b/x.mp4", "v/b/y.mp4"]) == ["a/x", "b/x", "y"]
    assert distinct_stems(["a/x.mp4", "a/x.mov"]) == ["x.mp4", "x.mov"]
    assert distinct_stems([]) == []


def test_reading_ahead_passes_errors_on_after_what_came_before():
    def items():
        yield 1
        raise ValueError("no more")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="no more"):
        next(ahead)
