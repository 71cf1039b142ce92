"""Animals: DeepLabCut's open field, CC-SSL from drawn animals to real and to other ones, and what each part is worth.

    .venv/bin/python benchmarks/animals.py --data DEEPLABCUT_PROJECT --work FOLDER --part openfield ccssl --seeds 0 1 2
    .venv/bin/python benchmarks/animals.py --work FOLDER --write

Every run is a folder below the work folder and resumes; results are lines of `results.jsonl` there, and what has one is
not done again. `--write` makes `animals.md` of them. One thread; rates depend on what else the machine does, so the
minutes are those of the processor.
"""

import argparse
import json
from dataclasses import replace
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from scipy import ndimage

from posewright import geometry
from posewright.cli import main as posewright
from posewright.data import sources
from posewright.data.augment import Augment
from posewright.draw import point_colours, sheet
from posewright.evaluate import evaluator
from posewright.files import write_text
from posewright.image import draw_disc, read, warp_all, write
from posewright.predict.boxes import Detector
from posewright.predict.frames import open_frames
from posewright.predict.interop import poses_of, to_deeplabcut
from posewright.predict.predictor import load
from posewright.predict.recording import predict_video
from posewright.synthetic import animals
from posewright.train.config import PseudoLabels, TrainConfig
from posewright.types import Boxes
from training_runs import Runs, processor, row_of, spread, write_part

MODEL = "litebaseline-128x96"
AUGMENT = Augment(
    scale=(0.7, 1.3), scale_draw="uniform", rotation=60, flip=0.5, brightness=0.3, contrast=0.3, grey=0.3, blur=0.2
)
DRAWN = replace(AUGMENT, scale=(0.75, 1.2), rotation=30)
"""Drawn animals look anywhere already."""
BASE = TrainConfig(
    model=MODEL, train="", steps=200, batch=16, lr=1e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine",
    warmup=50, clip=1.0, ema=0.99, precision="bf16", workers=0, device="cpu", augment=AUGMENT, save_minutes=3.0,
    init="default", reset_head=True, freeze=("stem", "blocks.0", "blocks.1", "blocks.2"),
)  # fmt: skip
SOURCE_STEPS, SPECIES_STEPS, ADAPT_STEPS, ROUND_RATE, TUNE_STEPS = 1200, 400, 480, 5e-4, 50
CCSSL = PseudoLabels(
    keep=(0.8, 0.8, 0.8), per_point=True, weight=2.0, repeats=15, views=32, scale=0.2, rotation=15, mirrored=True,
    recoloured=2, temporal=False,
)  # fmt: skip
"""Chosen on seeds 0 and 1 by the labels of the half of the frames that is trained on."""
ABLATION = {
    "no consistency": replace(CCSSL, views=1, recoloured=0),
    "equivariance alone": replace(CCSSL, recoloured=0),
    "invariance alone": replace(CCSSL, views=1),
}
OPEN_FIELD = animals.AnimalScene(
    plain=0.8, grey=0.7, things=(0, 2), height=(320, 360), width=(420, 480), length=(70.0, 115.0), quality=(80, 98)
)
"""As large and as sharp as the mouse of the frames."""
COLUMNS = {"PCK@0.05": "PCK@0.05", "PCK@0.1": "PCK@0.1", "animal PCK@0.05": "animal PCK@0.05", "RMSE": "RMSE",
           "RMSE_cutoff": "RMSE, p > 0.4", "RMSE_flip": "RMSE, flip test", "minutes": "minutes"}  # fmt: skip
CELL = (160, 160)
TARGET = ("sheep",)
"""The animals of `species` whose labels are not used; its source is drawn of horses and tigers."""


class Bench(Runs):
    """A work folder and the open field."""

    def __init__(self, work: Path, project: Path | None) -> None:
        super().__init__(work)
        self.images = str(project) if project else ""

    def split(self, share: float) -> tuple[Path, Path]:
        """Annotations of the open field to train on and to test on: drawn at random, the same for all seeds.

        Settings and drawn rodents were chosen by looking at the half that is trained on; the other half stays unseen.
        """
        folder = self.work / f"split{share:g}"
        files = folder / "train.json", folder / "test.json"
        if files[1].exists():
            return files
        folder.mkdir(parents=True, exist_ok=True)
        every = self.work / "openfield.json"
        if not every.exists():
            assert posewright(["data", "convert", self.images, str(every), "--format", "coco"]) == 0
        content = json.loads(every.read_text())
        order = np.random.default_rng(0).permutation([image["id"] for image in content["images"]]).tolist()
        cut = round(share * len(order))
        for path, chosen in zip(files, (set(order[:cut]), set(order[cut:]))):
            write_part(path, content, chosen, {category["id"] for category in content["categories"]})
        return files

    def measure(
        self, row: dict[str, Any], weights: Path, test: Path, images: str = "", *, detector: Detector | None = None
    ) -> None:
        """Write down how good weights are, once, in the annotated boxes or in those of a detector."""
        if self.has(row):
            return
        people = sources.read_all([test], [images])
        predictor, boxes = load(weights=weights, flip=False), people.gt_boxes()
        if detector:
            boxes = {number: detector(read(path, upright=False)) for number, path in people.paths.items()}
        options = {
            "PCK@0.05": evaluator.Options(metric="PCK", pck_threshold=0.05),
            "PCK@0.1": evaluator.Options(metric="PCK", pck_threshold=0.1),
            "animal": evaluator.Options(metric="animal"),
            "RMSE": evaluator.Options(metric="RMSE", p_cutoff=0.4),
        }
        found = {name: evaluator.evaluate(predictor, people, boxes, options=o).metrics for name, o in options.items()}
        flipped = evaluator.evaluate(load(weights=weights), people, boxes, options=options["RMSE"]).metrics
        rmse = found["RMSE"] | {"RMSE_flip": flipped["RMSE"]}
        values = {"PCK@0.05": found["PCK@0.05"]["PCK"], "PCK@0.1": found["PCK@0.1"]["PCK"],
                  "animal PCK@0.05": found["animal"]["PCK"], **rmse}  # fmt: skip
        self.add(row, weights, values | {"tested": len(people)})


# -- the parts ------------------------------------------------------------------------------------------------------


def openfield(bench: Bench, seed: int, share: float = 0.5) -> Path:
    """Trained on the labels of a share of the open field's frames, tested on the rest."""
    train, test = bench.split(share)
    config = replace(BASE, train=str(train), train_images=bench.images, seed=seed)
    weights = bench.train(config, f"openfield{share:g}", f"seed{seed}")
    bench.measure(row_of("openfield", f"{share:g}", seed), weights, test, bench.images)
    return weights


def source(bench: Bench, seed: int) -> tuple[Path, Path]:
    """Trained on drawn rodents alone: the weights, and the annotations of the rodents."""
    drawn = animals.make(bench.work / "rodents", 1000, scene=OPEN_FIELD, workers=1)
    config = replace(BASE, train=str(drawn), steps=SOURCE_STEPS, augment=DRAWN, seed=seed)
    weights = bench.train(config, "source", f"seed{seed}")
    bench.measure(row_of("ccssl", "synthetic only", seed), weights, bench.split(0.5)[1], bench.images)
    return weights, drawn


def adapted(
    bench: Bench, seed: int, name: str, pseudo: PseudoLabels, *, start: Path | None = None, pretrained: bool = True
) -> Path:
    """Adapted to the frames of the training half, whose labels are not read; from `start`, or the source's weights."""
    weights, drawn = source(bench, seed)
    train, test = bench.split(0.5)
    config = replace(
        BASE, train=str(drawn), target=str(train), target_images=bench.images, init=str(start or weights),
        pseudo=pseudo, steps=ADAPT_STEPS // len(pseudo.keep), lr=ROUND_RATE, warmup=5, augment=DRAWN, seed=seed,
        reset_head=not pretrained,
    )  # fmt: skip
    if not pretrained:
        config = replace(config, init=BASE.init, lr=BASE.lr, pseudo=replace(pseudo, keep=(0.0, *pseudo.keep)))
    weights = bench.train(config, name.replace(" ", "_"), f"seed{seed}")
    bench.measure(row_of("ccssl", name, seed), weights, test, bench.images)
    return weights


def ccssl(bench: Bench, seed: int) -> None:
    """Drawn rodents only, adapted, and supervised; drawn rodents only for as many further steps, and adapted then."""
    openfield(bench, seed)
    adapted(bench, seed, "CC-SSL", CCSSL)
    longer = adapted(bench, seed, "synthetic only, longer", replace(CCSSL, keep=(0.0,) * len(CCSSL.keep)))
    adapted(bench, seed, "CC-SSL after longer", CCSSL, start=longer)


def ccssl_r(bench: Bench, seed: int) -> None:
    """CC-SSL's weights tuned on real labels, beside real labels alone; and CC-SSL without pretraining."""
    openfield(bench, seed)
    weights = adapted(bench, seed, "CC-SSL", CCSSL)
    train, test = bench.split(0.5)
    config = replace(BASE, train=str(train), train_images=bench.images, init=str(weights), steps=TUNE_STEPS,
                     lr=ROUND_RATE, warmup=5, seed=seed, reset_head=False)  # fmt: skip
    weights = bench.train(config, "ccssl_r", f"seed{seed}")
    bench.measure(row_of("ccssl", "CC-SSL-R", seed), weights, test, bench.images)


def scratch(bench: Bench, seed: int) -> None:
    """CC-SSL without pretraining on drawn animals: a first, short round is all it has to label with."""
    adapted(bench, seed, "CC-SSL without pretraining", CCSSL, pretrained=False)


def ablation(bench: Bench, seed: int) -> None:
    """CC-SSL without its consistencies, and with each alone."""
    for name, pseudo in ABLATION.items():
        adapted(bench, seed, name, pseudo)


def species(bench: Bench, seed: int) -> None:
    """Drawn horses and tigers to drawn sheep, whose labels are not read, with views turned further than the mouse's."""
    folder = bench.work / "species"
    scene = animals.AnimalScene(species=("horse", "tiger"))
    drawn = animals.make(folder / "source", 1000, scene=scene, workers=1)
    sheep = replace(scene, species=TARGET)
    target = animals.make(folder / "target", 300, scene=sheep, split="target", workers=1)
    test = animals.make(folder / "test", 150, scene=sheep, split="test", seed=1, workers=1)
    first = replace(BASE, train=str(drawn), steps=SPECIES_STEPS, augment=DRAWN, seed=seed)
    weights = bench.train(first, "species", "source", f"seed{seed}")
    tuned = replace(first, init=str(weights), target=str(target), pseudo=replace(CCSSL, repeats=3, rotation=60),
                    steps=ADAPT_STEPS // len(CCSSL.keep), lr=ROUND_RATE, warmup=5, reset_head=False)  # fmt: skip
    runs = {
        "horse and tiger only": first,
        "CC-SSL": tuned,
        "supervised": replace(first, train=str(target)),
    }
    for name, config in runs.items():
        weights = bench.train(config, "species", "source" if config is first else name, f"seed{seed}")
        bench.measure(row_of("species", name, seed), weights, test)


def silhouette(image: np.ndarray) -> Boxes:
    """The box of the largest dark thing in an image [H, W, 3], without its tail: a detector for a plain floor."""
    dark = ndimage.binary_opening(image[::4, ::4].mean(2) < 50, iterations=3)
    things, count = ndimage.label(dark)  # pyright: ignore[reportGeneralTypeIssues]  # scipy's stub
    if not count:
        return Boxes.of(np.zeros((0, 4)), source="silhouette")
    largest = int(np.argmax(ndimage.sum_labels(dark, things, range(1, count + 1))))
    rows, columns = ndimage.find_objects(things)[largest]
    low, high = 4 * np.array([columns.start, rows.start]), 4 * np.array([columns.stop, rows.stop])
    margin = 0.2 * (high - low).max()
    return Boxes.of([[*(low - margin), *(high - low + 2 * margin)]], source="silhouette")


def whole(bench: Bench, seed: int) -> None:
    """The open field without annotated boxes, as DeepLabCut sees it."""
    row = row_of("openfield", "0.5, boxes of silhouettes", seed)
    weights = openfield(bench, seed)
    bench.measure(row, weights, bench.split(0.5)[1], bench.images, detector=silhouette)


def shuffle(bench: Bench, seed: int) -> None:
    """The open field at DeepLabCut's 95 % of frames."""
    openfield(bench, seed, 0.95)


def video(bench: Bench, seed: int, seconds: float = 10.0) -> None:
    """The start of the project's video: annotated, and as DeepLabCut's own tables, which pandas reads."""
    clip = next(path for path in (Path(bench.images) / "videos").iterdir() if path.suffix == ".mp4")
    weights, out = openfield(bench, seed), bench.work / "video"
    frames = open_frames(clip)
    frames.frames = takewhile(lambda frame: frame.time < seconds, frames.frames)
    print(predict_video(frames, load(weights=weights), out, silhouette, every=1))
    skeleton = load(weights=weights).spec.skeleton
    found = {}
    for line in (out / f"{clip.stem}_poses.jsonl").read_text().splitlines():
        frame = json.loads(line)
        best = sorted(frame["poses"], key=lambda pose: -pose["score"])[:1]
        points = np.reshape([pose["keypoints"] for pose in best], (-1, skeleton.num_keypoints, 3))
        found[frame["frame"]] = poses_of(points[..., :2], points[..., 2], skeleton, source=clip.name)
    name = out / f"{clip.stem}DLC_posewright"
    table = to_deeplabcut(found, "DLC_posewright")
    table.to_csv(f"{name}.csv")
    table.to_hdf(f"{name}.h5", key="df_with_missing", format="table", mode="w")
    for again in (pandas.read_csv(f"{name}.csv", header=[0, 1, 2], index_col=0), pandas.read_hdf(f"{name}.h5")):
        assert isinstance(again, pandas.DataFrame)
        print(again.shape, again.columns.names, again.notna().all(axis=1).mean())


PARTS = {
    part.__name__: part
    for part in (openfield, shuffle, whole, source, ccssl, ccssl_r, scratch, ablation, species, video)
}


# -- what is shown --------------------------------------------------------------------------------------------------


def pictures(bench: Bench, folder: Path, seed: int = 0, count: int = 6) -> None:
    """A sheet of drawn rodents, held-out frames with their labels, and what is found before and after adaptation."""
    drawn = sources.read_all([bench.work / "rodents" / "annotations" / "person_keypoints_train.json"], [""])
    people = sources.read_all([bench.split(0.5)[1]], [bench.images])
    rows = {
        "drawn": (drawn, None),
        "labels": (people, None),
        "drawn only": (people, bench.work / "source" / f"seed{seed}" / "last.pt"),
        "CC-SSL": (people, bench.work / "CC-SSL" / f"seed{seed}" / f"round{len(CCSSL.keep)}" / "last.pt"),
    }
    cells, captions = [], []
    for words, (data, weights) in rows.items():
        predictor = load(weights=weights, flip=False) if weights else None
        for n in np.linspace(0, len(data) - 1, count).round().astype(int).tolist():
            pixels, boxes = read(data[n].path, upright=False), Boxes.of(data.box[[n]])
            crop = geometry.crop(boxes, CELL, padding=(1.4, 1.4), image_size=pixels.shape[:2])
            xy = predictor(pixels, boxes).xy if predictor else data.xy[[n]]
            (cell,) = warp_all(pixels, crop)
            for point, colour in zip(crop.to_input(xy)[0], point_colours(data.skeleton)):
                draw_disc(cell, point, 3, colour)
            cells.append(cell)
            captions.append(f"{words}: {data[n].path.stem[-7:]}")
    write(folder / "animals-ccssl.jpg", sheet(cells, count, CELL, captions))


# -- what is written ------------------------------------------------------------------------------------------------


def written(bench: Bench) -> str:
    """The tables of the results."""
    rows = bench.rows()
    command = f"benchmarks/animals.py --data PROJECT --work FOLDER --part {' '.join(PARTS)} --seeds 0 1 2"
    text = [
        "# Animals, measured",
        "",
        f"`PYTHONPATH=src .venv/bin/python {command}`, then `--write`; {datetime.now(timezone.utc):%-d %B %Y}, one "
        f"thread of {processor()} that much other work was sharing. Each row has the commit whose settings and default "
        "weights it was measured with.",
        "",
        f"The network is `{MODEL}`, {BASE.batch} crops per step, bfloat16. PCK is of the box's longer side, animal PCK "
        "as in the animal papers (of 1.5 times the points' extent), RMSE DeepLabCut's (the mean distance in pixels of "
        "the original image), in boxes around the annotated points, of one view as in those papers unless it says flip "
        "test. Steps are those of the last round. Means and sample deviations over the seeds named; "
        "minutes are the processor's.",
    ]
    for part in dict.fromkeys(r["part"] for r in rows):
        mine = [r for r in rows if r["part"] == part]
        text += ["", f"## {part}", "", f"| | seeds | commit | steps | {' | '.join(COLUMNS.values())} |"]
        text += ["|---|---|---|---:|" + "---:|" * len(COLUMNS)]
        for name in dict.fromkeys(r["name"] for r in mine):
            same = [r for r in mine if r["name"] == name]
            cells = [spread([r[key] for r in same], 3 if "PCK" in key else 2) for key in COLUMNS]
            seeds = ", ".join(str(r["seed"]) for r in same)
            commits = ", ".join(dict.fromkeys(r["commit"] for r in same))
            text.append(f"| {name} | {seeds} | {commits} | {same[-1]['steps']} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="DeepLabCut's open-field project")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=[], help="what to run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="write animals.md")
    parser.add_argument("--pictures", type=Path, help="folder to draw what was found into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.work, options.data)
    for part in options.part:
        for seed in options.seeds:
            PARTS[part](bench, seed)
    if options.pictures:
        pictures(bench, options.pictures)
    if options.write:
        write_text(Path(__file__).with_suffix(".md"), written(bench))


if __name__ == "__main__":
    main()
