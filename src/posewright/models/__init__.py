"""Network families, one per file; `find` and `names` look pose systems up.

The name leads to the code: "hrnet-w32-256x192" is looked up in `models/hrnet.py`, in its `SPECS`. There is no
registry to fill.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posewright.spec import Spec

DEFAULT = "litebaseline-160x160"
"""What "default" stands for: the pose system whose weights are in the package."""


def families() -> list[str]:
    """The model families, one a file in `models/`."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def names(pattern: str = "*") -> list[str]:
    """Names of all specs that match a shell pattern, such as "mspn*", sorted."""
    return sorted(n for family in families() for n in _specs(family) if fnmatch.fnmatchcase(n, pattern))


def find(name: str) -> Spec:
    """The spec of that name; "default" is that of the weights in the package.

    Raises:
        LookupError: there is none; the message names the nearest.
    """
    name = DEFAULT if name == "default" else name
    family = name.split("-")[0]
    if family in families() and name in (specs := _specs(family)):
        return specs[name]
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise LookupError(f"no pose system is named {name!r}{hint} (`posewright models` lists all)")


def _specs(family: str) -> dict[str, Spec]:
    module: Any = importlib.import_module(f"posewright.models.{family}")
    return module.SPECS
