"""Box -> region -> crop: pure functions on arrays, vectorised over leading dimensions.

A *region* is (centre x, centre y, width, height) in image pixels: what the papers call centre and scale, without
the division by 200. Formulae are those of the published code; where two differ, a `CropRule` says which.
"""

from __future__ import annotations

import numpy as np

from posewright.types import Boxes, Crop, CropRule


def crop(
    boxes: Boxes,
    size: tuple[int, int],
    *,
    padding: tuple[float, float] = (1.25, 1.25),
    rule: CropRule = "standard",
    image_size: tuple[int, ...] | None = None,
) -> Crop:
    """The crops of an image's boxes, as a pose system cuts them: `region_of_box`, then `matrix_of_region`.

    Args:
        boxes: N boxes of one image.
        size: (height, width) of the network's input.
        padding: factors on the boxes' width and height.
        rule: the crop rule.
        image_size: (height, width) of the image; only "cpn" asks for it, see `region_of_box`.
    """
    xywh, cleaned = boxes.xywh, boxes.cleaned
    region = region_of_box(xywh, size, padding=padding, rule=rule, cleaned=cleaned, image_size=image_size)
    return Crop(matrix_of_region(region, size, rule=rule), size, rule)


def region_of_box(
    xywh: np.ndarray,
    size: tuple[int, int],
    *,
    padding: tuple[float, float] = (1.25, 1.25),
    rule: CropRule = "standard",
    cleaned: bool = False,
    image_size: tuple[int, ...] | None = None,
) -> np.ndarray:
    """The padded region, of the input's aspect ratio, around boxes.

    The padding comes before the ratio is fixed. For equal factors the order does not matter (SimpleBaseline, HRNet,
    LPN, UDP: 1.25); MSPN and RSN pad by 1.09 and 1.135, and there it does.

    Args:
        xywh: [..., 4] boxes in image pixels.
        size: (height, width) of the input.
        padding: factors on width and height.
        rule: "dark" puts the centre at x + (w - 1) / 2, all others at x + w / 2; see `box_by_rule` as well.
        cleaned: see `box_by_rule`.
        image_size: (height, width) of the image. With "cpn" and an image's size, a region ends, as published, where
            the image ends once it is widened, all around, by its longer side.

    Returns:
        [..., 4] float64 regions.
    """
    xywh = box_by_rule(xywh, rule, cleaned=cleaned) if rule in ("cpn", "dark") else np.asarray(xywh, np.float64)
    x, y, w, h = (xywh[..., i] for i in range(4))
    less = 1.0 if rule == "dark" else 0.0
    centre_x, centre_y = x + (w - less) / 2, y + (h - less) / 2
    w, h, ratio = w * padding[0], h * padding[1], size[1] / size[0]
    region = np.stack([centre_x, centre_y, np.maximum(w, h * ratio), np.maximum(h, w / ratio)], -1)
    return _in_border(region, w < h * ratio, size, image_size) if rule == "cpn" and image_size else region


def _in_border(region: np.ndarray, high: np.ndarray, size: tuple[int, int], image_size: tuple[int, ...]) -> np.ndarray:
    """CPN's regions [..., 4] kept in the widened image, less a pixel (along y where the box is too `high`)."""
    centre, border = region[..., :2], max(image_size)
    room = np.minimum(centre + border, np.array(image_size[::-1]) + border - centre)
    length = np.array(size[::-1])
    most = (2 * room / length).min(-1) - 1 / np.where(high, size[0], size[1])
    scale = np.minimum(region[..., 2] / size[1], most)
    return np.concatenate([centre, scale[..., None] * length], -1)


def box_by_rule(xywh: np.ndarray, rule: CropRule, *, cleaned: bool = False) -> np.ndarray:
    """Boxes [..., 4] as the code that a crop rule comes from measures them.

    CPN's cuts the corners down to whole pixels. DARK's keeps the pixel in width and height that `sanitise_box` takes
    from annotated boxes. All others leave boxes as they are.

    Args:
        xywh: [..., 4] boxes in image pixels.
        rule: the crop rule.
        cleaned: whether they are annotated ones, out of `sanitise_box`; to detected ones DARK adds nothing.
    """
    xywh = np.asarray(xywh, np.float64)
    if rule == "cpn":
        low, high = np.trunc(xywh[..., :2]), np.trunc(xywh[..., :2] + xywh[..., 2:])
        return np.concatenate([low, high - low], -1)
    return xywh + np.array([0.0, 0.0, 1.0, 1.0]) if rule == "dark" and cleaned else xywh


def fix_ratio(w: np.ndarray, h: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Widths and heights grown, on one side, to the aspect ratio of `size` (height, width)."""
    ratio = size[1] / size[0]
    return np.maximum(w, h * ratio), np.maximum(h, w / ratio)


def matrix_of_region(
    region: np.ndarray,
    size: tuple[int, int],
    *,
    rule: CropRule = "standard",
    degrees: np.ndarray | float = 0.0,
    mirror: np.ndarray | bool = False,
) -> np.ndarray:
    """The image -> input matrix of regions, in closed form.

    * "standard" (SimpleBaseline, HRNet, LPN, MSPN, RSN, Lite-HRNet): a similarity, the region's left edge at 0 and
      its right edge at W, so the centre falls on W / 2; only the region's width matters, never its height.
    * "dark": the same with W - 1 and the region's width less one; the centre falls on (W - 1) / 2.
    * "udp" (Huang et al., CVPR 2020; also G-RMI): edges at 0 and W - 1, width and height scaled apart, and, as
      released, rotating the other way for the same angle.
    * "cpn": the region is cut down to whole pixels first; then edges at 0 and W, width and height scaled apart. The
      matrix is that of the points: see `Crop.pixel_matrix`.

    A mirrored crop equals the crop of the mirrored image (x -> image width - 1 - x) with the region mirrored along:
    the image's width cancels out, so the flip costs nothing but a sign.

    Args:
        region: [..., 4] centre x, centre y, width, height in image pixels.
        size: (height, width) of the input.
        rule: see above.
        degrees: rotation, broadcast to the regions.
        mirror: whether the image is mirrored first, broadcast to the regions.

    Returns:
        [..., 2, 3] float64.
    """
    region = _window(region) if rule == "cpn" else np.asarray(region, np.float64)
    centre, w, h = region[..., :2], region[..., 2], region[..., 3]
    height, width = size
    radians = np.deg2rad(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    if rule == "standard":
        scale_x = scale_y = width / w
        middle = np.array([width / 2, height / 2])
    elif rule == "dark":
        scale_x = scale_y = (width - 1) / (w - 1)
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
    elif rule == "udp":
        scale_x, scale_y, sin = (width - 1) / w, (height - 1) / h, -sin
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
    elif rule == "cpn":
        scale_x, scale_y = width / w, height / h
        middle = np.array([width / 2, height / 2])
    else:
        raise ValueError(f"crop rule must be 'standard', 'dark', 'udp' or 'cpn', got {rule!r}")
    sign = np.where(mirror, -1.0, 1.0)
    rows = [scale_x * cos * sign, scale_x * sin, -scale_y * sin * sign, scale_y * cos]
    linear = np.stack(np.broadcast_arrays(*rows), -1)
    linear = linear.reshape(*linear.shape[:-1], 2, 2)
    shift = middle - (linear @ centre[..., None])[..., 0]
    return np.concatenate([linear, shift[..., None]], -1)


def _window(region: np.ndarray) -> np.ndarray:
    """Regions [..., 4] cut down to whole pixels, at least one wide and high."""
    region = np.asarray(region, np.float64)
    half = region[..., 2:] / 2
    # Decimals times whole pixels often end at a whole pixel; what rounding has taken from it must not cost a pixel.
    low, high = np.floor(region[..., :2] - half + 1e-3), np.floor(region[..., :2] + half + 1e-3)
    sides = np.maximum(high - low, 1)
    return np.concatenate([low + sides / 2, sides], -1)


def sanitise_box(xywh: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """An annotated box as the official COCO loaders clean it, or None if nothing of it is left.

    As published, the box loses one pixel in width and height, and a negative x or y moves it instead of trimming it
    (the far corner is measured from the clamped near one). DARK's loaders keep the pixel: see `box_by_rule`.
    """
    x, y, w, h = (float(v) for v in xywh)
    x1, y1 = max(0.0, x), max(0.0, y)
    x2, y2 = min(width - 1.0, x1 + max(0.0, w - 1)), min(height - 1.0, y1 + max(0.0, h - 1))
    return np.array([x1, y1, x2 - x1, y2 - y1]) if x2 >= x1 and y2 >= y1 else None


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union [N, M] of boxes [N, 4] and [M, 4], x, y, width, height; 0 of two without area."""
    near = np.maximum(boxes[:, None, :2], others[None, :, :2])
    far = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (others[:, :2] + others[:, 2:])[None])
    common = np.maximum(far - near, 0).prod(-1)
    union = boxes[:, 2:].prod(1)[:, None] + others[:, 2:].prod(1) - common
    return common / np.maximum(union, np.spacing(1))
