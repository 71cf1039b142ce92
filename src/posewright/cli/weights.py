"""`posewright weights`: published weights and their formats."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from posewright.cli._options import Commands, answer, command, existing


def add(commands: Commands) -> None:
    parser = commands.add_parser("weights", help="published weights: list, pull, check, verify, import, convert")
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    listing = command(tasks, "list", _list, "list the published weights")
    listing.add_argument(
        "pattern", metavar="PATTERN", nargs="?", default="*", help="of ids or pose systems (default: all)"
    )
    pull = command(tasks, "pull", _pull, "download published weights into the cache")
    pull.add_argument("id", metavar="ID", help="as `posewright weights list` names it")
    pull.add_argument("--offline", action="store_true", help="only look into the cache")
    pull.add_argument("--no-verify", action="store_true", help="take a file without a published checksum")
    check = command(tasks, "check", _check, "ask every address whether it still answers, without downloading")
    check.add_argument(
        "pattern", metavar="PATTERN", nargs="?", default="*", help="of ids or pose systems (default: all)"
    )
    verify = command(tasks, "verify", _verify, "recompute the checksums of cached weights")
    verify.add_argument("id", metavar="ID", nargs="?", help="of one entry (default: all)")
    take = command(tasks, "import", _import, "put a file downloaded manually into the cache")
    take.add_argument("id", metavar="ID", help="as `posewright weights list` names it")
    take.add_argument("file", metavar="FILE", type=existing, help="the downloaded file")
    convert = command(tasks, "convert", _convert, "write weights as another tool names and stores them")
    convert.add_argument("file", metavar="FILE", type=existing, help="weights of any toolkit")
    convert.add_argument(
        "--to", required=True, choices=("official", "mmpose", "mindspore", "safetensors"), help="format to write"
    )
    convert.add_argument("--model", metavar="NAME", help="pose system; a run's own checkpoint knows it")
    convert.add_argument("--half", action="store_true", help="write float16, half the size")
    convert.add_argument("--out", metavar="FILE", required=True, help="the file to write")


def _list(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    found = hub.entries(options.pattern)
    if not found:
        raise LookupError(f"no published weights match {options.pattern!r}; `posewright weights list` lists all")
    lines = []
    for e in found:
        metric = next((p.summary() for p in e.published), "")
        cached = "cached" if hub.cached(e.id) else ""
        lines += [f"{e.id:<40} {e.spec or '-':<36} {e.data:<12} {metric:<30} {e.access:<12} {cached}".rstrip()]
    told = [
        asdict(e)
        | {"access": e.access, "terms": hub.terms(e.data).terms, "published": e.published, "file": hub.cached(e.id)}
        for e in found
    ]
    answer(options, "\n".join(lines), weights=told)
    return 0


def _pull(options: argparse.Namespace) -> int:
    from posewright.progress import bar, tick
    from posewright.weights import hub

    with bar(f"downloading {options.id}", "bytes") as show:
        offline, unverified = options.offline or None, options.no_verify
        path = hub.pull(options.id, offline=offline, unverified=unverified, progress=tick(show))
    answer(options, str(path), id=options.id, file=path)
    return 0


def _check(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    told = list(hub.check(options.pattern))
    failed = sum(not answered.startswith("200") for _, _, answered in told)
    lines = [f"{id:<40} {answered:<24} {url}" for id, url, answered in told]
    lines += [f"{failed} of {len(told)} addresses do not answer"]
    answer(options, "\n".join(lines), addresses=[dict(zip(("id", "url", "answer"), row)) for row in told])
    return 1 if failed else 0


def _verify(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    checked = hub.verify(options.id)
    lines = [f"{one.id}: {one.problem or 'good'} ({one.path})" for one in checked]
    answer(options, "\n".join(lines or ["nothing in the cache"]), weights=[asdict(one) for one in checked])
    return 1 if any(one.problem for one in checked) else 0


def _import(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    path = hub.import_file(options.id, options.file)
    answer(options, str(path), id=options.id, file=path)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from posewright.models import find
    from posewright.weights import checkpoint

    spec = find(options.model) if options.model else None
    summary = checkpoint.convert(options.file, options.out, options.to, spec, half=options.half).summary()
    answer(options, f"{summary}\n{options.out}", summary=summary, file=options.out)
    return 0
