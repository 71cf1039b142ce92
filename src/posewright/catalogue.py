"""What there is: the table of pose systems, and everything about one, from the specs themselves."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from posewright.models import DEFAULT, counted, find, names
from posewright.spec import Spec
from posewright.weights import hub


def count(spec: Spec) -> tuple[int, float]:
    """Trainable parameters, and giga multiply-adds of one prediction without the flip test.

    Convolutions and matrix products count, normalisations and activations do not; a transposed convolution counts by
    its input pixels. Nothing is computed: the network is built on torch's meta device.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as flops:
        net = spec.build().eval()
        net(torch.empty(1, 3, *spec.size))
    return sum(p.numel() for p in net.parameters() if p.requires_grad), flops.get_total_flops() / 2e9


def size_of(spec: Spec) -> tuple[int, float] | None:
    """Parameters and GMACs, counted now if `counts.csv` lacks them; None if the network does not run without values."""
    try:
        return counted().get(spec.name) or count(spec)
    except RuntimeError:  # what torch raises where a network's path depends on its values
        return None


def layers(spec: Spec) -> list[str]:
    """One line per layer that computes, in the order of the run: name, kind, kernel, stride and output shape.

    The network runs on one image, on torch's meta device, so nothing is computed.

    Raises:
        RuntimeError: the network's path depends on its values.
    """
    rows: list[tuple[str, str, str, str]] = []

    def note(name: str, module: nn.Module, output: object) -> None:
        kernel = ""
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            grouped = f", {module.groups} groups" if module.groups > 1 else ""
            kernel = f"{'x'.join(map(str, module.kernel_size))}, stride {module.stride[0]}{grouped}"
        if isinstance(output, torch.Tensor):
            rows.append((name, type(module).__name__, kernel, "x".join(map(str, output.shape[1:]))))

    with torch.device("meta"), torch.no_grad():
        net = spec.build().eval()
        for name, module in net.named_modules():
            if not any(module.children()):
                module.register_forward_hook(lambda m, _, output, name=name: note(name, m, output))
        net(torch.empty(1, 3, *spec.size))
    table = [("layer", "kind", "kernel", "output"), *rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in table]


def table(pattern: str = "*") -> list[str]:
    """One line per pose system that matches the pattern: size, parameters, GMACs, published AP, weights in the cache.

    Raises:
        LookupError: none matches.
    """
    found = names(pattern)
    if not found:
        raise LookupError(f"no pose system matches {pattern!r}; `posewright models` lists all")
    width = max(map(len, found))
    lines = [f"{'name':<{width}}  {'points':<11} {'million':>8} {'GMACs':>7}  {'AP':>5} {'boxes':<10} weights"]
    for name in found:
        spec = find(name)
        known = hub.published(name) or hub.published(name, "gt") or hub.published(name, "unstated")
        ap = f"{known.metrics['AP']:.3f}" if known and "AP" in known.metrics else ""
        boxes = known.detector or known.boxes if ap and known else ""
        cached = sum(hub.cached(e.id) is not None for e in hub.entries(name))
        weights = f"{cached} of {len(hub.entries(name))} cached" if hub.entries(name) else "none published"
        weights = "in the package" if name == DEFAULT else weights
        size = size_of(spec)
        counts = f"{size[0] / 1e6:>8.2f} {size[1]:>7.2f}" if size else " " * 16
        lines.append(f"{name:<{width}}  {spec.skeleton.name:<11} {counts}  {ap:>5} {boxes:<10} {weights}")
    return lines


def page(name: str) -> list[str]:
    """Everything about one pose system: its rules, its size and its published weights.

    Raises:
        LookupError: there is no such pose system.
    """
    spec = find(name)
    size = size_of(spec)
    lines = [spec.name, f"  paper       {spec.paper or 'none named'}"]
    lines += [f"  parameters  {size[0]:,}", f"  GMACs       {size[1]:.3f}"] if size else []
    for field in dataclasses.fields(Spec):
        if field.name in ("name", "builder", "paper", "skeleton"):
            continue
        lines.append(f"  {field.name:<11} {getattr(spec, field.name)}")
    lines.append(f"  skeleton    {spec.skeleton.name}: {', '.join(spec.skeleton.points)}")
    if spec.name == DEFAULT:
        lines.append(f"  weights     in the package, at {hub.local_weights(DEFAULT)}")
        lines.append(f"              trained on {hub.terms('lspet').summary()}")
    for e in hub.entries(spec.name):
        metrics = ", ".join(p.summary() for p in e.published) or "no metrics published"
        lines.append(f"  weights     {e.id}: {e.data}, {metrics}, {e.access}, sha256 {e.sha256 or 'not published'}")
        lines.append(f"              licence of {e.source}: {e.licence or 'not known'}")
        lines.append(f"              trained on {hub.terms(e.data).summary()}")
        lines.extend(f"              {url}" for url in e.urls)
        if at := hub.cached(e.id):
            lines.append(f"              cached at {at}")
    return lines
