"""Pages that MkDocs generates: the table of published weights and the reference of commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from posewright.cli import parser
from posewright.weights import hub


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in (("weights.md", weights()), ("commands.md", commands())):
        files.append(File.generated(config, name, content=text))
    return files


def weights() -> str:
    """The registry as a page."""
    lines = [
        "# Published weights",
        "",
        "`posewright weights pull ID` downloads what is *direct* and compares its checksum. For what is *browser-only*",
        "it prints the page, the file's name and the `weights import` that follows. Licences are those of the",
        "repositories that published the files; what they were trained on may allow less. Without a checksum, nobody",
        "published one.",
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
