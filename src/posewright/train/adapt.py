"""Pseudo labels for an unlabelled target domain: CC-SSL, from predictions that stay the same under changes of the
image, and PPLO, from predictions of high confidence.

CC-SSL: Mu et al., "Learning from Synthetic Animals", CVPR 2020. A network trained on a labelled source labels the
target's images; what it is most confident of joins the training, and with every round it labels them again and more is
kept. How confident it is follows from several views of an image: maps that are undone and averaged are high only where
the views agree. Views that are scaled and rotated test equivariance, recoloured ones invariance, and where consecutive
frames are given, optical flow tests consistency in time. No label of the target is read.

PPLO: Cao et al., "Cross-Domain Adaptation for Animal Pose Estimation", ICCV 2019, section 4.3, for an unseen species.
The plain predictions above a confidence, which falls from round to round, join the training in batches of their own, in
turn with those of the source.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from posewright import coco_format, geometry, image
from posewright.codecs import Codec
from posewright.data import sources
from posewright.data.dataset import KeypointDataset
from posewright.data.skeleton_file import read as read_skeleton
from posewright.files import write_json
from posewright.models import find
from posewright.progress import bar, say
from posewright.skeletons import to_category
from posewright.spec import Spec
from posewright.train.config import PseudoLabels, TrainConfig
from posewright.train.distributed import Team
from posewright.types import Crop
from posewright.weights import checkpoint, hub


def labelled_round(config: TrainConfig, number: int, folder: Path, team: Team) -> TrainConfig:
    """The settings of a round that trains on the source and on the target as the network labels it so far.

    The labels are written to `pseudo.json` in the round's folder, unless they are there already, by the main process.
    A round that keeps none trains on the source alone.

    Args:
        config: of the whole adaptation; its `init` are the weights that label.
        number: of the round, from 0 on.
        folder: of the round.
        team: the processes.

    Raises:
        ValueError: no weights are given to label with, their last layer is to be re-initialised, or the codec has more
            than one map per keypoint.
    """
    pseudo, (files, folders) = config.pseudo, config.files
    plain = replace(config, target="", target_images="", rounds=1, out=str(folder))
    if not pseudo.thresholds and pseudo.keep[number] == 0:
        return plain
    if not config.init:
        raise ValueError(
            "pseudo labels come from weights trained on the source: give --init, or begin pseudo.keep with 0"
        )
    if config.reset_head:
        raise ValueError(
            "pseudo labels come from the weights' own last layer, which reset_head re-initialises: leave reset_head "
            "out, or begin pseudo.keep with 0"
        )
    labels, outside = folder / "pseudo.json", config.allow_outside
    skeleton = read_skeleton(config.skeleton) if config.skeleton else None
    skeleton = skeleton or sources.read_all(files[:1], folders[:1], allow_outside=outside).skeleton
    target = sources.read_all([config.target], [config.target_images], skeleton, allow_outside=outside, unlabelled=[0])
    root = os.path.commonpath([str(path.parent.resolve()) for path in target.paths.values()])
    if team.is_main and not labels.exists():
        xy, confidence = _predicted(config, target, team.device(config.device))
        least = _least(pseudo, number, confidence)
        _write(labels, target, xy, confidence > least, Path(root))
        middle, most = np.median(confidence), confidence.max()
        above = " to ".join(f"{value:.3f}" for value in dict.fromkeys((least.min(), least.max())))
        say(
            f"{labels}: {(confidence > least).sum()} of {confidence.size} points kept, those above {above}; half are "
            f"above {middle:.3f}, the highest is {most:.3f}"
        )
    team.wait()
    if not any(annotation.num_keypoints for annotation in coco_format.read_annotations(labels).annotations):
        return plain
    times = pseudo.repeats
    return replace(
        plain,
        train=(*files, *[str(labels)] * times),
        train_images=(*folders, *[root] * times),
        file_weights=(*(config.file_weights or (1.0,) * len(files)), *[pseudo.weight] * times),
        file_partial=(*config.file_partial, *[True] * times) if config.file_partial else (),
        turns=(*[0] * len(files), *[1] * times) if pseudo.alternate else (),
        domains=(*config.domains, *["target"] * times) if config.domains else (),
    )


def _predicted(config: TrainConfig, target: KeypointDataset, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """What the weights that the round starts from say of the target; see `pseudo_labels`."""
    spec = find(config.model).with_codec(config.codec).with_skeleton(target.skeleton)
    net = spec.build()
    checkpoint.load(net, hub.resolve(config.init), spec)
    return pseudo_labels(spec, net.to(device).eval(), target, config.pseudo, config.seed)


def _least(pseudo: PseudoLabels, number: int, confidence: np.ndarray) -> np.ndarray:
    """[K], what the confidences [N, K] of each keypoint must be above in a round."""
    count = confidence.shape[1]
    if pseudo.thresholds:
        return np.full(count, pseudo.thresholds[number])
    if pseudo.per_point:
        return np.array([threshold(of_point, pseudo.keep[number]) for of_point in confidence.T])
    return np.full(count, threshold(confidence, pseudo.keep[number]))


def threshold(confidence: np.ndarray, keep: float) -> float:
    """What a confidence must be above for about that share of all to be kept: as published, one more 0 is counted."""
    ordered = np.sort(np.append(confidence, 0.0))
    return float(ordered[min(int((1 - keep) * len(ordered)), len(ordered) - 1)])


def pseudo_labels(
    spec: Spec, net: nn.Module, people: KeypointDataset, settings: PseudoLabels, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions [N, K, 2] in image pixels for N boxes, and the confidence [N, K] that views and frames leave to them.

    Args:
        spec: of the network.
        net: in evaluation mode.
        people: whose boxes are looked into; its points are not read.
        settings: how many views, and which.
        seed: of the views.

    Raises:
        ValueError: the codec has no heatmap per keypoint, which views are averaged on.
    """
    if spec.codec.channels(1) != 1:
        raise ValueError(
            f"{spec.name}: pseudo labels are maxima of heatmaps, one per keypoint; {type(spec.codec).__name__} has more"
        )
    xy = np.zeros(people.xy.shape)
    confidence = np.zeros(people.visibility.shape)
    with bar("labelling", "samples") as report:
        for n in range(len(people)):
            pixels = image.read(people[n].path, upright=False)
            rng = np.random.default_rng([seed, n])
            region = geometry.region_of_box(
                people.box[n], spec.size, padding=spec.padding, rule=spec.crop_rule, cleaned=True
            )
            crop, crops = views(spec, pixels, region, settings, rng)
            maps = consensus(spec, net, crop, crops)
            found, score = spec.codec.decode(maps[None])
            xy[n], confidence[n] = crop[:1].to_image(found)[0], score[0]
            report(n + 1, len(people), "")
    if settings.temporal:
        for previous, n in consecutive(people):
            before, now = (image.read(people[m].path, upright=False) for m in (previous, n))
            flow = image.follow(before, now, xy[previous])
            check_in_time(flow, xy, confidence, previous, n)
    return xy, confidence


def views(
    spec: Spec, pixels: np.ndarray, region: np.ndarray, settings: PseudoLabels, rng: np.random.Generator
) -> tuple[Crop, np.ndarray]:
    """Views of a region [4]: the plain one, then scaled, rotated and mirrored ones, then recoloured ones of it."""
    moved = max(settings.views - 1, 0)
    factor = np.clip(1 + settings.scale * rng.normal(size=moved), 1 - settings.scale, 1 + settings.scale)
    angle = np.clip(settings.rotation * rng.normal(size=moved), -2 * settings.rotation, 2 * settings.rotation)
    factor = np.concatenate([[1.0], factor, np.ones(settings.recoloured)])
    degrees = np.concatenate([[0.0], angle, np.zeros(settings.recoloured)])
    regions = np.column_stack([np.tile(region[:2], (len(factor), 1)), region[2:] * factor[:, None]])
    place = np.arange(len(factor))
    mirror = settings.mirrored & spec.skeleton.can_flip & (place % 2 == 1) & (place <= moved)
    matrix = geometry.matrix_of_region(regions, spec.size, rule=spec.crop_rule, degrees=degrees, mirror=mirror)
    crop = Crop(matrix, spec.size, spec.crop_rule)
    crops = image.warp_all(pixels, crop, spec.border)
    for row in range(1 + moved, len(crops)):
        gain, shift = np.exp(rng.uniform(-0.5, 0.5)), rng.normal(0, 15, 3)
        noise = rng.normal(0, rng.uniform(0, 15), crops[row].shape)
        crops[row] = ((crops[row] - 128.0) * gain + 128 + shift + noise).clip(0, 255).astype(np.uint8)
    return crop, crops


def consensus(spec: Spec, net: nn.Module, crop: Crop, crops: np.ndarray) -> np.ndarray:
    """The mean [K, h, w] of the maps of V views, each brought back into the first one's frame; 0 where one has none."""
    images = image.to_tensor(crops, spec.colour, spec.mean, spec.std)
    device = next(net.parameters()).device
    with torch.inference_mode():
        maps = net(images.to(device)).float().cpu()
    mirrored = torch.from_numpy(np.linalg.det(crop.matrix[..., :2]) < 0)  # whose left points were found as right ones
    maps = torch.where(mirrored[:, None, None, None], maps[:, list(spec.skeleton.flip_index)], maps)
    height, width = maps.shape[2:]
    square = np.tile(np.eye(3), (len(crop), 1, 1))
    square[:, :2] = crop.matrix
    to_input = _input_of_map(spec.codec, (height, width))
    from_first = np.linalg.inv(to_input) @ square @ np.linalg.inv(square[0]) @ to_input  # from the first map to each
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    places = np.stack([columns, rows, np.ones_like(rows)], -1) @ from_first[:, None, :2].swapaxes(-1, -2)
    grid = 2 * places / (width - 1, height - 1) - 1
    undone = functional.grid_sample(maps, torch.from_numpy(grid).float(), align_corners=True, padding_mode="zeros")
    undone[0] = maps[0]
    return undone.mean(0).numpy()


def _input_of_map(codec: Codec, size: tuple[int, int]) -> np.ndarray:
    """[3, 3] from map pixels to input pixels, as the codec decodes single peaks."""
    height, width = size
    peaks = np.array([[width // 4, height // 4], [3 * width // 4, 3 * height // 4]])
    maps = np.zeros((2, 1, height, width), np.float32)
    maps[[0, 1], 0, peaks[:, 1], peaks[:, 0]] = 1
    found = codec.decode(maps)[0][:, 0]
    stride = (found[1] - found[0]) / (peaks[1] - peaks[0])
    matrix = np.diag([*stride, 1.0])
    matrix[:2, 2] = found[0] - stride * peaks[0]
    return matrix


def consecutive(people: KeypointDataset) -> Iterator[tuple[int, int]]:
    """Pairs of samples on consecutive frames: one each in images of one folder whose names' numbers differ by one."""
    places = {group[0]: people[int(group[0])].path for group in people.by_image().values() if len(group) == 1}
    numbered: dict[tuple[Path, str, int], int] = {}
    for n, path in places.items():
        digits = path.stem[len(path.stem.rstrip("0123456789")) :]
        if digits:
            numbered[path.parent, path.stem.rstrip("0123456789"), int(digits)] = int(n)
    for (folder, name, number), n in sorted(numbered.items(), key=lambda item: (str(item[0][0]), *item[0][1:])):
        if (previous := numbered.get((folder, name, number - 1))) is not None:
            yield previous, n


def check_in_time(flow: np.ndarray, xy: np.ndarray, confidence: np.ndarray, previous: int, n: int) -> None:
    """Compare a frame's points with those that flow [K, 2] carries over from the previous frame, in place.

    A point that flow moves by more than 15 pixels is not trusted, in the previous frame either. Where the confidence
    fell by more than a tenth from one frame to the next, the point comes from the flow, with 0.9 of the confidence.
    """
    leaps = ~(np.linalg.norm(flow - xy[previous], axis=1) <= 15)
    confidence[previous, leaps] = 0
    before = confidence[previous]
    fell = (before > 0) & (confidence[n] < 0.9 * before)
    xy[n, fell], confidence[n, fell] = flow[fell], 0.9 * before[fell]


def _write(path: Path, people: KeypointDataset, xy: np.ndarray, kept: np.ndarray, root: Path) -> None:
    triples = np.where(kept[..., None], np.concatenate([xy.round(2), np.full((*kept.shape, 1), 2.0)], 2), 0.0)
    images = [
        {"id": int(number), "file_name": str(file.resolve().relative_to(root))} for number, file in people.paths.items()
    ]
    annotations = [
        {
            "id": n + 1,
            "image_id": int(people.image_id[people.image[n]]),
            "category_id": 1,
            "keypoints": triples[n].ravel().tolist(),
            "num_keypoints": int(kept[n].sum()),
            "bbox": (people.box[n] + (0, 0, 1, 1)).tolist(),  # reading takes the last pixel away, as it did here
            "area": float(people.area[n]),
            "iscrowd": 0,
        }
        for n in range(len(people))
    ]
    content = {"images": images, "annotations": annotations, "categories": [to_category(people.skeleton)]}
    write_json(path, content)
