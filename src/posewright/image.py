"""Images: read, warp, write and the few strokes that drawings are made of. The only file that imports cv2.

Images are [H, W, 3] uint8 RGB arrays everywhere in Posewright.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch

from posewright.files import image_size, regular
from posewright.types import Colour, Crop

cv2.setNumThreads(0)  # our own workers and torch share the cores; nested threads only make both slower
# OpenCV's own lines are silenced, for `decode` says it once and names the file; OpenCV 4 and 5 have different switches.
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_set_log_level(0)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""What is written."""
READABLE = (*SUFFIXES, ".gif", ".heic", ".heif", ".avif")
"""What is read, of several frames the first; the last three by Pillow (extra `images`)."""
READABLE_HERE = READABLE if find_spec("pillow_heif") else READABLE[:-3]
"""What is read with the extras that are installed."""
MAX_PIXELS = 200_000_000
RGB = tuple[int, int, int]


def read(path: str | os.PathLike[str], *, upright: bool = True, max_pixels: int | None = None) -> np.ndarray:
    """The image of a file, [H, W, 3] uint8 RGB.

    Args:
        path: the file.
        upright: turn the image as its EXIF orientation says, as viewers do. Annotated data sets count pixels before
            any turning, so their loaders pass False.
        max_pixels: larger images are refused by what their header says, before anything is decoded; None takes the
            environment's POSEWRIGHT_MAX_PIXELS, else 200 million.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image (or a folder, a pipe or a device), is cut short, or is too large.
        ModuleNotFoundError: it is a HEIC or AVIF file, and the extra `images` is not installed.
    """
    path = regular(Path(path), "an image file")
    return decode(path.read_bytes(), str(path), upright=upright, max_pixels=max_pixels)


def decode(data: bytes, name: str, *, upright: bool = True, max_pixels: int | None = None) -> np.ndarray:
    """The image in an encoded file's bytes; `name` is for messages. See `read`."""
    if data[4:8] == b"ftyp":
        return _decode_by_pillow(data, name, upright=upright, max_pixels=max_pixels)
    if (size := image_size(data)) is None:
        raise ValueError(f"{name}: not an image that can be read ({len(data)} bytes); expected {', '.join(READABLE)}")
    _check_size(size, name, max_pixels)
    if data[:2] == b"\xff\xd8" and not _has_end(data):
        raise ValueError(f"{name}: the JPEG is cut short ({len(data)} bytes, no end marker); fetch it again")
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ValueError(f"{name}: the image is damaged or cut short ({len(data)} bytes); fetch it again")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""A marker of a JPEG: in the pixels' code FF is followed by 00, or is one of the eight where a decoder can start."""


def _has_end(jpeg: bytes) -> bool:
    """Whether a JPEG's end marker comes after its pixels; phones append videos, in which bytes mean nothing."""
    at = 2
    while marker := _MARKER.search(jpeg, at):
        if marker[0][-1] == 0xD9:
            return True
        at = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return False


class TooLargeError(ValueError):
    """An image has more pixels than are read.

    Args:
        found: the image, its size and the limit, in words.
    """

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return (
            f"{self.found}; where the file can be trusted, raise it with --max-pixels, max_pixels= or the "
            "environment's POSEWRIGHT_MAX_PIXELS"
        )


def _check_size(size: tuple[int, int], name: str, max_pixels: int | None) -> None:
    if max_pixels is None:
        said = os.environ.get("POSEWRIGHT_MAX_PIXELS", str(MAX_PIXELS))
        if not said.isdecimal():
            raise ValueError(f"POSEWRIGHT_MAX_PIXELS: expected a whole number of pixels, got {said[:40]!r}")
        max_pixels = int(said)
    if size[0] * size[1] > max_pixels:
        raise TooLargeError(f"{name}: {size[1]} x {size[0]} pixels, more than the limit of {max_pixels:,}")


def _decode_by_pillow(data: bytes, name: str, *, upright: bool, max_pixels: int | None) -> np.ndarray:
    """HEIC and AVIF, which OpenCV does not read everywhere. HEIC's own turning is always done."""
    try:
        import pillow_heif
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{name}: HEIC and AVIF images need Pillow and pillow-heif; install them with "
            "`pip install posewright[images]`"
        ) from None
    pillow_heif.register_heif_opener()
    try:
        with Image.open(io.BytesIO(data), formats=("HEIF", "AVIF")) as picture:
            _check_size(picture.size[::-1], name, max_pixels)
            return np.array((ImageOps.exif_transpose(picture) if upright else picture).convert("RGB"))
    except (OSError, SyntaxError, RuntimeError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a HEIC or AVIF image that can be read ({len(data)} bytes): {error}") from None


def encode(image: np.ndarray, suffix: str, quality: int = 92) -> bytes:
    """An image as the bytes of a file of that suffix (".jpg", ".png", ...)."""
    if suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot write images as {suffix!r}; expected one of {', '.join(SUFFIXES)}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be written as {suffix}")
    return data.tobytes()


def write(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write an image atomically."""
    from posewright.files import write_bytes

    write_bytes(Path(path), encode(image, Path(path).suffix))


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    out: np.ndarray | None = None,
    border: RGB = (0, 0, 0),
) -> np.ndarray:
    """The crop that `matrix` (image -> crop pixels, [2, 3]) cuts out, bilinear.

    Args:
        image: [H, W, 3] uint8.
        matrix: see above.
        size: (height, width) of the crop.
        out: written into where given, [height, width, 3] uint8.
        border: colour outside the image.
    """
    if max(image.shape[:2]) > _REACH:
        image, matrix = _within_reach(image, matrix, size)
    return cv2.warpAffine(image, matrix, (size[1], size[0]), dst=out, flags=cv2.INTER_LINEAR, borderValue=border)


def warp_all(image: np.ndarray, crop: Crop, border: RGB = (0, 0, 0)) -> np.ndarray:
    """The pixels [N, height, width, 3] uint8 of N crops of one image; see `warp`.

    CPN's window of whole pixels is resized. Where that enlarges, its outermost pixels are repeated, while a warp blends
    them with those around the window; where it does not, both are the same.
    """
    out = np.empty((len(crop), *crop.size, 3), np.uint8)
    for matrix, pixel_matrix, pixels in zip(crop.matrix, crop.pixel_matrix, out):
        scale = np.diag(matrix)
        if crop.rule == "cpn" and scale.min() > 0 and scale.max() > 1 and matrix[0, 1] == 0:
            low, sides = np.rint(-matrix[:, 2] / scale), np.rint(crop.size[::-1] / scale).astype(int)
            window = warp(image, np.column_stack([np.eye(2), -low]), (sides[1], sides[0]), border=border)
            cv2.resize(window, crop.size[::-1], dst=pixels, interpolation=cv2.INTER_LINEAR)
        elif max(image.shape[:2]) > _REACH:
            warp(image, pixel_matrix, crop.size, pixels, border)
        else:
            cv2.warpAffine(image, pixel_matrix, crop.size[::-1], pixels, cv2.INTER_LINEAR, borderValue=border)
    return out


def _within_reach(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that a warp reads, thinned out where even that is too large, and its matrix.

    OpenCV warps images of up to 32,766 pixels per side. Thinning out loses nothing that a bilinear warp would see: it
    reads but a few of so many pixels.
    """
    corners = np.array([[x, y] for x in (0, size[1]) for y in (0, size[0])]) - matrix[:, 2]
    in_image = corners @ np.linalg.inv(matrix[:, :2]).T
    edge = np.array(image.shape[1::-1])
    low = np.clip(np.floor(in_image.min(0)) - 2, 0, edge - 1).astype(int)
    high = np.clip(np.ceil(in_image.max(0)) + 3, low + 1, edge).astype(int)
    step = -(-int((high - low).max()) // _REACH)
    part = np.ascontiguousarray(image[low[1] : high[1] : step, low[0] : high[0] : step])
    return part, np.concatenate([matrix[:, :2] * step, (matrix[:, :2] @ low + matrix[:, 2])[:, None]], 1)


def to_tensor(
    crops: np.ndarray, colour: Colour, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> torch.Tensor:
    """Crops [N, H, W, 3] uint8 RGB to the network's input [N, 3, H, W] float32, in `colour` order, less mean, by std.

    The result is channels-last in memory, as the crops are: networks run faster on it.
    """
    width = crops.shape[2]
    rows = crops.reshape(-1, width, 3)
    if colour == "bgr" and len(rows):
        rows = cv2.cvtColor(rows, cv2.COLOR_RGB2BGR)
    # Mean and std are laid out along whole rows of pixels, for vectors of three make poor use of the CPU's.
    pixels = torch.from_numpy(rows).view(-1, width * 3).to(torch.float32)
    pixels.sub_(torch.tensor(mean).repeat(width)).div_(torch.tensor(std).repeat(width))
    return pixels.view(crops.shape).permute(0, 3, 1, 2)


def follow(before: np.ndarray, after: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Where points [K, 2] of one frame lie in the next, by optical flow (Lucas and Kanade, windows of 15, 2 levels).

    Args:
        before: a frame, [H, W, 3] uint8 RGB.
        after: the next one.
        xy: pixels of `before`.

    Returns:
        [K, 2] pixels of `after`; NaN where a point is lost.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after)]
    places = xy.astype(np.float32).reshape(-1, 1, 2)
    found, status, _ = cv2.calcOpticalFlowPyrLK(grey[0], grey[1], places, places.copy(), winSize=(15, 15), maxLevel=2)
    return np.where(status.reshape(-1, 1) > 0, found.reshape(-1, 2), np.nan).astype(np.float64)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image at (height, width): averaged when shrinking, bilinear when growing."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def blur(array: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur of [H, W] or [H, W, C], uint8 or float32; `sigma` in pixels, above 0."""
    return cv2.GaussianBlur(array, (0, 0), sigma)


def means_above_zero(maps: np.ndarray, halvings: int) -> np.ndarray:
    """Means of the blocks of maps, in which values below 0 (and NaN) count as 0.

    Args:
        maps: [n, h, w] float32; h and w are multiples of a block's side.
        halvings: 1 for blocks of 2x2 pixels, 2 for 4x4, ...

    Returns:
        [n, h / side, w / side] float32.
    """
    count, height, width = maps.shape
    _, means = cv2.threshold(maps.reshape(count, -1), 0, 0, cv2.THRESH_TOZERO)
    means = means.reshape(-1, width)
    for _ in range(halvings):  # OpenCV halves several times faster than it makes larger blocks
        means = resize(means, (len(means) // 2, means.shape[1] // 2))
    return means.reshape(count, height >> halvings, width >> halvings)


def recolour(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image [H, W, 3] uint8 with every colour through an affine map [3, 4], cut off at 0 and 255."""
    return cv2.transform(image, matrix)


_REACH = 32_766
_SHIFT = 4  # strokes take coordinates in 1/16 pixel


def _fixed(xy: Iterable[float]) -> tuple[int, ...]:
    return tuple(round(float(v) * (1 << _SHIFT)) for v in xy)


def draw_line(image: np.ndarray, start: Iterable[float], end: Iterable[float], colour: RGB, width: int = 1) -> None:
    """A line into the image, in place, smooth, in sub-pixel positions."""
    cv2.line(image, _fixed(start), _fixed(end), colour, width, cv2.LINE_AA, _SHIFT)


def draw_disc(image: np.ndarray, centre: Iterable[float], radius: float, colour: RGB, width: int = -1) -> None:
    """A disc (or with a width above 0 a ring) into the image, in place."""
    cv2.circle(image, _fixed(centre), _fixed([radius])[0], colour, width, cv2.LINE_AA, _SHIFT)


def draw_polygon(image: np.ndarray, points: np.ndarray, colour: RGB) -> None:
    """A filled polygon [P, 2] into the image, in place."""
    fixed = np.rint(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(image, [fixed], colour, cv2.LINE_AA, _SHIFT)


def draw_box(image: np.ndarray, xywh: Iterable[float], colour: RGB, width: int = 1) -> None:
    """The outline of a box into the image, in place."""
    x, y, w, h = xywh
    cv2.rectangle(image, _fixed((x, y)), _fixed((x + w, y + h)), colour, width, cv2.LINE_AA, _SHIFT)


def draw_text(image: np.ndarray, text: str, origin: tuple[int, int], colour: RGB, size: float = 0.45) -> None:
    """Text into the image, in place, its lower left corner at `origin`, on a dark edge so that it reads anywhere."""
    x, y = origin
    # The edge is the text moved about, not a thicker text: since OpenCV 5 thick letters are wider too.
    for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        cv2.putText(image, text, (x + dx, y + dy), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def text_size(text: str, size: float = 0.45) -> tuple[int, int]:
    """(width, height) in pixels of what `draw_text` draws above its line."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    return width, height


def capture(source: int | str) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 RGB of a camera, by its number, or of a video file, read by OpenCV.

    Raises:
        ValueError: there is no such camera, or the file is not a video that OpenCV can read.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # none of its own lines on stderr
    opened = cv2.VideoCapture(source)
    try:
        if not opened.isOpened():
            if isinstance(source, int):
                raise ValueError(f"camera {source}: not there, in use by another program, or not permitted")
            raise ValueError(f"{source}: not a video that can be read")
        while True:
            done, bgr = opened.read()
            if not done:
                return
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    finally:
        opened.release()


def frame_rate(path: str) -> float:
    """Frames per second of a video file, as OpenCV reads it; 0 where it does not know."""
    opened = cv2.VideoCapture(path)
    try:
        return float(opened.get(cv2.CAP_PROP_FPS))
    finally:
        opened.release()
