"""Networks made ready to run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from posewright.models import find
from posewright.runtime import torch_runtime


def lived_in(net: nn.Module) -> nn.Module:
    """The network as after training: norms with statistics and factors of their own."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2), (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
            ):  # fmt: skip
                tensor.data.uniform_(low, high)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)
    return net.eval()


SMALL = (
    "cpn-18-128x96", "grmi-r18-129x97", "hourglass-1-128x96", "hrnet-w8-udp-128x96", "litebaseline-128x96",
    "litehrnet-naive-18-128x96", "lpn-18-128x96", "mspn-2stg-slim-128x96", "rsn-18-slim-128x96",
    "simplebaseline-r18-slim-128x96",
)  # fmt: skip
"""A small system of every family."""


@pytest.mark.parametrize("name", SMALL)
def test_prepared_networks_yield_what_the_network_yields(name):
    spec = find(name)
    net = lived_in(spec.build(3))
    ready = torch_runtime.prepared(net, spec.size)
    images = torch.randn(1, 3, *spec.size)
    with torch.inference_mode():
        want, got, again = net(images), ready(images), torch_runtime.prepared(ready, spec.size)(images)
    assert (got - want).norm() < 1e-5 * want.norm()
    torch.testing.assert_close(again, got)
    folded = [m.forward is torch_runtime._same for m in ready.modules() if isinstance(m, nn.BatchNorm2d)]
    # Norms before a convolution (hourglass) stay, and so do those of heads that only training runs (CPN, MSPN).
    assert sum(folded) > 0.5 * len(folded)


def test_preparing_leaves_the_network_as_it_is():
    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()))
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    ready = torch_runtime.prepared(net, (8, 8))
    assert net.training
    assert not ready.training
    assert all(m.training and not m._forward_hooks for m in net.modules())
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


class Net(nn.Module):
    """A convolution and a norm; subclasses differ in what else happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.after = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.bn(self.conv(x)).relu_())


class ReadsTwice(Net):
    def forward(self, x):
        y = self.conv(x)
        return self.after(self.bn(y) + y)


class ReturnsIt(Net):
    def forward(self, x):
        y = self.conv(x)
        return self.after(self.bn(y)), y


class RunsTwice(Net):
    def forward(self, x):
        return self.bn(self.conv(self.bn(self.conv(x))[:, :3]))


class NormsOther(Net):
    def forward(self, x):
        return self.bn(self.conv(x)) + self.bn(self.after(self.conv.weight.mean() * x.repeat(1, 2, 1, 1)[:, :4]))


class SharesWeight(Net):
    def forward(self, x):
        return self.bn(self.conv(x)) + F.conv2d(x, self.conv.weight, padding=1)


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.after = nn.Conv2d(3, 4, 3, padding=1)
        self.after.weight = self.conv.weight

    def forward(self, x):
        return self.bn(self.conv(x)) + self.after(x)


class DependsOnValues(Net):
    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) if x.mean() > -9 else y


class Changes(Net):
    def forward(self, x):
        return self.bn(self.conv(x).add_(1))


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv.register_forward_hook(lambda module, inputs, output: output * 2)


class WithoutStatistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4, track_running_stats=False)


class Odd(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input) * 2


class Subclassed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn = Odd(4)


@pytest.mark.parametrize(
    "kind",
    [
        ReadsTwice, ReturnsIt, RunsTwice, NormsOther, SharesWeight, Tied, DependsOnValues, Changes, Hooked,
        WithoutStatistics, Subclassed,
    ],
)  # fmt: skip
def test_nothing_is_folded_where_it_would_be_wrong(kind):
    net = kind().eval() if kind is WithoutStatistics else lived_in(kind())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        want = net(images)
        assert torch_runtime.fold(net, (1, 3, 8, 8)) == 0
        torch.testing.assert_close(net(images), want, rtol=0, atol=0)


class Aliased(Net):
    """The same modules under other names, used under these."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.ModuleList([self.conv])
        self.hidden = [self.bn]

    def forward(self, x):
        return self.hidden[0](self.other[0](x))


class ChecksSize(Net):
    def forward(self, x):
        if x.shape[-1] % 4:
            raise ValueError("width must be a multiple of 4")
        return super().forward(x)


class Grouped(Net):
    def __init__(self) -> None:
        super().__init__()
        self.after = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 4, 2, 1, groups=2, bias=False),
            nn.BatchNorm2d(8, affine=False),
            nn.Conv2d(8, 4, 3, groups=4, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(4),
        )


@pytest.mark.parametrize(("kind", "count"), [(Net, 1), (Aliased, 1), (ChecksSize, 1), (Grouped, 3)])
def test_what_can_be_folded_is(kind, count):
    net = kind().eval() if kind is Grouped else lived_in(kind())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
        want = net(images)
        assert torch_runtime.fold(net, (1, 3, 8, 8)) == count
        torch.testing.assert_close(net(images), want, rtol=1e-4, atol=1e-5)


def test_bf16_that_is_imitated_may_be_asked_for_and_is_not_fast(monkeypatch):
    cpu = torch.device("cpu")

    def has(*, registers: bool, product: bool) -> None:
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: registers)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: product)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)

    has(registers=True, product=True)
    assert (torch_runtime.can_bf16(cpu), torch_runtime.fast_bf16(cpu)) == (True, True)
    has(registers=True, product=False)
    assert (torch_runtime.can_bf16(cpu), torch_runtime.fast_bf16(cpu)) == (True, False)
    has(registers=False, product=False)
    assert (torch_runtime.can_bf16(cpu), torch_runtime.fast_bf16(cpu)) == (False, False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert torch_runtime.fast_bf16(cpu)


@pytest.mark.parametrize("imitated", [True, False])
def test_bf16_of_a_gpu(monkeypatch, imitated):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not imitated
    )
    gpu = torch.device("cuda")
    assert (torch_runtime.can_bf16(gpu), torch_runtime.fast_bf16(gpu)) == (True, not imitated)
