"""Straightforward loops in the manner of the papers' code: one person, one keypoint at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SIZE, MAP_SIZE = (256, 192), (64, 48)
HEIGHT, WIDTH = MAP_SIZE
POINTS = 17


def encode_heatmap(xy: np.ndarray, visibility: np.ndarray, sigma: int = 2) -> tuple[np.ndarray, np.ndarray]:
    maps, weight = np.zeros((POINTS, HEIGHT, WIDTH), np.float32), np.ones((POINTS, 1), np.float32)
    weight[:, 0] = np.minimum(visibility, 1)
    sizes, reach = (np.array([SIZE[1], SIZE[0]]), np.array([WIDTH, HEIGHT])), 3 * sigma
    for k in range(POINTS):
        stride = sizes[0] / sizes[1]
        centre = [int(xy[k][0] / stride[0] + 0.5), int(xy[k][1] / stride[1] + 0.5)]
        low, high = [int(c - reach) for c in centre], [int(c + reach + 1) for c in centre]
        if low[0] >= WIDTH or low[1] >= HEIGHT or high[0] < 0 or high[1] < 0:
            weight[k] = 0
            continue
        x = np.arange(2 * reach + 1, dtype=np.float32)
        stamp = np.exp(-((x - reach) ** 2 + (x[:, None] - reach) ** 2) / (2 * sigma**2))
        from_x = max(0, -low[0]), min(high[0], WIDTH) - low[0]
        from_y = max(0, -low[1]), min(high[1], HEIGHT) - low[1]
        to_x = max(0, low[0]), min(high[0], WIDTH)
        to_y = max(0, low[1]), min(high[1], HEIGHT)
        if weight[k] > 0.5:
            maps[k][to_y[0] : to_y[1], to_x[0] : to_x[1]] = stamp[from_y[0] : from_y[1], from_x[0] : from_x[1]]
    return maps, weight


def encode_multiscale(xy: np.ndarray, kernels: tuple[int, ...] = (15, 11, 9, 7, 5)) -> np.ndarray:
    labels = np.zeros((len(kernels), POINTS, HEIGHT, WIDTH), np.float32)
    for level, kernel in enumerate(kernels):
        for k in range(POINTS):
            labels[level, k, int(xy[k, 1] / 4), int(xy[k, 0] / 4)] = 1
            label = cv2.GaussianBlur(labels[level, k], (kernel, kernel), 0)
            labels[level, k] = label / (np.amax(label) / 255)
    return labels


def maxima(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = maps.reshape(len(maps), POINTS, -1)
    index, score = flat.argmax(2), flat.max(2)
    xy = np.stack([index % WIDTH, index // WIDTH], -1).astype(np.float64)
    return xy * (score > 0)[..., None], score


def decode_quarter(maps: np.ndarray) -> np.ndarray:
    xy, _ = maxima(maps)
    for n in range(len(maps)):
        for k in range(POINTS):
            heat = maps[n][k]
            x, y = math.floor(xy[n][k][0] + 0.5), math.floor(xy[n][k][1] + 0.5)
            if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
                slope = np.array([heat[y][x + 1] - heat[y][x - 1], heat[y + 1][x] - heat[y - 1][x]])
                xy[n][k] += np.sign(slope) * 0.25
    return xy * 4


def decode_soft(maps: np.ndarray) -> np.ndarray:
    out = np.zeros((len(maps), POINTS, 2))
    for n in range(len(maps)):
        share = torch.softmax(160 * torch.from_numpy(maps[n]).double().reshape(POINTS, -1), 1)
        share = share.reshape(POINTS, HEIGHT, WIDTH).numpy()
        out[n, :, 0] = (share.sum(1) * np.arange(WIDTH)).sum(1)
        out[n, :, 1] = (share.sum(2) * np.arange(HEIGHT)).sum(1)
        for k in range(POINTS):
            heat = maps[n][k]
            x, y = math.floor(out[n][k][0] + 0.5), math.floor(out[n][k][1] + 0.5)
            if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
                slope = np.array([heat[y][x + 1] - heat[y][x - 1], heat[y + 1][x] - heat[y - 1][x]])
                out[n][k] += np.sign(slope) * 0.25
    return out * 4


def decode_dark(maps: np.ndarray, kernel: int = 11) -> np.ndarray:
    xy, _ = maxima(maps)
    border = kernel // 2
    smooth = maps.copy()
    for n in range(len(maps)):
        for k in range(POINTS):
            peak = np.max(smooth[n, k])
            padded = np.zeros((HEIGHT + 2 * border, WIDTH + 2 * border))
            padded[border:-border, border:-border] = smooth[n, k]
            padded = cv2.GaussianBlur(padded, (kernel, kernel), 0)
            smooth[n, k] = padded[border:-border, border:-border]
            smooth[n, k] *= peak / np.max(smooth[n, k])
    log = np.log(np.maximum(smooth, 1e-10))
    for n in range(len(maps)):
        for k in range(POINTS):
            heat, (x, y) = log[n, k], xy[n, k].astype(int)
            if not (1 < x < WIDTH - 2 and 1 < y < HEIGHT - 2):
                continue
            dx, dy = 0.5 * (heat[y, x + 1] - heat[y, x - 1]), 0.5 * (heat[y + 1, x] - heat[y - 1, x])
            dxx = 0.25 * (heat[y, x + 2] - 2 * heat[y, x] + heat[y, x - 2])
            dyy = 0.25 * (heat[y + 2, x] - 2 * heat[y, x] + heat[y - 2, x])
            dxy = 0.25 * (heat[y + 1, x + 1] - heat[y - 1, x + 1] - heat[y + 1, x - 1] + heat[y - 1, x - 1])
            if dxx * dyy - dxy**2 != 0:
                hessian = np.array([[dxx, dxy], [dxy, dyy]], np.float64)
                xy[n, k] -= np.linalg.inv(hessian) @ np.array([dx, dy], np.float64)
    return xy


def decode_udp(maps: np.ndarray, mmpose: bool = False) -> np.ndarray:
    """As released; or as in mmpose 1.x: zeros around the map, its maximum kept, a damped Hessian."""
    xy, _ = maxima(maps)
    kernel, border, damping = (11, 5, np.finfo(np.float32).eps) if mmpose else (7, 0, 0)
    smooth = maps.copy()
    for n in range(len(maps)):
        for k in range(POINTS):
            peak = np.max(smooth[n, k])
            padded = np.zeros((HEIGHT + 2 * border, WIDTH + 2 * border), np.float32)
            padded[border : HEIGHT + border, border : WIDTH + border] = smooth[n, k]
            after = cv2.GaussianBlur(padded, (kernel, kernel), 0)[border : HEIGHT + border, border : WIDTH + border]
            low = 0 if mmpose else np.min(after)
            smooth[n, k] = (after - low) / (np.max(after) - low) * peak
    log = np.pad(np.log(np.clip(smooth, 0.001, 50)), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float64)
    for n in range(len(maps)):
        for k in range(POINTS):
            heat, (x, y) = log[n, k], xy[n, k].astype(int) + 1
            centre, right, left, below, above = (
                heat[y, x],
                heat[y, x + 1],
                heat[y, x - 1],
                heat[y + 1, x],
                heat[y - 1, x],
            )
            dxx, dyy = right - 2 * centre + left, below - 2 * centre + above
            dxy = 0.5 * (heat[y + 1, x + 1] - right - below + 2 * centre - left - above + heat[y - 1, x - 1])
            try:
                inverse = np.linalg.inv(np.array([[dxx + damping, dxy], [dxy, dyy + damping]]))
            except np.linalg.LinAlgError:
                continue
            xy[n, k] -= inverse @ np.array([0.5 * (right - left), 0.5 * (below - above)])
    return xy


def decode_udp_offset(maps: np.ndarray) -> np.ndarray:
    heats, ways_x, ways_y = maps[:, ::3].copy(), maps[:, 1::3] * 4, maps[:, 2::3] * 4
    for n in range(len(maps)):
        for k in range(POINTS):
            heats[n, k] = cv2.GaussianBlur(heats[n, k], (15, 15), 0)
            ways_x[n, k] = cv2.GaussianBlur(ways_x[n, k], (7, 7), 0)
            ways_y[n, k] = cv2.GaussianBlur(ways_y[n, k], (7, 7), 0)
    xy, _ = maxima(heats)
    for n in range(len(maps)):
        for k in range(POINTS):
            x, y = xy[n, k].astype(int)
            xy[n, k] += (ways_x[n, k, y, x], ways_y[n, k, y, x])
    return xy


def decode_multiscale(maps: np.ndarray, kernel: int = 5, normalised: bool = False) -> np.ndarray:
    border, out = 10, np.zeros((len(maps), POINTS, 2))
    for n in range(len(maps)):
        for k in range(POINTS):
            heat = maps[n, k] / np.amax(maps[n, k]) if normalised else maps[n, k]
            padded = np.zeros((HEIGHT + 2 * border, WIDTH + 2 * border))
            padded[border:-border, border:-border] = heat
            padded = cv2.GaussianBlur(padded, (kernel, kernel), 0)
            y, x = np.unravel_index(padded.argmax(), padded.shape)
            padded[y, x] = 0
            v, u = np.unravel_index(padded.argmax(), padded.shape)
            x, y, u, v = x - border, y - border, u - border, v - border
            length = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
            if length > 1e-3:
                x, y = x + 0.25 * (u - x) / length, y + 0.25 * (v - y) / length
            out[n, k] = max(0, min(x, WIDTH - 1)), max(0, min(y, HEIGHT - 1))
    return 4 * out + 2


def flip(maps: np.ndarray, *, shift: bool = True) -> np.ndarray:
    back = maps[:, :, :, ::-1].copy()
    for a, b in ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)):
        kept = back[:, a].copy()
        back[:, a] = back[:, b]
        back[:, b] = kept
    if shift:
        back[:, :, :, 1:] = back.copy()[:, :, :, :-1]
    return back


def joint_by_joint(outputs: Sequence[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """SimpleBaseline's and HRNet's loss."""
    (output,) = outputs
    people, points = output.shape[:2]
    predicted = output.reshape(people, points, -1).split(1, 1)
    wanted = target.reshape(people, points, -1).split(1, 1)
    loss = output.new_zeros(())
    for k in range(points):
        visibility = weight[:, k, None]
        loss = loss + 0.5 * functional.mse_loss(predicted[k].squeeze(1) * visibility, wanted[k].squeeze(1) * visibility)
    return loss / points


def sample_by_sample(outputs: Sequence[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """MSPN's loss: stage by stage, level by level, sample by sample."""
    stages, levels = len(outputs) // 4, 4
    loss = outputs[0].new_zeros(())
    for stage in range(stages):
        for level in range(levels):
            output = outputs[stage * levels + level]
            label = target[:, level + (stage == stages - 1)]
            if level == levels - 1:
                loss = loss + hardest_of_each(output, label, weight)
            else:
                loss = loss + visible_of_each(output, label, weight) / levels
    return loss


def visible_of_each(output: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    total = output.new_zeros(())
    for n in range(len(output)):
        maps, wanted = output[n].reshape(output.shape[1], -1), label[n].reshape(output.shape[1], -1)
        total = total + functional.mse_loss(maps, wanted * (weight[n, :, None] > 1).float())
    return total / len(output)


def hardest_of_each(output: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    total = output.new_zeros(())
    for n in range(len(output)):
        maps, wanted = output[n].reshape(output.shape[1], -1), label[n].reshape(output.shape[1], -1)
        errors = functional.mse_loss(maps, wanted, reduction="none").mean(1) * (weight[n] > 0).float()
        total = total + torch.topk(errors, 8, sorted=False).values.mean()
    return total / len(output)
