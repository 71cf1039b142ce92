"""A person made of limbs and blobs: clothes, face and hair on a posed body, with its 17 COCO keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posewright.synthetic._body import Bones, measured, pick, posed
from posewright.synthetic._solids import Blob, Limb, Look, Section, Solid

SKINS = tuple(np.array([
    (255, 224, 196), (244, 205, 172), (232, 184, 148), (214, 160, 120), (186, 130, 92), (150, 100, 68), (112, 74, 50),
    (82, 55, 40)], float))  # fmt: skip
HAIRS = tuple(np.array([
    (28, 24, 24), (52, 36, 28), (84, 56, 36), (120, 82, 48), (168, 124, 72), (214, 178, 116), (150, 62, 34),
    (176, 176, 178), (225, 224, 220)], float))  # fmt: skip
IRISES = tuple(np.array([(35, 25, 20), (60, 90, 130)], float))
_WHITE = Look.plain(np.array([238.0, 238.0, 235.0]))

_STYLES = ("bald", "short", "short", "short", "crop", "bob", "long", "long", "tail", "bun", "curls", "cap", "beanie")
_NOSE_EYES_EARS = np.array(
    [(0, -0.12, 1.10), (0.37, 0.10, 0.93), (-0.37, 0.10, 0.93), (1, -0.06, -0.08), (-1, -0.06, -0.08)]
)  # in half axes of the head
_FACE_SLACK = (0.03, 0.022, 0.022, 0.03, 0.03)


@dataclass(frozen=True, slots=True)
class Figure:
    """A person, ready to be drawn.

    Attributes:
        solids: what it is made of, and the things it sits on.
        joints: [17, 3] COCO keypoints in view units.
        slack: [17] how far behind the surface in front of it a joint may lie and still count as visible, view units.
    """

    solids: list[Solid]
    joints: np.ndarray
    slack: np.ndarray


def figure(rng: np.random.Generator, *, calm: bool = False) -> Figure:
    """A person of random build, posture and clothes, seen from a random side; `calm` as in `posed`."""
    bones = posed(rng, measured(rng), calm=calm)
    skin = Look.plain((pick(rng, SKINS) * rng.uniform(0.92, 1.06)).clip(0, 255))
    solids, radii = _dressed(rng, bones, skin)
    head, face_joints = _head(rng, bones, skin)
    chair = _chair(rng, bones) if bones.seated and rng.random() < 0.75 else []
    joints = [face_joints, bones.shoulders, bones.elbows, bones.wrists, bones.hips, bones.knees, bones.ankles]
    slack = np.concatenate([_FACE_SLACK, np.repeat(1.45 * np.array(radii) + 0.012, 2)])
    return Figure([*solids, *head, *chair], np.concatenate(joints), slack)


def paint(rng: np.random.Generator, vivid: float = 0.85) -> np.ndarray:
    """A colour, [3] RGB 0..255, of any hue and a saturation up to `vivid`, dull ones being the commoner."""
    hue = (np.abs((rng.random() * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1).clip(0, 1)
    return rng.uniform(50, 242) * (1 - vivid * rng.random() ** 1.5 * (1 - hue))


def cloth(rng: np.random.Generator) -> Look:
    """A fabric: plain, striped or checked."""
    kind = rng.random()
    rows = rng.uniform(9, 34) if kind < 0.16 or kind > 0.94 else 0.0
    columns = rng.uniform(9, 30) if kind > 0.88 else 0.0
    return Look(paint(rng), paint(rng), rows, columns)


def _dressed(rng: np.random.Generator, bones: Bones, skin: Look) -> tuple[list[Solid], tuple[float, ...]]:
    """Trunk, arms and legs in clothes, and the radii at shoulder, elbow, wrist, hip, knee and ankle."""
    style = pick(rng, ("trousers", "trousers", "shorts", "skirt", "dress", "tights"))
    top = cloth(rng)
    bottom = top if style == "dress" else cloth(rng)
    loose = rng.uniform(1.0, 1.22)
    wide = rng.uniform(1.05, 1.35) if style == "trousers" else 1.0
    solids = _trunk(rng, bones, skin, top, bottom)
    solids += _arms(bones, skin, top, loose, sleeve=pick(rng, (0.0, 0.5, 0.75, 2.0, 2.0)))
    solids += _legs(rng, bones, skin, bottom, wide, long=style in ("trousers", "tights"))
    if style in ("skirt", "dress"):
        solids.append(_skirt(rng, bones, bottom))
    if rng.random() < 0.12:
        back = bones.neck + bones.chest @ np.array([0, -0.42 * bones.body.trunk, -0.10])
        solids.append(Blob(back, bones.chest * (0.075, 0.115, 0.06) * rng.uniform(0.8, 1.15), cloth(rng)))  # a backpack
    radii = (0.046 * loose, 0.033 * loose, 0.024, 0.075, 0.049 * wide, 0.030 * wide)
    return solids, tuple(r * bones.body.girth for r in radii)


def _trunk(rng: np.random.Generator, bones: Bones, skin: Look, top: Look, bottom: Look) -> list[Solid]:
    body, girth = bones.body, bones.body.girth
    hips, chest = body.hip + 0.034 * girth, body.shoulder * 0.86 + 0.012 * girth
    waist = min(hips, chest) * rng.uniform(0.80, 0.98)
    widths = (hips * 0.72, hips, hips * 0.97, waist, chest * 0.93, chest, chest * 1.04, chest * 0.92, 0.036)
    depths = tuple(girth * d for d in (0.055, 0.068, 0.066, 0.058, 0.062, 0.068, 0.064, 0.050, 0.034))
    section = Section(depths, bones.pelvis[:, [0, 2]], bones.chest[:, [0, 2]])
    start = bones.pelvis[:, 1] * -0.035
    trunk = Limb(start, bones.neck, widths, bottom, top, rng.uniform(0.12, 0.32), caps=(0.5, 0.3), section=section)
    throat = Limb(bones.neck, bones.head, (0.038 * girth, 0.034 * girth), skin)
    return [trunk, throat, *_worn_in_front(rng, bones)]


def _worn_in_front(rng: np.random.Generator, bones: Bones) -> list[Solid]:
    """A tie, placket or print on the chest, or nothing: what tells a front from a back when the face is hidden."""
    girth, up, forward = bones.body.girth, bones.chest[:, 1], bones.chest[:, 2]
    kind, look = rng.random(), Look.plain(paint(rng))
    if kind < 0.35:
        width, length = rng.uniform(0.008, 0.03), bones.body.trunk * rng.uniform(0.35, 0.85)
        collar, end = bones.neck + forward * 0.036 - up * 0.012, bones.neck + forward * 0.062 * girth - up * length
        return [Limb(collar, end, (width * 0.8, width), look, caps=(0.3, 0.3))]
    if kind < 0.6:
        axes = bones.chest * (rng.uniform(0.02, 0.055), rng.uniform(0.02, 0.05), 0.018 * girth)
        return [Blob(bones.neck - up * rng.uniform(0.07, 0.12) + forward * 0.055 * girth, axes, look)]
    return []


def _arms(bones: Bones, skin: Look, top: Look, loose: float, sleeve: float) -> list[Solid]:
    """Arms with sleeves that reach `sleeve` of the upper arm; beyond 1 they are long."""
    girth, wide = bones.body.girth, bones.body.girth * (loose if sleeve > 0 else 1)
    upper = (0.040 * wide, 0.041 * wide, 0.037 * wide, 0.034 * wide, 0.031 * girth)
    fore = tuple(r * girth * (loose if sleeve > 1 else 1) for r in (0.032, 0.035, 0.030, 0.022))
    palm = (0.020 * girth, 0.027 * girth, 0.017 * girth)
    solids: list[Solid] = []
    for shoulder, elbow, wrist, hand in zip(bones.shoulders, bones.elbows, bones.wrists, bones.hands):
        solids.append(Limb(shoulder, elbow, upper, top if sleeve > 0 else skin, skin, cut=sleeve or 1.0))
        solids.append(Limb(elbow, wrist, fore, top if sleeve > 1 else skin, caps=(1, 0.2 if sleeve > 1 else 1)))
        solids.append(Limb(wrist, hand, palm, skin))
    return solids


def _legs(rng: np.random.Generator, bones: Bones, skin: Look, bottom: Look, wide: float, long: bool) -> list[Solid]:
    """Legs in long trousers, or in short ones with socks, and shoes."""
    girth = bones.body.girth
    shoe, sock = Look.plain(paint(rng)), Look.plain(paint(rng))
    thigh = tuple(girth * r for r in (0.068, 0.068, 0.062, 0.054 * wide, 0.046 * wide))
    shin = tuple(girth * wide * r for r in (0.044, 0.049, 0.044, 0.034, 0.026))
    sole = tuple(girth * r for r in (0.028, 0.034, 0.031, 0.022))
    hem, rim = (2.0, 2.0) if long else (rng.uniform(0.35, 0.95), rng.uniform(0.55, 1.2))
    solids: list[Solid] = []
    for hip, knee, ankle, toe in zip(bones.hips, bones.knees, bones.ankles, bones.toes):
        solids.append(Limb(hip, knee, thigh, bottom, skin, hem))
        solids.append(Limb(knee, ankle, shin, bottom if long else skin, sock, rim))
        solids.append(Limb(ankle + (ankle - knee) * 0.09 - (toe - ankle) * 0.18, toe, sole, shoe))
    return solids


def _skirt(rng: np.random.Generator, bones: Bones, look: Look) -> Limb:
    """A cone from the waist round both thighs."""
    girth = bones.body.girth
    hems = bones.hips + (bones.knees - bones.hips) * rng.uniform(0.55, 1.1)
    waist, hips = bones.body.hip + 0.034 * girth, bones.body.hip + 0.046 * girth
    hem = max(hips, np.linalg.norm(hems[0] - hems[1]) / 2 + 0.055 * girth) * rng.uniform(1.0, 1.25)
    section = Section.same(tuple(d * girth for d in (0.066, 0.086, 0.09, 0.095)), bones.pelvis[:, [0, 2]])
    widths = (waist, hips, (hips + hem) / 2, hem)
    return Limb(bones.pelvis[:, 1] * 0.05, hems.mean(0), widths, look, caps=(0.2, 0.05), section=section)


def _head(rng: np.random.Generator, bones: Bones, skin: Look) -> tuple[list[Solid], np.ndarray]:
    """Skull, face, ears and hair, and the keypoints nose, eyes and ears [5, 3]."""
    size = bones.body.head
    axes = bones.skull * (0.050, 0.068, 0.058) * size
    joints = bones.head + _NOSE_EYES_EARS @ axes.T
    bridge, nose = joints[1:3].mean(0), joints[0]
    solids: list[Solid] = [
        Blob(bones.head, axes, skin),
        Limb(bridge, nose, (0.006 * size, 0.011 * size, 0.012 * size), skin),
        *(Blob(ear, bones.skull * (0.009, 0.019, 0.012) * size, Look.plain(skin.base * 0.82)) for ear in joints[3:]),
    ]
    if bones.skull[2, 2] < 0.75:  # looking away further than that, nothing of the face can be seen
        solids += _face(rng, bones, axes, joints[1:3], Look.plain(skin.base * (0.80, 0.55, 0.55)))
    return solids + (_hat if (style := pick(rng, _STYLES)) in ("cap", "beanie") else _hair)(
        rng, bones, axes, style
    ), joints


def _face(rng: np.random.Generator, bones: Bones, axes: np.ndarray, eyes: np.ndarray, lips: Look) -> list[Solid]:
    size, iris, brow = bones.body.head, Look.plain(pick(rng, IRISES)), Look.plain(pick(rng, HAIRS) * 0.7)
    mouth = np.array([(0.26, -0.56, 0.84), (-0.26, -0.56, 0.84)]) @ axes.T + bones.head
    solids: list[Solid] = [Limb(mouth[0], mouth[1], (0.003 * size, 0.0055 * size, 0.003 * size), lips)]
    for side, eye in zip((1, -1), eyes):
        pupil = eye + bones.skull[:, 2] * 0.003 * size
        solids.append(Blob(eye, bones.skull * (0.0125, 0.0085, 0.006) * size, _WHITE))
        solids.append(Blob(pupil, bones.skull * (0.0062, 0.0072, 0.0062) * size, iris))
        ends = np.array([(side * 0.20, 0.34, 0.95), (side * 0.58, 0.33, 0.80)]) @ axes.T + bones.head
        solids.append(Limb(ends[0], ends[1], (0.0035 * size, 0.003 * size), brow))
    if rng.random() < 0.14:  # a beard
        solids.append(Blob(bones.head + axes @ (0, -0.52, 0.20), axes * (0.86, 0.56, 0.80), brow))
    return solids


def _hat(rng: np.random.Generator, bones: Bones, axes: np.ndarray, style: str) -> list[Solid]:
    look, wide = cloth(rng), 0.042 * bones.body.head
    crown = Blob(bones.head + axes @ (0, 0.42, -0.04), axes * (1.1, 0.78, 1.1), look)
    if style == "beanie":
        return [crown]
    brim = np.array([(0, 0.48, 0.80), (0, 0.40, 1.75)]) @ axes.T + bones.head
    section = Section.same((0.006, 0.006), bones.skull[:, [0, 1]])
    return [crown, Limb(brim[0], brim[1], (wide, wide, wide * 0.6), look, caps=(0.3, 0.3), section=section)]


def _hair(rng: np.random.Generator, bones: Bones, axes: np.ndarray, style: str) -> list[Solid]:
    if style == "bald":
        return []
    look, head, size = Look.plain((pick(rng, HAIRS) * rng.uniform(0.85, 1.1)).clip(0, 255)), bones.head, bones.body.head
    volume = {"crop": 1.03, "curls": 1.3}.get(style, 1.1)
    solids: list[Solid] = [Blob(head + axes @ (0, 0.16, -0.22), axes * volume * (1.0, 0.96, 0.98), look)]
    nape = head + axes @ (0, 0.1, -0.75)
    if style in ("bob", "long"):
        fall = nape - bones.skull[:, 1] * (0.075 if style == "bob" else rng.uniform(0.12, 0.2)) * size
        section = Section.same((0.035 * size, 0.03 * size), bones.skull[:, [0, 2]])
        widths = tuple(size * w for w in (0.050, 0.058, 0.056, 0.046))
        solids.append(Limb(nape, fall, widths, look, caps=(1, 0.4), section=section))
    elif style == "tail":
        tip = nape + bones.skull @ (rng.normal(0, 0.02), -0.15, -0.04) * size
        solids.append(Limb(nape - bones.skull[:, 2] * 0.02 * size, tip, (0.018, 0.024, 0.020, 0.006), look))
    elif style == "bun":
        solids.append(Blob(head + axes @ (0, 0.95, -0.75), np.eye(3) * 0.028 * size, look))
    return solids


def _chair(rng: np.random.Generator, bones: Bones) -> list[Solid]:
    """A seat under the thighs, with legs, and often a back."""
    look, turn, girth = cloth(rng), bones.ground, bones.body.girth
    wide, deep, height = rng.uniform(0.11, 0.17), rng.uniform(0.02, 0.04), bones.body.leg[1] * rng.uniform(0.85, 1.0)
    level = -0.085 * girth - deep
    rear, front = turn @ (0, level, -0.12), turn @ (0, level, 0.15)
    seat = Section.same((deep, deep), turn[:, [0, 1]])
    solids: list[Solid] = [Limb(rear, front, (wide, wide), look, caps=(0.1, 0.1), section=seat, body=False)]
    for end in (rear, front):
        for side in (-0.88, 0.88):
            corner = end + turn[:, 0] * side * wide
            foot = corner - turn[:, 1] * height
            solids.append(Limb(corner, foot, (0.012, 0.010), Look.plain(look.base * 0.6), body=False))
    if rng.random() < 0.6:
        top = rear + turn @ (0, rng.uniform(0.22, 0.42), -0.05)
        back = Section.same((0.018, 0.018), turn[:, [0, 2]])
        solids.append(Limb(rear, top, (wide, wide), look, caps=(0.1, 0.1), section=back, body=False))
    return solids
