"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posewright.train.loop import TrainConfig

DESCRIPTION = "Find the keypoints of people and animals in images: train, evaluate, predict."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 2 bad input (one line on stderr says what), 130 interrupted."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int | None] = options.command
    try:
        return command(options) or 0
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"posewright: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("posewright: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="posewright", description=DESCRIPTION)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_demo, _add_predict, _add_train, _add_eval, _add_models, _add_recipes, _add_weights, _add_data):
        add(verbs)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from posewright import __version__

        print(f"posewright {__version__}")
        parser.exit()


def _verb(verbs: Any, name: str, command: Callable[[argparse.Namespace], Any], about: str, **more: Any) -> Any:
    parser = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", **more)
    parser.set_defaults(command=command)
    return parser


# -- demo ---------------------------------------------------------------------------------------------------------


def _add_demo(verbs: Any) -> None:
    about = "learn synthetic people from scratch in a few minutes, and show how well"
    parser = _verb(verbs, "demo", _demo, about)
    parser.add_argument("--out", default="runs/demo", help="folder for everything it makes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures and the training (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="train again where the folder holds a finished run")


def _demo(options: argparse.Namespace) -> int:
    from posewright.demo import demo

    for line in demo(Path(options.out), seed=options.seed, fresh=options.fresh):
        print(line)
    return 0


# -- predict ------------------------------------------------------------------------------------------------------


def _add_predict(verbs: Any) -> None:
    about = "find keypoints in images, draw them, and write them as COCO results"
    parser = _verb(verbs, "predict", _predict, about, aliases=["infer"])
    parser.add_argument("images", nargs="+", help="image files, folders, or .txt files with one image a line")
    _model_options(parser)
    parser.add_argument("--out", default="runs/predict", help="folder for drawings and results (default: %(default)s)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--boxes", metavar="JSON", help="detections: a list of {image_id, category_id, bbox, score}")
    source.add_argument("--annotations", metavar="JSON", help="take the boxes of a COCO annotation file")
    source.add_argument("--detector", metavar="ONNX", help="YOLOX-style detector of people: a file, or yolox-nano")
    parser.add_argument(
        "--score-threshold", type=float, default=0.0, help="draw poses scored above this (default: %(default)s)"
    )
    parser.add_argument(
        "--keypoint-threshold", type=float, default=0.3, help="draw keypoints scored above this (default: %(default)s)"
    )
    parser.add_argument(
        "--box-threshold", type=float, default=0.0, help="leave out boxes scored below this (default: %(default)s)"
    )


def _predict(options: argparse.Namespace) -> int:
    from posewright.predict import boxes as detect
    from posewright.predict.folder import predict_images
    from posewright.weights import hub

    predictor = _predictor(options)
    boxes: detect.BoxFile | detect.Detector = detect.two_pass_boxes(predictor)
    if options.boxes:
        boxes = detect.detections(options.boxes, threshold=options.box_threshold)
    elif options.annotations:
        boxes = detect.annotated(options.annotations)
    elif options.detector:
        boxes = detect.YoloxDetector(hub.file_of(options.detector), score=options.box_threshold or 0.3)
    summary = predict_images(
        predictor,
        options.images,
        Path(options.out),
        boxes,
        score_threshold=options.score_threshold,
        keypoint_threshold=options.keypoint_threshold,
    )
    print(summary)
    return 1 if summary.failed else 0


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="pose system (`posewright models`); a run's own checkpoint knows it")
    parser.add_argument(
        "--weights", metavar="FILE", help="a run's best.pt, or a published file; or the default model's"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    parser.add_argument(
        "--flip-test", action=argparse.BooleanOptionalAction, default=True, help="average with the mirrored image"
    )


def _predictor(options: argparse.Namespace) -> Any:
    from posewright.predict.predictor import load

    return load(options.model, options.weights, device=options.device, flip=options.flip_test)


# -- train --------------------------------------------------------------------------------------------------------


def _add_train(verbs: Any) -> None:
    about = "train a pose system on COCO-format annotations of any skeleton"
    parser = _verb(verbs, "train", _train, about)
    parser.add_argument("recipe", nargs="?", help="a recipe (`posewright recipes`) or a pose system")
    paths = parser.add_argument_group("data and folders (short for --set train=... and so on)")
    paths.add_argument("--train", nargs="+", help="annotations to learn from, one file or several")
    paths.add_argument("--train-images", nargs="+", help="folder of their images, for each file not beside them")
    for flag, about_flag in (
        ("val", "annotations to choose the best weights on"),
        ("val-images", "folder of their images"),
        ("val-boxes", "detections JSON to evaluate with instead of the annotated boxes"),
        ("out", "the run's folder"),
        ("init", "weights to start from, of any toolkit"),
        ("backbone", "ImageNet weights for the backbone"),
        ("skeleton", "JSON file that says what the points are"),
        ("sigmas", "of OKS: published, pck, or annotations of the same people again; default: those of the files"),
    ):
        paths.add_argument(f"--{flag}", help=about_flag)
    parser.add_argument(
        "--reset-head", action="store_true", help="start the last layer anew if keypoints differ in number"
    )
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change any setting")
    parser.add_argument("--resume", metavar="RUN", help="go on with an interrupted run's folder")
    parser.add_argument("--find-lr", action="store_true", help="only sweep over learning rates and suggest one")


def _train(options: argparse.Namespace) -> int:
    from posewright.train import recipes
    from posewright.train.loop import resumed, rounds

    if options.resume:
        if options.recipe or options.set or options.find_lr:
            raise ValueError("--resume goes on with the run's own settings: leave out the recipe, --set and --find-lr")
        config = replace(resumed(options.resume), out=str(options.resume))
    else:
        if not options.recipe:
            raise ValueError("name a recipe or a pose system (`posewright recipes`, `posewright models`)")
        config = _with_paths(recipes.find(options.recipe), options)
    if options.find_lr:
        from posewright.train.lr_finder import find_lr

        sweep = find_lr(config)
        print(f"learning rate {sweep.best:.1e}: --set lr={sweep.best:.1e}; see {Path(config.out) / 'find-lr.svg'}")
        return 0
    fitted = rounds(config, resume=bool(options.resume))
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # of several processes, the first one talks
    if not fitted.finished:
        print(f"stopped at step {fitted.step}; go on with: posewright train --resume {config.out}")
        return 130
    best = "".join(f" {name} {value:.3f}" for name, value in fitted.figures.items() if name in ("AP", "AR", "PCK"))
    print(f"trained {fitted.step} steps; best:{best or ' not evaluated'}; see {fitted.out}")
    return 0


def _with_paths(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    from posewright.train.config import override

    names = ("val", "val_images", "val_boxes", "out", "init", "backbone", "skeleton", "sigmas")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    for name in ("train", "train_images"):
        if several := getattr(options, name):
            given[name] = several[0] if len(several) == 1 else tuple(several)
    if "train" in given:  # own data: nothing of the recipe's own paths may linger
        given = {"train_images": "", "val": "", "val_images": "", "val_boxes": "", "skeleton": ""} | given
    if "val" in given and "val_boxes" not in given:
        given["val_boxes"] = ""
    return override(replace(config, **given, reset_head=options.reset_head or config.reset_head), options.set)


# -- eval ---------------------------------------------------------------------------------------------------------


def _add_eval(verbs: Any) -> None:
    about = "evaluate weights, or a results file, with the ten COCO figures (or PCK where a skeleton has no sigmas)"
    parser = _verb(verbs, "eval", _eval, about, aliases=["val", "test"])
    parser.add_argument("--data", required=True, metavar="JSON", help="COCO-format annotations")
    parser.add_argument("--images", help="folder of their images, where it is not beside them")
    parser.add_argument("--boxes", default="gt", metavar="gt|JSON", help="annotated boxes, or a detections JSON")
    parser.add_argument("--results", metavar="JSON", help="judge this results file instead of running weights")
    parser.add_argument("--out", default="runs/eval", help="folder for results.json (default: %(default)s)")
    parser.add_argument(
        "--contact-sheets", action="store_true", help="also draw sheets of the worst, random and best cases"
    )
    _model_options(parser)


def _eval(options: argparse.Namespace) -> int:
    from posewright.evaluate import evaluator

    if options.results:
        measured = evaluator.measure(options.data, options.results, boxes=f"of {options.results}")
        print("\n".join(evaluator.summary(measured, Path(options.results).stem)))
        return 0
    from posewright.data.skeleton_file import people_for
    from posewright.files import write_json
    from posewright.progress import bar, tick

    predictor = _predictor(options)
    people = people_for(predictor.spec.skeleton, options.data, options.images)
    boxes = evaluator.boxes_for(people, "" if options.boxes == "gt" else options.boxes)
    with bar("evaluating", "images") as show:
        evaluation = evaluator.evaluate(predictor, people, boxes, progress=tick(show))
    results = Path(options.out) / "results.json"
    write_json(results, evaluator.of_file(evaluation.results, people))
    lines = [people.summary()]
    if people.skeleton.sigmas and people.channels and not people.channels.sigmas:
        lines += [f"{options.data} has no OKS sigmas: AP is by those of {options.weights or predictor.spec.name}"]
    lines += [*evaluation.lines(predictor.spec.name), "", f"results: {results}"]
    if options.contact_sheets:
        from posewright.report.page import write_sheets

        lines += [f"contact sheets: {', '.join(map(str, write_sheets(results.parent, people, evaluation)))}"]
    print("\n".join(lines))
    return 0


# -- models, recipes ----------------------------------------------------------------------------------------------


def _add_models(verbs: Any) -> None:
    parser = _verb(verbs, "models", _models, "list the pose systems, or show everything about one")
    parser.add_argument("pattern", nargs="*", default=["*"], help='such as "mspn*", or: show NAME (default: all)')


def _models(options: argparse.Namespace) -> int:
    from posewright import catalogue

    if options.pattern[0] == "show":
        if len(options.pattern) != 2:
            raise ValueError("`posewright models show` wants one name")
        print("\n".join(catalogue.page(options.pattern[1])))
    else:
        print("\n".join(catalogue.table(options.pattern[0])))
    return 0


def _add_recipes(verbs: Any) -> None:
    parser = _verb(verbs, "recipes", _recipes, "list the training recipes, or show one's settings")
    parser.add_argument("name", nargs="?", help="recipe or pose system to show")


def _recipes(options: argparse.Namespace) -> int:
    import msgspec

    from posewright.train import recipes

    if options.name:
        print(msgspec.json.format(msgspec.json.encode(recipes.find(options.name)), indent=2).decode())
        return 0
    width = max(map(len, recipes.RECIPES))
    for name, recipe in recipes.RECIPES.items():
        print(f"{name:<{width}}  {(recipe.__doc__ or '').splitlines()[0]}")
    return 0


# -- weights ------------------------------------------------------------------------------------------------------


def _add_weights(verbs: Any) -> None:
    parser = verbs.add_parser("weights", help="published weights: list, pull, verify, import, convert")
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    listing = _verb(tasks, "list", _weights_list, "list the published weights")
    listing.add_argument("pattern", nargs="?", default="*", help="of ids or pose systems (default: all)")
    pull = _verb(tasks, "pull", _weights_pull, "fetch published weights into the cache")
    pull.add_argument("id")
    pull.add_argument("--offline", action="store_true", help="only look into the cache")
    verify = _verb(tasks, "verify", _weights_verify, "compute the checksums of cached weights anew")
    verify.add_argument("id", nargs="?", help="(default: all)")
    take = _verb(tasks, "import", _weights_import, "put a file that was got by other means into the cache")
    take.add_argument("id")
    take.add_argument("file")
    convert = _verb(tasks, "convert", _weights_convert, "write weights as another tool names and stores them")
    convert.add_argument("file")
    convert.add_argument("--to", required=True, choices=("official", "mmpose", "mindspore", "safetensors"))
    convert.add_argument("--model", help="pose system; a run's own checkpoint knows it")
    convert.add_argument("--half", action="store_true", help="write float16, half the size")
    convert.add_argument("--out", required=True, help="the file to write")


def _weights_list(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    found = hub.entries(options.pattern)
    if not found:
        raise LookupError(f"no published weights match {options.pattern!r}; `posewright weights list` lists all")
    for e in found:
        figure = f"AP {e.ap:.3f}" if e.ap is not None else f"PCKh {e.pckh:.3f}" if e.pckh is not None else ""
        here = "cached" if hub.cached(e.id) else ""
        print(f"{e.id:<40} {e.spec or '-':<36} {e.data:<12} {figure:<11} {e.boxes:<12} {here}".rstrip())
    return 0


def _weights_pull(options: argparse.Namespace) -> int:
    from posewright.progress import bar, tick
    from posewright.weights import hub

    with bar(f"fetching {options.id}", "bytes") as show:
        print(hub.pull(options.id, offline=options.offline or None, progress=tick(show)))
    return 0


def _weights_verify(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    checked = hub.verify(options.id)
    for one in checked:
        print(f"{one.id}: {one.problem or 'good'} ({one.path})")
    if not checked:
        print("nothing in the cache")
    return 1 if any(one.problem for one in checked) else 0


def _weights_import(options: argparse.Namespace) -> int:
    from posewright.weights import hub

    print(hub.import_file(options.id, options.file))
    return 0


def _weights_convert(options: argparse.Namespace) -> int:
    from posewright.models import find
    from posewright.weights import checkpoint

    spec = find(options.model) if options.model else None
    print(checkpoint.convert(options.file, options.out, options.to, spec, half=options.half).summary())
    print(options.out)
    return 0


# -- data ---------------------------------------------------------------------------------------------------------


def _add_data(verbs: Any) -> None:
    parser = verbs.add_parser("data", help="make data", description="Make data.")
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    synth = _verb(tasks, "synth", _data_synth, "draw synthetic people with COCO annotations")
    synth.add_argument("folder", help="where to put them")
    synth.add_argument("--images", type=int, default=1000, help="how many (default: %(default)s)")
    synth.add_argument("--split", default="train", help="name of the split (default: %(default)s)")
    synth.add_argument("--seed", type=int, default=0, help="the same seed draws the same pictures")


def _data_synth(options: argparse.Namespace) -> int:
    from posewright.progress import bar, tick
    from posewright.synthetic import people as synthetic

    with bar("drawing people", "images") as report:
        path = synthetic.make(
            options.folder, options.images, seed=options.seed, split=options.split, progress=tick(report)
        )
    print(f"{options.images} images of synthetic people; annotations: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
