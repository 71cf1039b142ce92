"""Frames per second of `posewright predict VIDEO` and of a plain read-predict-draw-write loop, side by side.

Both read with PyAV, use the same network, write H.264 by the same encoder settings, JSON Lines and CSV, and take turns.
The plain loop looks for people in every frame and does one thing after the other.

    PYTHONPATH=src .venv/bin/python benchmarks/video.py VIDEO [--detector ONNX] [--frames 100] [--rounds 3]
"""

from __future__ import annotations

import argparse
import itertools
import platform
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from posewright import draw
from posewright.predict.boxes import OnnxDetector
from posewright.predict.frames import Frames, open_frames
from posewright.predict.predictor import Predictor, load
from posewright.predict.recording import predict_video
from posewright.predict.video_file import VideoFile


def clip(path: Path, source: str, frames: int) -> Path:
    """The first frames of a video, played forth and back where it has fewer, at 25 per second."""
    found = [frame.image for frame in itertools.islice(open_frames(source).frames, frames)]
    order = itertools.cycle([*range(len(found)), *range(len(found) - 2, 0, -1)])
    out = VideoFile(path, (found[0].shape[0], found[0].shape[1]), 25)
    for n in range(frames):
        out.add(n / 25, found[next(order)])
    out.close()
    return path


def plain(path: Path, out: Path, predictor: Predictor, detector: OnnxDetector | None) -> int:
    """One thing after the other, people looked for in each frame."""
    import av

    count = 0
    with av.open(str(path)) as read, av.open(str(out / "plain.mp4"), "w") as write, (out / "a.csv").open("w") as table:
        stream = write.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        source = read.streams.video[0]
        stream.pix_fmt, stream.height, stream.width = "yuv420p", source.height // 2 * 2, source.width // 2 * 2
        for frame in read.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            poses = predictor(image, detector(image) if detector else None)
            drawn = draw.draw(image, poses)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn[: stream.height, : stream.width]), "rgb24")
            picture.pts, picture.time_base = count, Fraction(1, 25)
            write.mux(stream.encode(picture))
            for n, (xy, score) in enumerate(zip(poses.xy, poses.score)):
                for point, (x, y), value in zip(poses.skeleton.points, xy, score):
                    table.write(f"{count},{frame.time},{n},{point},{x:.4f},{y:.4f},{value:.4f}\n")
            count += 1
        write.mux(stream.encode(None))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--detector")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    predictor = load()
    detector = OnnxDetector(options.detector) if options.detector else None
    rates: dict[str, list[float]] = {"plain": [], "posewright": []}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        path = clip(out / "clip.mp4", options.video, options.frames)
        for turn in range(options.rounds + 1):
            start = time.perf_counter()
            count = plain(path, out, predictor, detector)
            middle = time.perf_counter()
            frames: Frames = open_frames(path)
            predict_video(frames, predictor, out / "out", detector)
            end = time.perf_counter()
            if turn:  # the first warms up
                rates["plain"].append(count / (middle - start))
                rates["posewright"].append(count / (end - middle))
    each = {name: float(np.median(values)) for name, values in rates.items()}
    ratio = np.median(np.array(rates["posewright"]) / np.array(rates["plain"]))
    print(f"{platform.processor() or platform.machine()}, {options.frames} frames, median of {options.rounds} turns")
    print(f"plain {each['plain']:.1f} frames/s, posewright {each['posewright']:.1f} frames/s: {ratio:.2f} times")


if __name__ == "__main__":
    main()
