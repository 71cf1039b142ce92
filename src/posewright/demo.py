"""The demo: render synthetic people, fine-tune the default model on them, evaluate and draw poses, write a page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from posewright import draw, image
from posewright.data import coco
from posewright.evaluate import evaluator, printing
from posewright.files import ready_folder, write_json
from posewright.predict import boxes
from posewright.predict.folder import predict_images
from posewright.predict.predictor import load
from posewright.progress import bar, clock, say, tick
from posewright.report import page
from posewright.runtime import torch_runtime
from posewright.synthetic import people as synthetic
from posewright.train import recipes
from posewright.train.distributed import Team
from posewright.train.loop import TrainConfig, fit, resumed
from posewright.types import Sample

SPLITS = {"val": 60, "test": 200, "train": 2000}
"""Images per split: `val` selects the best weights, `test` is used only once, at the end."""

PICTURES = 60
"""Test images that are written out with their poses."""

SCENE = synthetic.Scene(
    stature=(110, 200), people=(1, 2), things=(0, 2), occluders=(0, 0), crowd=0.0, cut=0.05, calm=1.0
)
"""Calm people with little around them: what a small network learns in a minute."""


def demo(out: Path, *, seed: int = 0, fresh: bool = False) -> Iterator[str]:
    """Run the demo; a finished run in the folder is reused unless `fresh`, an interrupted one resumes.

    Args:
        out: folder for the data (`data`), a sheet of it (`people.jpg`), the run (`run`, whose page is refreshed as it
            learns), the drawings (`pictures`) and the page (`index.html`).
        seed: of the pictures and the training.
        fresh: train again.

    Yields:
        Lines that say what was done, how well, and where to look.
    """
    start = time.monotonic()
    ready_folder(out)
    files = dict[str, Path]()
    for split, count in SPLITS.items():
        with bar(f"drawing people ({split})", "images") as show:
            files[split] = synthetic.make(out / "data", count, seed=seed, scene=SCENE, split=split, progress=tick(show))
        if split == "val":
            image.write(out / "people.jpg", _sheet(coco.read(files["val"])))
            say(f"a preview: {out / 'people.jpg'} shows drawn people with their annotations")
    say(f"learning from them; {out / 'run' / 'index.html'} shows how well so far, from the first evaluation on")
    config = replace(
        recipes.find("finetune"), train=str(files["train"]), val=str(files["val"]), out=str(out / "run"), seed=seed
    )
    if torch_runtime.fast_bf16(Team().device(config.device)):
        config = replace(config, precision="bf16")
    if not _train(config, fresh=fresh):
        yield f"stopped; `posewright demo --out {out}` resumes it"
        return
    predictor = load(weights=out / "run" / "best.pt")
    unseen = coco.read(files["test"])
    with bar("evaluating", "images") as show:
        evaluation = evaluator.evaluate(predictor, unseen, evaluator.boxes_for(unseen), progress=tick(show))
    write_json(out / "results.json", evaluation.results)
    shown = sorted((out / "data" / "test").glob("*.jpg"))[:PICTURES]
    drawn = predict_images(predictor, shown, out / "pictures", boxes.annotated(files["test"]))
    took = clock(time.monotonic() - start)
    subtitle = (
        f"{config.model}, {SPLITS['train']} drawn images, AP {evaluation.metrics['AP']:.3f} on unseen ones, in {took}"
    )
    settings = msgspec.json.format(msgspec.json.encode(config), indent=2).decode()
    sections = page.sections(config.model, unseen, evaluation, settings=settings, predictor=predictor)
    page.write(out / "index.html", "Posewright demo", subtitle, out / "run", sections)
    yield from printing.lines(evaluation, config.model)
    yield ""
    yield f"drew {sum(SPLITS.values())} scenes, fine-tuned {config.model} on {SPLITS['train']}, in {took}"
    yield f"AP {evaluation.metrics['AP']:.3f} on {len(unseen)} unseen people in {SPLITS['test']} images (boxes: gt)"
    yield f"drawings: {drawn.out}   results: {out / 'results.json'}   weights: {out / 'run' / 'best.pt'}"
    yield f"open {out / 'index.html'} for the curves, the metrics, good and bad cases"


def _sheet(people: coco.KeypointDataset, count: int = 12) -> np.ndarray:
    """The first images with what is annotated in them."""
    by_image: dict[Path, list[Sample]] = {}
    for n in range(len(people)):
        by_image.setdefault(people[n].path, []).append(people[n])
    pictures = []
    for path, samples in list(by_image.items())[:count]:
        xy, visibility, boxes = (np.stack([getattr(s, name) for s in samples]) for name in ("xy", "visibility", "box"))
        pictures.append(draw.draw_truth(image.read(path), xy, visibility, boxes, people.skeleton))
    return draw.sheet(pictures, columns=4, cell=(264, 352))


def _train(config: TrainConfig, *, fresh: bool) -> bool:
    """Train, resume, or find it finished already. Returns whether it is finished now."""
    folder = Path(config.out)
    if fresh and folder.exists():
        shutil.rmtree(folder)
    started = (folder / "last.pt").exists()
    if started and resumed(folder) != config:
        raise ValueError(f"{folder} holds a run with other settings; train again with --fresh, or choose another --out")
    return fit(config, resume=started).finished
