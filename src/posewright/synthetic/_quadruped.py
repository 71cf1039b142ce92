"""Horses, tigers, sheep, dogs and cows made of limbs and blobs, in a gait, with the points of the animal papers.

The body's own axes are x forward, y up, z to its left; lengths are shares of the trunk, from hips to shoulders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posewright.synthetic._body import pick
from posewright.synthetic._solids import Blob, Limb, Look, Solid


@dataclass(frozen=True, slots=True)
class Species:
    """Proportions and coats.

    Attributes:
        leg, neck, head, tail: lengths.
        trunk, thick: radii of trunk and legs.
        raised: degrees from the trunk up to the neck.
        ear: length of the ears.
        coats: RGB to choose from.
        pattern: "plain", "stripes", "spots" or "wool".
    """

    leg: float
    neck: float
    head: float
    tail: float
    trunk: float
    thick: float
    raised: float
    ear: float
    coats: tuple[tuple[int, int, int], ...]
    pattern: str


SPECIES: dict[str, Species] = {
    "horse": Species(1.0, 0.62, 0.44, 0.55, 0.22, 0.060, 45, 0.10,
                     ((92, 58, 36), (140, 92, 54), (40, 32, 30), (200, 190, 178)), "plain"),
    "tiger": Species(0.68, 0.26, 0.30, 0.80, 0.20, 0.075, 22, 0.07, ((206, 128, 56), (222, 150, 78)), "stripes"),
    "sheep": Species(0.52, 0.28, 0.27, 0.16, 0.30, 0.050, 38, 0.10, ((226, 220, 204), (196, 188, 170)), "wool"),
    "dog": Species(0.72, 0.30, 0.30, 0.45, 0.19, 0.055, 50, 0.10,
                   ((176, 130, 78), (60, 46, 38), (220, 210, 196), (34, 32, 32)), "plain"),
    "cow": Species(0.70, 0.36, 0.40, 0.60, 0.28, 0.065, 18, 0.11,
                   ((230, 226, 220), (120, 74, 46), (60, 50, 46)), "spots"),
}  # fmt: skip

_GAITS: dict[str, tuple[float, tuple[float, ...]]] = {
    # swing in degrees, and the phases of the left fore, right fore, left hind and right hind leg, in turns
    "stand": (7, (0.1, 0.6, 0.3, 0.8)),
    "walk": (22, (0.0, 0.5, 0.75, 0.25)),
    "trot": (30, (0.0, 0.5, 0.5, 0.0)),
    "gallop": (42, (0.0, 0.12, 0.5, 0.62)),
}


@dataclass(frozen=True, slots=True)
class Build:
    """One animal: everything that stays while it moves."""

    species: Species
    coat: Look
    dark: Look
    sizes: np.ndarray  # random factors on leg, neck, head, tail, trunk, thickness
    gait: str
    phase: float
    raised: float
    turn: float
    spots: np.ndarray  # [n, 4] place along the trunk, angle around it, size, flatness


def build(rng: np.random.Generator, name: str) -> Build:
    """A random animal of a species."""
    species = SPECIES[name]
    base = (np.array(pick(rng, species.coats), float) * rng.uniform(0.85, 1.1)).clip(8, 250)
    second = {"stripes": np.array([30.0, 24.0, 22.0]), "spots": base * 0.25}.get(species.pattern, base * 0.7)
    rows = rng.uniform(5, 8) if species.pattern == "stripes" else 0.0
    spots = rng.uniform((-0.45, -np.pi, 0.06, 0.5), (0.45, np.pi, 0.16, 1.0), (10, 4))
    return Build(
        species,
        Look(base, second, rows=rows),
        Look.plain(second * (0.6 if species.pattern == "plain" else 1.0)),
        rng.uniform(0.9, 1.1, 6),
        pick(rng, tuple(_GAITS)),
        rng.random(),
        species.raised + rng.normal(0, 14),
        rng.normal(0, 16),
        spots,
    )


def posed(animal: Build, phase: float) -> tuple[list[Solid], dict[str, np.ndarray], dict[str, float]]:
    """The animal at a phase of its gait, in turns: its solids, its joints [3] by name, and how deep each lies."""
    leg, neck, head, tail, trunk, thick = animal.sizes * (
        animal.species.leg, animal.species.neck, animal.species.head, animal.species.tail, animal.species.trunk,
        animal.species.thick)  # fmt: skip
    coat, dark = animal.coat, animal.dark
    withers, rump = np.array([0.5, 0.55 * trunk, 0.0]), np.array([-0.5, 0.55 * trunk, 0.0])
    solids: list[Solid] = [Limb(rump - (0, 0.4 * trunk, 0), withers - (0, 0.5 * trunk, 0),
                                (trunk * 0.85, trunk * 0.95, trunk, trunk * 0.9), coat)]  # fmt: skip
    joints: dict[str, np.ndarray] = {}
    joints["withers"], joints["tail"] = np.array([0.5, trunk, 0]), np.array([-0.5 - 0.5 * trunk, 0.75 * trunk, 0])
    deep: dict[str, float] = {}
    along, up, side = _axes(animal.raised, animal.turn)
    base = withers + along * neck
    solids.append(Limb(withers - (0, 0.25 * trunk, 0), base, (trunk * 0.72, trunk * 0.5, trunk * 0.42), coat))
    face, brow, _ = _axes(animal.raised - 75, animal.turn)
    nose = base + face * head
    skull = 0.36 * head
    solids += [
        Blob(base, np.eye(3) * skull * 1.05, coat),
        Limb(base, nose, (skull, skull * 0.8, skull * 0.6), coat, tip=dark, cut=0.85),
    ]
    joints |= {"nose": nose + face * skull * 0.3, "chin": nose - brow * skull * 0.6, "throat": base - brow * skull}
    for name, sign in (("left", 1), ("right", -1)):
        eye = base + face * head * 0.3 + side * sign * skull * 0.72 + brow * skull * 0.45
        ear = base + up * skull * 0.8 + side * sign * skull * 0.6
        solids += [
            Blob(eye, np.eye(3) * skull * 0.2, Look.plain(np.array([18.0, 16.0, 16.0]))),
            Limb(ear, ear + (up + side * sign * 0.6) * animal.species.ear, (0.035, 0.03, 0.008), dark),
        ]
        joints |= {f"{name}_eye": eye, f"{name}_ear": ear}
    swing, phases = _GAITS[animal.gait]
    for number, (name, fore) in enumerate((("left_front", 1), ("right_front", 1), ("left_back", 0), ("right_back", 0))):
        points = _leg(leg, trunk, swing * np.sin(2 * np.pi * (phase + phases[number])), fore == 1)
        if name.startswith("right"):
            points = points * (1, 1, -1)
        radii = (2.3 * thick, 1.35 * thick, 0.95 * thick, 0.8 * thick)
        for n in range(3):
            tip = dark if n == 2 else None
            solids.append(Limb(points[n], points[n + 1], (radii[n], radii[n + 1]), coat, tip=tip, cut=0.85))
        for n, part in enumerate(("shoulder", "elbow", "knee", "hoof")):
            joints[f"{name}_{part}"] = points[n]
            deep[f"{name}_{part}"] = 1.5 * radii[n]
    hang = joints["tail"] + np.array([-0.45, -0.6, 0.1 * np.sin(2 * np.pi * phase)]) * tail
    solids += [Limb(joints["tail"], hang, (0.035, 0.028, 0.02), coat),
               Limb(hang, hang + np.array([-0.1, -0.5, 0]) * tail, (0.03, 0.035, 0.01), dark)]  # fmt: skip
    if animal.species.pattern in ("spots", "wool"):
        solids += _coat_blobs(animal, trunk)
    return solids, joints, {"withers": 0.06, "tail": 0.08, "nose": 0.08, "chin": 0.1, "throat": 0.12} | deep


def _axes(up: float, turn: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along, above and to the left of a direction: degrees above the horizontal, and to the left."""
    rise, yaw = np.deg2rad([up, turn])
    along = np.array([np.cos(rise) * np.cos(yaw), np.sin(rise), np.cos(rise) * np.sin(yaw)])
    side = np.array([-np.sin(yaw), 0, np.cos(yaw)])
    return along, np.cross(side, along), side


def _leg(leg: float, trunk: float, swing: float, fore: bool) -> np.ndarray:
    """[4, 3] shoulder or hip, elbow or stifle, knee or hock, and hoof of a left leg, swung forward by so many degrees.

    A leg that swings forward is lifted: its joints bend.
    """
    lift = max(0.0, swing) * 0.9
    bends = (8 + 0.6 * swing, -6 + swing, -2 + swing - lift) if fore else (24 + 0.5 * swing, -26 + swing, 4 + swing)
    point = np.array([0.42 if fore else -0.42, -0.1 * trunk, 0.62 * trunk])
    points = [point]
    for degrees, share in zip(bends, (0.36, 0.34, 0.30)):
        angle = np.deg2rad(degrees)
        point = point + np.array([np.sin(angle), -np.cos(angle), 0.0]) * leg * share
        points.append(point)
    return np.array(points)


def _coat_blobs(animal: Build, trunk: float) -> list[Solid]:
    """Spots on the trunk, or locks of wool all around it."""
    wool = animal.species.pattern == "wool"
    look = animal.coat if wool else animal.dark
    solids: list[Solid] = []
    for x, angle, size, flat in animal.spots:
        out = np.array([0.0, np.sin(angle), np.cos(angle)])
        reach = size * (1.1 if wool else 0.5 + 0.5 * flat)
        axes = np.column_stack([[1, 0, 0], np.cross([1, 0, 0], out), out]) * (reach, reach, 0.6 * reach)
        solids.append(Blob(np.array([x, 0.1 * trunk, 0]) + out * trunk * 0.9, axes, look))
    return solids
