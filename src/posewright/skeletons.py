"""Published skeletons, mapping between them by point name, and skeletons read from COCO `categories`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from posewright.files import short
from posewright.types import Skeleton

_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_ARMS = ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist")
_LEGS = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
_LIMB_BONES = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    for side in ("left", "right")
)


_SIDE_LETTER = re.compile(r"(?<![A-Za-z0-9])([A-Za-z])(?![A-Za-z0-9])|^([lLrR])(?=[A-Z][a-z])|(?<=[a-z0-9])([LR])$")
"""A letter that may say the side: alone between separators, before a capital (LHip), a capital at the end (handL)."""


def mirror_pairs(points: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The (left, right) pairs of points whose names differ by their side alone, in the usual spellings.

    Sides are left and right anywhere (left_hip, LeftHip), or L and R: between separators (l_hip, L.Hip, eye.L, hand-l),
    before a capital (LHip, lHip) or at the end after a small letter (handL). Case does not matter otherwise. Letters
    that stand in a row with others (p_k, p_l, p_m) say no side.
    """
    sides: dict[str, dict[str, str]] = {}
    for point in points:
        for word in re.finditer("left|right", point, re.IGNORECASE):
            key = f"{point[: word.start()]}*{point[word.end() :]}".lower()
            sides.setdefault(key, {}).setdefault(word[0][0].lower(), point)
        for letter in _SIDE_LETTER.finditer(point):
            rest = point[: letter.start()] + point[letter.end() :]
            if any(c.isalnum() for c in rest):
                key = f"{point[: letter.start()]}.{point[letter.end() :]}".lower()
                sides.setdefault(key, {}).setdefault(letter[0].lower(), point)
    pairs: list[tuple[str, str]] = []
    paired: set[str] = set()
    for by_side in sides.values():
        pair = by_side.get("l", ""), by_side.get("r", "")
        if all(pair) and by_side.keys() <= set("lrcm") and not paired & set(pair):
            pairs.append(pair)
            paired |= set(pair)
    return tuple(sorted(pairs, key=lambda pair: points.index(pair[0])))


def _skeleton(
    name: str,
    points: tuple[str, ...],
    bones: tuple[tuple[str, str], ...],
    sigmas: tuple[float, ...] | None = None,
    upper: tuple[str, ...] = (),
) -> Skeleton:
    return Skeleton(name, points, bones, mirror_pairs(points), sigmas, upper)


COCO17 = _skeleton(
    "coco17",
    (*_FACE, *_ARMS, *_LEGS),
    (
        ("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee"),
        ("right_knee", "right_hip"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"), ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"),
        ("right_shoulder", "right_elbow"), ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist"),
        ("left_eye", "right_eye"), ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"),
        ("right_eye", "right_ear"), ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder"),
    ),
    (.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089),
    (*_FACE, *_ARMS),
)  # fmt: skip
"""COCO (Lin et al., 2014); sigmas of the COCO keypoint evaluation."""

CROWDPOSE14 = _skeleton(
    "crowdpose14",
    (*_ARMS, *_LEGS, "head", "neck"),
    (*_LIMB_BONES, ("head", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
     ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"), ("left_hip", "right_hip")),
    (.079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079),
    (*_ARMS, "head", "neck"),
)  # fmt: skip
"""CrowdPose (Li et al., CVPR 2019); sigmas of its evaluation."""

MPII16 = _skeleton(
    "mpii16",
    ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
     "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
     "left_wrist"),
    (*_LIMB_BONES, ("left_hip", "pelvis"), ("right_hip", "pelvis"), ("pelvis", "thorax"), ("thorax", "upper_neck"),
     ("upper_neck", "head_top"), ("left_shoulder", "thorax"), ("right_shoulder", "thorax")),
    None,
    ("thorax", "upper_neck", "head_top", *_ARMS),
)  # fmt: skip
"""MPII Human Pose (Andriluka et al., CVPR 2014); scored by PCKh, so without OKS sigmas."""

LSP14 = _skeleton(
    "lsp14",
    ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
     "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
    (*_LIMB_BONES, ("neck", "head_top"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
     ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"), ("left_hip", "right_hip")),
    None,
    (*_ARMS, "neck", "head_top"),
)  # fmt: skip
"""Leeds Sports Pose (Johnson & Everingham, BMVC 2010); scored by PCK, so without OKS sigmas."""

AP10K17 = _skeleton(
    "ap10k17",
    ("left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw",
     "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw", "right_hip",
     "right_knee", "right_back_paw"),
    (("left_eye", "right_eye"), ("left_eye", "nose"), ("right_eye", "nose"), ("nose", "neck"),
     ("neck", "root_of_tail"), ("neck", "left_shoulder"), ("left_shoulder", "left_elbow"),
     ("left_elbow", "left_front_paw"), ("neck", "right_shoulder"), ("right_shoulder", "right_elbow"),
     ("right_elbow", "right_front_paw"), ("root_of_tail", "left_hip"), ("left_hip", "left_knee"),
     ("left_knee", "left_back_paw"), ("root_of_tail", "right_hip"), ("right_hip", "right_knee"),
     ("right_knee", "right_back_paw")),
    (.025, .025, .026, .035, .035, .079, .072, .062, .079, .072, .062, .107, .087, .089, .107, .087, .089),
)  # fmt: skip
"""AP-10K (Yu et al., NeurIPS 2021 data sets); sigmas of its evaluation."""

AIC14 = _skeleton(
    "aic14",
    ("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "right_hip",
     "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck"),
    (*_LIMB_BONES, ("head_top", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
     ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"), ("left_hip", "right_hip")),
    (.01388152, .01515228, .01057665, .01417709, .01497891, .01402144, .03909642, .03686941, .01981803, .03843971,
     .03412318, .02415081, .01291456, .01236173),
    (*_ARMS, "head_top", "neck"),
)  # fmt: skip
"""AI Challenger 2017 (Wu et al., arXiv 1711.06475); sigmas of its evaluation."""

ANIMALPOSE20 = _skeleton(
    "animalpose20",
    ("L_Eye", "R_Eye", "L_EarBase", "R_EarBase", "Nose", "Throat", "TailBase", "Withers", "L_F_Elbow", "R_F_Elbow",
     "L_B_Elbow", "R_B_Elbow", "L_F_Knee", "R_F_Knee", "L_B_Knee", "R_B_Knee", "L_F_Paw", "R_F_Paw", "L_B_Paw",
     "R_B_Paw"),
    (("L_Eye", "R_Eye"), ("L_Eye", "L_EarBase"), ("R_Eye", "R_EarBase"), ("L_Eye", "Nose"), ("R_Eye", "Nose"),
     ("Nose", "Throat"), ("Throat", "Withers"), ("TailBase", "Withers"), ("Throat", "L_F_Elbow"),
     ("L_F_Elbow", "L_F_Knee"), ("L_F_Knee", "L_F_Paw"), ("Throat", "R_F_Elbow"), ("R_F_Elbow", "R_F_Knee"),
     ("R_F_Knee", "R_F_Paw"), ("TailBase", "L_B_Elbow"), ("L_B_Elbow", "L_B_Knee"), ("L_B_Knee", "L_B_Paw"),
     ("TailBase", "R_B_Elbow"), ("R_B_Elbow", "R_B_Knee"), ("R_B_Knee", "R_B_Paw")),
    (.025, .025, .026, .035, .035, .1, .1, .1, .107, .107, .107, .107, .087, .087, .087, .087, .089, .089, .089, .089),
)  # fmt: skip
"""Animal-Pose (Cao et al., ICCV 2019). Its authors published no sigmas: these are mmpose's, behind all published AP."""

TIGDOG18 = _skeleton(
    "tigdog18",
    ("left_eye", "right_eye", "chin", "left_front_hoof", "right_front_hoof", "left_back_hoof", "right_back_hoof",
     "tail", "left_front_knee", "right_front_knee", "left_back_knee", "right_back_knee", "left_shoulder",
     "right_shoulder", "left_front_elbow", "right_front_elbow", "left_back_elbow", "right_back_elbow"),
    (("left_eye", "chin"), ("right_eye", "chin"), ("left_shoulder", "tail"), ("right_shoulder", "tail")),
)  # fmt: skip
"""Horses and tigers of TigDog (Del Pero et al., CVPR 2015), without the neck, as CC-SSL has them; scored by PCK."""

SKELETONS = {s.name: s for s in (COCO17, CROWDPOSE14, MPII16, LSP14, AP10K17, AIC14, ANIMALPOSE20, TIGDOG18)}


def shared_points(source: Skeleton, target: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Channels of the points that both skeletons name: `target_xy[b] = source_xy[a]`.

    Returns:
        a, b: two int arrays of equal length, channels in `source` and in `target`.
    """
    both = [p for p in target.points if p in source.points]
    return np.array([source.points.index(p) for p in both], int), np.array([target.points.index(p) for p in both], int)


def common(skeleton: Skeleton, other: Skeleton) -> Skeleton:
    """The points of a skeleton that another names too, in the first one's order, with what it says of them alone.

    Raises:
        ValueError: they share no point.
    """
    both = tuple(point for point in skeleton.points if point in other.points)

    def within(groups: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple(pair for pair in groups if set(pair) <= set(both))

    return Skeleton(
        f"{len(both)} points of {skeleton.name}",
        both,
        within(skeleton.bones),
        within(skeleton.mirror),
        skeleton.sigmas and tuple(s for s, point in zip(skeleton.sigmas, skeleton.points) if point in both),
        tuple(point for point in skeleton.upper if point in both),
    )


def from_category(category: dict[str, Any], where: str) -> Skeleton:
    """The skeleton that an entry of a COCO file's `categories` describes.

    What `to_category` wrote is read back without loss. Else, the very points of a published skeleton, however spelled
    ("Left Hip" for "left_hip"), mean that skeleton: CrowdPose's own files, for one, list COCO's bones, which do not fit
    their points. For others, bones are the entry's 1-based `skeleton` pairs and mirror pairs come from the points'
    names. OKS sigmas are its `sigmas` where it has them, else the published ones, else none.

    Args:
        category: the entry.
        where: the file and entry, for messages.

    Raises:
        ValueError: the entry is not a keypoint category, or contradicts itself.
    """
    points = category.get("keypoints")
    if not isinstance(points, list) or not points or not all(isinstance(p, str) for p in points):
        raise ValueError(f"{where}: expected a list of point names under 'keypoints', got {short(repr(points))}")
    if (own := category.get("posewright")) is not None:
        return _whole(category, own, where)
    sigmas = tuple(category["sigmas"]) if category.get("sigmas") else None
    known = next((s for s in SKELETONS.values() if _spelled(s.points) == _spelled(points)), None)
    bones = category.get("skeleton") or []
    if not known and not all(
        isinstance(b, list) and len(b) == 2 and all(1 <= i <= len(points) for i in b) for b in bones
    ):
        raise ValueError(
            f"{where}: 'skeleton' must be pairs of point numbers 1..{len(points)}, got {short(repr(bones))}"
        )
    try:
        if known:
            return replace(known, sigmas=sigmas or known.sigmas)
        names = tuple((points[a - 1], points[b - 1]) for a, b in bones)
        own = f"{category.get('name', 'custom')}{len(points)}"
        return Skeleton(own, tuple(points), names, mirror_pairs(tuple(points)), sigmas)
    except ValueError as error:
        raise ValueError(f"{where}: {short(str(error), 1000)}") from None


def _spelled(points: Iterable[str]) -> list[str]:
    return [p.lower().replace(" ", "_") for p in points]


def _whole(category: dict[str, Any], own: Any, where: str) -> Skeleton:
    """The skeleton of an entry that `to_category` wrote."""
    try:
        points = tuple(category["keypoints"])
        bones = tuple((points[a - 1], points[b - 1]) for a, b in category["skeleton"])
        sigmas = tuple(category["sigmas"]) if category.get("sigmas") else None
        pairs = tuple((str(a), str(b)) for a, b in own["mirror"])
        return Skeleton(own["name"], points, bones, pairs, sigmas, tuple(own["upper"]))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(
            f"{where}: expected a skeleton as this version of Posewright writes it, got one whose parts do not fit "
            f"({short(str(error))}); remove its entry 'posewright', or write the file again"
        ) from None


def to_category(skeleton: Skeleton, category_id: int = 1, name: str = "person") -> dict[str, Any]:
    """The skeleton as an entry of a COCO file's `categories`; `from_category` reads it back without loss.

    What COCO has no field for (name, mirror pairs, upper half) stands under "posewright".
    """
    entry = {
        "supercategory": name,
        "id": category_id,
        "name": name,
        "keypoints": list(skeleton.points),
        "skeleton": (skeleton.bone_index + 1).tolist(),
        "posewright": {
            "name": skeleton.name,
            "mirror": [list(pair) for pair in skeleton.mirror],
            "upper": list(skeleton.upper),
        },
    }
    return entry | ({} if skeleton.sigmas is None else {"sigmas": list(skeleton.sigmas)})
