"""Write docs/models.md: every pose system with its size and cost, counted by us and as published.

python benchmarks/count.py && python benchmarks/models_table.py
"""

from __future__ import annotations

import csv
from pathlib import Path
from textwrap import fill

from posewright.catalogue import size_of
from posewright.files import write_text
from posewright.models import families, find, names
from posewright.spec import Spec
from posewright.weights import hub

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "models.md"

TITLES = {
    "cpn": "CPN",
    "grmi": "G-RMI",
    "hourglass": "Stacked hourglass",
    "hrnet": "HRNet",
    "litebaseline": "LiteBaseline",
    "litehrnet": "Lite-HRNet",
    "lpn": "LPN",
    "mspn": "MSPN",
    "rsn": "RSN",
    "simplebaseline": "SimpleBaseline",
}

INTRO = """# Pose systems

A system is a network with the preprocessing, the codec and the scoring that belong to it: `posewright models show NAME`
prints all of it. The name ends in the input's height and width.

**Parameters** (million) are the trainable ones, all heads included. **GMACs** are the giga (10^9) multiply-adds of one
prediction of one person without the flip test: convolutions and matrix products, no normalisations, activations or
biases; a transposed convolution counts by its input pixels, which is the work it does; heads that only training needs
are not run, and so not counted. The published numbers beside them stand as they were printed; under each table is what
makes them differ. **AP** is the best of the published files of weights, on the data and with the boxes named.

[DARK](dark.md) and [UDP](udp.md), other rules on the same networks, have pages of their own. This page is written by
`benchmarks/models_table.py`."""

GIBI = "The published GMACs are in units of 2^30, ours of 10^9, so ours are 1.074 times as large"

NOTES = {
    "cpn": """The authors published neither number. The global net's four heads, which only training needs, are 4 to
        6 % of the work and are left out.""",
    "grmi": "Neither network nor numbers were released; the maps here are as large as the input.",
    "hourglass": f"""{GIBI}. DarkPose's README gives 25.1 million parameters for eight stacks; eight stacks of the
        released layout make 25.6.""",
    "hrnet": f"""{GIBI}. UDP's own networks widen the last exchange to four times the width; its README has 28.7 and
        63.8 million parameters, its code makes 28.6 and 63.7. mmpose's UDP systems are the standard network.""",
    "litebaseline": """Not from a paper: the [default model](default-model.md) is one. EfficientNet-Lite0's own
        numbers, 4.65 million parameters and 0.407 GMACs at 224x224, include its classifier.""",
    "litehrnet": """The authors' counter adds normalisations, activations and pooling, ours not. Their code computes
        the first path of every exchange twice, with the same result (0.242 GMACs for Lite-HRNet-18 at 256x192); here
        it is computed once. The naive network's 0.7 million parameters are 0.76, cut off.""",
    "lpn": f"{GIBI}.",
    "mspn": """The released code states neither number. Every stage has four heads for training, and all but the last
        are left out: counted with them, 1 to 4 stages make 5.07, 11.26, 17.45 and 23.64 GMACs.""",
    "rsn": """The heads that only training needs are left out; with them RSN-18 makes 2.25 GMACs, and what further makes
        the published 2.5 is not known. The paper's RSN-50 was never released: these systems have the layout of mmpose,
        whose weights are the only published ones, and half to two thirds of the work of the paper's.""",
    "simplebaseline": f"""{GIBI}; and they count a transposed convolution by its output pixels, which is four times the
        multiply-adds that it needs. Both together make 8.99 of our 5.43 for ResNet-50 at 256x192.""",
}


def published() -> dict[str, tuple[str, str]]:
    """Published parameters (million) and GMACs by system, as they were printed; empty where they were not."""
    text = (HERE / "published.csv").read_text(encoding="utf-8")
    return {row["name"]: (row["parameters"], row["gmacs"]) for row in csv.DictReader(text.splitlines())}


def page() -> str:
    """The whole of docs/models.md."""
    return "\n\n".join([INTRO, *map(section, families())]) + "\n"


def section(family: str) -> str:
    """A family's heading, papers, table and note."""
    specs = sorted((find(name) for name in names(f"{family}-*")), key=lambda s: s.name)
    papers = "".join(f"* {paper}\n" for paper in dict.fromkeys(s.paper for s in specs))
    heads = "| name | points | parameters | published | GMACs | published | AP | on, with boxes |"
    table = [heads, "|---|---|---:|---:|---:|---:|---:|---|", *map(row, specs)]
    note = fill(" ".join(NOTES.get(family, "").split()), 120)
    page = "default-model.md" if family == "litebaseline" else f"{family}.md"
    drawn = f"[Drawing, weights and recipes]({page})" if (DOCS.parent / page).exists() else ""
    parts = [f"## {TITLES.get(family, family)}", papers.rstrip(), drawn, "\n".join(table), note]
    return "\n\n".join(filter(None, parts))


def row(spec: Spec) -> str:
    """A system's line of the table."""
    parameters, gmacs = size_of(spec) or (0, 0.0)
    theirs = published().get(spec.name, ("", ""))
    results = [(e, p) for e in hub.entries(spec.name) for p in e.published if "AP" in p.metrics]
    best = max(results, key=lambda r: (r[1].boxes != "gt", r[1].metrics["AP"]), default=None)
    ap, boxes = (f"{best[1].metrics['AP']:.3f}", f"{best[0].data}, {best[1].detector or 'GT'}") if best else ("", "")
    ours = f"{parameters / 1e6:.2f}", f"{gmacs:.3f}" if gmacs < 1 else f"{gmacs:.2f}"
    cells = (f"`{spec.name}`", spec.skeleton.name, ours[0], theirs[0], ours[1], theirs[1], ap, boxes)
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


if __name__ == "__main__":
    write_text(DOCS, page())
