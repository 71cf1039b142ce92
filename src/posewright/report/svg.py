"""One chart as an SVG picture, for a file of its own."""

from __future__ import annotations

import html
import math

Points = list[tuple[float, float]]

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
