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
    1: "geometry skeletons image losses",
    2: "codecs draw coco_format",
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

TOP = """__init__.py __main__.py py.typed types.py files.py progress.py geometry.py skeletons.py image.py
losses.py draw.py coco_format.py spec.py demo.py catalogue.py
cli codecs data evaluate export models predict report runtime serve synthetic train weights"""
"""All that may lie directly in the package: the ground, and folders that are commands or parts of one."""


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
FOLDERS = {module_name(path) for path in PACKAGE.rglob("__init__.py")}


def imports_of(name: str, tree: ast.Module) -> Iterator[Import]:
    """What a module imports: by statement at any depth, by `importlib`, and through the lazy front of a folder."""
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            targets = list(computed(name, tree, node))
        else:
            continue
        for target in targets:
            own = target.split(".")[0] == "posewright"
            yield Import(name, home_of(target) if own else target, own, id(node) not in inside, node.lineno)


def computed(name: str, tree: ast.Module, call: ast.Call) -> Iterator[str]:
    """The modules that a call of `import_module` may name: every one that the text of its argument allows."""
    argument, where = call.args[0], f"{name or '__init__'}:{call.lineno}"
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
    elif isinstance(argument, ast.JoinedStr):  # f"posewright.models.{family}" or f"{__name__}.{_HOMES[name]}"
        own_name = f"posewright.{name}".rstrip(".")
        text = ast.unparse(argument)[2:-1].replace("{__name__}", own_name)
        folder, _, rest = text.partition(".{")
        assert "{" not in folder, f"{where}: what does {text} import? Write posewright.FOLDER.{{}}"
        homes = homes_in(tree).values() if rest.startswith("_HOMES[") else ()
        inner = folder.removeprefix("posewright").lstrip(".")
        children = {m for m in SOURCES if m and m.rpartition(".")[0] == inner}
        yield from (f"{folder}.{m}" for m in homes or {c.rpartition(".")[2] for c in children})
    else:  # a variable of a loop over names that stand there
        loops = (n for n in ast.walk(tree) if isinstance(n, ast.For) and ast.unparse(n.target) == ast.unparse(argument))
        listed = [e for n in loops if isinstance(n.iter, ast.Tuple | ast.List) for e in n.iter.elts]
        assert listed, f"{where}: what does {ast.unparse(call)} import? Write the names there"
        yield from (str(ast.literal_eval(e)) for e in listed)


def homes_in(tree: ast.Module) -> dict[str, str]:
    """The table of a lazy front: public name to the file that defines it."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return ast.literal_eval(node.value)
    return {}


def home_of(target: str) -> str:
    """The module of ours that "posewright.a.b" stands for: a module, where a lazy front gets it, or the one above."""
    module = target.removeprefix("posewright").lstrip(".")
    if module in SOURCES:
        return module
    above, _, last = module.rpartition(".")
    assert above in SOURCES, f"no module posewright.{above}, which something imports"
    if last in (homes := homes_in(SOURCES[above])):
        return f"{above}.{homes[last]}".lstrip(".")
    return above


IMPORTS = [each for name, tree in SOURCES.items() for each in imports_of(name, tree)]
OWN = [i for i in IMPORTS if i.own]


def layer_of(name: str) -> int:
    top = name.split(".")[0]
    for layer, names in LAYERS.items():
        if top in names.split():
            return layer
    raise AssertionError(f"{top}.py has no layer: give it one in LAYERS")


def reached(name: str) -> set[str]:
    """All modules that importing this one imports, directly or indirectly."""
    found, todo = set(), {name}
    while todo:
        found |= todo
        todo = {i.target for i in OWN if i.source in todo} - found - {""}
    return found


def test_every_module_is_read():
    assert {"types", "codecs.heatmap", "models", "data.loader", "cli"} <= SOURCES.keys()
    assert any(i.target == "types" and i.source == "geometry" for i in OWN)


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        ("def f(x):\n    import_module('posewright.train.loop')", {"train.loop"}),
        ("def f(x):\n    importlib.import_module(f'posewright.report.{x}')", {"report.page", "report.run_folder"}),
        ("from posewright import find, draw", {"models", "draw"}),
        ("from posewright.evaluate import coco", {"evaluate.coco_ap"}),
        ("_HOMES = {'a': 'pck'}\ndef f(x):\n    import_module(f'posewright.evaluate.{_HOMES[x]}')", {"evaluate.pck"}),
    ],
)
def test_hidden_imports_are_seen(code, targets):
    assert {i.target for i in imports_of("spec", ast.parse(code))} >= targets


@pytest.mark.parametrize(
    "code", ["import posewright.nowhere.there", "from posewright.nowhere import a", "import_module(name)"]
)
def test_imports_that_nobody_can_follow_are_refused(code):
    with pytest.raises(AssertionError):
        list(imports_of("spec", ast.parse(code)))


def test_the_top_holds_what_the_design_names():
    present = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert not (more := present - set(TOP.split())), (
        f"neither the ground nor a folder that is a command: {sorted(more)}"
    )


def test_no_file_is_too_long_to_read():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    long = [f"{path.relative_to(PACKAGE)}: {length} lines" for path, length in lengths.items() if length > 400]
    assert not long, "\n".join(long)


def test_imports_go_down():
    wrong = [
        f"{i.source} (layer {layer_of(i.source)}) imports {i.target} (layer {layer_of(i.target)}), line {i.line}"
        for i in OWN
        if i.source and i.target and layer_of(i.target) > layer_of(i.source)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_cycles():
    """Not even by imports within functions; a folder's front gets its own files on demand, as they may import it."""
    fronts = {
        (i.source, i.target) for i in OWN if i.source in FOLDERS and i.target.startswith(i.source) and not i.always
    }
    graph = {
        name: {i.target for i in OWN if i.source == name and i.target and (name, i.target) not in fronts}
        for name in SOURCES
    }
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
    owners = {"cv2": {"image"}, "onnxruntime": {"runtime.onnx_runtime"}, "pycocotools": set()}
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


@pytest.mark.parametrize("code", ["import posewright", "from posewright.cli import parser; parser()"])
def test_what_must_start_at_once_imports_nothing_heavy(code):
    code = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "posewright" in loaded
    assert not HEAVY & loaded
