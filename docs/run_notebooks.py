"""Run the notebooks and store what their cells print and yield, as Jupyter would.

python docs/run_notebooks.py
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from pprint import pformat
from typing import Any

from posewright.files import write_text

FOLDER = Path(__file__).parent.resolve() / "notebooks"
LONGEST = 2000  # characters of an output


def outputs(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell; its standard output, and the value of an expression that ends it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said, value = io.StringIO(), None
    with contextlib.redirect_stdout(said):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    found: list[dict[str, Any]] = []
    if said.getvalue():
        text = said.getvalue().replace(str(Path.cwd()), ".")[:LONGEST]
        found.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if value is not None:
        text = {"text/plain": pformat(value, width=100, compact=True)[:LONGEST].splitlines(keepends=True)}
        found.append({"output_type": "execute_result", "data": text, "metadata": {}, "execution_count": None})
    return found


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        names: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for n, cell in enumerate(c for c in notebook["cells"] if c["cell_type"] == "code"):
                cell["outputs"] = outputs("".join(cell["source"]), names)
                cell["execution_count"] = n + 1
                for output in cell["outputs"]:
                    if "execution_count" in output:
                        output["execution_count"] = n + 1
            os.chdir(FOLDER)
        write_text(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.environ["POSEWRIGHT_RUNTIME"] = "torch"
    main()
