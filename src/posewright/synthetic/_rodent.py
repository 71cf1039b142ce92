"""Mice and rats seen from above: a body along a bent spine, head, ears, feet and tail.

Positions are in view units, of which a body, from the tail's base to the neck, is one long: x to the right, y down, z
away from the camera. The animal faces x and its left is above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posewright.synthetic._body import pick
from posewright.synthetic._solids import Blob, Limb, Look, Solid

_COATS = ((22, 20, 20), (34, 30, 28), (70, 58, 48), (120, 100, 82), (150, 148, 146), (232, 230, 226))
_SKIN = ((196, 150, 140), (150, 130, 124), (120, 92, 88), (84, 70, 68))


@dataclass(frozen=True, slots=True)
class Rodent:
    """One animal: everything that stays while it moves.

    Attributes:
        coat, skin: colours, the skin's of ears, feet, tail and the snout's tip.
        girth: of the body, relative to a slender mouse's.
        ear: size of an ear.
        ears: how far the ears' front edges sit ahead of the crown, and from the middle.
        nose: from crown to snout.
        tail: its length.
        bend: of the spine, degrees.
        head: how far the head is turned, degrees.
        pitch: how far it is turned up, degrees; a head that sniffs at the floor is turned down.
        roll: how far it leans to a side, degrees.
        phase: of the stride, in turns.
    """

    coat: Look
    skin: Look
    girth: float
    ear: float
    ears: tuple[float, float]
    nose: float
    tail: float
    bend: float
    head: float
    pitch: float
    roll: float
    phase: float


def build(rng: np.random.Generator) -> Rodent:
    """A random animal; dark ones are the commoner."""
    coat = np.array(_COATS[min(int(rng.exponential(1.6)), len(_COATS) - 1)]) * rng.uniform(0.8, 1.2)
    return Rodent(
        Look.plain(coat.clip(6, 250)),
        Look.plain(np.array(pick(rng, _SKIN), float) * rng.uniform(0.7, 1.1)),
        rng.uniform(0.9, 1.7),
        rng.uniform(0.065, 0.11),
        (rng.uniform(0.0, 0.12), rng.uniform(0.085, 0.12)),
        rng.uniform(0.12, 0.2),
        rng.uniform(0.8, 1.2),
        rng.normal(0, 32),
        rng.normal(0, 32),
        rng.normal(-8, 24),
        rng.normal(0, 28),
        rng.random(),
    )


def posed(animal: Rodent, phase: float) -> tuple[list[Solid], dict[str, np.ndarray], dict[str, float]]:
    """The animal at a phase of its stride, in turns: its solids, its joints [3] by name, and how deep each lies."""
    wave = 2 * np.pi * (phase + animal.phase)
    spine = _chain(np.zeros(3), -animal.bend / 2, animal.bend + 6 * np.sin(wave), 1.0, 6)
    widths = animal.girth * np.array([0.10, 0.185, 0.205, 0.185, 0.15, 0.125])
    solids: list[Solid] = [
        Limb(a, b, (r, s), animal.coat) for a, b, r, s in zip(spine[:-1], spine[1:], widths[:-1], widths[1:])
    ]
    level = _unit(spine[-1] - spine[-2], animal.head + 4 * np.sin(wave))
    pitch, lean = np.deg2rad(animal.pitch), np.deg2rad(animal.roll)
    ahead = level * np.cos(pitch) - (0, 0, np.sin(pitch))
    aside = np.array([level[1], -level[0], 0.0])
    left = aside * np.cos(lean) + np.cross(ahead, aside) * np.sin(lean)
    above = np.cross(ahead, left)
    crown = spine[-1] + ahead * 0.06 - (0, 0, 0.02 + 0.05 * animal.girth)
    snout = crown + ahead * animal.nose * animal.girth**0.3
    solids.append(Limb(crown, snout, (0.115, 0.10, 0.065, 0.03), animal.coat, tip=animal.skin, cut=0.93))
    # As people label them, the snout is its very tip, the tail begins where it leaves the fur, not at the end of the
    # spine, and an ear lies just outside and ahead of where its front edge meets the head, not in the leaf that stands
    # out and back from there.
    tail = spine[0] - _unit(spine[1] - spine[0], 0) * 0.098 * animal.girth
    joints = {"snout": snout + 0.025 * ahead, "tailbase": tail}
    for name, sign in (("leftear", 1), ("rightear", -1)):
        ear = crown + left * sign * animal.ears[1] + ahead * animal.ears[0] + above * 0.07
        out = (left * sign - ahead * 0.6) / np.hypot(1, 0.6)
        axes = np.column_stack([out, np.cross(above, out) * 0.7, above * 0.4]) * animal.ear
        solids.append(Blob(ear + (out * 0.75 + above * 0.3 - ahead * 0.4) * animal.ear, axes, animal.skin))
        joints[name] = ear + left * sign * 0.025 + ahead * 0.018
    for place, sign, shift in ((1, 1, 0), (1, -1, 0.5), (4, 1, 0.5), (4, -1, 0)):
        stride = 0.07 * np.sin(wave + 2 * np.pi * shift)
        along = _unit(spine[place + 1] - spine[place], 0)
        across = np.array([along[1], -along[0], 0.0])
        foot = spine[place] + across * sign * (widths[place] + 0.02) + along * (0.05 + stride) + (0, 0, 0.12)
        solids.append(Limb(foot, foot + along * 0.09, (0.028, 0.02), animal.skin))
    back = _chain(spine[0], 180 - animal.bend / 2, 30 * np.sin(wave / 2) - animal.bend, animal.tail, 7)
    reach = np.linspace(0.038, 0.012, 7)
    solids += [Limb(a, b, (r, s), animal.skin) for a, b, r, s in zip(back[:-1], back[1:], reach[:-1], reach[1:])]
    return solids, joints, {"snout": 0.06, "tailbase": 0.16, "leftear": 0.06, "rightear": 0.06}


def _chain(start: np.ndarray, first: float, bend: float, length: float, count: int) -> np.ndarray:
    """[count, 3] points along an arc from `start`, whose direction begins at `first` degrees and turns by `bend`."""
    angles = np.deg2rad(first + bend * np.linspace(0, 1, count - 1))
    steps = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(count - 1)]) * length / (count - 1)
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def _unit(direction: np.ndarray, degrees: float) -> np.ndarray:
    """A direction in the image's plane as a unit vector, turned by so many degrees."""
    angle = np.arctan2(direction[1], direction[0]) + np.deg2rad(degrees)
    return np.array([np.cos(angle), np.sin(angle), 0.0])
