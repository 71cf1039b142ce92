"""Images in, drawings and one results file out: what `posewright predict` does."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posewright import draw, image
from posewright.files import ready_folder
from posewright.predict import boxes as detect
from posewright.predict.ahead import in_order
from posewright.predict.images import ImageFile, drawing_names, image_ids, images_of
from posewright.predict.journal import Entry, Journal, write_csv, write_results
from posewright.predict.predictor import Predictor
from posewright.predict.summary import Output, Summary
from posewright.progress import bar, stop_signals
from posewright.types import Boxes, Poses

PathLike = str | os.PathLike[str]

_HELD = 12_000_000
"""Bytes of an image, 4 megapixels; larger ones are read again to be drawn on."""

COCO_KEYS = ("image_id", "category_id", "keypoints", "score")
"""What COCO's evaluator reads of a keypoint result. It takes a `bbox` for the pose's extent, which changes areas."""


def predict_images(
    predictor: Predictor,
    inputs: Sequence[PathLike],
    out: Path,
    boxes: detect.BoxFile | detect.Detector | None = None,
    *,
    recursive: bool = False,
    output: Output = Output(),  # noqa: B008  # frozen
) -> Summary:
    """Find, draw and write the poses in images.

    Results are written as they come, to `results.jsonl`, and joined into `results.json` when all images are finished:
    a run that was interrupted or killed leaves an earlier `results.json` as it is, and the next run with the same
    settings starts where it ended. An image that cannot be read is skipped and named in the summary, unless no other
    could be read.

    Args:
        predictor: finds the poses.
        inputs: what `images_of` takes: files, folders, lists, patterns, standard input.
        out: folder for a drawing of each image, `<name>_pose.jpg`, `results.json` and what else `output` asks for.
        boxes: boxes by image, a detector, or None for whole images.
        recursive: take the images of sub-folders too.
        output: what is drawn and written.

    Raises:
        FileNotFoundError, ValueError, LookupError, OSError: inputs, boxes or the folder are not what they must be.
    """
    images = images_of(inputs, recursive=recursive, skip=out)
    files, summary = images.files, Summary(ready_folder(out), len(images.files))
    ids, about_ids = image_ids(files, boxes)
    drawings = [out / name for name in drawing_names([file.name for file in files])]
    _refuse_to_replace(files, drawings)
    start = time.monotonic()
    thresholds = {k: v for k, v in asdict(output).items() if "threshold" in k}
    with Journal(out, settings_of(predictor, boxes) | {"thresholds": str(thresholds)}) as journal:
        numbers = {file.name: (number, file.state, path) for file, number, path in zip(files, ids, drawings)}
        journal.drop(lambda e: e.name not in numbers or not _holds(e, *numbers[e.name]))
        for file in files:
            if file.name in journal:
                summary.add(journal[file.name], output)
        summary.kept = summary.images
        summary.notes += [words for words in (journal.note, images.unread_words(), about_ids) if words]
        todo = [n for n, file in enumerate(files) if file.name not in journal]
        _predict(predictor, [(files[n], ids[n], drawings[n]) for n in todo], boxes, output, journal, summary)
        summary.seconds = time.monotonic() - start
        if not summary.stopped:
            if summary.failed and not summary.images:
                raise ValueError(summary.failed[0])
            _join(journal, [file.name for file in files], predictor, out, output)
    summary.explain(output)
    return summary


def _refuse_to_replace(files: list[ImageFile], drawings: list[Path]) -> None:
    """Refuse a run whose drawings would replace images that it reads.

    Raises:
        ValueError: there is such a drawing.
    """
    read = {os.path.abspath(file.path) for file in files}  # noqa: PTH100  # links stay what they are called
    for file, drawing in zip(files, drawings):
        if os.path.abspath(drawing) in read:  # noqa: PTH100
            raise ValueError(
                f"{drawing}: the drawing of {file.path} would replace this image, which is one of the run's: choose "
                "another folder for drawings and results, or move it away if it is an earlier drawing"
            )


def _predict(
    predictor: Predictor,
    tasks: list[tuple[ImageFile, int, Path]],
    boxes: detect.BoxFile | detect.Detector | None,
    output: Output,
    journal: Journal,
    summary: Summary,
) -> None:
    """Predict images, draw them and note them in the journal, until done or asked to stop."""
    upright = not isinstance(boxes, detect.BoxFile)  # a file's boxes count the pixels as stored: see `image.read`

    def drawn(found: tuple[int, np.ndarray | None, Poses]) -> tuple[int, Entry]:
        place, pixels, poses = found
        file, number, path = tasks[place]
        shown = poses[poses.instance_score >= output.score_threshold]
        pixels = file.read(upright=upright) if pixels is None else pixels
        path.parent.mkdir(parents=True, exist_ok=True)
        image.write(path, draw.draw(pixels, shown, threshold=output.keypoint_threshold))
        outside = len(boxes.of_id(number)) - len(poses) if isinstance(boxes, detect.BoxFile) else 0
        results = [_result(r, file.name) for r in poses.to_coco(number)]
        return place, Entry(file.name, number, file.state, poses.boxes.source, outside, results)

    with bar("predicting", "images") as report, stop_signals() as asked:
        found = _each(predictor, [task[0] for task in tasks], boxes, summary.failed, asked, upright=upright)
        for place, entry in in_order(drawn, found, threads=4, ahead=predictor.batch):
            journal.add(entry)
            summary.add(entry, output)
            report(place + 1, len(tasks), f"{summary.poses} people")
        summary.stopped = asked[0] if asked else 0


def _each(
    predictor: Predictor,
    files: list[ImageFile],
    boxes: detect.BoxFile | detect.Detector | None,
    failed: list[str],
    asked: Sequence[int],
    *,
    upright: bool,
) -> Iterator[tuple[int, np.ndarray | None, Poses]]:
    """Place, pixels and poses of each image, until asked to stop; why an image cannot be read goes into `failed`.

    Pixels are None where they are large: as many as are worked on at a time would not fit into memory.
    """
    held: dict[int, np.ndarray] = {}

    def item(place: int) -> tuple[Any, Any]:
        file = files[place]
        known = detect.FixedBoxes(boxes.of(file.path)) if isinstance(boxes, detect.BoxFile) else boxes
        find = known or detect.two_pass_boxes(predictor)

        def found(pixels: np.ndarray) -> Boxes:
            if pixels.size <= _HELD:
                held[place] = pixels
            return find(pixels)

        return (file.path if file.pixels is None else file.pixels), found

    place = 0
    while place < len(files):
        try:
            for poses in predictor.many(map(item, range(place, len(files))), upright=upright):
                yield place, held.pop(place, None), poses
                place += 1
                if asked:
                    return
        except (
            ValueError,
            FileNotFoundError,
            PermissionError,
        ) as error:  # of the image at `place`: results come in order
            failed.append(str(error))
            place += 1


def _result(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A COCO result with the image's name, and its box under the name that most tools read."""
    box = {"bbox": result.pop("box")} if "box" in result else {}
    return {"image_id": result.pop("image_id"), "file_name": name, **result, **box}


def _holds(entry: Entry, number: int, state: list[int], drawing: Path) -> bool:
    """Whether an entry is still what this run would find."""
    return (entry.image_id, entry.state) == (number, state) and drawing.exists()


def _join(journal: Journal, names: list[str], predictor: Predictor, out: Path, output: Output) -> None:
    finished = [name for name in names if name in journal]
    if output.csv:
        points = predictor.spec.skeleton.points
        write_csv(out / "predictions.csv", (journal[name] for name in finished), points)
    if output.coco:
        write_results(out / "results_coco.json", (journal[name] for name in finished), COCO_KEYS)
    write_results(out / "results.json", (journal[name] for name in finished))
    journal.clear()


def settings_of(predictor: Predictor, boxes: Any) -> dict[str, str]:
    """All that poses depend on but the images themselves, by name: a run resumes only where it is unchanged."""
    if isinstance(boxes, detect.BoxFile):
        arrays = (boxes.image_id, boxes.xywh, boxes.score)
        source = f"{boxes.source} {[zlib.crc32(array.tobytes()) for array in arrays]}"
    else:
        about = {k: v for k, v in getattr(boxes, "__dict__", {}).items() if isinstance(v, (str, int, float, tuple))}
        source = f"{type(boxes).__name__} {about}" if boxes is not None else "whole image"
    weights = getattr(predictor.net, "fingerprint", 0)
    if isinstance(predictor.net, nn.Module):
        for tensor in predictor.net.state_dict().values():
            weights = zlib.crc32(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy(), weights)
    return {
        "model": f"{predictor.spec.name}, {predictor.spec.skeleton.points}",
        "weights": f"{type(predictor.net).__name__} {weights:08x}",
        "flip test": str(predictor.flip),
        "boxes": source,
    }
