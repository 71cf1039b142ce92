"""`posewright report`: one self-contained HTML page of a run, or of results."""

from __future__ import annotations

import argparse
from pathlib import Path

from posewright.cli._options import Commands, answer, command, existing


def add(commands: Commands) -> None:
    about = "write one self-contained HTML page of a run's folder, an evaluation's folder, or a results file"
    parser = command(commands, "report", run, about)
    parser.add_argument("source", metavar="RUN|FOLDER|JSON", type=existing, help="what `train` or `eval` has written")
    parser.add_argument(
        "--data", default="", metavar="JSON", type=existing, help="the annotations, where the folder does not say it"
    )
    parser.add_argument(
        "--images", metavar="FOLDER", type=existing, help="folder of their images, where it is not beside them"
    )
    parser.add_argument(
        "--weights",
        default="",
        metavar="FILE",
        type=existing,
        help="what found the results, for heatmaps in the gallery (default: a run's own best.pt)",
    )
    parser.add_argument("--out", metavar="HTML", help="the page (default: index.html beside the results)")


def run(options: argparse.Namespace) -> int:
    from posewright.report.sources import write_page

    out = Path(options.out) if options.out else None
    page = write_page(Path(options.source), options.data, options.images, out, options.weights)
    answer(options, f"page: {page}", page=page)
    return 0
