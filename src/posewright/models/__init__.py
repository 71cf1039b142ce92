"""Network families, one per file; `find` and `names` look pose systems up.

The name leads to the code: "hrnet-w32-256x192" is looked up in `models/hrnet.py`, in its `SPECS`. There is no
registry to fill: a new family is a new file, which offers

* `SPECS`, a dict of its pose systems by name; every name is the file's own, a hyphen and the variant;
* what their `builder` makes: a `PoseNetwork` (`_network.py`) or any module with `forward` and `supervised`;
* in the network's `naming`, what other toolkits call its parameters. Without it, its own names are the only ones.

Published counts, weights and recipes are optional: `catalogue` counts what `counts.csv` lacks, and leaves the rest
blank.
"""

from __future__ import annotations

import csv
import difflib
import fnmatch
import functools
import importlib
import pkgutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from torch import nn

    from posewright.models._network import Naming
    from posewright.spec import Spec

DEFAULT = "litebaseline-192x192"
"""What "default" stands for: the pose system whose weights are in the package."""


def families() -> list[str]:
    """The model families, one per file in `models/`."""
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


@functools.cache
def counted() -> dict[str, tuple[int, float]]:
    """Parameters and GMACs by name, as found when `counts.csv` was made (`benchmarks/count.py`)."""
    text = (files("posewright.models") / "counts.csv").read_text(encoding="utf-8")
    return {r["name"]: (int(r["parameters"]), float(r["gmacs"])) for r in csv.DictReader(text.splitlines())}


def codec_changes(spec: Spec) -> dict[str, Any]:
    """Fields of a spec's codec that are not as in the spec of its name, as `Spec.with_codec` takes them."""
    published = msgspec.to_builtins(find(spec.name).codec)
    return {name: value for name, value in msgspec.to_builtins(spec.codec).items() if value != published.get(name)}


def naming_of(net: nn.Module) -> Naming:
    """What other toolkits call a network's parameters; nothing but its own names if it does not say."""
    from posewright.models._network import Naming

    return getattr(net, "naming", Naming())


def _specs(family: str) -> dict[str, Spec]:
    module: Any = importlib.import_module(f"posewright.models.{family}")
    specs = getattr(module, "SPECS", None)
    if not isinstance(specs, dict) or any(n != s.name or n.split("-")[0] != family for n, s in specs.items()):
        raise TypeError(f"{module.__file__}: expected SPECS, a dict of specs by their names, each '{family}-...'")
    return specs
