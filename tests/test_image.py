"""Images: every format round, EXIF on demand, and one clear error for what is not an image."""

import os
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from posewright import image
from posewright.codecs.heatmap import GaussianHeatmap
from posewright.files import image_size
from posewright.skeletons import COCO17
from posewright.spec import Spec
from posewright.types import Crop

SPEC = Spec("test", lambda k: torch.nn.Conv2d(3, k, 1), GaussianHeatmap((8, 6), (4, 3)), COCO17, (8, 6))


@pytest.fixture
def picture():
    """Red on the left, blue on the right, brighter toward the bottom."""
    out = np.zeros((40, 60, 3), np.uint8)
    out[:, :30, 0] = out[:, 30:, 2] = np.linspace(100, 250, 40)[:, None]
    return out


@pytest.mark.parametrize("suffix", image.SUFFIXES)
def test_write_and_read(picture, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    image.write(path, picture)
    back = image.read(path)
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - picture).mean() < (6 if suffix in (".jpg", ".jpeg", ".webp") else 0.001)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def exif(jpeg, orientation):
    """The JPEG with an EXIF block that says how it is turned."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + b"\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_exif_orientation_is_for_viewers_only(picture, tmp_path):
    path = tmp_path / "turned.jpg"
    path.write_bytes(exif(image.encode(picture, ".jpg"), 6))  # 6: turn a quarter clockwise to see it upright
    turned, plain = image.read(path), image.read(path, upright=False)
    assert (turned.shape, plain.shape) == ((60, 40, 3), (40, 60, 3))
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


def test_grey_and_transparent_images_become_rgb(tmp_path):
    import cv2  # only to write what Posewright itself never writes

    for array in (
        np.full((5, 7), 90, np.uint8),
        np.full((5, 7, 4), 90, np.uint8),
        np.full((5, 7), 90 * 257, np.uint16),
    ):
        path = tmp_path / "x.png"
        cv2.imwrite(str(path), array)
        back = image.read(path)
        assert back.shape == (5, 7, 3)
        assert (back == 90).all()


@pytest.mark.parametrize("suffix", image.SUFFIXES)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_cut_files_are_refused_quietly(picture, tmp_path, capfd, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 255, picture.shape, dtype=np.uint8)
    data = image.encode(noise, suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        image.read(path)
    assert "WARN" not in capfd.readouterr().err


def test_what_is_not_an_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such image file"):
        image.read(tmp_path / "none.png")
    with pytest.raises(ValueError, match="expected an image file, got a folder"):
        image.read(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png: not an image that can be read \(0 bytes\)"):
        image.read(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ValueError, match=r"not an image that can be read \(5 bytes\); expected \.jpg"):
        image.read(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError, match="no such image file"):
        image.read(tmp_path / "text.jpg" / "x.png")


def test_a_jpeg_with_a_tail_is_whole(picture, tmp_path):
    jpeg = image.encode(picture, ".jpg")
    for tail in (b"tail of another program", b"\xff\xda of a telephone's video"):
        (tmp_path / "tail.jpg").write_bytes(jpeg + tail)
        assert image.read(tmp_path / "tail.jpg").shape == (40, 60, 3)
        (tmp_path / "cut.jpg").write_bytes(jpeg[:-2] + tail)
        with pytest.raises(ValueError, match="the JPEG is cut short"):
            image.read(tmp_path / "cut.jpg")


def test_warp_samples_at_pixel_centres(picture):
    same = np.array([[1.0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(image.warp(picture, same, (40, 60)), picture)
    moved = image.warp(picture, np.array([[1.0, 0, 5], [0, 1, 3]]), (40, 60))
    np.testing.assert_array_equal(moved[3:, 5:], picture[:-3, :-5])
    assert not moved[:3].any()
    framed = image.warp(picture, np.array([[1.0, 0, 5], [0, 1, 3]]), (40, 60), border=(9, 20, 30))
    np.testing.assert_array_equal(framed[3:, 5:], moved[3:, 5:])
    assert (framed[:3] == (9, 20, 30)).all()
    half = image.warp(picture, np.array([[1.0, 0, 0.5], [0, 1, 0]]), (40, 60))
    assert half[10, 30].tolist() == ((picture[10, 29].astype(float) + picture[10, 30]) / 2).round().tolist()


def test_warp_all_equals_warp(picture):
    matrices = np.array([[[1.5, 0.2, 3], [-0.1, 1.2, 1]], [[0.5, 0, 0], [0, 0.5, 2.0]]])
    for pixels, matrix in zip(image.warp_all(picture, Crop(matrices, (20, 30)), (1, 2, 3)), matrices):
        np.testing.assert_array_equal(pixels, image.warp(picture, matrix, (20, 30), border=(1, 2, 3)))
    assert image.warp_all(picture, Crop(matrices[:0], (20, 30))).shape == (0, 20, 30, 3)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_to_tensor(colour, number):
    spec = replace(SPEC, colour=colour, mean=(10.0, 20.0, 30.0), std=(2.0, 3.0, 4.0))
    crops = np.random.default_rng(0).integers(0, 255, (number, 8, 6, 3), dtype=np.uint8)
    before = crops.copy()
    out = image.to_tensor(crops, spec.colour, spec.mean, spec.std)
    channels = crops if colour == "rgb" else crops[..., ::-1]
    expected = (channels.astype(np.float32) - np.float32(spec.mean)) / np.float32(spec.std)
    assert out.dtype == torch.float32
    np.testing.assert_array_equal(out.numpy(), expected.transpose(0, 3, 1, 2))
    assert out.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(crops, before)


@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_means_above_zero_are_those_of_blocks(halvings):
    side, maps = 2**halvings, np.random.default_rng(0).normal(size=(5, 2, 16, 12)).astype(np.float32)[:, 1]
    blocks = np.maximum(maps, 0).reshape(5, 16 // side, side, 12 // side, side)
    np.testing.assert_allclose(image.means_above_zero(maps, halvings), blocks.mean((2, 4)), atol=1e-6)


def test_resize_averages_when_shrinking(picture):
    small = image.resize(picture, (20, 30))
    assert small.shape == (20, 30, 3)
    np.testing.assert_allclose(small[:, 0, 0], picture[:, 0, 0].reshape(20, 2).mean(1), atol=0.5)
    assert image.resize(picture, (80, 90)).shape == (80, 90, 3)


def test_recolour_cuts_off():
    swap = np.array([[0, 0, 1, 0], [0, 1, 0, 300], [1, 0, 0, -300.0]])
    out = image.recolour(np.full((2, 2, 3), (10, 20, 30), np.uint8), swap)
    assert out[0, 0].tolist() == [30, 255, 0]


def test_strokes_take_fractions_and_write_in_place():
    canvas = np.zeros((30, 30, 3), np.uint8)
    image.draw_disc(canvas, (10.5, 12.0), 4, (255, 0, 0))
    weight = canvas[..., 0].astype(float)
    rows, columns = np.mgrid[:30, :30]
    assert [(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()] == pytest.approx(
        [10.5, 12.0], abs=0.15
    )
    for draw in (
        lambda c: image.draw_line(c, (2, 2), (20, 25), (0, 255, 0)),
        lambda c: image.draw_box(c, (3, 4, 10, 12), (0, 0, 255)),
        lambda c: image.draw_polygon(c, np.array([[1, 1], [9, 2], [5, 9.0]]), (9, 9, 9)),
        lambda c: image.draw_text(c, "7", (5, 20), (200, 200, 200)),
        lambda c: image.draw_line(c, (-1e4, 5), (1e4, 5), (1, 1, 1)),
    ):
        fresh = np.zeros((30, 30, 3), np.uint8)
        draw(fresh)
        assert fresh.any()


def test_unknown_suffix(picture, tmp_path):
    with pytest.raises(ValueError, match=r"cannot write images as '\.xyz'; expected one of \.jpg"):
        image.write(tmp_path / "a.xyz", picture)
    assert not list(tmp_path.iterdir())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claims(height: int, width: int) -> dict[str, bytes]:
    """Small files of every format that claim a size."""
    size = struct.pack(">HH", height, width)
    frame = b"\xff\xc0\0\x11\x08" + size + b"\x03\1\x22\0\2\x11\1\3\x11\1"
    tables = b"\xff\xdb\0\x05\0\x11\x22" + b"\xff\xff\xfe\0\x04\xff\xc0"  # filled, and a marker in a comment
    tiff = struct.pack("<HHIHHHHII", 256, 3, 1, width, 0, 257, 4, 1, height)
    return {
        "jpeg": b"\xff\xd8" + tables + frame + b"\xff\xda\0\x0c" + bytes(9) + b"\xff\xd9",
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        "bmp": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, width, -height, 1, 24, 0) + bytes(20),
        "bmp of 1987": b"BM" + bytes(12) + struct.pack("<IHHHH", 12, width, height, 1, 24),
        "gif": b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;",
        "tiff": b"II*\0" + struct.pack("<IH", 8, 2) + tiff + bytes(4),
        "pnm": f"P6 # of nothing\n{width} # wide\n{height}\n255\n".encode(),
        "webp": b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
        + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", claims(1, 1))
def test_images_are_measured_before_they_are_decoded(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("cv2.imdecode", None)  # which would allocate
    path = tmp_path / "bomb"
    path.write_bytes(claims(30_000, 32_700)[kind])
    assert path.stat().st_size < 100
    with pytest.raises(
        ValueError, match=r"bomb: 32700 x 30000 pixels, more than the limit of 200,000,000; .*--max-pix"
    ):
        image.read(path)


@pytest.mark.parametrize("kind", claims(1, 1))
def test_headers_that_are_cut_short_are_damaged_images(kind):
    data = claims(300, 400)[kind]
    assert image_size(data) == (300, 400)
    for kept in range(12):
        with pytest.raises(ValueError, match="cut: "):
            image.decode(data[:kept], "cut")


@pytest.mark.parametrize("suffix", image.SUFFIXES)
def test_the_header_says_what_the_decoder_makes(suffix):
    assert image_size(image.encode(np.zeros((40, 61, 3), np.uint8), suffix)) == (40, 61)


def test_the_limit_in_pixels_can_be_set(picture, monkeypatch):
    data = image.encode(picture, ".png")
    with pytest.raises(ValueError, match="photo: 60 x 40 pixels, more than the limit of 2,399"):
        image.decode(data, "photo", max_pixels=2399)
    monkeypatch.setenv("POSEWRIGHT_MAX_PIXELS", "100")
    assert image.decode(data, "photo", max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(ValueError, match="more than the limit of 100;"):
        image.decode(data, "photo")
    monkeypatch.setenv("POSEWRIGHT_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="POSEWRIGHT_MAX_PIXELS: expected a whole number of pixels, got 'many'"):
        image.decode(data, "photo")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are Unix's")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        with pytest.raises(ValueError, match="expected an image file, got a pipe or a device"):
            image.read(path)


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".gif", ".tiff"])
def test_formats_of_telephones_and_first_frames(picture, tmp_path, suffix):
    PIL = pytest.importorskip("PIL.Image")
    pytest.importorskip("pillow_heif").register_heif_opener()
    frames = [PIL.fromarray(picture), PIL.fromarray(255 - picture)]
    more = {"save_all": True, "append_images": frames[1:]} if suffix in (".gif", ".tiff") else {}
    frames[0].save(tmp_path / f"photo{suffix}", **more)
    back = image.read(tmp_path / f"photo{suffix}")
    assert back.shape == picture.shape
    assert np.abs(back.astype(int) - picture).mean() < 8
    assert suffix in image.READABLE_HERE
    with pytest.raises(ValueError, match=r"photo.*: 60 x 40 pixels, more than the limit of 99"):
        image.read(tmp_path / f"photo{suffix}", max_pixels=99)


def test_what_heic_needs_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ModuleNotFoundError, match=r"a\.heic: HEIC and AVIF .*pip install posewright\[images\]"):
        image.decode(b"\0\0\0\x18ftypheic", "a.heic")


def test_damaged_heic_is_named():
    pytest.importorskip("pillow_heif")
    with pytest.raises(ValueError, match=r"a\.heic: not a HEIC or AVIF image that can be read \(12 bytes\)"):
        image.decode(b"\0\0\0\x18ftypheic", "a.heic")


@pytest.mark.parametrize("wide", [True, False])
def test_images_beyond_opencv_s_reach_are_warped(picture, wide):
    """What is cut out of an image of 40,000 columns is what is cut out of that part of it."""
    part = np.ascontiguousarray(picture.swapaxes(0, 1)) if not wide else picture
    place = (35_000, 0) if wide else (0, 35_000)  # x, y
    whole = np.zeros((40, 40_000, 3) if wide else (40_000, 40, 3), np.uint8)
    whole[place[1] : place[1] + part.shape[0], place[0] : place[0] + part.shape[1]] = part
    matrix = np.array([[0.7, 0.2, 3.0], [-0.1, 0.8, 2.0]])
    far = np.concatenate([matrix[:, :2], (matrix[:, 2] - matrix[:, :2] @ place)[:, None]], 1)
    got, want = image.warp(whole, far, (30, 40)), image.warp(part, matrix, (30, 40))
    assert np.abs(got.astype(int) - want).max() <= 2  # OpenCV's own rounding of coordinates
    assert want.max() > 200


def test_the_whole_of_such_an_image_is_thinned_out():
    whole = np.repeat(np.arange(80_000) // 400, 2)[None, :80_000, None].astype(np.uint8).repeat(4, 0).repeat(3, 2)
    small = image.warp(whole, np.array([[1e-3, 0, 0], [0, 1, 0]]), (4, 80))
    np.testing.assert_allclose(small[1, :, 0], np.arange(80) * 1000 // 800, atol=1)
