"""`posewright completion`: a script that completes commands, tasks, options and choices, made from the parsers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from posewright.cli._options import Commands, answer, command

ABOUT = "print a script for shell completion: `source <(posewright completion bash)`"

BASH = """\
_posewright() {{
    local word path="" words="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${{COMP_WORDS[i]}}"
        case "$path $word" in
            {paths}) path="$path $word" ;;
        esac
    done
    case "$path" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _posewright posewright
"""
"""Follows the words typed so far to a command's path; where none of its words fits, the shell completes files."""


def add(commands: Commands) -> None:
    parser = command(commands, "completion", run, ABOUT)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell to complete in")


def run(options: argparse.Namespace) -> int:
    from posewright.cli import parser

    paths = dict(_paths(parser(), ()))
    script = _fish(paths) if options.shell == "fish" else _bash(paths)
    if options.shell == "zsh":
        script = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + script
    answer(options, script.rstrip("\n"), script=script)
    return 0


def _paths(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Of each command, by its path such as ("weights", "pull"): every word that may follow it, with its help."""
    words: dict[str, str] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            words |= {name: about.get(name, f"see {sub.prog}") for name, sub in action.choices.items()}
            for name, sub in action.choices.items():
                yield from _paths(sub, (*path, name))
        else:
            follow = action.option_strings or [str(choice) for choice in action.choices or ()]
            words |= dict.fromkeys(follow, (action.help or "").split(" (default")[0])
    yield path, words


def _bash(paths: dict[tuple[str, ...], dict[str, str]]) -> str:
    follow = {shlex.quote("".join(f" {name}" for name in path)): " ".join(words) for path, words in paths.items()}
    words = [f"        {path}) words={shlex.quote(several)} ;;" for path, several in follow.items()]
    return BASH.format(paths=" | ".join(follow), words="\n".join(words))


def _fish(paths: dict[tuple[str, ...], dict[str, str]]) -> str:
    lines = []
    for path, follow in paths.items():
        condition = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in path) or "__fish_use_subcommand"
        for word, about in follow.items():
            name = word.lstrip("-")
            kind = "-a" if name == word else "-l" if word.startswith("--") else "-s"
            lines.append(f"complete -c posewright -n {shlex.quote(condition)} {kind} {name} -d {shlex.quote(about)}")
    return "\n".join(lines) + "\n"
