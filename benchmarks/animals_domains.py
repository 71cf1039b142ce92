"""From people to animals: WS-CDA and PPLO, and what each of their parts is worth.

    .venv/bin/python benchmarks/animals_domains.py --people data/lspet/train.json --work FOLDER --seeds 0 1 2
    .venv/bin/python benchmarks/animals_domains.py --work FOLDER --write

People are photographs, animals are drawn: few labelled horses and dogs, boxes of tigers, cows and sheep, and sheep,
which have no labels anywhere, to test on. Every run is a folder below the work folder and resumes; results are lines of
`results.jsonl` there. `--write` makes `animals_domains.md` of them. One thread; minutes are the processor's.
"""

import argparse
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch

from posewright.data import sources
from posewright.data.augment import Augment
from posewright.evaluate import evaluator
from posewright.files import write_text
from posewright.predict.predictor import load
from posewright.synthetic import animals
from posewright.train.config import Domain, DomainAdaptation, PseudoLabels, TrainConfig
from posewright.train.recipes.wscda import SAME_POINTS
from training_runs import Runs, processor, row_of, spread

ADAPTED, PLAIN = "litebaseline-wscda-160x160", "litebaseline-160x160"
EVERY: tuple[Domain, ...] = ("animals", "people", "unlabelled")
BASE = TrainConfig(
    model=ADAPTED, train=EVERY, domains=EVERY, init="default", reset_head=True, same_points=SAME_POINTS, steps=90,
    batch=24, lr=1e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine", warmup=20, clip=1.0, ema=0.98,
    precision="bf16", workers=0, device="cpu", freeze=("stem", "blocks.0", "blocks.1", "blocks.2"), log_every=5,
    loss_factor=1.0,
    augment=Augment(scale=(0.75, 1.3), scale_draw="uniform", rotation=30, flip=0.5, brightness=0.3, contrast=0.3),
)  # fmt: skip
"""Its files are named by what they hold."""
ALPHA = -0.01
"""With -1, as published, the discriminator's gradients in the trunk are 100 times those of the pose."""
MORE = {"steps": 16, "lr": 3e-4, "warmup": 5}
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
}
"""What goes on: from whose weights, and how the unseen species is labelled, if it is."""


class Bench(Runs):
    """A work folder, and where the people are."""

    def __init__(self, work: Path, people: str) -> None:
        super().__init__(work)
        self.people = people

    def drawn(self, name: str, count: int, *species: str, seed: int) -> str:
        """Annotations of animals, drawn where they are not there yet."""
        scene = animals.AnimalScene(species=species, skeleton="animalpose20")
        return str(animals.make(self.work / "drawn" / name, count, scene=scene, seed=seed, workers=1))

    def files(self, domains: tuple[Domain, ...], seed: int) -> tuple[str, ...]:
        """The training annotations of these domains; each seed has other labelled animals."""
        made = {
            "animals": partial(self.drawn, f"labelled{seed}", 120, "horse", "dog", seed=10 + seed),
            "people": lambda: self.people,
            "unlabelled": partial(self.drawn, "boxes", 600, "tiger", "cow", "sheep", seed=1),
        }
        return tuple(made[domain]() for domain in domains)

    def learned(self, name: str, seed: int) -> Path:
        """The weights of one of `LEARNED`."""
        config = replace(LEARNED[name], train=self.files(LEARNED[name].domains, seed), seed=seed)
        return self.measured(name, seed, self.train(config, name.replace(" ", "_"), f"seed{seed}"))

    def tuned(self, name: str, seed: int) -> Path:
        """The weights of one of `TUNED`."""
        start, pseudo = TUNED[name]
        config = replace(LEARNED[start], init=str(self.learned(start, seed)), reset_head=False, seed=seed, **MORE)
        config = replace(config, train=self.files(config.domains, seed))
        if pseudo:
            config = replace(config, target=self.drawn("unseen", 150, "sheep", seed=2), pseudo=pseudo)
        else:
            config = replace(config, steps=config.steps * PPLO.rounds)
        return self.measured(name, seed, self.train(config, name.replace(" ", "_"), f"seed{seed}"))

    def measured(self, name: str, seed: int, weights: Path) -> Path:
        """Write down how good weights are on the unseen species, in the annotated boxes and of one view, once."""
        row = row_of("domains", name, seed)
        if self.has(row):
            return weights
        people = sources.read_all([self.drawn("test", 150, "sheep", seed=3)], [""])
        results = evaluator.results_of(load(weights=weights, flip=False, runtime="torch"), people, people.gt_boxes())
        options = {
            "PCK@0.05": evaluator.Options(metric="PCK", pck_threshold=0.05),
            "PCK@0.1": evaluator.Options(metric="PCK", pck_threshold=0.1),
            "animal PCK@0.05": evaluator.Options(metric="animal"),
        }
        values = {n: evaluator.evaluate_found(people, results, options=o).metrics["PCK"] for n, o in options.items()}
        self.add(row, weights, values | {"tested": len(people)})
        return weights


def written(bench: Bench) -> str:
    """The table of the results, in the order of `LEARNED` and `TUNED`."""
    rows, columns = bench.rows(), ("PCK@0.05", "PCK@0.1", "animal PCK@0.05", "minutes")
    text = [
        "# From people to animals, measured",
        "",
        "`PYTHONPATH=src .venv/bin/python benchmarks/animals_domains.py --people PEOPLE --work FOLDER`, "
        f"then `--write`; {datetime.now(timezone.utc):%-d %B %Y}, commit {rows[-1]['commit']}, one thread of "
        f"{processor()} that much other work was sharing.",
        "",
        f"`{ADAPTED}`, or `{PLAIN}` where there is no adaptation network, from the weights of the package (people), "
        f"{BASE.steps} steps of {BASE.batch} crops, bfloat16; what is then trained on takes {PPLO.rounds} times "
        f"{MORE['steps']} more. PCK is of the box's longer side, animal PCK as in the animal papers (of 1.5 times the "
        "points' extent), on drawn sheep in annotated boxes, of one view. Means and sample deviations over the seeds "
        "named, each with other labelled animals, weights and order; minutes are the processor's, of the row's own "
        "training.",
        "",
        f"| | seeds | {' | '.join(columns)} |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for name in (*LEARNED, *TUNED):
        if same := [r for r in rows if r["name"] == name]:
            cells = [spread([r[key] for r in same], 3 if "PCK" in key else 1) for key in columns]
            text.append(f"| {name} | {', '.join(str(r['seed']) for r in same)} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", default="", help="annotated people")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--rows", nargs="*", default=[*LEARNED, *TUNED], choices=[*LEARNED, *TUNED], help="what to run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="write animals_domains.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.work, options.people)
    if options.write:
        return write_text(Path(__file__).with_suffix(".md"), written(bench))
    for seed in options.seeds:
        for name in options.rows:
            (bench.learned if name in LEARNED else bench.tuned)(name, seed)
    return None


if __name__ == "__main__":
    main()
