"""One self-contained HTML page a run: curves, figures, good and bad cases. No script, no network, no other file."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posewright import draw
from posewright.data.coco import KeypointDataset
from posewright.evaluate.evaluator import Evaluation
from posewright.evaluate.oks import oks
from posewright.evaluate.pck import box_size
from posewright.evaluate.printing import markdown_row
from posewright.files import write_text
from posewright.image import draw_disc, encode, read, resize
from posewright.image import write as write_image
from posewright.report.run_folder import read_log
from posewright.types import Boxes, Poses, Sample, Skeleton

Points = list[tuple[float, float]]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.lead { color: #555; margin-top: 0; } .curves { display: flex; flex-wrap: wrap; gap: 1rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .7rem; border: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { background: #f5f5f7; }
.cases { display: flex; flex-wrap: wrap; gap: .7rem; } figure { margin: 0; }
figure img { display: block; border-radius: 4px; } figcaption { font-size: .8rem; color: #555; }
svg text { font: 11px system-ui, sans-serif; fill: #555; } pre { background: #f5f5f7; padding: 1rem; overflow-x: auto; }
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a page and the line under it."""

    image: np.ndarray
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: a heading, words (plain text), a table and pictures; any may be empty."""

    title: str
    text: str = ""
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = ()
    preformatted: str = ""


def write(path: Path, title: str, lead: str, run: Path, sections: Sequence[Section]) -> None:
    """Write the page: the run's curves first, then the sections.

    Args:
        path: the HTML file, written whole or not at all.
        title: heading.
        lead: one line under it.
        run: folder with a run's log.
        sections: what follows.
    """
    body = [f"<h1>{html.escape(title)}</h1>", f'<p class="lead">{html.escape(lead)}</p>']
    body.append(f'<div class="curves">{"".join(curves(run))}</div>')
    body.extend(map(_section, sections))
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    write_text(path, f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n')


def curves(run: Path) -> list[str]:
    """SVG curves of a run's log: loss, accuracy while training, and AP (or PCK) of the evaluations."""
    rows = read_log(run)
    drawn = []
    for title, keys in (
        ("loss", ("loss",)),
        ("accuracy on training crops", ("accuracy",)),
        ("AP", ("AP", "AP50", "AP75")),
        ("PCK", ("PCK",)),
    ):
        series = {key: [(float(r["step"]), float(r[key])) for r in rows if key in r] for key in keys}
        series = {key: points for key, points in series.items() if points}
        if series:
            drawn.append(curve(title, series, x_label="step"))
    return drawn


_COLOURS = ("#3366cc", "#dc6b2f", "#2f9e57", "#8e44ad")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 348, 220, 48, 20, 26, 34


def curve(title: str, series: dict[str, Points], x_label: str) -> str:
    """An SVG chart of one or several series of (x, y) points."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    (x0, x1, x_ticks), (y0, y1, y_ticks) = _axis(min(xs), max(xs)), _axis(min(0.0, *ys), max(ys))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - x0) / (x1 - x0) * wide, _TOP + high - (y - y0) / (y1 - y0) * high

    parts = [f'<text x="{_LEFT}" y="14" style="font-weight:600">{html.escape(title)}</text>']
    for tick in y_ticks:
        _, y = at(x0, tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e6e6e6"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in x_ticks:
        x, _ = at(tick, y0)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{tick:.4g}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(x_label)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        last_x, last_y = at(*points[-1])
        parts.append(f'<circle cx="{last_x:.1f}" cy="{last_y:.1f}" r="2.6" fill="{colour}"/>')
        if len(series) > 1:
            x = _LEFT + wide - 52 * (len(series) - number)
            parts.append(f'<text x="{x + 8}" y="14" style="fill:{colour}">{html.escape(name)}</text>')
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
    )


def _axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """A range that holds both ends at round numbers, and its ticks."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if span / (m * step) <= 5)
    start, end = math.floor(low / step), math.ceil((low + span) / step)
    return start * step, end * step, [n * step for n in range(start, end + 1)]


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


# -- what a run's page shows ------------------------------------------------------------------------------------------


def sections(
    name: str, people: KeypointDataset, evaluation: Evaluation, *, settings: str, count: int = 12
) -> list[Section]:
    """Metrics, the worst, random and best cases, and the settings (JSON) of a run evaluated on a data set."""
    table = markdown_row(evaluation.metrics, name, evaluation.boxes).splitlines()
    heads, _, row = (line.strip("| ").split(" | ") for line in table)
    measure = "OKS is 1 for a perfect pose; COCO counts it as found from 0.5 to 0.95."
    if people.skeleton.sigmas is None:
        measure = "Off is the mean distance of the points in sides of the box, each counted up to 1."
    return [
        Section("Metrics", people.summary(), rows=[heads, row]),
        *(
            Section(f"{kind} cases", f"Lines: found. Rings: annotated. {measure}", pictures=pictures)
            for kind, pictures in cases(people, evaluation, count).items()
        ),
        Section("Settings", preformatted=settings),
    ]


def cases(people: KeypointDataset, evaluation: Evaluation, count: int = 12) -> dict[str, list[Picture]]:
    """The "Worst", "Random" and "Best" people of a data set, at most `count` of each, with what was found of them.

    Good is a high OKS; where there are no sigmas for that, a small mean distance from the annotated points in units of
    the box's longer side, each point counted up to 1.
    """
    quality, results = best_results(people, evaluation)
    order = np.argsort(quality, kind="stable")
    chance = np.random.default_rng(0).permutation(len(people))
    chosen = {"Worst": order[:count], "Random": chance[:count], "Best": order[::-1][:count]}
    told = "OKS {:.2f}" if people.skeleton.sigmas else "off {:.2f}"

    def words(place: int) -> str:
        return f"{told.format(abs(quality[place]))}, {people[place].path.name}"

    return {kind: [case(people, int(n), words(int(n)), results[n]) for n in places] for kind, places in chosen.items()}


def write_sheets(folder: Path, people: KeypointDataset, evaluation: Evaluation, count: int = 24) -> list[Path]:
    """Write the cases as contact sheets, `worst.jpg`, `random.jpg` and `best.jpg`; their paths."""
    paths = []
    for kind, pictures in cases(people, evaluation, count).items():
        sheet = draw.sheet(
            [p.image for p in pictures], columns=6, cell=(240, 240), captions=[p.caption for p in pictures]
        )
        paths.append(folder / f"{kind.lower()}.jpg")
        write_image(paths[-1], sheet)
    return paths


def best_results(people: KeypointDataset, evaluation: Evaluation) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """For each of N people how good the best result in the image is [N], and that result, [K, 3] x, y, score.

    Good is as in `cases`: OKS, or the distance times -1.
    """
    found: dict[int, list[np.ndarray]] = {}
    for result in evaluation.results:
        found.setdefault(result["image_id"], []).append(np.reshape(result["keypoints"], (-1, 3)))
    quality, best = np.zeros(len(people)), list[np.ndarray | None]()
    for n in range(len(people)):
        person = people[n]
        here = found.get(person.image_id, [])
        alike = [_quality(r[:, :2], person, people.skeleton) for r in here]
        quality[n] = max(alike, default=0.0 if people.skeleton.sigmas else -1.0)
        best.append(here[int(np.argmax(alike))] if here else None)
    return quality, best


def _quality(xy: np.ndarray, person: Sample, skeleton: Skeleton) -> float:
    labelled = person.visibility > 0
    if skeleton.sigmas:
        sigmas = np.array(skeleton.sigmas)[labelled]
        return float(oks(xy[labelled], person.xy[labelled], person.area, sigmas))
    away = np.linalg.norm(xy - person.xy, axis=1)[labelled] / box_size(person.box)
    return -float(np.minimum(away, 1).mean())


def case(people: KeypointDataset, place: int, caption: str, result: np.ndarray | None, height: int = 240) -> Picture:
    """One person of a data set: the found pose, with the annotated points as rings, cut out of its image."""
    person = people[place]
    x, y, w, h = person.box
    margin = 0.2 * max(w, h)
    corner = np.maximum([int(x - margin), int(y - margin)], 0)
    cut = read(person.path, upright=False)[corner[1] : int(y + h + margin) + 1, corner[0] : int(x + w + margin) + 1]
    scale = height / cut.shape[0]
    picture = resize(cut, (height, max(1, round(cut.shape[1] * scale))))

    def here(xy: np.ndarray) -> np.ndarray:
        return (xy - corner + 0.5) * scale - 0.5  # corners of pixels scale, centres lie half a pixel inside

    if result is not None:
        box = np.array([[*here(np.array([x, y])), w * scale, h * scale]])
        poses = Poses(here(result[None, :, :2]), result[None, :, 2], np.ones(1), Boxes.of(box), people.skeleton)
        picture = draw.draw(picture, poses, boxes=False, scores=False)
    for point in here(person.xy[person.visibility > 0]):
        draw_disc(picture, point, 4, (255, 255, 255), 1)
    return Picture(picture, caption)
