"""Bodies and how they stand: measures, postures and forward kinematics of synthetic people.

The body's own axes are x to its left, y up, z forward; *view units* are x to the right, y down, z away from the
camera, 1 being a grown-up's stature. Angles are in degrees, as anatomy counts them: flexion forward, abduction
outward, twist inward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_ARMS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # (flexion, abduction, twist, elbow) of one arm, and of the other; each is jittered, and sides trade at random
    "hanging": ((4, 9, 10, 14), (4, 9, 10, 14)),
    "swinging": ((38, 7, 8, 30), (-34, 8, 8, 22)),
    "running": ((52, 10, 25, 95), (-48, 14, 15, 90)),
    "on hips": ((-18, 48, 78, 98), (-18, 48, 78, 98)),
    "one on hip": ((-18, 48, 78, 98), (6, 8, 10, 12)),
    "raised": ((0, 158, 0, 16), (0, 158, 0, 16)),
    "one raised": ((0, 162, 0, 14), (4, 10, 8, 15)),
    "waving": ((0, 92, -88, 80), (4, 9, 10, 14)),
    "strong": ((5, 88, -88, 105), (5, 88, -88, 105)),
    "spread": ((0, 90, 0, 8), (0, 90, 0, 8)),
    "reaching": ((82, 6, 0, 14), (82, 6, 0, 14)),
    "pointing": ((78, 12, 0, 8), (4, 9, 10, 14)),
    "crossed": ((42, 8, 72, 104), (46, 6, 76, 108)),
    "carrying": ((18, 8, 8, 84), (18, 8, 8, 84)),
    "on the phone": ((42, 42, 22, 142), (8, 8, 12, 18)),
    "behind the head": ((20, 128, -40, 132), (20, 128, -40, 132)),
    "on the lap": ((30, 10, 22, 52), (30, 10, 22, 52)),
}
_LEGS: dict[str, tuple[tuple[float, ...], tuple[float, ...], float]] = {
    # (flexion, abduction, twist, knee, ankle) of one leg, of the other, and how far the trunk bends
    "standing": ((1, 5, -8, 3, 0), (1, 5, -8, 3, 0), 0),
    "at ease": ((-2, 4, -6, 2, 0), (14, 12, -14, 24, -4), 0),
    "astride": ((2, 17, -12, 4, 0), (2, 17, -12, 4, 0), 2),
    "walking": ((28, 2, -3, 8, 0), (-20, 2, -3, 22, 12), 4),
    "striding": ((40, 3, -3, 14, 0), (-26, 3, -3, 14, 18), 8),
    "running": ((72, 3, 0, 88, 8), (-24, 3, 0, 36, 24), 14),
    "sprinting": ((48, 3, 0, 60, 0), (-12, 3, 0, 100, 30), 18),
    "sitting": ((86, 9, -6, 84, 0), (86, 9, -6, 84, 0), 4),
    "sitting at ease": ((80, 6, -4, 58, 4), (88, 12, -6, 92, 0), -12),
    "crouching": ((112, 18, -14, 128, -22), (108, 18, -14, 122, -22), 28),
    "bending": ((6, 5, -6, 10, 0), (8, 5, -6, 12, 0), 66),
    "lunging": ((78, 6, -4, 80, -4), (-26, 4, -4, 22, 24), 8),
    "kneeling": ((6, 6, 0, 94, 40), (86, 8, -4, 88, 0), 4),
    "kicking": ((74, 6, 0, 16, 24), (-4, 6, -6, 8, 4), -8),
    "jumping": ((34, 24, -8, 66, 28), (20, 24, -8, 52, 28), 6),
    "star": ((4, 34, -12, 6, 18), (4, 34, -12, 6, 18), 0),
    "side kick": ((8, 62, -10, 10, 10), (0, -4, -8, 6, 0), 0),
}
_POSTURES: tuple[tuple[float, tuple[str, ...], tuple[str, ...]], ...] = (
    # weight, and the legs and arms that go together: mostly what is seen on any street, so that little data teaches it
    (0.26, ("standing", "at ease", "astride"), ("hanging", "hanging", "hanging", "on hips", "carrying", "one on hip")),
    (0.16, ("standing", "at ease", "astride"), ("raised", "one raised", "waving", "strong", "spread", "reaching",
     "pointing", "crossed", "on the phone", "behind the head")),
    (0.24, ("walking", "striding"), ("swinging", "swinging", "swinging", "hanging", "carrying", "on the phone")),
    (0.10, ("running", "sprinting"), ("running",)),
    (0.10, ("sitting", "sitting at ease"), ("on the lap", "on the lap", "hanging", "crossed", "carrying", "reaching")),
    (0.05, ("crouching", "bending", "kneeling"), ("hanging", "reaching", "on the lap", "carrying", "spread")),
    (0.09, ("lunging", "kicking", "jumping", "star", "side kick"), tuple(_ARMS)),
)  # fmt: skip

_CALM: tuple[tuple[float, tuple[str, ...], tuple[str, ...]], ...] = (
    (0.6, ("standing", "at ease", "astride"), ("hanging", "on hips", "raised", "waving", "spread", "carrying")),
    (0.4, ("walking", "striding"), ("swinging", "hanging")),
)


@dataclass(frozen=True, slots=True)
class Body:
    """Measures, as shares of a grown-up's stature.

    Attributes:
        head: size of the head, 1 being life-like.
        girth: how stout, 1 being ordinary; all thicknesses go with it.
        trunk: from the hips' middle to the neck.
        shoulder, hip: from the middle to each joint.
        arm, leg: lengths of upper and lower arm, of thigh and shin.
    """

    head: float
    girth: float
    trunk: float
    shoulder: float
    hip: float
    arm: tuple[float, float]
    leg: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bones:
    """A posed body in view units, the hips' middle at the origin.

    Attributes:
        body: its measures.
        ground, pelvis, chest, skull: [3, 3] from axes of an upright body, and of the three parts, to the view's.
        neck, head: [3] where the neck begins, and the head's middle.
        shoulders, elbows, wrists, hands, hips, knees, ankles, toes: [2, 3], left and right.
        seated: whether something is sat on.
    """

    body: Body
    ground: np.ndarray
    pelvis: np.ndarray
    chest: np.ndarray
    skull: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    shoulders: np.ndarray
    elbows: np.ndarray
    wrists: np.ndarray
    hands: np.ndarray
    hips: np.ndarray
    knees: np.ndarray
    ankles: np.ndarray
    toes: np.ndarray
    seated: bool


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of the items, all equally likely."""
    return items[int(rng.integers(len(items)))]


def measured(rng: np.random.Generator) -> Body:
    """A random body: slim or stout, tall or short, broad in the shoulders or the hips, and sometimes a child's."""
    child = min(max(0.0, rng.normal(-0.3, 0.55)), 1.0) if rng.random() < 0.5 else 0.0
    stout, long, broad = rng.normal(0, 0.11), rng.normal(0, 0.04), rng.uniform(-1, 1)
    limb = 1 - 0.16 * child + long
    return Body(
        head=(1.12 + 0.55 * child) * rng.uniform(0.95, 1.06),  # a little large: faces are to be told at 20 pixels
        girth=float(np.exp(stout)) * (1.12 + 0.05 * child),
        trunk=(0.285 - 0.02 * child) * rng.uniform(0.96, 1.04),
        shoulder=0.106 + 0.011 * broad - 0.012 * child,
        hip=0.060 - 0.005 * broad - 0.006 * child,
        arm=(0.172 * limb, 0.150 * limb),
        leg=(0.245 * limb, 0.240 * limb),
    )


def posed(rng: np.random.Generator, body: Body, *, calm: bool = False) -> Bones:
    """The body in a random posture, turned to a random side; if calm, standing or walking, more or less towards us."""
    postures = _CALM if calm else _POSTURES
    weights = np.cumsum([w for w, _, _ in postures])
    _, ways_to_stand, ways_to_hold = postures[int(np.searchsorted(weights, rng.random() * weights[-1]))]
    stance = pick(rng, ways_to_stand)
    first, second, bend = _LEGS[stance]
    legs = np.array([first, second]) + rng.normal(0, (6, 3, 5, 6, 5), (2, 5))
    arms = np.array(_ARMS[pick(rng, ways_to_hold)]) + rng.normal(0, (7, 5, 10, 8), (2, 4))
    if not calm and rng.random() < 0.12:  # arms that no table foresees
        arms = rng.uniform((-40, 0, -60, 0), (150, 120, 80, 140), (2, 4))
    if rng.random() < 0.5:
        arms, legs = arms[::-1], legs[::-1]
    arms[:, 3], legs[:, 3] = np.abs(arms[:, 3]), np.abs(legs[:, 3])  # elbows and knees bend one way only
    ground = _facing(rng, calm)
    pelvis = ground @ turn(0, 0.35 * bend) @ turn(2, rng.normal(0, 3))
    chest = pelvis @ turn(0, 0.65 * bend + rng.normal(2, 6)) @ turn(2, rng.normal(0, 6)) @ turn(1, rng.normal(0, 9))
    nod = rng.normal(4, 11) - 0.45 * bend
    skull = chest @ turn(1, rng.normal(0, 20)) @ turn(0, nod) @ turn(2, rng.normal(0, 7))
    neck = chest @ np.array([0, body.trunk, 0])
    head = neck + chest @ np.array([0, 0.045, 0.008]) + skull @ np.array([0, 0.062 * body.head, 0.012])
    shoulders, elbows, wrists, hands = _arms(body, chest, neck, arms)
    hips, knees, ankles, toes = _legs(body, pelvis, legs)
    return Bones(body, ground, pelvis, chest, skull, neck, head, shoulders, elbows, wrists, hands, hips, knees, ankles,
                 toes, stance.startswith("sitting"))  # fmt: skip


def turn(axis: int, degrees: float) -> np.ndarray:
    """[3, 3] rotation about x (0), y (1) or z (2)."""
    angle = np.deg2rad(degrees)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


def _facing(rng: np.random.Generator, calm: bool) -> np.ndarray:
    """From the body's axes to the view's: turned any way, somewhat oftener to us, seen a bit from above."""
    yaw = rng.normal(0, 40) if calm or rng.random() < 0.4 else rng.uniform(-180, 180)
    roll = rng.uniform(-180, 180) if not calm and rng.random() < 0.03 else rng.normal(0, 5)
    return np.diag([1.0, -1.0, -1.0]) @ turn(2, roll) @ turn(0, rng.normal(6, 9)) @ turn(1, yaw)


def _arms(body: Body, chest: np.ndarray, neck: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """[4, 2, 3] shoulders, elbows, wrists and hands from angles [2, 4] as in `_ARMS`."""
    arms = []
    for side, (flexion, abduction, twist, bend) in zip((1, -1), angles):
        upper = chest @ turn(2, side * abduction) @ turn(0, -flexion) @ turn(1, -side * twist)
        lower = upper @ turn(0, -bend)
        lift = 0.035 * max(0, abduction - 60) / 100  # shoulders rise with raised arms
        shoulder = neck + chest @ np.array([side * body.shoulder, lift - 0.012, 0])
        elbow = shoulder - upper[:, 1] * body.arm[0]
        wrist = elbow - lower[:, 1] * body.arm[1]
        arms.append((shoulder, elbow, wrist, wrist - lower[:, 1] * 0.062))
    return np.array(arms).transpose(1, 0, 2)


def _legs(body: Body, pelvis: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """[4, 2, 3] hips, knees, ankles and toes from angles [2, 5] as in `_LEGS`."""
    legs = []
    for side, (flexion, abduction, twist, bend, foot) in zip((1, -1), angles):
        thigh = pelvis @ turn(2, side * abduction) @ turn(0, -flexion) @ turn(1, -side * twist)
        shin = thigh @ turn(0, bend)
        hip = pelvis[:, 0] * side * body.hip
        knee = hip - thigh[:, 1] * body.leg[0]
        ankle = knee - shin[:, 1] * body.leg[1]
        legs.append((hip, knee, ankle, ankle + shin @ turn(0, foot) @ np.array([0, -0.030, 0.100])))
    return np.array(legs).transpose(1, 0, 2)
