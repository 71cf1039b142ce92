"""`posewright data`: data sets made, formats listed."""

from __future__ import annotations

import argparse

from posewright.cli._options import Commands, answer, command


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "data", help="make data, list formats", description="Make data, and list the annotation formats."
    )
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    synth = command(tasks, "synth", _synth, "draw synthetic people with COCO annotations")
    synth.add_argument("folder", metavar="FOLDER", help="where to put them")
    synth.add_argument("--images", type=int, metavar="NUMBER", default=1000, help="how many (default: %(default)s)")
    synth.add_argument("--split", metavar="NAME", default="train", help="name of the split (default: %(default)s)")
    synth.add_argument("--seed", type=int, metavar="NUMBER", default=0, help="the same seed draws the same pictures")
    command(tasks, "formats", _formats, "list the annotation formats that --train, --val and --data take")


def _synth(options: argparse.Namespace) -> int:
    from posewright.progress import bar, tick
    from posewright.synthetic import people as synthetic

    with bar("drawing people", "images") as report:
        path = synthetic.make(
            options.folder, options.images, seed=options.seed, split=options.split, progress=tick(report)
        )
    text = f"{options.images} images of synthetic people; annotations: {path}"
    answer(options, text, images=options.images, annotations=path)
    return 0


def _formats(options: argparse.Namespace) -> int:
    from posewright.data import formats

    about = {"coco": "COCO's JSON of keypoints, of any skeleton."}
    about |= {name: (formats.named(name).__doc__ or "").partition("\n")[0] for name in formats.names()}
    answer(options, "\n".join(f"{name:<12} {line}" for name, line in about.items()), formats=about)
    return 0
