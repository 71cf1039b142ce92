"""What MkDocs generates: the pages of published weights and of commands, and the tables in the systems' pages.

A line `<!-- systems PATTERN ... -->` of a page becomes the table of the pose systems that match a pattern and none that
begins with "!"; `<!-- recipes PATTERN ... -->` that of recipes, `<!-- reproduced SYSTEM -->` what was compared.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from posewright.catalogue import size_of
from posewright.cli import parser
from posewright.models import find, names
from posewright.train import recipes
from posewright.weights import hub

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in (("weights.md", weights()), ("commands.md", commands())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put tables in the place of the comments that ask for them."""
    tables = {"systems": _systems, "recipes": _recipes, "reproduced": _reproduced}
    return re.sub(r"^<!-- (\w+) (.+) -->$", lambda asked: tables[asked[1]](asked[2]), markdown, flags=re.M)


def _matching(every: Iterable[str], patterns: str) -> list[str]:
    wanted = [p for p in patterns.split() if not p.startswith("!")]
    others = [p[1:] for p in patterns.split() if p.startswith("!")]
    found = [n for n in every if any(fnmatchcase(n, p) for p in wanted) and not any(fnmatchcase(n, p) for p in others)]
    if not found:
        raise LookupError(f"nothing matches {patterns}")
    return found


def _systems(patterns: str) -> str:
    rows = ["| name | points | parameters, million | GMACs | weights, published |", "|---|---|---:|---:|---|"]
    for name in _matching(names(), patterns):
        spec, (parameters, gmacs) = find(name), size_of(find(name)) or (0, 0.0)
        files = [
            f"`{e.id}` ({e.access}): {e.published[0].summary() if e.published else 'no metrics'}"
            for e in hub.entries(name)
        ]
        cells = (f"`{name}`", spec.skeleton.name, f"{parameters / 1e6:.2f}", f"{gmacs:.2f}", "<br>".join(files) or "–")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _recipes(patterns: str) -> str:
    table = recipes.table()
    rows = ["| recipe | what it trains | published |", "|---|---|---|"]
    for row in (table[name] for name in _matching(table, patterns)):
        published = row.source if row.ap is None else f"{row.ap:.1f} AP on {row.source}"
        rows.append(f"| `{row.name}` | {row.title} | {published} |")
    return "\n".join(rows)


def _reproduced(system: str) -> str:
    """From the README of the golden numbers and the page of trainings from scratch: their rows of the system."""
    short = system.split()[-1].casefold()
    lines = []
    for outputs, structure in _rows(ROOT / "tests" / "golden" / "README.md", lambda first: first == system):
        lines.append(f"* **Outputs of the official code**, on the same weights and image (`tests/golden`): {outputs}.")
        lines += [f"* **Its names, shapes, parameters and multiply-adds**: {structure}."] if structure else []
    lines += [
        f"* **The recipe, from scratch on drawn people** (`make check-systems`): `{network.strip('`')}` by {recipe}, "
        f"{steps} steps, AP {ap}; {minutes} minutes on a CPU core, where the bar is 0.08."
        for recipe, network, steps, ap, minutes in _rows(
            ROOT / "benchmarks" / "check_systems.md", lambda first: first.split(",")[0].casefold() == short
        )
    ]
    lines.append(
        "* **The published AP** has not been measured here: COCO's images and most of the files were out of reach "
        "where this page was written. With both, `posewright eval` prints the published row below its own."
    )
    return "\n".join(lines)


def _rows(page: Path, wanted: Callable[[str], bool]) -> list[list[str]]:
    """The cells, but the first, of table rows whose first cell is wanted."""
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return [row[1:] + [""] * (2 - len(row[1:])) for row in cells if wanted(row[0])]


def weights() -> str:
    """The registry as a page."""
    lines = [
        "# Published weights",
        "",
        "`posewright weights pull ID` downloads what is *direct* and compares its checksum. For what is *browser-only*",
        "it prints the page, the file's name, size and checksum, and the `weights import` that follows. Where there is",
        "no checksum, nobody published one.",
        "",
        "## Licences of weights and data",
        "",
        "The code of Posewright is Apache-2.0. Weights come under the licence of the repository that published them,",
        "and what they were trained on may allow less. `posewright models show NAME` prints both.",
        "",
        *_licences(),
        "",
        "## All files",
        "",
        "| id | system | data | published | access | sha256 | licence | from |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in hub.entries():
        metric = entry.published[0].summary() if entry.published else ""
        system = f"`{entry.spec}`" if entry.spec else ""
        cells = (
            f"`{entry.id}`",
            system,
            entry.data,
            metric,
            entry.access,
            entry.sha256[:8],
            entry.licence,
            entry.source,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _licences() -> list[str]:
    """One table: who published weights, under which licence, trained on what, and by which terms that may be used."""
    rows = {
        ("Posewright: the default model", "Apache-2.0", "lspet"): 1,
        ("`posewright data synth`", "Apache-2.0", ""): 0,
    }
    for e in hub.entries():
        key = (e.source, e.licence or "not known", e.data)
        rows[key] = rows.get(key, 0) + 1
    lines = ["| from | licence | files | trained on | its terms |", "|---|---|---:|---|---|"]
    for (source, licence, data), count in rows.items():
        terms = hub.terms(data)
        name = f"[{terms.name}]({terms.source})" if terms.source.startswith("http") else terms.name
        lines.append(f"| {source} | {licence} | {count or '–'} | {name or '–'} | {terms.terms if data else '–'} |")
    return lines


def commands() -> str:
    """Every command's help as a page."""
    lines = ["# Commands", "", "Every command takes `--quiet` and `--json`, and `--help` says what stands here.", ""]
    for command in _leaves(parser()):
        lines += [
            f"## {command.prog}",
            "",
            command.description or "",
            "",
            "```text",
            command.format_usage().strip(),
            "```",
        ]
        lines += ["", "| option | what it does |", "|---|---|"]
        for action in command._actions:
            if action.dest not in ("help", "quiet", "json"):
                name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
                about = (action.help or "") % (vars(action) | {"prog": command.prog})
                lines.append(f"| `{name}` | {about} |".replace("\n", " "))
        lines.append("")
    return "\n".join(lines)


def _leaves(command: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    below = [a for a in command._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield command
    for action in below:
        for one in dict.fromkeys(action.choices.values()):
            yield from _leaves(one)
