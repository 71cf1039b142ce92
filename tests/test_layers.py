"""Which import may never be: the package's own rules, read from its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "posewright"

LAYERS = {
    0: "types files progress",
    1: "geometry skeletons image",
    2: "codecs losses draw coco_format",
    3: "spec",
    4: "models runtime synthetic",
    5: "weights",
    6: "predict data catalogue",
    7: "evaluate",
    8: "report export",
    9: "train serve",
    10: "cli demo __main__",
}
"""A module imports from its own layer and those below."""

HEAVY = {"torch", "numpy", "cv2", "rich", "msgspec", "safetensors", "faster_coco_eval", "onnxruntime"}


class Import(NamedTuple):
    source: str  # such as "codecs.heatmap"; "" is the package itself
    target: str  # such as "types" or "numpy.linalg"
    own: bool  # whether the target is ours
    always: bool  # at module level, not for the type checker alone
    line: int


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): ast.parse(path.read_text("utf-8"), str(path)) for path in PACKAGE.rglob("*.py")}


def imports_of(name: str) -> Iterator[Import]:
    tree = SOURCES[name]
    later = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, later) for n in ast.walk(f)}
    typing = [i for i in ast.walk(tree) if isinstance(i, ast.If) and ast.unparse(i.test) == "TYPE_CHECKING"]
    inside |= {id(n) for block in typing for n in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: write imports out, from posewright on"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            own = target.split(".")[0] == "posewright"
            ours = target.removeprefix("posewright").lstrip(".")
            while own and ours not in SOURCES:  # a name from a module, not a module
                ours = ours.rpartition(".")[0]
            yield Import(name, ours if own else target, own, id(node) not in inside, node.lineno)


IMPORTS = [each for name in SOURCES for each in imports_of(name)]
OWN = [i for i in IMPORTS if i.own]


def layer_of(name: str) -> int:
    top = name.split(".")[0]
    for layer, names in LAYERS.items():
        if top in names.split():
            return layer
    raise AssertionError(f"{top}.py has no layer: give it one in LAYERS")


def reached(name: str) -> set[str]:
    """All modules that importing this one brings along, sooner or later."""
    found, todo = set(), {name}
    while todo:
        found |= todo
        todo = {i.target for i in OWN if i.source in todo} - found - {""}
    return found


def test_every_module_is_read():
    assert {"types", "codecs.heatmap", "models", "data.loader", "cli"} <= SOURCES.keys()
    assert any(i.target == "types" and i.source == "geometry" for i in OWN)


def test_imports_go_down():
    wrong = [
        f"{i.source} (layer {layer_of(i.source)}) imports {i.target} (layer {layer_of(i.target)}), line {i.line}"
        for i in OWN
        if i.source and i.target and layer_of(i.target) > layer_of(i.source)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_cycles():
    graph = {name: {i.target for i in OWN if i.source == name and i.always and i.target} for name in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {error.args[1]}")


@pytest.mark.parametrize("folder", ["codecs", "models"])
def test_siblings_share_only_through_private_files(folder):
    wrong = [
        f"{i.source} imports {i.target}, line {i.line}"
        for i in OWN
        if i.source.startswith(f"{folder}.") and i.target.startswith(f"{folder}.") and "._" not in i.target
    ]
    assert not wrong, "\n".join(wrong)


def test_prediction_needs_no_data_and_no_training():
    assert not [name for name in reached("predict.predictor") if name.split(".")[0] in ("data", "train", "evaluate")]


def test_networks_know_nothing_of_specs():
    """A network class takes numbers and tensors; specs stand beside it."""
    for name, tree in SOURCES.items():
        for network in (n for n in tree.body if isinstance(n, ast.ClassDef) and name.startswith("models.")):
            known = {n.id for n in ast.walk(network) if isinstance(n, ast.Name)}
            assert not known & {"Spec", "Weight", "SPECS"}, f"{name}: {network.name}"


def test_owners_of_libraries():
    owners = {"cv2": {"image"}, "onnxruntime": {"runtime.torch_runtime", "export"}, "pycocotools": set()}
    wrong = [
        f"{i.source} imports {i.target}, line {i.line}"
        for i in IMPORTS
        if not i.own and i.source not in owners.get(i.target.split(".")[0], {i.source})
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_prints_but_the_command_line_and_its_progress():
    wrong = [
        f"{name}, line {node.lineno}"
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "print"
        and name.split(".")[0] not in ("cli", "progress")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["posewright", "posewright.cli"])
def test_what_must_start_at_once_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    plain = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert module in loaded
    assert not HEAVY & (set(loaded) - set(plain.stdout.split()))
