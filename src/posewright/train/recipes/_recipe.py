"""Recipe: one row of the table of published results, with the settings that gave it."""

from __future__ import annotations

from dataclasses import dataclass

from posewright.train.config import TrainConfig

COCO = "data/coco/annotations/person_keypoints_{}2017.json"
"""Where the annotations of COCO 2017 lie by custom; the command line replaces it."""

VAL = "val2017, boxes of 56.4 AP"
VAL_65 = "val2017, boxes of 65.1 AP"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training by name: what it gave where it was published, and the settings.

    Attributes:
        name: what `posewright train` calls it.
        title: what is trained, with its paper where a family begins.
        config: the settings.
        ap: the published AP in percent, or None.
        source: what that was measured on, with which boxes, by whom; or what was measured instead.
        note: how the settings were published, and what was left open.
        systems: shell patterns of the pose systems that have no recipe of their own and train by this one.
        small: a pose system with the same codec, small enough to learn on a CPU.
        lr_follows_batch: the rate was published per GPU, so a smaller batch gets a smaller one.
    """

    name: str
    title: str
    config: TrainConfig
    ap: float | None = None
    source: str = VAL
    note: str = ""
    systems: tuple[str, ...] = ()
    small: str = ""
    lr_follows_batch: bool = False

    @property
    def about(self) -> str:
        """One line: the title and what was published."""
        return f"{self.title}: " + (self.source if self.ap is None else f"{self.ap:.1f} AP on {self.source}")
