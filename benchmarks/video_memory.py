"""Memory of `posewright predict VIDEO` over a long generated video.

    PYTHONPATH=src nice -n 5 .venv/bin/python benchmarks/video_memory.py [--minutes 10]

A figure of dots walks to and fro, with a tone for sound, at 25 frames per second, 320x192; the network is one
convolution. Reading, tracking, smoothing, drawing and writing are those of the command. Memory is noted every 30 s of
video.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from posewright import find, image
from posewright.predict import recording
from posewright.predict.frames import open_frames
from posewright.predict.predictor import Predictor
from posewright.types import Boxes

RATE, SOUND = 25, 16_000


def generate(path: Path, seconds: int) -> Path:
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 192, "yuv420p"
        audio = file.add_stream("aac", rate=SOUND, layout="mono")
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND)
        for n in range(seconds * RATE):
            picture = np.full((192, 320, 3), 60, np.uint8)
            x = 60 + 100 * (1 + np.sin(n / 40))
            for k in range(17):
                image.draw_disc(picture, (x + 20 * np.sin(k + n / 9), 30 + 8 * k), 4, (255, 15 * k, 80))
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            tone = (3000 * np.sin(np.arange(SOUND // RATE) * 0.17)).astype(np.int16)[None]
            part = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            part.sample_rate, part.pts, part.time_base = SOUND, n * tone.shape[1], Fraction(1, SOUND)
            for resampled in resampler.resample(part):
                file.mux(audio.encode(resampled))
        for stream in (video, audio):
            file.mux(stream.encode(None))
    return path


def detector(pixels: np.ndarray) -> Boxes:
    """The box around the bright dots."""
    rows, columns = np.nonzero(pixels[..., 0] > 160)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
    return Boxes.of([[*(low - 5), *(high - low + 10)]], [0.9], "dots")


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    torch.manual_seed(0)
    spec = replace(find("simplebaseline-r18-slim-128x96"), name="one-convolution-128x96")
    network = torch.nn.Conv2d(3, spec.skeleton.num_keypoints, 7, stride=4, padding=3)
    predictor = Predictor(spec, network, flip=False, device="cpu")
    memory: list[float] = []
    line = recording._line

    def noted(found: recording.VideoPoses) -> dict[str, object]:
        if found.number % (30 * RATE) == 30 * RATE - 1:
            memory.append(resident())
            print(f"{found.time:.0f} s of video: {memory[-1]:.1f} MB", flush=True)
        return line(found)

    recording._line = noted
    with tempfile.TemporaryDirectory() as folder:
        path = generate(Path(folder) / "long.mp4", round(60 * options.minutes))
        start = time.monotonic()
        summary = recording.predict_video(open_frames(path), predictor, Path(folder), detector, smooth="savitzky-golay")
        seconds = time.monotonic() - start
    growth = 100 * (max(memory[1:]) / memory[1] - 1)
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}")
    print(summary)
    print(
        f"{summary.frames / seconds:.0f} frames/s; {memory[0]:.1f} MB after half a minute of video, {memory[1]:.1f} MB "
        f"after one, {memory[-1]:.1f} MB at the end; from the first minute on at most {growth:+.1f} %"
    )


if __name__ == "__main__":
    main()
