"""Frames of videos, cameras and folders, upright and with their times; what is broken is left out and counted."""

from __future__ import annotations

import glob
import itertools
import math
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from posewright import image
from posewright.predict.images import images_of
from posewright.predict.video_file import start_of

SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp",
    ".ogv", ".mjpeg", ".mjpg", ".vob",
)  # fmt: skip
"""What names of video files end in."""

VideoSource: TypeAlias = "str | os.PathLike[str] | int"
"""A video file or the address of a stream, a camera's number, or a folder or pattern of frames."""

_T = TypeVar("_T")
_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Attributes:
        number: its place among the frames that could be read, from 0.
        time: seconds since the video's start; rises from frame to frame, at whatever spacing.
        image: [H, W, 3] uint8 RGB, upright.
    """

    number: int
    time: float
    image: np.ndarray = field(repr=False)


@dataclass(slots=True)
class Frames:
    """The frames of a source, read as they are asked for.

    Attributes:
        name: of the source, for messages.
        stem: of files that are written about it.
        rate: frames per second; about, where these come unevenly.
        total: how many frames are expected; 0 where that is not known.
        live: whether they come as time goes, from a camera or a stream, until somebody stops them.
        file: the file or address, where there is one that may have sound.
        frames: the frames.
        notes: what was broken, filled in as it is met.
    """

    name: str
    stem: str
    rate: float
    total: int
    frames: Iterator[Frame] = field(repr=False)
    live: bool = False
    file: str = ""
    notes: list[str] = field(default_factory=list)


def is_video(source: VideoSource) -> bool:
    """Whether a source is a camera's number, a stream's address, or a file that is called as videos are."""
    text = str(source)
    if "://" in text or isinstance(source, int) or (text.isdecimal() and not Path(text).exists()):
        return True
    return Path(text).suffix.lower() in SUFFIXES and not Path(text).is_dir()


def distinct_stems(sources: Sequence[str]) -> list[str]:
    """What the files about each video are called: as it is, or where two are called the same, with its folders, too.

    These are folders inside the one that holds them all; a suffix stays where two differ in that alone.
    """
    paths = [Path(source) for source in sources]
    stems = [path.stem for path in paths]
    times = Counter(stems)
    if len(times) == len(stems):
        return stems
    twice = [path.absolute() for path in paths if times[path.stem] > 1]
    root = os.path.commonpath([path.parent for path in twice])
    inside = [path.absolute().relative_to(root) if times[path.stem] > 1 else path for path in paths]
    longer = [path.with_suffix("").as_posix() if times[path.stem] > 1 else path.stem for path in inside]
    times = Counter(longer)
    return [path.as_posix() if times[name] > 1 else name for path, name in zip(inside, longer)]


def open_frames(source: VideoSource, *, rate: float = 25.0) -> Frames:
    """The frames of a source.

    Files are read by PyAV, with their own times, turned as their rotation flags say; where PyAV is not installed, by
    OpenCV, at an even rate. Frames that cannot be decoded are left out and counted, and a file that ends too early
    yields what there is.

    Args:
        source: see `VideoSource`.
        rate: frames per second of a folder of frames.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, or holds no picture; or there is no such camera.
    """
    text = str(source)
    path = Path(text)
    if isinstance(source, int) or (text.isdecimal() and not path.exists()):
        return _camera(int(text))
    if path.is_dir() or (glob.has_magic(text) and not path.exists()):
        return _folder(path, rate)
    if "://" not in text and not path.is_file():
        if path.exists():
            raise ValueError(f"{text}: expected a video file, got a pipe or a device; cameras are given by number")
        raise FileNotFoundError(f"{text}: no such file, folder or camera")
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        return _by_opencv(text)
    return _by_pyav(text)


def read_ahead(items: Iterator[_T], *, latest: bool = False) -> Generator[_T, None, None]:
    """The items, made by a thread a few ahead of who takes them.

    Args:
        items: to be made; their error is raised here, after the items before it.
        latest: never wait for who takes them: only the newest item is kept, as for cameras.
    """
    waiting: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(1 if latest else _AHEAD)
    stop = threading.Event()

    def put(item: _T | None, error: BaseException | None) -> None:
        while not stop.is_set():
            try:
                waiting.put((item, error), timeout=0.05)
                return
            except queue.Full:
                if latest and error is None:
                    with suppress(queue.Empty):
                        waiting.get_nowait()

    def work() -> None:
        try:
            for item in items:
                put(item, None)
                if stop.is_set():
                    break
            put(None, StopIteration())
        except BaseException as error:  # raised where the items are taken
            put(None, error)

    thread = threading.Thread(target=work, name="posewright-frames", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # pyright: ignore[reportReturnType]
    finally:
        stop.set()
        thread.join()


def _camera(number: int) -> Frames:
    if number < 0:
        raise ValueError(f"camera {number}: cameras are numbered from 0")
    pictures = image.capture(number)
    first = next(pictures, None)  # here, so that a camera that is not there is reported at once
    if first is None:
        raise ValueError(f"camera {number}: gives no picture")
    start = time.monotonic()

    def frames() -> Iterator[Frame]:
        for n, picture in enumerate(itertools.chain([first], pictures)):
            yield Frame(n, time.monotonic() - start, picture)

    return Frames(f"camera {number}", f"camera{number}", 30.0, 0, frames(), live=True)


def _folder(path: Path, rate: float) -> Frames:
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"{path}: expected a rate above 0 frames per second, got {rate:g}")
    files = images_of([path]).files
    stem = path.resolve().name if path.is_dir() else path.parent.resolve().name
    made = Frames(str(path), stem, rate, len(files), iter(()))

    def frames() -> Iterator[Frame]:
        number = 0
        for n, file in enumerate(files):
            try:
                picture = file.read()
            except ValueError as error:
                made.notes.append(f"left out: {error}")
                continue
            yield Frame(number, n / rate, picture)
            number += 1
        if not number:
            raise ValueError(f"{path}: none of its {len(files)} images can be read; {made.notes[0]}")

    made.frames = frames()
    return made


def _by_opencv(path: str) -> Frames:
    pictures = image.capture(path)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: no picture in it can be decoded")
    rate = image.frame_rate(path) or 25.0
    frames = (Frame(n, n / rate, picture) for n, picture in enumerate(itertools.chain([first], pictures)))
    note = "read by OpenCV, without sound and at an even rate: pip install posewright[video] reads times and sound"
    return Frames(path, Path(path).stem, rate, 0, frames, notes=[note])


def _by_pyav(path: str) -> Frames:
    import av
    from av.error import FFmpegError

    try:
        container = av.open(path)
    except FFmpegError as error:
        raise ValueError(f"{path}: not a video that can be read, or cut short ({error.strerror})") from None
    streams = container.streams.video
    if not streams or container.format.name == "tty":  # FFmpeg reads any text as a picture of letters
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "no streams"
        container.close()
        raise ValueError(f"{path}: expected a video, got a file with {kinds if not streams else 'text'}")
    stream = streams[0]
    if stream.codec_context is None:
        container.close()
        raise ValueError(f"{path}: its codec cannot be decoded by this installation of FFmpeg")
    stream.thread_type = "AUTO"
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    total = stream.frames or round(float(container.duration or 0) / 1e6 * rate)
    made = Frames(path, Path(path).stem, rate, total, iter(()), live="://" in path, file=path)
    made.frames = _decoded(container, stream, made)
    return made


def _decoded(container: Any, stream: Any, made: Frames) -> Iterator[Frame]:
    """Upright frames with rising times; what is broken goes into the notes."""
    number, broken, last, error, start = 0, 0, -math.inf, "", start_of(container)
    packets = container.demux(stream)
    with container:
        while True:
            decoded, reason = _next(packets)
            if decoded is None:
                error = reason
                break
            broken += bool(reason)
            for picture in decoded:
                if not number and container.start_time is None and not container.streams.audio:
                    start = float(picture.time or 0.0)  # some files do not say it
                at = picture.time if picture.time is not None else last + start + 1 / made.rate if number else start
                if (at := float(at) - start) < last - 1 / made.rate:  # files joined end to end start at 0 again
                    start, at = start + at - last - 1 / made.rate, last + 1 / made.rate
                at = max(at, last + 1e-6)  # some files give two frames one time
                yield Frame(number, at, _upright(picture))
                number, last = number + 1, at
        length = float(container.duration or 0) / 1e6
    if not number:
        raise ValueError(f"{made.name}: no picture in it can be decoded{f' ({error})' if error else ''}")
    if broken:
        made.notes.append(f"{broken} broken pieces of the video were left out")
    if error or (last + max(0.5, 2 / made.rate) < length and not made.live):
        made.notes.append(f"the video ends early, after {last:.2f} s{f' of {length:.2f} s' if length > last else ''}")


def _upright(picture: Any) -> np.ndarray:
    """The pixels of a frame, turned and mirrored as it says."""
    from av.sidedata.sidedata import Type

    pixels = picture.to_ndarray(format="rgb24")
    if matrix := picture.side_data.get(Type.DISPLAYMATRIX):
        x, y = np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]].reshape(2, 2).astype(float)
        if x[0] * y[1] < x[1] * y[0]:  # it mirrors top to bottom before it turns
            pixels = pixels[::-1]
    return np.ascontiguousarray(np.rot90(pixels, round(picture.rotation / 90) % 4))


def _next(packets: Iterator[Any]) -> tuple[list[Any] | None, str]:
    """The frames of the next packet, or None at the end; and what is wrong, if something is."""
    from av.error import FFmpegError

    try:
        packet = next(packets)
    except StopIteration:
        return None, ""
    except FFmpegError as error:
        return None, str(error.strerror)
    try:
        return packet.decode(), ""
    except FFmpegError as error:
        return [], str(error.strerror)
