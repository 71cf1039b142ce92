"""`posewright data`: data sets made, converted and checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from posewright.cli._options import Commands, answer, command, existing

if TYPE_CHECKING:
    import numpy as np

    from posewright.data.dataset import KeypointDataset
    from posewright.data.formats import Annotated


def add(commands: Commands) -> None:
    about = "make, convert and check data sets"
    parser = commands.add_parser("data", help=about, description=f"{about.capitalize()}.")
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    _add_synth(tasks)
    _add_convert(tasks)
    _add_split(tasks)
    _add_check(tasks)
    _source(
        command(tasks, "stats", _stats, "a data set in numbers: people, sizes, and how often each point is labelled")
    )
    _add_show(tasks)
    command(tasks, "formats", _formats, "list the annotation formats that --train, --val and --data take")


def _add_synth(tasks: Commands) -> None:
    synth = command(tasks, "synth", _synth, "draw synthetic people or animals with COCO annotations")
    synth.add_argument("folder", metavar="FOLDER", help="where to put them")
    synth.add_argument("--images", type=int, metavar="NUMBER", default=1000, help="how many (default: %(default)s)")
    synth.add_argument("--split", metavar="NAME", default="train", help="name of the split (default: %(default)s)")
    synth.add_argument("--seed", type=int, metavar="NUMBER", default=0, help="the same seed draws the same pictures")
    synth.add_argument(
        "--everyday", action="store_true", help="people half hidden, in each other's way and cut off, as in snapshots"
    )
    synth.add_argument(
        "--species", nargs="+", metavar="NAME", help="animals instead: rodent, or some of horse, tiger, sheep, dog, cow"
    )
    synth.add_argument(
        "--skeleton",
        choices=("tigdog18", "animalpose20"),
        default="tigdog18",
        help="the points of animals that are not rodents (default: %(default)s)",
    )
    synth.add_argument(
        "--frames", type=int, metavar="NUMBER", default=1, help="of animals: consecutive frames per sequence"
    )


def _add_convert(tasks: Commands) -> None:
    convert = command(tasks, "convert", _convert, "convert annotations from one format to another")
    convert.add_argument("source", metavar="FROM", type=existing, help="annotations of any format: a file or a folder")
    convert.add_argument("target", metavar="TO", help="the file or folder to write")
    convert.add_argument("--format", default="", metavar="NAME", help="what to write; by default told by the name")
    convert.add_argument(
        "--results", metavar="JSON", type=existing, help="write these keypoint results, of the annotations' images"
    )
    convert.add_argument("--copy-images", action="store_true", help="copy the images to where TO looks for them, too")
    _images(convert)


def _add_split(tasks: Commands) -> None:
    split = command(tasks, "split", _split, "split annotations into train.json and val.json, no image in both")
    split.add_argument("source", metavar="DATA", type=existing, help="annotations of any format: a file or a folder")
    split.add_argument(
        "--val", type=float, metavar="SHARE", default=0.2, help="of the images for val.json (default: %(default)s)"
    )
    split.add_argument("--by-folder", action="store_true", help="keep a folder's images together: frames of a video")
    split.add_argument("--seed", type=int, metavar="NUMBER", default=0, help="the same seed splits in the same way")
    split.add_argument("--out", metavar="FOLDER", help="folder for both files (default: beside the annotations)")


def _add_check(tasks: Commands) -> None:
    check = command(tasks, "check", _check, "find what ruins training; exit status 1 where there are errors")
    check.add_argument(
        "sources", metavar="DATA", nargs="+", type=existing, help="annotations of any format; several are splits of one"
    )
    check.add_argument(
        "--images", metavar="FOLDER", nargs="+", default=[], type=existing, help="folder of each's images"
    )
    check.add_argument("--no-images", action="store_true", help="check the annotations alone")
    check.add_argument("--fix", metavar="JSON", help="write a mended copy, COCO's JSON (of one set)")
    check.add_argument("--sheet", metavar="JPG", help="draw the worst cases on a contact sheet")
    check.add_argument("--allow-outside", action="store_true", help="take images whose names lead out of their folder")


def _add_show(tasks: Commands) -> None:
    show = command(tasks, "show", _show, "draw people of a data set on a contact sheet")
    _source(show)
    show.add_argument("--out", metavar="JPG", default="runs/show.jpg", help="the sheet (default: %(default)s)")
    show.add_argument("--people", type=int, metavar="NUMBER", default=24, help="how many (default: %(default)s)")
    show.add_argument("--seed", type=int, metavar="NUMBER", default=0, help="the same seed draws the same people")
    show.add_argument("--masks", action="store_true", help="whole images, with COCO's polygons and masks")
    show.add_argument(
        "--batches", metavar="RECIPE", help="draw them as this recipe's training sees them, with its targets"
    )


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="DATA", type=existing, help="annotations of any format")
    _images(parser)


def _images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", metavar="FOLDER", default="", type=existing, help="folder of their images")
    parser.add_argument("--allow-outside", action="store_true", help="take images whose names lead out of it")


def _synth(options: argparse.Namespace) -> int:
    from posewright.progress import bar, tick
    from posewright.synthetic import animals, people

    what = ", ".join(options.species or ["people"])
    if options.frames != 1 and not options.species:
        raise ValueError("--frames is for animals: name --species too")
    if options.everyday and options.species:
        raise ValueError("--everyday is for people: leave out --species")
    with bar(f"drawing {what}", "images") as report:
        shared = {"seed": options.seed, "split": options.split, "progress": tick(report)}
        if options.species:
            scene = animals.AnimalScene(tuple(options.species), options.skeleton, frames=options.frames)
            path = animals.make(options.folder, options.images, scene=scene, **shared)
        else:
            scene = people.EVERYDAY if options.everyday else people.Scene()
            path = people.make(options.folder, options.images, scene=scene, **shared)
    text = f"{options.images} synthetic images ({what}); annotations: {path}"
    answer(options, text, images=options.images, annotations=path)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from posewright.data import copying, formats

    found = formats.read(options.source)
    target = Path(options.target)
    if options.results:
        return _convert_results(options, found)
    if options.copy_images:
        images = Path(options.images) if options.images else None
        found = copying.copied(found, images, target, options.format, allow_outside=options.allow_outside)
    lost = formats.write(found, target, options.format)
    count = formats.count_written(found, lost)
    said = [f"{count} annotations of {len(found.file.images)} images: {target}"]
    for words, counts in (("filled in", found.filled), ("lost", found.lost | lost)):
        said += [f"{words}: {', '.join(f'{n} {what}' for what, n in counts.items())}"] if counts else []
    values = {"annotations": count, "images": len(found.file.images), "written": target}
    answer(options, "\n".join(said), **values, filled=found.filled, lost=found.lost | lost)
    return 0


def _split(options: argparse.Namespace) -> int:
    from posewright.data import formats, splitting

    found = formats.read(options.source)
    folder = Path(options.out) if options.out else found.path if found.path.is_dir() else found.path.parent
    targets = folder / "train.json", folder / "val.json"
    if taken := [str(target) for target in targets if target.exists()]:
        raise FileExistsError(f"{' and '.join(taken)}: exists already; name another folder with --out")
    parts = splitting.split(found, options.val, seed=options.seed, by_folder=options.by_folder)
    lines = []
    for part, target in zip(parts, targets):
        formats.write(part, target, "coco")
        lines.append(f"{len(part.file.annotations)} annotations of {len(part.file.images)} images: {target}")
    answer(options, "\n".join(lines), train=targets[0], val=targets[1])
    return 0


def _convert_results(options: argparse.Namespace, found: Annotated) -> int:
    import msgspec

    from posewright import coco_format
    from posewright.data.formats import deeplabcut

    target = Path(options.target)
    if target.suffix.lower() not in (".csv", ".h5"):
        raise ValueError(f"{target}: results are converted to DeepLabCut's tables: name a .csv or .h5 file")
    skeleton, _ = coco_format.skeleton_of(found.path, found.file, None, None)
    results = [msgspec.to_builtins(result) for result in coco_format.read_results(options.results)]
    names = {image.id: image.file_name for image in found.file.images}
    deeplabcut.write_table(deeplabcut.predictions(results, names, skeleton.points), target.with_suffix(".csv"))
    answer(options, f"{len(results)} poses in {len(names)} images: {target}", poses=len(results), written=target)
    return 0


def _check(options: argparse.Namespace) -> int:
    from posewright.data import formats, quality
    from posewright.progress import bar, tick

    if options.images and len(options.images) != len(options.sources):
        raise ValueError(f"{len(options.sources)} sets, but {len(options.images)} folders of images: one for each")
    if options.fix and (len(options.sources) > 1 or Path(options.fix).resolve() == Path(options.sources[0]).resolve()):
        raise ValueError("--fix mends one set at a time, in a copy: name one set, and another file")
    sets = [formats.read(source) for source in options.sources]
    with bar("checking", "images") as show:
        checked = quality.check(
            sets,
            [Path(folder) for folder in options.images],
            read_images=not options.no_images,
            allow_outside=options.allow_outside,
            progress=tick(show),
        )
    lines = [line for one in checked for line in one.lines()]
    errors = sum(one.errors for one in checked)
    if options.fix:
        left = f"; {checked[0].left} errors are left to you" if checked[0].left else ""
        lines.append(f"{quality.mend(checked[0], Path(options.fix))} entries mended or dropped{left}: {options.fix}")
    if options.sheet and (cases := quality.sheet(checked)) is not None:
        from posewright import image

        image.write(options.sheet, cases)
        lines.append(f"the worst cases: {options.sheet}")
    found = {
        str(one.found.path): [
            {"kind": f.kind, "level": quality.KINDS[f.kind].level, "where": f.where, "detail": f.detail}
            for f in one.findings
        ]
        for one in checked
    }
    answer(options, "\n".join(lines), errors=errors, findings=found, fixed=options.fix, sheet=options.sheet)
    return 1 if errors else 0


def _stats(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from posewright.data import sources, statistics

    people = sources.read_all([options.source], [options.images], allow_outside=options.allow_outside)
    found = statistics.of(people)
    answer(options, "\n".join([people.summary(), *found.lines()]), **asdict(found))
    return 0


def _show(options: argparse.Namespace) -> int:
    import numpy as np

    from posewright import draw, image
    from posewright.data import sources
    from posewright.report.gallery import case

    people = sources.read_all([options.source], [options.images], allow_outside=options.allow_outside)
    count = min(max(options.people, 1), len(people))
    places = np.sort(np.random.default_rng(options.seed).permutation(len(people))[:count])
    if options.batches:
        pictures = _training_views(options, people.subset(places))
    elif options.masks:
        pictures = _with_masks(people, places)
    else:
        pictures = [case(people, int(place), "", None).image for place in places]
    captions = [f"{people.annotation_id[place]}" for place in places]
    columns, width = (3, 384) if options.batches else (6, 256)
    image.write(options.out, draw.sheet(pictures, min(columns, count), (256, width), captions))
    answer(options, f"{count} of {len(people)} people: {options.out}", people=count, sheet=options.out)
    return 0


def _with_masks(people: KeypointDataset, places: np.ndarray) -> list[np.ndarray]:
    """Whole images with one person each: points, box, and the segmentation as a tint."""
    from posewright import draw, image
    from posewright.data import masks

    known, pictures = masks.segmentations(people.annotations), list["np.ndarray"]()
    for place in places.tolist():
        person = people[place]
        pixels = image.read(person.path, upright=False)
        if (segmentation := known.get(person.annotation_id)) is not None:
            where = f"{people.annotations}: annotation {person.annotation_id}"
            height, width = pixels.shape[:2]
            inside = masks.mask(segmentation, height, width, where)
            pixels[inside] = pixels[inside] // 2 + (0, 60, 127)
        truth = person.xy[None], person.visibility[None], person.box[None]
        pictures.append(draw.draw_truth(pixels, *truth, people.skeleton))
    return pictures


def _training_views(options: argparse.Namespace, people: KeypointDataset) -> list[np.ndarray]:
    """The people as a recipe's training sees them: augmented crops with their points, and with their targets."""
    import numpy as np

    from posewright import draw
    from posewright.data.loader import Loader
    from posewright.models import find
    from posewright.train import recipes, samples

    config = recipes.find(options.batches)
    spec = find(config.model).with_skeleton(people.skeleton)
    loader = Loader(people, spec, config.augment, len(people), seed=options.seed, shuffle=False)
    batch = next(iter(loader.epoch(0)))
    whole = np.array([[0.0, 0.0, spec.size[1], spec.size[0]]])
    crops = samples.pixels(batch.images, spec)
    drawn = [
        draw.draw_truth(crop, batch.xy[n : n + 1], batch.visibility[n : n + 1], whole, spec.skeleton, boxes=False)
        for n, crop in enumerate(crops)
    ]
    return [np.hstack(pair) for pair in zip(drawn, samples.targets_over(crops, batch, spec))]


def _formats(options: argparse.Namespace) -> int:
    from posewright.data import formats

    modules = {name: formats.named(name) for name in formats.names()}
    about = {name: (module.__doc__ or "").partition("\n")[0] for name, module in modules.items()}
    written = [name for name, module in modules.items() if hasattr(module, "write")]
    lines = [f"{name:<12} {line}{' Written, too.' if name in written else ''}" for name, line in about.items()]
    answer(options, "\n".join(lines), formats=about, written=written)
    return 0
