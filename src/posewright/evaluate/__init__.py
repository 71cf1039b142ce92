"""How good poses are; `posewright.evaluate.coco` and its neighbours come from the files of this folder on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posewright.evaluate.coco_ap import coco, measure
    from posewright.evaluate.diagnosis import diagnose

__all__ = ["coco", "diagnose", "measure"]

_HOMES = {"coco": "coco_ap", "diagnose": "diagnosis", "measure": "coco_ap"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
