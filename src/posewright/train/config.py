"""TrainConfig: everything a training run depends on, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from posewright.data import augment
from posewright.train import trackers
from posewright.train.optim import Kind, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabels:
    """How an unlabelled target is labelled and learned from; the defaults are those of CC-SSL (see `train.adapt`).

    PPLO (Cao et al., "Cross-Domain Adaptation for Animal Pose Estimation", ICCV 2019) is with `thresholds`, one view, a
    weight of 1 and `alternate`.

    Attributes:
        keep: the share of the target's points that each round keeps, one number per round; 0 trains on the source
            alone. Published: new labels every 10 of 60 epochs.
        per_point: whether that share of every keypoint is kept, in place of that share of all; not published. A point
            that is never as sure as others, such as the tail's base, is then learned along with them.
        thresholds: confidences, one number per round and each at most the one before, above which the target's points
            are kept, in place of shares; empty keeps shares.
        alternate: whether batches of the source and of the target take turns, in place of being mixed.
        weight: of the loss of the target's samples, where the source's is 1.
        repeats: how often an epoch has the target; more than 1 balances a target that is much smaller than the source,
            as published, where each step took as many samples of one as of the other.
        views: views of an image that differ in scale and rotation, the plain one among them; 1 for no equivariance.
        scale: standard deviation of their scale, and its limit.
        rotation: standard deviation of their rotation in degrees; its limit is twice that.
        mirrored: whether every second of these views is mirrored, with left and right swapped back; not published. It
            takes mean errors to the left or to the right out of the labels.
        recoloured: further views that differ in colour and noise; 0, as released, for no invariance.
        temporal: whether points are compared with those of the previous frame, where there is one.
    """

    keep: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 0.8, 0.8)
    per_point: bool = False
    thresholds: tuple[float, ...] = ()
    alternate: bool = False
    weight: float = 10.0
    repeats: int = 1
    views: int = 5
    scale: float = 0.25
    rotation: float = 30.0
    mirrored: bool = False
    recoloured: int = 2
    temporal: bool = True

    def __post_init__(self) -> None:
        if not self.keep or not all(0 <= share <= 1 for share in self.keep):
            raise ValueError(f"pseudo.keep must be shares between 0 and 1, one per round, got {self.keep}")
        if list(self.thresholds) != sorted(self.thresholds, reverse=True) or min(self.thresholds, default=0) < 0:
            raise ValueError(
                "pseudo.thresholds must be confidences of 0 or more, one per round, each at most the one before, got "
                f"{self.thresholds}"
            )
        if self.views < 1 or self.repeats < 1 or self.recoloured < 0:
            raise ValueError(
                "pseudo: views and repeats must be 1 or more, recoloured 0 or more, got "
                f"{self.views}, {self.repeats}, {self.recoloured}"
            )

    @property
    def rounds(self) -> int:
        """How many times the target is labelled."""
        return len(self.thresholds or self.keep)


Domain = Literal["people", "animals", "unlabelled", "target"]
"""What a file of training samples holds, for WS-CDA: people; labelled animals of the source domain; animals of the
target domain of which boxes alone are read; animals of the target domain with (pseudo) labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainAdaptation:
    """How domains are confused with one another; the defaults are those of WS-CDA (see `train.domains`).

    Attributes:
        alpha: of the domain loss in what the features minimise: below 0, so that they confuse the discriminator, which
            minimises the loss itself; 0 trains without it.
        beta: of the pose loss.
        species_factor: w1 of the domain loss, of whether a sample is an animal; not published.
        animal_factor: w2, of the pose loss of animals, where that of people is 1; not published.
        balanced: show samples of smaller domains more often, until there are as many of each; not published.
        categories: names of the categories that are taken from unlabelled files, such as COCO's animals; empty takes
            all.
    """

    alpha: float = -1.0
    beta: float = 500.0
    species_factor: float = 1.0
    animal_factor: float = 1.0
    balanced: bool = True
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha > 0 or self.beta <= 0:
            raise ValueError(
                "adaptation: expected alpha of 0 or less, or features would help the discriminator, and beta above 0, "
                f"got {self.alpha} and {self.beta}"
            )
        if min(self.species_factor, self.animal_factor) < 0:
            raise ValueError(
                "adaptation: species_factor and animal_factor must be 0 or more, got "
                f"{self.species_factor} and {self.animal_factor}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything a training run depends on: plain values, saved with the run, and enough to replay it.

    Attributes:
        model: name of a pose system (`posewright models`).
        codec: fields of its codec that are not as published, for ablations; see `Spec.with_codec`. Checkpoints store
            them.
        train: COCO-format annotations to learn from, one file or several; the skeleton is that of the first one's
            `categories`, and the points of the others are matched to it by name.
        train_images: where their images are, for each file; empty looks around the annotation file.
        val: COCO-format annotations to choose the best weights on; empty keeps the last.
        val_images: where their images are.
        val_boxes: detections JSON to evaluate with; empty takes the annotated boxes.
        target: annotations of an unlabelled domain to adapt to, of which only images and boxes are read; empty trains
            on `train` alone.
        target_images: where its images are.
        pseudo: how it is labelled and learned from; see `PseudoLabels`. It makes the rounds, whatever `rounds` says.
        file_weights: the weight of the loss of each file of `train`; empty is 1 for all.
        file_partial: whether each file of `train` leaves points unlabelled that may be seen, such as those that a
            teacher was not sure of: with `use_target_weight` off, they alone are left out; empty takes all as whole.
        turns: the turn that each file of `train` has: batches hold samples of one turn alone, the turns follow one
            another, and samples of smaller turns come more often; empty mixes all.
        domains: what each file of `train` holds, "people", "animals", "unlabelled" or "target", which trains by WS-CDA;
            empty trains without. See `Domain` and `train.domains`.
        adaptation: how domains are confused with one another; see `DomainAdaptation`.
        same_points: names in the files of `train` and in `target` -> those of the skeleton, for points that are the
            same by other names, such as left_wrist and left_front_hoof.
        skeleton: a JSON file that says what the points are, in place of the annotations; see `data.skeleton_file.read`.
        sigmas: where OKS sigmas come from; see `data.skeleton_file.with_sigmas`.
        out: the run's folder.
        init: weights to start from, a file of any toolkit, the id of published ones in the cache (`posewright
            weights`), or "default", those in the package; empty starts from scratch.
        reset_head: re-initialise the last layer where the number of keypoints differs.
        backbone: ImageNet weights for the backbone alone, a file or an id as above.
        freeze: parts of the network that stay as they start, by the beginnings of their parameters' names, such as
            ("conv1", "bn1", "layer1"); their batch norms use the statistics that they came with.
        epochs: passes over the training samples.
        steps: optimiser steps instead of `epochs`; 0 counts epochs.
        rounds: whole trainings in a row, each from the weights that the one before ended with; see `train.rounds`.
        batch: training samples per step, over all processes.
        shuffle: draw a new order each epoch; else samples come in the order of the annotations.
        keep_last: train on an epoch's last, smaller batch too.
        accumulate: micro-batches that the batch is split into where it does not fit into memory. Gradients are those of
            the whole batch; batch norms see a part.
        loss: what is minimised, one of the losses of the pose system's codec; empty is the published one.
        loss_factor, ohkm_topk, coarse_to_fine, class_factor, offset_factor, use_target_weight, keypoint_weight: the
            loss's settings; see `losses.LossSettings`.
        optimizer, lr, weight_decay, momentum, nesterov: see `optim.optimizer`.
        schedule, milestones, gamma, warmup, warmup_from: see `optim.rate`; milestones are fractions of the run, the
            warm-up is in steps.
        schedule_per: whether the schedule advances at every step or once per epoch.
        min_lr: the learning rate that "linear" and "cosine" end with.
        clip: largest gradient norm; 0 does not clip.
        ema: decay of the moving average of the weights, which is then what is evaluated; 0 is without.
        precision: of the network's arithmetic: "float32"; "bf16"; or "fp16" with scaled gradients, on CUDA only.
        compile: have torch compile the network, which takes a minute at first.
        augment: random changes to the training crops.
        flip_test: average with the mirrored image when evaluating.
        flip_without_pairs: flip images, in training and in the flip test, although the skeleton has several points and
            no mirror pair; without it such skeletons are never flipped.
        select_data: leave out people most of whose body lies off the centre of their box, as HRNet's option of that
            name does; see `data.selection`.
        allow_outside: take images whose names in the annotations lead out of the folder of the images.
        seed: of weights, order and augmentation.
        workers: processes that read and crop images, for each training process.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        eval_every: epochs between evaluations; more with `steps` where there would be over 20 of them.
        patience: evaluations in a row without improvement after which the run stops; 0 never stops early.
        save_minutes: minutes between checkpoints within an epoch; each epoch ends with one anyway.
        log_every: steps between log rows.
        loggers: experiment trackers that get the log's numbers and sheets: "wandb", "mlflow", or "tensorboard", which
            gets them anyway where it is installed; see `train.trackers`.
    """

    model: str
    codec: dict[str, Any] = field(default_factory=dict)
    train: str | tuple[str, ...]
    train_images: str | tuple[str, ...] = ""
    val: str = ""
    val_images: str = ""
    val_boxes: str = ""
    target: str = ""
    target_images: str = ""
    pseudo: PseudoLabels = field(default=PseudoLabels())
    file_weights: tuple[float, ...] = ()
    file_partial: tuple[bool, ...] = ()
    turns: tuple[int, ...] = ()
    domains: tuple[Domain, ...] = ()
    adaptation: DomainAdaptation = field(default=DomainAdaptation())
    same_points: dict[str, str] = field(default_factory=dict)
    skeleton: str = ""
    sigmas: str = ""
    out: str = "runs/train"
    init: str = ""
    reset_head: bool = False
    backbone: str = ""
    freeze: tuple[str, ...] = ()
    epochs: int = 210
    steps: int = 0
    rounds: int = 1
    batch: int = 32
    shuffle: bool = True
    keep_last: bool = False
    accumulate: int = 1
    loss: str = ""
    loss_factor: float = 0.5
    ohkm_topk: int = 8
    coarse_to_fine: bool = True
    class_factor: float | None = None
    offset_factor: float | None = None
    use_target_weight: bool = True
    keypoint_weight: dict[str, float] = field(default_factory=dict)
    optimizer: Kind = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    schedule: Schedule = "step"
    schedule_per: Literal["step", "epoch"] = "step"
    min_lr: float = 0.0
    milestones: tuple[float, ...] = (170 / 210, 200 / 210)
    gamma: float = 0.1
    warmup: int = 0
    warmup_from: float = 0.001
    clip: float = 0.0
    ema: float = 0.0
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    compile: bool = False
    augment: augment.Augment = field(default=augment.HRNET)
    flip_test: bool = True
    flip_without_pairs: bool = False
    select_data: bool = False
    allow_outside: bool = False
    seed: int = 0
    workers: int = 2
    device: str = "auto"
    eval_every: int = 1
    patience: int = 0
    save_minutes: float = 10.0
    log_every: int = 20
    loggers: tuple[trackers.Name, ...] = ()

    def __post_init__(self) -> None:
        least = {"batch": 1, "accumulate": 1, "epochs": 1, "steps": 0, "rounds": 1, "workers": 0, "eval_every": 1,
                 "patience": 0, "log_every": 1, "warmup": 0, "save_minutes": 0, "clip": 0, "weight_decay": 0,
                 "momentum": 0, "gamma": 0, "loss_factor": 0, "ohkm_topk": 1}  # fmt: skip
        for name, number in least.items():
            if not getattr(self, name) >= number:
                raise ValueError(f"{name} must be at least {number}, got {getattr(self, name)}")
        if not all(0 <= share <= 1 for share in self.milestones):
            raise ValueError(
                f"milestones must be fractions of the run between 0 and 1, such as 0.8, got {self.milestones}"
            )
        if not 0 <= self.warmup_from <= 1:
            raise ValueError(f"warmup_from must be a share of lr between 0 and 1, got {self.warmup_from}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be a decay of 0 or more and below 1, got {self.ema}")
        files = len(self.files[0])
        if self.file_weights and (len(self.file_weights) != files or min(self.file_weights) < 0):
            raise ValueError(
                f"file_weights must be {files} numbers of 0 or more, one per file, got {self.file_weights}"
            )
        if self.file_partial and (len(self.file_partial) != files or self.use_target_weight):
            raise ValueError(
                f"file_partial must be {files} of true and false, one per file, and needs use_target_weight=false, got "
                f"{self.file_partial} and use_target_weight={str(self.use_target_weight).lower()}"
            )
        if self.turns and len(self.turns) != files:
            raise ValueError(f"turns must be {files} numbers, one per file, got {self.turns}")
        if self.domains and (len(self.domains) != files or set(self.domains) <= {"unlabelled"}):
            raise ValueError(
                f"domains must be {files} of {', '.join(get_args(Domain))}, one per file, and not all unlabelled, got "
                f"{self.domains}"
            )
        if strange := set(self.domains) - set(get_args(Domain)):
            raise ValueError(f"domains: no domain {min(strange)!r}; there are {', '.join(get_args(Domain))}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.min_lr <= self.lr:
            raise ValueError(f"min_lr must be 0 or more and not above lr ({self.lr}), got {self.min_lr}")

    @property
    def files(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The annotations to learn from, and the folder of each one's images."""
        files = (self.train,) if isinstance(self.train, str) else self.train
        folders = self.train_images
        return files, (folders,) * len(files) if isinstance(folders, str) else folders


def resumed(folder: str | Path) -> TrainConfig:
    """The configuration that a run's folder was trained with.

    Raises:
        FileNotFoundError: it holds no run.
        ValueError: its `config.json` is not a valid config, or has settings that this version does not know.
    """
    path = Path(folder) / "config.json"
    try:
        settings = msgspec.json.decode(path.read_bytes())
        config = msgspec.convert(settings, TrainConfig)
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no run: there is no {path.name} in it") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a run's configuration: {error}") from None
    known = msgspec.to_builtins(config)
    old = [k for k in settings if k not in known]
    old += [f"augment.{k}" for k in settings.get("augment", {}) if k not in known["augment"]]
    if old:
        raise ValueError(
            f"{path}: of another version of Posewright, with settings of other names ({', '.join(old[:5])}): start a "
            f"new run with its weights (--init {Path(folder) / 'best.pt'})"
        )
    return config
