"""Makes `codecs.npz`: `python tests/golden/make_codecs.py`. The published rules of each codec, one keypoint at a time.

Written from the description of the official codes alone: scalar loops, no line of Posewright's, numbers as they leave
the official decoders (input pixels). Inputs are made without transcendental functions, so they are the same everywhere.
Input 64x48, maps 16x12, eight keypoints' maps of each kind; sigma and sizes of blurs are those of the full sizes.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np

HEIGHT, WIDTH, H, W = 64, 48, 16, 12
TABLE = {3: (1, 2, 1), 5: (1, 4, 6, 4, 1), 7: (2, 7, 14, 18, 14, 7, 2), 9: (4, 13, 30, 51, 60, 51, 30, 13, 4)}
PIXELS = list(product(range(H), range(W)))


def points() -> tuple[np.ndarray, np.ndarray]:
    """Keypoints inside, at borders and outside of the input, in 1/8 pixels, and their visibility."""
    rng = np.random.default_rng(5)
    return rng.integers((-64, -64), (8 * WIDTH + 64, 8 * HEIGHT + 64), (24, 2)) / 8, rng.integers(0, 3, 24)


def network_maps(count: int, scale: float = 1.0, seed: int = 6) -> np.ndarray:
    """Noisy peaks, some of them double, close to the border or negative: [count, H, W] float32."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    maps = []
    for k in range(count):
        cx, cy = rng.integers(-8, 8 * W + 8) / 8, rng.integers(-8, 8 * H + 8) / 8
        heat = 1 / (1 + ((x - cx) ** 2 + (y - cy) ** 2) / 6) ** 2
        if k % 4 == 1:
            heat = heat + 0.75 / (1 + ((x - W + cx) ** 2 + (y - H + cy) ** 2) / 3) ** 2
        heat = heat + rng.integers(-100, 100, (H, W)) / 20000
        maps.append(-heat - 0.125 if k == 7 else heat)
    return (np.array(maps) * scale).astype(np.float32)


def blur(heat, kernel, border=0, mirror=True):
    """The separable Gaussian blur of OpenCV with sigma 0, of a map with `border` zeros added around it."""
    r = kernel // 2
    sigma = 0.3 * (r - 1) + 0.8
    taps = TABLE.get(kernel) or [math.exp(-(i * i) / (2 * sigma * sigma)) for i in range(-r, r + 1)]
    wide = np.zeros((heat.shape[0] + 2 * border, heat.shape[1] + 2 * border))
    wide[border : border + heat.shape[0], border : border + heat.shape[1]] = heat
    for axis in (0, 1):
        n, old = wide.shape[axis], np.moveaxis(wide, axis, 0).copy()
        new = np.zeros_like(old)
        for i in range(n):
            for offset, tap in zip(range(-r, r + 1), taps):
                j = i + offset
                if mirror:
                    j = -j if j < 0 else 2 * (n - 1) - j if j >= n else j
                if 0 <= j < n:
                    new[i] += tap / sum(taps) * old[j]
        wide = np.moveaxis(new, 0, axis)
    return wide


def argmax(heat):
    """(x, y) of the first maximum in row-major order."""
    y, x = np.unravel_index(int(np.argmax(heat)), heat.shape)
    return int(x), int(y)


def drawn(mx, my, sigma, square=None):
    """A Gaussian at (mx, my), cut off to 3 sigma around the pixel `square` if that is given."""
    heat = np.zeros((H, W))
    for y, x in PIXELS:
        if square is None or max(abs(x - square[0]), abs(y - square[1])) <= 3 * sigma:
            heat[y, x] = math.exp(-((x - mx) ** 2 + (y - my) ** 2) / (2 * sigma * sigma))
    return heat


def misses(mx, my, r):
    return mx - r >= W or my - r >= H or mx + r + 1 < 0 or my + r + 1 < 0


def encode_gaussian(x, y, v):
    mx, my = math.trunc(x / 4 + 0.5), math.trunc(y / 4 + 0.5)
    weight = 0 if v == 0 or misses(mx, my, 6) else 1
    return drawn(mx, my, 2, (mx, my)) * weight, weight


def encode_dark(x, y, v):
    k = (W - 1) / (WIDTH - 1)
    mx, my = (x - (WIDTH - 1) / 2) * k + (W - 1) / 2, (y - (HEIGHT - 1) / 2) * k + (H - 1) / 2
    low, high = [math.trunc(m - 6) for m in (mx, my)], [math.trunc(m + 7) for m in (mx, my)]
    weight = 0 if v == 0 or low[0] >= W or low[1] >= H or min(high) < 0 else 1
    return drawn(mx, my, 2) * weight, weight


def to_udp(x, y):
    return x * (W - 1) / (WIDTH - 1), y * (H - 1) / (HEIGHT - 1)


def encode_udp(x, y, v):
    mx, my = to_udp(x, y)
    px, py = math.trunc(mx + 0.5), math.trunc(my + 0.5)
    weight = 0 if v == 0 or misses(px, py, 6) else 1
    return drawn(mx, my, 2, (px, py)) * weight, weight


def encode_udp_offset(x, y, v):
    (mx, my), out = to_udp(x, y), np.zeros((3, H, W))
    for py, px in PIXELS:
        dx, dy = (mx - px) / 4, (my - py) / 4
        if v > 0 and dx * dx + dy * dy <= 1:
            out[:, py, px] = 1, dx, dy
    return out, min(v, 1)


def blurred_labels(px, py, kernels, at_keypoint=False):
    one = np.zeros((H, W))
    one[py, px] = 1
    maps = [blur(one, kernel) for kernel in kernels]
    return np.stack([255 * m / (m[py, px] if at_keypoint else m.max()) for m in maps])


def encode_mspn(x, y, v):
    v = v if 0 <= x <= WIDTH - 1 and 0 <= y <= HEIGHT - 1 else 0
    kernels = (15, 11, 9, 7, 5)
    return (blurred_labels(math.trunc(x / 4), math.trunc(y / 4), kernels) if v else np.zeros((5, H, W))), v


def encode_mmpose_ladder(x, y, v):
    px, py = math.trunc(x / 4), math.trunc(y / 4)
    weight = int(v > 0 and 0 <= px < W and 0 <= py < H)
    return (blurred_labels(px, py, (15, 11, 9, 7, 5), True) if weight else np.zeros((5, H, W))), weight


def encode_cpn(x, y, v):
    v = v if 0 <= x < WIDTH and 0 <= y < HEIGHT else 0
    return (blurred_labels(math.floor(x / 4), math.floor(y / 4), (15, 11, 9, 7)) if v else np.zeros((4, H, W))), v


def encode_udp_ladder(x, y, v):
    v = v if 0 <= x <= WIDTH - 1 and 0 <= y <= HEIGHT - 1 else 0
    levels = [255 * drawn(*to_udp(x, y), sigma) for sigma in (2.6, 2.0, 1.7, 1.4105, 1.1105)]
    return np.stack(levels) * (v > 0), v


def encode_hourglass(x, y, v):
    mx, my = math.trunc(x / 4), math.trunc(y / 4)
    weight = 0 if v == 0 or mx - 3 >= W or my - 3 >= H or mx + 4 < 0 or my + 4 < 0 else 1
    return drawn(mx, my, 1, (mx, my)) * weight, weight


def sign(value):
    return int(value > 0) - int(value < 0)


def quarter(heat, x, y, px, py, first=1):
    if first < px < W - 1 and first < py < H - 1:
        x += 0.25 * sign(heat[py, px + 1] - heat[py, px - 1])
        y += 0.25 * sign(heat[py + 1, px] - heat[py - 1, px])
    return x, y


def decode_gaussian(heat):
    x, y = argmax(heat) if heat.max() > 0 else (0, 0)
    x, y = quarter(heat, x, y, x, y)
    return 4 * x, 4 * y, heat.max()


def decode_soft(heat):
    share = {(y, x): math.exp(160 * (float(heat[y, x]) - float(heat.max()))) for y, x in PIXELS}
    total = sum(share.values())
    x, y = (sum(s * p[axis] for p, s in share.items()) / total for axis in (1, 0))
    score = heat[round(y), round(x)]
    x, y = quarter(heat, x, y, math.floor(x + 0.5), math.floor(y + 0.5))
    return 4 * x, 4 * y, score


def newton(x, y, d, hxx, hyy, hxy, damping=0.0):
    hxx, hyy = hxx + damping, hyy + damping
    det = hxx * hyy - hxy * hxy
    return (x, y) if det == 0 else (x - (hyy * d[0] - hxy * d[1]) / det, y - (hxx * d[1] - hxy * d[0]) / det)


def decode_dark(heat):
    x, y = argmax(heat) if heat.max() > 0 else (0, 0)
    smooth = blur(heat, 11, 5)[5:-5, 5:-5]
    log = np.log(np.maximum(smooth * float(heat.max()) / smooth.max(), 1e-10))
    if 1 < x < W - 2 and 1 < y < H - 2:
        d = (log[y, x + 1] - log[y, x - 1]) / 2, (log[y + 1, x] - log[y - 1, x]) / 2
        hxx = (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2]) / 4
        hyy = (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]) / 4
        hxy = (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]) / 4
        x, y = newton(x, y, d, hxx, hyy, hxy)
    k = (WIDTH - 1) / (W - 1)
    return (x - (W - 1) / 2) * k + (WIDTH - 1) / 2, (y - (H - 1) / 2) * k + (HEIGHT - 1) / 2, heat.max()


def from_udp(x, y):
    return x * (WIDTH - 1) / (W - 1), y * (HEIGHT - 1) / (H - 1)


def decode_udp(heat, toolkit="udp"):
    peak = float(heat.max())
    if peak <= 0:
        return (0, 0, peak) if toolkit == "udp" else (*from_udp(-1, -1), peak)
    x, y = argmax(heat)
    smooth = blur(heat, 7) if toolkit == "udp" else blur(heat, 11, 5)[5:-5, 5:-5]
    if toolkit == "udp":
        smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * peak
    else:
        smooth = smooth * peak / smooth.max()
    log = np.log(np.clip(smooth, 0.001, 50))

    def at(dx, dy):
        return log[min(max(y + dy, 0), H - 1), min(max(x + dx, 0), W - 1)]

    d = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    hxx, hyy = at(1, 0) - 2 * at(0, 0) + at(-1, 0), at(0, 1) - 2 * at(0, 0) + at(0, -1)
    hxy = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    damping = 0.0 if toolkit == "udp" else float(np.finfo(np.float32).eps)
    return *from_udp(*newton(x, y, d, hxx, hyy, hxy, damping)), peak


def decode_udp_offset(triple):
    smooth = blur(triple[0], 15)
    x, y = argmax(smooth) if smooth.max() > 0 else (0, 0)
    dx, dy = (blur(4.0 * triple[axis], 7)[y, x] for axis in (1, 2))
    return *from_udp(x + dx, y + dy), smooth.max()


def decode_mspn(heat, kernel=5, by_maximum=False):
    smooth = blur(heat / heat.max() if by_maximum else heat, kernel, 10)
    x, y = argmax(smooth)
    smooth[y, x] = 0
    x2, y2 = argmax(smooth)
    length = math.hypot(x2 - x, y2 - y)
    if length > 1e-3:
        x, y = x + 0.25 * (x2 - x) / length, y + 0.25 * (y2 - y) / length
    x, y = min(max(x - 10, 0), W - 1), min(max(y - 10, 0), H - 1)
    return 4 * x + 2, 4 * y + 2, float(heat[round(y), round(x)]) / 255 + 0.5


def decode_mmpose_ladder(heat):
    smooth = blur(heat, 11, 5)[5:-5, 5:-5]
    smooth = smooth * float(heat.max()) / smooth.max()
    value = smooth.max()
    px, py = argmax(smooth) if value > 0 else (-1, -1)
    x, y = quarter(smooth, px, py, px, py)
    half = 0.5 if 1 < px < W - 1 and 1 < py < H - 1 else 0
    return 4 * (x + half), 4 * (y + half), value / 255 + 0.5


def decode_hourglass(heat):
    px, py = argmax(heat) if heat.max() > 0 else (-1, -1)
    x, y = quarter(heat, px, py, px, py, 0)
    return 4 * (x + 0.5), 4 * (y + 0.5), heat.max()


RULES = {
    "gaussian": (encode_gaussian, decode_gaussian, 1),
    "soft-argmax": (encode_gaussian, decode_soft, 1),
    "dark": (encode_dark, decode_dark, 1),
    "udp": (encode_udp, decode_udp, 1),
    "udp-mmpose1": (encode_udp, lambda heat: decode_udp(heat, "mmpose1"), 1),
    "udp-offset": (encode_udp_offset, decode_udp_offset, 1),
    "mspn": (encode_mspn, decode_mspn, 255),
    "cpn": (encode_cpn, lambda heat: decode_mspn(heat, 21, True), 255),
    "mmpose-ladder": (encode_mmpose_ladder, decode_mmpose_ladder, 255),
    "udp-ladder": (encode_udp_ladder, lambda heat: decode_udp(heat / np.float32(255)), 255),
    "hourglass": (encode_hourglass, decode_hourglass, 1),
}


def maps_of(name: str) -> np.ndarray:
    """What the rule named so is given to decode: [16, H, W], or [16, 3, H, W] for offsets."""
    maps = network_maps(16, RULES[name][2])
    if name != "udp-offset":
        return maps
    return np.stack([maps, *(np.random.default_rng(s).integers(-90, 90, maps.shape) / 100 for s in (7, 8))], 1).astype(
        np.float32
    )


def main() -> None:
    kept = {}
    for name, (encode, decode, _) in RULES.items():
        targets, weights = zip(*(encode(x, y, v) for (x, y), v in zip(*points())))
        kept[f"{name}/target"] = np.stack(targets).astype(np.float32)
        kept[f"{name}/weight"] = np.array(weights, np.float32)
        kept[f"{name}/decoded"] = np.array([decode(heat) for heat in maps_of(name)], np.float64)
    np.savez_compressed(Path(__file__).with_name("codecs.npz"), **kept)


if __name__ == "__main__":
    main()
