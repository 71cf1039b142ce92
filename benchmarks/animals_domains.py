"""From people to animals: WS-CDA and PPLO, and what each of their parts is worth.

    .venv/bin/python benchmarks/animals_domains.py --people data/lspet/train.json \
        --animals data/animalpose/keypoints.json --work FOLDER --seeds 0 1 2
    .venv/bin/python benchmarks/animals_domains.py --work FOLDER --write

The animals are the photographs of Animal-Pose (Cao et al., 2019), as published: few labelled dogs, cats, horses and
cows, boxes of the others, and sheep, which have no labels anywhere, to test on. Every run is a folder below the work
folder and resumes; results are lines of `results.jsonl` there. `--write` makes `animals_domains.md` of them. One
thread; minutes are the processor's.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posewright.cli import main as posewright
from posewright.data import sources
from posewright.data.augment import Augment
from posewright.evaluate import evaluator
from posewright.files import write_text
from posewright.predict.predictor import load
from posewright.train.config import Domain, DomainAdaptation, PseudoLabels, TrainConfig
from posewright.train.recipes.wscda import SAME_POINTS
from training_runs import Runs, processor, row_of, spread, write_part

ADAPTED, PLAIN = "litebaseline-wscda-160x160", "litebaseline-160x160"
UNSEEN, LABELLED = "sheep", 75
"""The species that no label is read of, and how many labelled animals there are of each of the others."""
EVERY: tuple[Domain, ...] = ("animals", "people", "unlabelled")
BASE = TrainConfig(
    model=ADAPTED, train=EVERY, domains=EVERY, init="default", reset_head=True, same_points=SAME_POINTS, steps=150,
    batch=24, lr=1e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine", warmup=20, clip=1.0, ema=0.98,
    precision="bf16", workers=0, device="cpu", freeze=("stem", "blocks.0", "blocks.1", "blocks.2"), log_every=5,
    loss_factor=1.0,
    augment=Augment(scale=(0.75, 1.3), scale_draw="uniform", rotation=30, flip=0.5, brightness=0.3, contrast=0.3),
)  # fmt: skip
"""Its files are named by what they hold."""
ALPHA = -0.01
"""With -1, as published, the discriminator's gradients in the trunk are 100 times those of the pose."""
MORE = {"steps": 25, "lr": 3e-4, "warmup": 5}
"""Of a round of PPLO."""


def _of(*domains: Domain, model: str = ADAPTED, alpha: float = ALPHA) -> TrainConfig:
    return replace(BASE, train=domains, domains=domains, model=model, adaptation=DomainAdaptation(alpha=alpha))


PLAINLY = "no adaptation"
LEARNED = {
    PLAINLY: _of("animals", "people", model=PLAIN, alpha=0.0),
    "WS-CDA": _of(*EVERY),
    "no adaptation, animals alone": _of("animals", model=PLAIN, alpha=0.0),
    "WS-CDA without discriminator": _of(*EVERY, alpha=0.0),
    "WS-CDA without adaptation network": _of(*EVERY, model=PLAIN),
    "WS-CDA without people": _of("animals", "unlabelled"),
    "WS-CDA without unlabelled animals": _of("animals", "people"),
    "WS-CDA, alpha = -1 as published": _of(*EVERY, alpha=-1.0),
}
"""What learns from people and animals."""
PPLO = PseudoLabels(thresholds=(0.4, 0.3, 0.2), alternate=True, weight=1.0, views=1, recoloured=0, temporal=False)
TUNED: dict[str, tuple[str, PseudoLabels | None]] = {
    "WS-CDA + PPLO": ("WS-CDA", PPLO),
    "no adaptation + PPLO": (PLAINLY, PPLO),
    "no adaptation, as many steps": (PLAINLY, None),
    "WS-CDA + PPLO, one threshold": ("WS-CDA", replace(PPLO, thresholds=PPLO.thresholds[-1:] * PPLO.rounds)),
    "WS-CDA + PPLO, mixed batches": ("WS-CDA", replace(PPLO, alternate=False)),
    "WS-CDA without people + PPLO": ("WS-CDA without people", PPLO),
}
"""What goes on: from whose weights, and how the unseen species is labelled, if it is."""


class Bench(Runs):
    """A work folder, and where the people and the animals are."""

    def __init__(self, work: Path, people: str, published: Path | None) -> None:
        super().__init__(work)
        self.people, self.published = people, published
        self.images = str(published.parent) if published else ""

    def animals(self, part: str, seed: int = 0) -> str:
        """Annotations of "animals", "unlabelled", "unseen" or "test", by image at random.

        Half of the images of the unseen species are tested, and the boxes of the other half are among the unlabelled
        animals, too. Each seed has other labelled animals.
        """
        folder = self.work / "animals" / f"seed{seed}"
        if not (folder / "test.json").exists():
            every = self.work / "animals" / "every.json"
            folder.mkdir(parents=True, exist_ok=True)
            if not every.exists():
                assert posewright(["data", "convert", str(self.published), str(every), "--format", "coco"]) == 0
            _split(json.loads(every.read_text()), folder, seed)
        return str(folder / f"{part}.json")

    def files(self, domains: tuple[Domain, ...], seed: int) -> dict[str, tuple[str, ...]]:
        """The training annotations of these domains and where their images are."""
        names = tuple(self.people if d == "people" else self.animals(d, seed) for d in domains)
        return {"train": names, "train_images": tuple("" if d == "people" else self.images for d in domains)}

    def learned(self, name: str, seed: int) -> Path:
        """The weights of one of `LEARNED`."""
        config = replace(LEARNED[name], seed=seed, **self.files(LEARNED[name].domains, seed))
        return self.measured(name, seed, self.train(config, name.replace(" ", "_"), f"seed{seed}"))

    def tuned(self, name: str, seed: int) -> Path:
        """The weights of one of `TUNED`."""
        start, pseudo = TUNED[name]
        config = replace(LEARNED[start], init=str(self.learned(start, seed)), reset_head=False, seed=seed, **MORE)
        config = replace(config, **self.files(config.domains, seed))
        if pseudo:
            config = replace(config, target=self.animals("unseen"), target_images=self.images, pseudo=pseudo)
        else:
            config = replace(config, steps=config.steps * PPLO.rounds)
        return self.measured(name, seed, self.train(config, name.replace(" ", "_"), f"seed{seed}"))

    def measured(self, name: str, seed: int, weights: Path) -> Path:
        """Write down how good weights are on the unseen species, in the annotated boxes and of one view, once."""
        row = row_of("photographs", name, seed)
        if self.has(row):
            return weights
        people = sources.read_all([self.animals("test")], [self.images])
        results = evaluator.results_of(load(weights=weights, flip=False, runtime="torch"), people, people.gt_boxes())
        options = {
            "PCK@0.05": evaluator.Options(metric="PCK", pck_threshold=0.05),
            "PCK@0.1": evaluator.Options(metric="PCK", pck_threshold=0.1),
            "animal PCK@0.05": evaluator.Options(metric="animal"),
        }
        values = {n: evaluator.evaluate_found(people, results, options=o).metrics["PCK"] for n, o in options.items()}
        self.add(row, weights, values | {"tested": len(people)})
        return weights


def _split(content: dict[str, Any], folder: Path, seed: int) -> None:
    """Write Animal-Pose's parts; the unseen species' halves are the same for all seeds."""
    names = {c["id"]: c["name"] for c in content["categories"]}
    species = defaultdict(list)
    for animal in content["annotations"]:
        species[animal["image_id"]].append(names[animal["category_id"]])
    parts: dict[str, set[int]] = {part: set() for part in ("animals", "unlabelled", "unseen", "test")}
    unseen = [number for number, found in species.items() if UNSEEN in found]
    for n, place in enumerate(np.random.default_rng(0).permutation(len(unseen)).tolist()):
        parts["test" if n % 2 else "unseen"].add(unseen[place])
    rest, taken = [number for number in species if number not in set(unseen)], dict.fromkeys(names.values(), 0)
    for place in np.random.default_rng(seed).permutation(len(rest)).tolist():
        found = species[rest[place]]
        labelled = max(taken[name] for name in found) < LABELLED
        parts["animals" if labelled else "unlabelled"].add(rest[place])
        for name in found if labelled else ():
            taken[name] += 1
    parts["unlabelled"] |= parts["unseen"]
    for part, chosen in parts.items():
        wanted = [number for number, name in names.items() if name == UNSEEN or part not in ("unseen", "test")]
        write_part(folder / f"{part}.json", content, chosen, wanted)


def written(bench: Bench) -> str:
    """The tables of the results, in the order of `LEARNED` and `TUNED`."""
    rows, columns = bench.rows(), ("PCK@0.05", "PCK@0.1", "animal PCK@0.05", "minutes")
    text = [
        "# From people to animals, measured",
        "",
        "`PYTHONPATH=src .venv/bin/python benchmarks/animals_domains.py --people PEOPLE --animals ANIMALS "
        f"--work FOLDER`, then `--write`; {datetime.now(timezone.utc):%-d %B %Y}, one thread of {processor()} that "
        "much other work was sharing. Each row has the commit that it was measured with.",
        "",
        f"`{ADAPTED}`, or `{PLAIN}` where there is no adaptation network, from the weights of the package (people), "
        f"{BASE.batch} crops per step, bfloat16. PCK is of the box's longer side, animal PCK as in the animal papers "
        f"(of 1.5 times the points' extent), on {UNSEEN} in annotated boxes, of one view. Steps are those of the row's "
        f"own training, or of each of its {PPLO.rounds} rounds. Means and sample deviations over the seeds "
        "named, each with other labelled animals, weights and order; minutes are the processor's, of the row's own "
        "training.",
    ]
    for part in dict.fromkeys(r["part"] for r in rows):
        text += ["", f"## {part}", "", f"| | seeds | commit | steps | {' | '.join(columns)} |"]
        text += ["|---|---|---|---:|" + "---:|" * len(columns)]
        for name in (*LEARNED, *TUNED):
            if same := [r for r in rows if r["part"] == part and r["name"] == name]:
                cells = [spread([r[key] for r in same], 3 if "PCK" in key else 1) for key in columns]
                seeds, commits = (", ".join(dict.fromkeys(str(r[key]) for r in same)) for key in ("seed", "commit"))
                text.append(f"| {name} | {seeds} | {commits} | {same[-1]['steps']} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", default="", help="annotated people")
    parser.add_argument("--animals", type=Path, help="Animal-Pose's keypoints.json, its images beside it")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--rows", nargs="*", default=[*LEARNED, *TUNED], choices=[*LEARNED, *TUNED], help="what to run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="write animals_domains.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.work, options.people, options.animals)
    if options.write:
        return write_text(Path(__file__).with_suffix(".md"), written(bench))
    if not (options.people and options.animals):
        parser.error("name the people with --people and Animal-Pose's keypoints.json with --animals")
    for seed in options.seeds:
        for name in options.rows:
            (bench.learned if name in LEARNED else bench.tuned)(name, seed)
    return None


if __name__ == "__main__":
    main()
