"""Blocks that several families share. Parameter names are those of the official checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class ConvBN(nn.Module):
    """Convolution, batch normalisation and, unless switched off, ReLU: `conv.*` and `bn.*`.

    Padding keeps the size at stride 1; kernels are square and odd. `bias` is the convolution's own: the normalisation
    that follows makes it redundant, but MSPN's and RSN's checkpoints have it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, h / stride, w / stride]."""
        return self.act(self.bn(self.conv(x)))


def conv_bn(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias and batch normalisation, to be put into an `nn.Sequential`."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def stem_pool(*, same: bool = False) -> nn.MaxPool2d:
    """The 3x3 pooling of stride 2 in a stem, padded by one pixel all round.

    With `same`, it is padded as MindSpore's "same" does for even sizes: only at the right and bottom, which is
    what windows that reach over the edge amount to.
    """
    return nn.MaxPool2d(3, 2, 0, ceil_mode=True) if same else nn.MaxPool2d(3, 2, 1)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, the corner pixels' centres kept in place (`align_corners`), to (height, width)."""
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=True)


class SqueezeExcitation(nn.Module):
    """Channels rescaled by what a bottleneck of `hidden` ones makes of their means (Hu et al., arXiv 1709.01507)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, h, w], unchanged in shape."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def upsample(inputs: int, outputs: int, kernel: int, *, groups: int = 1) -> nn.ConvTranspose2d:
    """A transposed convolution without bias that doubles the size, of a 2x2, 3x3 or 4x4 kernel.

    Raises:
        ValueError: another kernel, whose padding would not double the size exactly in the published heads.
    """
    if kernel not in (2, 3, 4):
        raise ValueError(f"a deconvolution that doubles the size has a kernel of 2, 3 or 4, got {kernel}")
    padding, extra = {2: (0, 0), 3: (1, 1), 4: (1, 0)}[kernel]
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, extra, groups=groups, bias=False)


def predictor(inputs: int, channels: int, kernel: int) -> nn.Conv2d:
    """The last convolution of a head, 1x1 or 3x3.

    Raises:
        ValueError: another kernel.
    """
    if kernel not in (1, 3):
        raise ValueError(f"the final convolution has a kernel of 1 or 3, got {kernel}")
    return nn.Conv2d(inputs, channels, kernel, padding=kernel // 2)


def init_zero(blocks: nn.Module) -> None:
    """Residual blocks' last normalisations start at 0, so that every block starts as its shortcut (Goyal et al.,
    arXiv 1706.02677, section 5.1).
    """
    for block in blocks.children():
        norms = [m for n, m in block.named_modules() if isinstance(m, nn.BatchNorm2d) and "downsample" not in n]
        nn.init.zeros_(norms[-1].weight)


def check_size(images: Tensor, multiple: int, rest: int = 0) -> None:
    """Refuse images whose height or width is not a multiple of `multiple` (plus `rest`).

    Networks that sum maps of several scales need it; the others would yield maps of another size than their codec's.

    Raises:
        ValueError: the message names the multiple and the nearest size that would do.
    """
    height, width = images.shape[-2:]
    if height % multiple != rest or width % multiple != rest:
        near = [max(multiple, round((side - rest) / multiple) * multiple) + rest for side in (height, width)]
        law = f"multiples of {multiple}" + (f", plus {rest}" if rest else "")
        raise ValueError(
            f"images: height and width must be {law}; got HxW {height}x{width}, the nearest is {near[0]}x{near[1]}"
        )


def init_normal(module: nn.Module, std: float = 0.001) -> None:
    """Convolutions ~ N(0, std²) with biases 0: how SimpleBaseline's head, HRNet and LPN start from scratch."""
    for m in module.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(m.weight, std=std)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def init_kaiming(module: nn.Module) -> None:
    """Convolutions ~ N(0, 2 / fan out) (He et al., arXiv 1502.01852) with biases 0: how ResNets start from scratch."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
