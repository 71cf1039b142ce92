"""One self-contained HTML page per run: curves, metrics, good and bad cases. No script, no network, no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posewright.data.coco import KeypointDataset
from posewright.evaluate.evaluator import Evaluation
from posewright.evaluate.printing import markdown_row
from posewright.files import write_text
from posewright.image import encode
from posewright.report.charts import curves
from posewright.report.gallery import SURE, Picture, cases

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.subtitle { color: #555; margin-top: 0; } .curves { display: flex; flex-wrap: wrap; gap: 1rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .7rem; border: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { background: #f5f5f7; }
.cases { display: flex; flex-wrap: wrap; gap: .7rem; } figure { margin: 0; }
figure img { display: block; border-radius: 4px; } figcaption { font-size: .8rem; color: #555; }
svg text { font: 11px system-ui, sans-serif; fill: #555; } pre { background: #f5f5f7; padding: 1rem; overflow-x: auto; }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: a heading, words (plain text), a table and pictures; any may be empty."""

    title: str
    text: str = ""
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = ()
    preformatted: str = ""


def write(path: Path, title: str, subtitle: str, run: Path, sections: Sequence[Section]) -> None:
    """Write the page: the run's curves, where it has a log, then the sections.

    Args:
        path: the HTML file, written atomically.
        title: heading.
        subtitle: one line under it.
        run: folder with a run's log; without one the page has no curves.
        sections: what follows.
    """
    body = [f"<h1>{html.escape(title)}</h1>", f'<p class="subtitle">{html.escape(subtitle)}</p>']
    if drawn := curves(run):
        body.append(f'<div class="curves">{"".join(drawn)}</div>')
    body.extend(map(_section, sections))
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    write_text(path, f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n')


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.rows:
        parts.append(_table(section.rows))
    if section.pictures:
        parts.append(f'<div class="cases">{"".join(map(_picture, section.pictures))}</div>')
    if section.preformatted:
        parts.append(f"<pre>{html.escape(section.preformatted)}</pre>")
    return "".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + row(rows[0], "th") + "".join(row(r, "td") for r in rows[1:]) + "</table>"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(encode(picture.image, ".jpg", 88)).decode()
    caption = html.escape(picture.caption)
    size = f'width="{picture.image.shape[1]}" height="{picture.image.shape[0]}"'
    shown = f'<img {size} alt="{caption}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def sections(
    name: str, people: KeypointDataset, evaluation: Evaluation, *, settings: str, count: int = 12
) -> list[Section]:
    """Metrics, the worst, random and best cases, and the settings (JSON) of a run evaluated on a data set."""
    table = markdown_row(evaluation.metrics, name, evaluation.boxes).splitlines()
    heads, _, row = (line.strip("| ").split(" | ") for line in table)
    marks = f"Lines: found, faint up to a score of {SURE:g}. Rings: annotated."
    measure = "OKS is 1 for a perfect pose; COCO counts it as found from 0.5 to 0.95."
    if people.skeleton.sigmas is None:
        measure = "Off is the mean distance of the points in sides of the box, each counted up to 1."
    return [
        Section("Metrics", people.summary(), rows=[heads, row]),
        *(
            Section(f"{kind} cases", f"{marks} {measure}", pictures=pictures)
            for kind, pictures in cases(people, evaluation, count).items()
        ),
        Section("Settings", preformatted=settings),
    ]
