"""Videos made of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Writes pictures [96, 160, 3] as a video, each at its time in seconds; tests skip where PyAV is absent."""
    av = pytest.importorskip("av")

    def write(
        path: Path, pictures: Iterable[np.ndarray], times: list[float], *, sound: str = "", codec: str = "libx264"
    ) -> Path:
        with av.open(str(path), "w") as file:
            video = file.add_stream(codec, rate=25)
            video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
            video.codec_context.time_base, video.codec_context.gop_size = Fraction(1, 1000), 1
            rate = 48000 if sound == "ac3" else 16000
            audio = file.add_stream(sound, rate=rate, layout="mono") if sound else None
            for n, (picture, time) in enumerate(zip(pictures, times)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                file.mux(video.encode(frame))
                if audio:
                    noise = np.random.default_rng(n).integers(-9000, 9000, (1, 1024)).astype(np.int16)
                    part = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
                    part.sample_rate, part.pts, part.time_base = rate, n * 1024, Fraction(1, rate)
                    for resampled in av.AudioResampler(format=audio.format, layout="mono", rate=rate).resample(part):
                        file.mux(audio.encode(resampled))
            for stream in file.streams:
                file.mux(stream.encode(None))
        return path

    return write
