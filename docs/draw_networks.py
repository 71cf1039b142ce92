"""Draw every pose system's network into docs/drawings: boxes by a short description, shapes from the network itself.

    python docs/draw_networks.py

A box is what one module yields, as wide as it has channels and in the row of its resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from posewright.files import write_text
from posewright.models import find

FOLDER = Path(__file__).parent / "drawings"
PITCH, MARGIN, TOP = 64, 92, 26
STYLE = """
svg{color-scheme:light dark}
.card{fill:#fcfcfd;stroke:#d9dbe3} text{fill:#31343e;font:12px system-ui,sans-serif} .small{fill:#666b78;font-size:11px}
.images{fill:#c3c7d1} .trunk{fill:#5b76d8} .up{fill:#3d9e79} .maps{fill:#e08524} .extra{fill:#a76bc0}
.flow{stroke:#8a8f9c;fill:none} .added{stroke:#a76bc0;fill:none;stroke-dasharray:4 3} .row{stroke:#e8e9ef}
@media(prefers-color-scheme:dark){
.card{fill:#20222b;stroke:#3a3d49} text{fill:#e3e5ec} .small{fill:#a9aebb} .images{fill:#767b8a} .trunk{fill:#7f97ec}
.up{fill:#52b890} .maps{fill:#f0a04b} .extra{fill:#c08ad8} .flow{stroke:#878c9a} .added{stroke:#c08ad8}
.row{stroke:#2d303b}}
""".replace("\n", "")

Shape = tuple[int, int, int]
Place = tuple[float, float, float, float]  # left, middle, width, height


@dataclass(frozen=True, slots=True)
class Box:
    """What one module yields.

    Attributes:
        at: its column; halves stand between columns.
        path: the module, "module[0]" for one of several outputs, "images", or "" for the network's own output.
        label: what is written below it.
        after: paths of the boxes that it is computed from.
        added: those that are added to it.
        kind: its colour: trunk, up, maps, extra or images.
    """

    at: float
    path: str
    label: str = ""
    after: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    kind: str = "trunk"


IMAGES = Box(0, "images", "image", kind="images")


def chain(at: float, first: str, boxes: list[tuple[str, str]], kind: str = "trunk", step: float = 1) -> list[Box]:
    """Boxes in a row, each computed from the one before."""
    paths = [first, *(path for path, _ in boxes)]
    return [
        Box(at + n * step, path, label, (before,), kind=kind)
        for n, ((path, label), before) in enumerate(zip(boxes, paths))
    ]


def trunk(at: float, prefix: str = "", first: str = "images") -> list[Box]:
    """A ResNet's stem and four layers."""
    layers = [(f"{prefix}layer{n}", f"layer{n}") for n in (1, 2, 3, 4)]
    return chain(at, first, [(f"{prefix}maxpool", "stem"), *layers])


def simplebaseline() -> list[Box]:
    ups = chain(6, "layer4", [(f"deconv_layers.{n}", "deconv") for n in (2, 5, 8)], "up")
    return [IMAGES, *trunk(1), *ups, Box(9, "", "maps", ("deconv_layers.8",), kind="maps")]


def lpn() -> list[Box]:
    ups = chain(6, "layer4", [(f"deconv_layers.{n}", "deconv") for n in (5, 11)], "up")
    return [IMAGES, *trunk(1), *ups, Box(8, "", "maps", ("deconv_layers.11",), kind="maps")]


def grmi() -> list[Box]:
    heads = Box(6, "final_layer", "1x1", ("layer4",), kind="up"), Box(7, "", "maps", ("final_layer",), kind="maps")
    return [IMAGES, *trunk(1), *heads]


def litebaseline() -> list[Box]:
    blocks = [("blocks.0", "1"), ("blocks.2", "2, 3"), ("blocks.4", "4, 5"), ("blocks.10", "6 to 11"),
              ("blocks.15", "12 to 16")]  # fmt: skip
    found, before = chain(1, "images", [("stem", "stem"), *blocks], step=0.9), "blocks.15"
    for n, tap in enumerate((10, 4, 2)):
        found.append(Box(6.5 + n * 0.9, f"norms.{n}", "deconv", (before,), (f"blocks.{tap}",), "up"))
        before = f"norms.{n}"
    return [IMAGES, *found, Box(9.3, "", "maps", (before,), kind="maps")]


def cpn() -> list[Box]:
    found = [IMAGES, *trunk(1, "resnet.")]
    for n in range(4):
        below = (f"global_net[{n - 1}]",) if n else ()
        found.append(Box(6 + n * 0.8, f"global_net[{n}]", "", (f"resnet.layer{4 - n}",), below, "up"))
        found.append(Box(10.2, f"refine_net.cascade.{n}.0", "", (f"global_net[{n}]",), kind="extra"))
    cascade = tuple(f"refine_net.cascade.{n}.0" for n in range(4))
    return [*found, Box(11.4, "refine_net.final_predict.0", "joined", cascade, kind="extra"),
            Box(12.4, "", "maps", ("refine_net.final_predict.0",), kind="maps")]  # fmt: skip


def stages(count: int) -> list[Box]:
    """MSPN's and RSN's stages: down, up, and the next one fed with both."""
    found = [IMAGES, Box(1, "top", "stem", ("images",))]
    for s in range(count):
        start, before = 2 + s * 7.4, "top" if s == 0 else f"stage{s - 1}.upsample.up4"
        for n in (1, 2, 3, 4):
            path, last = f"stage{s}.downsample.layer{n}", f"stage{s - 1}"
            added = (f"{last}.downsample.layer{n}", f"{last}.upsample.up{5 - n}") if s else ()
            found.append(Box(start + (n - 1) * 0.9, path, f"layer{n}", (before,), added))
            before = path
        for n in (1, 2, 3, 4):
            path, side = f"stage{s}.upsample.up{n}", f"stage{s}.downsample.layer{5 - n}"
            sources = (side,) if n == 1 else (f"stage{s}.upsample.up{n - 1}",)
            found.append(Box(start + 3.6 + (n - 1) * 0.9, path, f"up{n}", sources, () if n == 1 else (side,), "up"))
    end = found[-1]
    return [*found, Box(end.at + 1, "", "maps", (end.path,), kind="maps")]


def branches(prefix: str, modules: list[tuple[str, int, int]], first: list[Box], end: list[Box]) -> list[Box]:
    """HRNet's and Lite-HRNet's modules: of every branch to every branch."""
    found, at, before = list(first), first[-1].at + 1, [first[-1].path]
    for stage, count, width in modules:
        for m in range(count):
            outputs = 1 if prefix == "" and (stage, m) == ("stage4", 2) else width
            paths = [f"{prefix}{stage}.{m}[{b}]" for b in range(outputs)]
            # A new branch grows out of the coarsest one that there is.
            found += [Box(at, path, stage if b == 0 and m == 0 else "", tuple(before)) for b, path in enumerate(paths)]
            before, at = paths, at + 1
    return [*found, *(Box(at + n, box.path, box.label, box.after or tuple(before), kind=box.kind)
                      for n, box in enumerate(end))]  # fmt: skip


def hrnet() -> list[Box]:
    first = [IMAGES, Box(1, "bn2", "stem", ("images",)), Box(2, "layer1", "layer1", ("bn2",))]
    modules = [("stage2", 1, 2), ("stage3", 4, 3), ("stage4", 3, 4)]
    return branches("", modules, first, [Box(0, "", "maps", kind="maps")])


def litehrnet() -> list[Box]:
    first = [IMAGES, Box(1, "backbone.stem", "stem", ("images",))]
    modules = [("stage0", 2, 2), ("stage1", 4, 3), ("stage2", 2, 4)]
    head = Box(0, "backbone.head_layer", "head", kind="up")
    return branches("backbone.", modules, first, [head, Box(0, "", "maps", ("backbone.head_layer",), kind="maps")])


def hourglass() -> list[Box]:
    found = [IMAGES, *chain(1, "images", [("maxpool", "stem"), ("layer3", "layer3")])]
    source = ("layer3",)
    for s in range(2):
        start, inner = 3 + s * 9.6, f"hg.{s}.hg"
        for depth, n in enumerate((3, 2, 1, 0)):  # from the outermost level in
            at = start + depth * 0.9
            found.append(Box(at, f"{inner}.{n}.0", "", source, kind="extra"))
            found.append(Box(at + 0.45, f"{inner}.{n}.1", "", source))
            source = (f"{inner}.{n}.1",)
        found.append(Box(start + 4.0, f"{inner}.0.3", "", source))
        source = (f"{inner}.0.3",)
        for n in range(4):
            added = (f"{inner}.{n - 1}.0",) if n else ()
            found.append(Box(start + 4.75 + n * 0.75, f"{inner}.{n}.2", "", source, added, "up"))
            source = (f"{inner}.{n}.2",)
        maps = "" if s else "score.0"
        found.append(Box(start + 7.75, f"fc.{s}", f"stack {s + 1}", source, (f"{inner}.3.0",), "up"))
        found.append(Box(start + 8.6, maps, "maps", (f"fc.{s}",), kind="maps"))
    # The next stack reads what the one before read, its features and its maps, added up.
    found.append(Box(12.2, "fc_.0", "next", (), ("fc.0", "score.0", "layer3")))
    return [replace(box, after=("fc_.0",)) if box.path in ("hg.1.hg.3.0", "hg.1.hg.3.1") else box for box in found]


DRAWINGS = {
    "simplebaseline": ("simplebaseline-r50-256x192", simplebaseline),
    "hrnet": ("hrnet-w32-256x192", hrnet),
    "grmi": ("grmi-r101-353x257", grmi),
    "cpn": ("cpn-50-256x192", cpn),
    "mspn": ("mspn-2stg-256x192", lambda: stages(2)),
    "rsn": ("rsn-18-256x192", lambda: stages(1)),
    "lpn": ("lpn-50-256x192", lpn),
    "litehrnet": ("litehrnet-18-256x192", litehrnet),
    "hourglass": ("hourglass-2-256x256", hourglass),
    "litebaseline": ("litebaseline-192x192", litebaseline),
}
"""By the drawing's name: the pose system, and its boxes."""


def shapes(name: str) -> dict[str, Shape]:
    """(channels, height, width) of what each module of a network yields, run on torch's meta device."""
    found: dict[str, Shape] = {}

    def note(path: str, output: object) -> None:
        several = output if isinstance(output, list | tuple) else ()
        for n, one in enumerate(several):
            note(f"{path}[{n}]", one)
        if isinstance(output, torch.Tensor) and output.dim() == 4:
            found[path] = (output.shape[1], output.shape[2], output.shape[3])

    spec = find(name)
    with torch.device("meta"), torch.no_grad():
        net = spec.build().eval()
        for path, module in net.named_modules():
            if not isinstance(module, nn.ModuleList) or path.count("."):
                module.register_forward_hook(lambda m, _, output, path=path: note(path, output))
        net(torch.empty(1, 3, *spec.size))
    return found | {"images": (3, *spec.size)}


def draw(name: str, boxes: list[Box]) -> str:
    """The drawing, as SVG."""
    known = shapes(name)
    shape = {box.path: known[box.path] for box in boxes}
    level = {path: round(math.log2(shape["images"][1] / s[1])) for path, s in shape.items()}
    finest = min(n for path, n in level.items() if path not in ("images", ""))
    rows = sorted({max(n, finest) for n in level.values()})
    height = {n: max(12, round(86 * 0.74 ** (n - finest + 1))) for n in range(8)}
    middle, y = dict[int, int](), TOP
    for n in rows:
        middle[n] = y + height[n] // 2 + 14
        y += height[n] + 34
    place = {
        box.path: (
            MARGIN + box.at * PITCH,
            middle[max(level[box.path], finest)],
            round(3 + 0.95 * math.sqrt(shape[box.path][0])),
            height[max(level[box.path], finest)],
        )
        for box in boxes
    }
    right = max(x + w for x, _, w, _ in place.values()) + 30
    bottom = y + 22
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:.0f} {bottom}" width="{right:.0f}" role="img" '
        f'aria-label="The network of {name}"><style>{STYLE}</style>'
        '<defs><marker id="a" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 6 3 0 6z" fill="#8a8f9c"/></marker></defs>',
        f'<rect class="card" x="0.5" y="0.5" width="{right - 1:.0f}" height="{bottom - 1}" rx="8"/>',
    ]
    for n in rows:
        size = next(s for path, s in shape.items() if max(level[path], finest) == n and path not in ("images", ""))
        lines += [
            f'<path class="row" d="M{MARGIN - 12} {middle[n]}H{right - 12:.0f}"/>',
            f'<text class="small" x="12" y="{middle[n] - 3}">1/{2**n}</text>',
            f'<text class="small" x="12" y="{middle[n] + 11}">{size[1]} x {size[2]}</text>',
        ]
    for box in boxes:
        for kind, sources in (("flow", box.after), ("added", box.added)):
            for source in sources:
                start, end = place[source], place[box.path]
                over = any(start[1] == y == end[1] and start[0] < x < end[0] for x, y, _, _ in place.values())
                lines.append(_edge(start, end, kind, thin=len(box.after) > 2, over=over))
    for box in boxes:
        x, y, w, h = place[box.path]
        lines += [
            f'<rect class="{box.kind}" x="{x:.0f}" y="{y - h / 2:.0f}" width="{w}" height="{h}" rx="2"/>',
            f'<text class="small" x="{x + w / 2:.0f}" y="{y - h / 2 - 4:.0f}" text-anchor="middle">'
            f"{shape[box.path][0]}</text>",
        ]
        _, high, wide = shape[box.path]
        own = f"{high} x {wide}" if level[box.path] < finest else ""  # it stands in another row than its own
        lines += [
            f'<text class="{style}" x="{x + w / 2:.0f}" y="{y + h / 2 + below:.0f}" text-anchor="middle">{text}</text>'
            for text, style, below in ((box.label, "label", 13), (own, "small", 26))
            if text
        ]
    lines.append(f'<text class="small" x="12" y="{bottom - 9}">numbers: channels; rows: size; dashed: is added</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _edge(start: Place, end: Place, kind: str, *, thin: bool, over: bool) -> str:
    """From the right side of a box to the left side of another, or over what stands between them."""
    x, y, w, h = start
    to_x, to_y, _, to_h = end
    path = f"M{x + w:.0f} {y:.0f}L{to_x - 1:.0f} {to_y:.0f}"
    if over:
        path = f"M{x + w / 2:.0f} {y - h / 2 - 15:.0f}V{y - h / 2 - 19:.0f}H{to_x + 4:.0f}V{to_y - to_h / 2 - 15:.0f}"
    return f'<path class="{kind}" stroke-width="{0.7 if thin else 1.3}" d="{path}" marker-end="url(#a)"/>'


def main() -> None:
    for name, (system, boxes) in DRAWINGS.items():
        write_text(FOLDER / f"{name}.svg", draw(system, boxes()))


if __name__ == "__main__":
    main()
