"""Annotated videos: H.264 with the sound of the original, readable up to where a killed run came."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from posewright import image
from posewright.files import unwritten

_CLOCK = 60_000
"""Ticks per second: times of frames are kept, even or not. MPEG-4 part 2 takes no more than 65,535."""

_COPIED = frozenset(("aac", "mp3", "opus", "alac", "flac"))
"""Sound that MP4 holds as it is, known before its first packet, unlike AC-3; any other becomes AAC."""

_KEPT = "what was written until then plays"

_RATE = 48_000
"""Samples per second of that AAC."""


class VideoFile:
    """An MP4 file that is written frame by frame.

    It is made of fragments of about a second, so that what was written before a kill plays. Frames of another size than
    the first are scaled to it; an odd last row or column is left out, for H.264 has none.

    Args:
        path: the file, which is replaced.
        size: (height, width) of the frames.
        rate: frames per second, about.
        sound: a video whose sound is kept, or "".

    Attributes:
        notes: what could not be kept, in words.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        ValueError: this installation of FFmpeg encodes no video for MP4.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float, sound: str = "") -> None:
        try:
            import av
        except ModuleNotFoundError:
            raise ModuleNotFoundError("videos are written by PyAV: pip install posewright[video]") from None
        self.path, self.notes, self._failed = path, list[str](), False
        self._rate, self._last, self._tick = max(rate, 1e-3), 0.0, -1
        self._size = (max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2))
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._file = av.open(str(path), "w", format="mp4", options=flags)
        self._video = self._stream(rate)
        self._sound = _sound(self._file, sound, self.notes) if sound else None
        self._waiting = next(self._sound, None) if self._sound else None

    def _stream(self, rate: float) -> Any:
        from av.codec import Codec
        from av.codec.codec import UnknownCodecError

        whole = max(1, round(rate))
        for name in ("libx264", "h264", "mpeg4"):
            try:
                Codec(name, "w")
            except UnknownCodecError:
                continue
            stream = self._file.add_stream(name, rate=whole)
            stream.height, stream.width = self._size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, _CLOCK)
            stream.codec_context.gop_size = whole
            if name == "libx264":  # frames leave the encoder at once, or a kill would lose those inside it
                stream.options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
            elif name == "mpeg4":
                self.notes.append("this installation of FFmpeg has no H.264 encoder: the video is MPEG-4 part 2")
            return stream
        raise ValueError(f"{self.path}: this installation of FFmpeg encodes neither H.264 nor MPEG-4")

    def add(self, time: float, pixels: np.ndarray) -> None:
        """Append a frame [H, W, 3] uint8 RGB that is shown from `time`, in seconds, which rises.

        Raises:
            OSError: the disk is full, or fails.
        """
        import av

        height, width = self._size
        if pixels.shape[0] // 2 * 2 != height or pixels.shape[1] // 2 * 2 != width:
            pixels = image.resize(pixels, self._size)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        self._last, self._tick = time, max(round(time * _CLOCK), self._tick + 1)
        frame.pts, frame.time_base = self._tick, Fraction(1, _CLOCK)
        self._write(self._video.encode(frame))
        self._add_sound(time)

    def close(self) -> None:
        """Finish the file; its sound ends with its pictures. Raises as `add` does."""
        if not self._failed:
            self._add_sound(self._last + 1 / self._rate)
            self._write(self._video.encode(None))
        try:
            self._file.close()
        except OSError as error:
            if not self._failed:
                raise unwritten(self.path, error, _KEPT) from None

    def _add_sound(self, time: float) -> None:
        """The sound up to a time."""
        while self._sound and self._waiting is not None and self._waiting[0] <= time:
            self._write(self._waiting[1])
            self._waiting = next(self._sound, None)

    def _write(self, packets: Any) -> None:
        from av.error import FFmpegError

        try:
            self._file.mux(packets)
        except (OSError, FFmpegError) as error:
            self._failed = True
            why = error if isinstance(error, OSError) else OSError(error.errno, error.strerror)
            raise unwritten(self.path, why, _KEPT) from None


def _sound(file: Any, source: str, notes: list[str]) -> Iterator[tuple[float, Any]] | None:
    """(time, packets) of a video's sound, for a file that gets a stream for it here; None where it has none."""
    import av
    from av.error import FFmpegError

    container = av.open(source)
    if not container.streams.audio:
        container.close()
        return None
    track = container.streams.audio[0]
    name = track.codec_context.name if track.codec_context else "unknown"
    # Sound of broadcasts repeats in each packet what MP4 says once, in front.
    copied = name.removesuffix("float") in _COPIED and (name != "aac" or bool(track.codec_context.extradata))
    try:
        if copied:
            stream = file.add_stream_from_template(track)
        else:
            stream = file.add_stream("aac", rate=_RATE, layout=_layout(track.codec_context))
    except (FFmpegError, ValueError, AttributeError) as error:
        container.close()
        notes.append(f"the sound ({name}) cannot be kept: {error}")
        return None
    return (_copied if copied else _encoded)(container, track, stream, notes)


def start_of(container: Any) -> float:
    """Seconds that the times of an open file's first picture or sound begin at, which count as 0."""
    return max(float(container.start_time or 0) / 1e6, 0.0)


def _copied(container: Any, track: Any, stream: Any, notes: list[str]) -> Iterator[tuple[float, Any]]:
    from av.error import FFmpegError

    start, last = round(start_of(container) / track.time_base), -1
    with container:
        try:
            for packet in container.demux(track):
                if packet.dts is None or packet.dts < start:  # before it, codecs only warm up
                    continue
                packet.dts, packet.pts = packet.dts - start, (packet.dts if packet.pts is None else packet.pts) - start
                if packet.dts <= last:
                    notes.append(
                        f"the sound ends after {float(last * track.time_base):.2f} s, where its times jump back"
                    )
                    return
                last, time = packet.dts, float(packet.dts * packet.time_base)
                packet.stream = stream
                yield time, packet
        except FFmpegError:
            return  # cut short, as the pictures say


def _encoded(container: Any, track: Any, stream: Any, notes: list[str]) -> Iterator[tuple[float, Any]]:
    from av import AudioFrame, AudioResampler
    from av.error import FFmpegError

    about = track.codec_context
    resampler = AudioResampler(format="fltp", layout=_layout(about), rate=_RATE)
    start, time = start_of(container), -1.0
    with container:
        try:
            for frame in container.decode(track):
                if frame.pts is not None:
                    frame.pts -= round(start / frame.time_base)
                if (at := float(frame.time or 0.0)) <= time:
                    notes.append(f"the sound ends after {time:.2f} s, where its times jump back")
                    break
                time = at
                if about.layout.name != _layout(about):  # FFmpeg cannot mix channels without names
                    named = AudioFrame.from_ndarray(frame.to_ndarray(), frame.format.name, _layout(about))
                    named.sample_rate, named.pts, named.time_base = frame.sample_rate, frame.pts, frame.time_base
                    frame = named
                for part in resampler.resample(frame):
                    yield time, [packet for packet in stream.encode(part) if packet.pts >= 0]
            yield time, stream.encode(None)
        except FFmpegError as error:
            notes.append(f"the sound ends after {time:.2f} s: {error.strerror}")


def _layout(about: Any) -> str:
    """The layout of channels, by name: some files tell only how many they are."""
    return {1: "mono", 2: "stereo"}.get(about.layout.nb_channels) or str(about.layout.name)
