"""Predictor: an image and boxes in, poses out. The one path for users, evaluation, reports and export checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from posewright import geometry
from posewright.files import short
from posewright.image import warp_all
from posewright.models import find
from posewright.predict import batching
from posewright.predict import calibrated as calibrations
from posewright.predict.boxes import two_pass_boxes
from posewright.predict.inputs import Image, Where, as_image, boxes_in
from posewright.predict.scoring import rescore
from posewright.runtime import exported, gpu_runtime, selection, torch_runtime
from posewright.runtime.crops import CropNetwork, Normalise, maps_of
from posewright.runtime.decoders import has_decoder
from posewright.runtime.graph import PoseGraph
from posewright.runtime.selection import Precision, Runtime
from posewright.spec import Spec
from posewright.types import Poses, Skeleton
from posewright.weights import hub
from posewright.weights.checkpoint import describe
from posewright.weights.checkpoint import load as load_weights

Network: TypeAlias = "nn.Module | Callable[[Tensor], Tensor] | CropNetwork | exported.ExportedNetwork"
"""Images [N, 3, H, W] float32 to maps [N, C, h, w]; crops to maps; or the graph of an exported file."""


class Predictor:
    """A network with its spec. Keeps nothing of an image, so one instance serves many threads.

    Args:
        spec: the pose system; `spec.skeleton` names what the network finds.
        net: its network, or any callable that stands for it, such as an exported one. A module is copied, put into
            evaluation mode, and its batch norms are folded: the one given stays as it is and may be trained on.
        flip: average with the mirrored image, as published metrics do; None: where the skeleton has mirror pairs.
        batch: people per run of the network; with `flip` it runs on as many mirror images along with them.
        device: where the network runs: "cpu", "cuda", "cuda:1", ..., or "auto", a GPU where there is one.
        runtime: what runs a module: "torch", "onnx" (ONNX Runtime), "openvino", "ncnn", or "auto", the fastest
            installed. All but torch translate it first, once: the file is kept in the cache.
        precision: "float32", "bf16" or "fp16" where device and runtime have them.

    Raises:
        ModuleNotFoundError: the runtime is not installed.
        ValueError: `batch` is below 1, or there is no such device, or runtime, or precision there.
    """

    calibration: calibrations.Calibration | None = None
    """What makes scores probabilities, where it lies beside the weights; poses then have both."""

    def __init__(
        self,
        spec: Spec,
        net: Network,
        *,
        flip: bool | None = None,
        batch: int = 32,
        device: str | torch.device = "auto",
        runtime: Literal["auto"] | Runtime = "torch",
        precision: Precision = "float32",
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1 crop, got {batch}")
        self.flip = spec.skeleton.can_flip if flip is None else flip
        self.spec, self.batch, self.device = spec, batch, torch_runtime.device_of(device)
        if isinstance(net, nn.Module):
            family, normalise = spec.name.split("-")[0], Normalise(spec.colour, spec.mean, spec.std)
            self.runtime, self.net = selection.fitted(
                net, normalise, spec.size, self.device, runtime, family, precision, images=2 if self.flip else 1
            )
        else:
            self.runtime, self.net = getattr(net, "runtime", "caller"), net
        self._gpu: gpu_runtime.GpuNetwork | None = None
        if isinstance(net, nn.Module) and self.device.type == "cuda" and has_decoder(spec.codec):
            graph = PoseGraph(self.net, spec, flip=self.flip).to(self.device)  # pyright: ignore[reportArgumentType]
            self._gpu = gpu_runtime.GpuNetwork(graph, spec, self.device, batch)
        # GPUs, and runtimes with threads of their own, run a batch while the one before it is decoded or sent.
        self.under_way = 2 if self._gpu is not None or self.runtime in ("onnx", "openvino", "ncnn") else 1

    def __call__(self, image: Image, boxes: Where = None, *, upright: bool = True) -> Poses:
        """The poses in one image.

        Args:
            image: a file, an [H, W, 3] uint8 RGB array, a PIL image or a torch tensor; see `inputs.as_image`.
            boxes: where the people are, see `inputs.Where`; None takes the image for one person, and finds the box by
                two-pass inference (`boxes.two_pass_boxes`).
            upright: turn an image file as its EXIF orientation says; see `image.read`.

        Returns:
            One pose per box, in the boxes' order.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it is not an image, or a box is malformed or does not touch the image.
        """
        pixels, spec = as_image(image, upright=upright), self.spec
        found = boxes_in(pixels, two_pass_boxes(self) if boxes is None else boxes, image)
        crop = geometry.crop(found, spec.size, padding=spec.padding, rule=spec.crop_rule, image_size=pixels.shape[:2])
        parts = [crop[start : start + self.batch] for start in range(0, len(crop) or 1, self.batch)]
        keypoints = [self.keypoints(warp_all(pixels, part, spec.border)) for part in parts]
        xy, score = (np.concatenate(arrays) for arrays in zip(*keypoints))
        scores = rescore(score, found.score, spec.scoring)
        calibrated = None if self.calibration is None else self.calibration(scores)
        return Poses(crop.to_image(xy), score, scores, found, spec.skeleton, calibrated)

    def keypoints(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crops [N, H, W, 3] uint8 RGB to keypoints [N, K, 2] in input pixels and scores [N, K].

        See `maps`, which are decoded, unless an exported file decodes by itself, or a GPU does (`gpu_runtime`).
        """
        if not len(crops):
            points = self.spec.skeleton.num_keypoints
            return np.empty((0, points, 2)), np.empty((0, points))
        if self._gpu is not None:
            return self._gpu.keypoints(crops)
        if isinstance(self.net, exported.ExportedNetwork):
            return self.net.keypoints(crops, self.spec, flip=self.flip)
        return self.spec.codec.decode(maps_of(self.net, crops, self.spec, self.device, flip=self.flip))

    @property
    def decodes_by_itself(self) -> bool:
        """Whether what runs the network decodes its maps, too: an exported file, or a GPU."""
        return self._gpu is not None or (isinstance(self.net, exported.ExportedNetwork) and self.net.decoded)

    def maps(self, crops: np.ndarray) -> np.ndarray | Tensor:
        """Crops [N, H, W, 3] uint8 RGB, N above 0, to the maps [N, C, h, w] that the codec decodes.

        With `flip` the network runs on the crops and their mirror images in one batch, and the maps are averaged.

        Raises:
            ValueError: an exported file runs the network and decodes by itself.
        """
        if isinstance(self.net, exported.ExportedNetwork):
            return self.net.maps(crops, self.spec, flip=self.flip)
        return maps_of(self.net, crops, self.spec, self.device, flip=self.flip)

    def many(self, items: Iterable[Image | tuple[Image, Where]], *, upright: bool = True) -> Iterator[Poses]:
        """The poses in each of many images, in order, `batch` people at a time whichever images they are in.

        The next images are read, and their boxes found and cropped, by threads while the network runs, which goes on
        while the caller draws or writes results. At most `batch` images are read ahead of the network, at most `batch`
        crops are made of each, and at most three batches are under way, however many items there are. The results of
        the images before a faulty one come before its error.

        Args:
            items: images, or pairs (image, boxes), each as for a single image. A `Detector` is called by the reading
                threads.
            upright: see `__call__`.
        """
        return batching.predict_many(self, items, upright=upright)


def load(
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    num_keypoints: int | None = None,
    skeleton: Skeleton | None = None,
    codec: Mapping[str, Any] | None = None,
    flip: bool | None = None,
    batch: int = 32,
    device: str | torch.device = "auto",
    runtime: Literal["auto"] | Runtime = "auto",
    precision: Precision = "float32",
) -> Predictor:
    """A pose system with its weights, ready to predict.

    Args:
        name: of the pose system, see `names`; may be left out where `weights` were trained with Posewright. Without
            both it is "default", whose weights are in the package: 14 points of people. Or an exported file (.onnx,
            .xml), which needs nothing else.
        weights: a file of weights of any toolkit; None takes those in the package, or published ones that were pulled
            or imported before (`posewright weights`).
        num_keypoints: how many keypoints they find, where they differ from the published ones and nothing names them.
        skeleton: what they find, where that is neither the published skeleton nor written in the file.
        codec: fields of the codec to change, such as `{"quarter": False}`, beside those that the file was trained with.
        flip: see `Predictor`.
        batch: see `Predictor`.
        device: see `Predictor`.
        runtime: see `Predictor`.
        precision: see `Predictor`.

    Raises:
        LookupError: no pose system is named so.
        FileNotFoundError: there is no such file, or no weights were given.
        ValueError: the file holds weights of another pose system, or for other keypoints; or its codec refuses a value.
    """
    if name is not None and name.endswith(exported.SUFFIXES):
        if weights is not None or skeleton is not None or num_keypoints is not None:
            raise ValueError(f"{name}: an exported file holds weights and skeleton: leave them out")
        return _exported(name, precision, codec or {}, runtime, device, flip=flip, batch=batch)
    if weights is None:
        name = find(name or "default").name
        weights = hub.local_weights(name)
    about = describe(weights) if weights is not None else None
    if name is None and about is None:
        raise ValueError(
            f"expected the name of a pose system, such as 'hrnet-w32-256x192': {weights} does not say what it holds"
        )
    spec = find(name or (about.spec if about else ""))
    if weights is None:
        raise FileNotFoundError(
            f"{spec.name}: no weights are available locally; train it (`posewright train {spec.name}`), pull published "
            f"ones (`posewright weights pull ID`), or give a file (weights=FILE){_published(spec)}"
        )
    if about is not None and about.spec != spec.name:
        raise ValueError(f"{weights}: holds weights of {about.spec!r}, not of {spec.name!r}; leave the name out")
    if about is not None and skeleton is not None and skeleton.points != about.skeleton.points:
        raise ValueError(f"{weights}: finds {about.skeleton.points}, not the points of {skeleton.name!r}")
    spec = spec.with_skeleton(_skeleton(about.skeleton if about else spec.skeleton, skeleton, num_keypoints))
    try:
        spec = spec.with_codec(about.codec if about else {})
    except ValueError as error:
        raise ValueError(f"{weights}: {short(str(error))}") from None
    spec = spec.with_codec(codec or {})
    net = spec.build()
    load_weights(net, weights, spec)
    predictor = Predictor(spec, net, flip=flip, batch=batch, device=device, runtime=runtime, precision=precision)
    predictor.calibration = calibrations.read(weights)
    return predictor


def _exported(
    name: str,
    precision: Precision,
    codec: Mapping[str, Any],
    runtime: str,
    device: str | torch.device,
    *,
    flip: bool | None,
    batch: int,
) -> Predictor:
    """An exported file, ready to predict; see `load`."""
    spec, net = exported.opened(name, precision)
    if codec and net.decoded:
        raise ValueError(f"{name}: decodes by itself, as it was exported: {', '.join(codec)} cannot be changed")
    if runtime not in ("auto", net.runtime) or str(device) not in ("auto", "cpu"):
        raise ValueError(f"{name}: runs by {net.runtime} on the CPU, got runtime {runtime!r} and device {device!r}")
    predictor = Predictor(spec.with_codec(codec), net, flip=net.check_flip(flip), batch=batch, device="cpu")
    predictor.calibration = calibrations.read(name)
    return predictor


def _skeleton(known: Skeleton, asked: Skeleton | None, num_keypoints: int | None) -> Skeleton:
    """The skeleton asked for, else the one known, else one of nameless points."""
    skeleton = asked or known
    if num_keypoints in (None, skeleton.num_keypoints):
        return skeleton
    if asked is not None:
        raise ValueError(f"skeleton {asked.name!r} has {asked.num_keypoints} points, but num_keypoints={num_keypoints}")
    return Skeleton(f"points{num_keypoints}", tuple(f"point_{k + 1}" for k in range(num_keypoints or 0)))


def _published(spec: Spec) -> str:
    places = [f"{entry.id}: {entry.urls[0]}" for entry in hub.entries(spec.name) if entry.urls]
    return f", such as {'; '.join(places)}" if places else ""
