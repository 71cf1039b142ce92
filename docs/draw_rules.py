"""Draw into docs/drawings what boxes cannot show: DARK's decoding, G-RMI's maps, RSN's and Lite-HRNet's blocks.

python docs/draw_rules.py
"""

from __future__ import annotations

import math

import numpy as np
import torch
from draw_networks import FOLDER, STYLE

from posewright.files import write_text
from posewright.models import find


def svg(width: int, height: int, about: str, parts: list[str]) -> str:
    """A card with these parts."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{about}"><style>{STYLE}</style>'
        '<defs><marker id="a" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 6 3 0 6z" fill="#8a8f9c"/></marker></defs>',
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *parts,
        "</svg>",
    ]) + "\n"  # fmt: skip


def text(x: float, y: float, words: str, *, anchor: str = "middle", style: str = "label") -> str:
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'


def arrow(x: float, y: float, to_x: float, to_y: float, kind: str = "flow") -> str:
    return f'<path class="{kind}" stroke-width="1.3" d="M{x:.0f} {y:.0f}L{to_x:.0f} {to_y:.0f}" marker-end="url(#a)"/>'


def block(x: float, y: float, width: float, words: str, kind: str) -> str:
    """A box of a step, 26 high, with its name inside."""
    inside = f'<text x="{x + width / 2:.0f}" y="{y + 17:.0f}" text-anchor="middle" style="fill:#fff">{words}</text>'
    return f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="26" rx="3"/>{inside}'


def dark() -> str:
    """A row of a map of HRNet with DARK, and where two codecs find its keypoint."""
    unbiased, quarter = (find(name).codec for name in ("hrnet-w32-dark-256x192", "hrnet-w32-256x192"))
    true = 81.6  # input pixels; maps are 1/4 as large
    maps, _ = unbiased.encode(np.array([[true, 128.0]]), np.array([2]))
    maps = torch.as_tensor(np.asarray(maps), dtype=torch.float32)[None]
    found = {name: float(codec.decode(maps)[0][0, 0, 0]) for name, codec in (("quarter", quarter), ("dark", unbiased))}
    row = maps[0, 0, 32].numpy()
    first, last, wide, base = 14, 26, 52, 176

    def at(pixel: float) -> float:
        return 40 + (pixel / 4 - first + 0.5) * wide

    parts = []
    for cell in range(first, last + 1):
        high = 120 * row[cell] / row.max()
        x = at(cell * 4)
        bar = f'x="{x - 16:.0f}" y="{base - high:.1f}" width="32" height="{high:.1f}"'
        parts += [
            f'<rect class="trunk" opacity="0.75" {bar}/>',
            text(x, base + 16, str(cell), style="small"),
        ]
    marks = (
        (true, "true", 36, "maps"),
        (found["dark"], "DARK", 20, "up"),
        (found["quarter"], "quarter shift", 36, "extra"),
    )
    for pixel, words, y, kind in marks:
        anchor = "end" if words == "quarter shift" else "start" if words == "true" else "middle"
        parts += [
            f'<rect class="{kind}" x="{at(pixel) - 1:.1f}" y="{y + 4}" width="2" height="{base - y - 4}"/>',
            text(at(pixel), y, f"{words} {pixel:.2f}", anchor=anchor),
        ]
    return svg(40 + (last - first + 1) * wide + 20, 206, "Decoding of a row of a map", parts)


def grmi() -> str:
    """A disc and the offsets of its places."""
    x, y, radius = 130, 105, 70
    parts = [
        f'<circle class="trunk" opacity="0.25" cx="{x}" cy="{y}" r="{radius}"/>',
        f'<circle class="maps" cx="{x}" cy="{y}" r="4"/>',
        text(x, 196, "disc: inside or not"),
    ]
    centre = x + 230
    for dx in range(-60, 61, 24):
        for dy in range(-60, 61, 24):
            if math.hypot(dx, dy) < radius and (dx or dy):
                parts.append(arrow(centre + dx, y + dy, centre + dx * 0.62, y + dy * 0.62))
    parts += [
        f'<circle class="maps" cx="{centre}" cy="{y}" r="4"/>',
        text(centre, 196, "offsets: two maps, to the keypoint"),
    ]
    last = centre + 230
    parts += [
        f'<circle class="maps" opacity="{0.06 * n:.2f}" cx="{last}" cy="{y}" r="{34 - 3.4 * n:.1f}"/>'
        for n in range(1, 10)
    ]
    parts += [f'<circle class="maps" cx="{last}" cy="{y}" r="4"/>', text(last, 196, "votes: where the offsets meet")]
    return svg(720, 214, "G-RMI's disc, offsets and votes", parts)


def rsn() -> str:
    """The residual steps block: slice i goes through i 3x3 convolutions."""
    parts = [block(20, 98, 60, "1x1", "trunk"), block(560, 98, 60, "1x1", "trunk")]
    for i in range(4):
        y = 20 + i * 52
        parts.append(arrow(80, 111, 140, y + 13))
        for j in range(i + 1):
            x = 142 + j * 92
            parts.append(block(x, y, 58, "3x3", "up"))
            parts += [arrow(x - 34, y + 13, x - 1, y + 13)] if j else []
            parts += [arrow(x + 29, y - 26, x + 29, y - 1, "added")] if j < i else []
        parts.append(arrow(142 + i * 92 + 58, y + 13, 559, 111))
    parts += [
        '<path class="added" stroke-width="1.3" d="M20 111H10V240H640V111H622" marker-end="url(#a)"/>',
        text(350, 256, "of four slices of the channels; dashed: is added", style="small"),
    ]
    return svg(660, 268, "RSN's residual steps block", parts)


def litehrnet() -> str:
    """Conditional channel weighting of one branch."""
    parts = [
        text(14, 70, "branch", anchor="start"),
        arrow(62, 66, 118, 40), arrow(62, 66, 118, 93),
        text(146, 44, "half"), text(146, 97, "half"),
        arrow(172, 40, 668, 62), arrow(172, 93, 198, 93),
        block(200, 80, 176, "× weights of all branches", "extra"), arrow(376, 93, 398, 93),
        block(400, 80, 92, "3x3 depthwise", "trunk"), arrow(492, 93, 514, 93),
        block(516, 80, 128, "× channel weights", "extra"), arrow(644, 93, 668, 72),
        block(670, 54, 66, "shuffle", "up"),
        text(288, 150, "pooled to the smallest, two 1x1, sigmoid", style="small"),
        text(288, 166, "reads every branch", style="small"),
        arrow(288, 138, 288, 107, "added"),
        text(580, 150, "means over the map, two 1x1, sigmoid", style="small"),
        arrow(580, 138, 580, 107, "added"),
    ]  # fmt: skip
    return svg(750, 182, "Lite-HRNet's conditional channel weighting", parts)


DRAWINGS = {"dark-decoding": dark, "grmi-maps": grmi, "rsn-block": rsn, "litehrnet-block": litehrnet}


def main() -> None:
    for name, drawing in DRAWINGS.items():
        write_text(FOLDER / f"{name}.svg", drawing())


if __name__ == "__main__":
    main()
