"""What MSPN and RSN have in common: stages of an encoder and a decoder, each fed with the features of the one before.

Li et al., "Rethinking on Multi-Stage Networks for Human Pose Estimation", arXiv 1901.00148, section 3. Parameter names
are those of the official code; every convolution has a bias and a batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from posewright.codecs.multiscale import MmposeMultiScaleHeatmap, MultiScaleHeatmap
from posewright.models._blocks import ConvBN, check_size, init_kaiming, resize, stem_pool
from posewright.models._network import Naming, PoseNetwork, Rules
from posewright.models._resnet import Block, Counts, make_layer
from posewright.skeletons import COCO17
from posewright.spec import Spec

Unit = partial(ConvBN, bias=True)
"""Convolution with a bias, batch normalisation and, unless switched off, ReLU."""

Levels = tuple[Tensor, Tensor, Tensor, Tensor]
"""A tensor for each of the four levels, coarse to fine: at 1/32, 1/16, 1/8 and 1/4 of the input."""

IMAGENET: Rules = (
    (r"top\.conv\.(conv|bn)\.(.+)", r"\g<1>1.\2"),
    (r"stage\d+\.downsample\.(layer\d\.\d+)\.conv_bn_relu(\d)\.(conv|bn)\.(.+)", r"\1.\3\2.\4"),
    (r"stage\d+\.downsample\.(layer\d\.\d+\.downsample)\.conv\.(.+)", r"\1.0.\2"),
    (r"stage\d+\.downsample\.(layer\d\.\d+\.downsample)\.bn\.(.+)", r"\1.1.\2"),
)
"""From our names of stem and encoders of bottlenecks to torchvision's of a ResNet."""


def naming(kind: str, block: Rules) -> Naming:
    """What others call the parameters: those of mmpose's "mspn" or "rsn", with rules for the residual blocks.

    mmpose's convolutions have no biases, so a checkpoint may lack them.
    """
    predictions = tuple(
        (rf"^stage{s}\.upsample\.up{u}\.res_conv{c}\.", f"head.predict_layers.{4 * s + u - 1}.conv_layers.{c - 1}.")
        for s in range(4)
        for u in range(1, 5)
        for c in (1, 2)
    )
    places = ((r"^top\.conv\.", "backbone.top.top.0."), (r"^stage(\d)\.", rf"backbone.multi_stage_{kind}.\1."))
    units = ((r"\.u_skip\.", ".in_skip."), (r"\.skip([12])\.", r".out_skip\1."))
    return Naming(mmpose=(*predictions, *places, *units, *block), optional=r".*\.conv\.bias", wrap=_under_model)


def _under_model(state: Mapping[str, Tensor]) -> dict[str, object]:
    return {"model": dict(state)}


def projection(inputs: int, outputs: int, stride: int) -> ConvBN | None:
    """1x1 unit for a shortcut whose shape changes; None where it does not."""
    return None if stride == 1 and inputs == outputs else Unit(inputs, outputs, 1, stride, relu=False)


class Top(nn.Module):
    """7x7 convolution of stride 2 and pooling: 64 channels at 1/4."""

    def __init__(self, *, same_pool: bool = False) -> None:
        super().__init__()
        self.conv = Unit(3, 64, 7, 2)
        self.maxpool = stem_pool(same=same_pool)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 64, H / 4, W / 4]."""
        return self.maxpool(self.conv(images))


class Encoder(nn.Module):
    """Four layers of residual blocks; the features of the stage before are added after the layer of their level."""

    def __init__(self, block: Block, counts: Counts, outputs: Counts) -> None:
        super().__init__()
        self.layer1 = make_layer(block, 64, outputs[0], counts[0])
        self.layer2 = make_layer(block, outputs[0], outputs[1], counts[1], 2)
        self.layer3 = make_layer(block, outputs[1], outputs[2], counts[2], 2)
        self.layer4 = make_layer(block, outputs[2], outputs[3], counts[3], 2)
        init_kaiming(self)

    def forward(self, x: Tensor, skips: Levels | None) -> Levels:
        """[N, 64, H / 4, W / 4] and what to add to the levels, to the four levels."""
        levels = []
        for i, layer in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            x = layer(x) if skips is None else layer(x) + skips[3 - i]
            levels.append(x)
        return levels[3], levels[2], levels[1], levels[0]


class Up(nn.Module):
    """One level of the decoder.

    Args:
        inputs: the encoder's channels at this level.
        width: the decoder's channels.
        channels: of the predicted maps.
        coarsest: there is no level below whose result could be added.
        skips: yield what the next stage's encoder adds at this level.
        cross: yield the next stage's input.
        prm: what refines the result, or None.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        channels: int,
        *,
        coarsest: bool = False,
        skips: bool = False,
        cross: bool = False,
        prm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.u_skip = Unit(inputs, width, relu=False)
        self.up_conv = None if coarsest else Unit(width, width, relu=False)
        self.prm = prm
        self.skip1 = Unit(inputs, inputs) if skips else None
        self.skip2 = Unit(width, inputs) if skips else None
        self.cross_conv = Unit(width, 64) if cross else None
        self.res_conv1 = Unit(width, width)
        self.res_conv2 = Unit(width, channels, 3, relu=False)

    def forward(self, feature: Tensor, below: Tensor | None) -> Tensor:
        """The encoder's feature of this level and the result of the level below to the result of this level."""
        x = self.u_skip(feature)
        if self.up_conv is not None and below is not None:
            x = x + self.up_conv(resize(below, (feature.shape[-2], feature.shape[-1])))
        x = F.relu(x)
        return x if self.prm is None else self.prm(x)

    def predict(self, result: Tensor, size: tuple[int, int]) -> Tensor:
        """The maps that a result of this level says, at (height, width)."""
        return resize(self.res_conv2(self.res_conv1(result)), size)

    def skip(self, feature: Tensor, result: Tensor) -> Tensor:
        """What the next stage's encoder adds at this level."""
        assert self.skip1 is not None
        assert self.skip2 is not None
        return self.skip1(feature) + self.skip2(result)


class Decoder(nn.Module):
    """From the coarsest level to the finest: `up1` .. `up4`."""

    def __init__(self, inputs: Counts, width: int, channels: int, *, last: bool, prm: nn.Module | None) -> None:
        super().__init__()
        self.up1 = Up(inputs[3], width, channels, coarsest=True, skips=not last)
        self.up2 = Up(inputs[2], width, channels, skips=not last)
        self.up3 = Up(inputs[1], width, channels, skips=not last)
        self.up4 = Up(inputs[0], width, channels, skips=not last, cross=not last, prm=prm)

    @property
    def levels(self) -> tuple[Up, Up, Up, Up]:
        """The four levels, coarse to fine."""
        return self.up1, self.up2, self.up3, self.up4

    def forward(self, features: Levels) -> Levels:
        """The encoder's features to the results of the four levels."""
        first = self.up1(features[0], None)
        second = self.up2(features[1], first)
        third = self.up3(features[2], second)
        return first, second, third, self.up4(features[3], third)

    def skips(self, features: Levels, results: Levels) -> Levels:
        """What the next stage's encoder adds to its levels."""
        a, b, c, d = (level.skip(f, r) for level, f, r in zip(self.levels, features, results))
        return a, b, c, d


class Stage(nn.Module):
    """An encoder and a decoder: `downsample` and `upsample`."""

    def __init__(self, downsample: Encoder, upsample: Decoder) -> None:
        super().__init__()
        self.downsample = downsample
        self.upsample = upsample


class MultiStage(PoseNetwork):
    """`top`, then stages `stage0`, `stage1`, ...; each stage predicts at four levels.

    Args:
        channels: of the predicted maps.
        stages: how many.
        block: makes the encoders' residual blocks.
        counts: how many blocks in each of an encoder's layers.
        outputs: channels of each of an encoder's layers.
        top: what turns images into 64 channels at 1/4.
        width: the decoders' channels.
        prm: what refines the last stage's finest result, or None.
    """

    def __init__(
        self,
        channels: int,
        *,
        stages: int,
        block: Block,
        counts: Counts,
        outputs: Counts,
        top: nn.Module,
        width: int = 256,
        prm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.top = top
        for i in range(stages):
            last = i == stages - 1
            decoder = Decoder(outputs, width, channels, last=last, prm=prm if last else None)
            self.add_module(f"stage{i}", Stage(Encoder(block, counts, outputs), decoder))

    @property
    def stages(self) -> list[Stage]:
        """The stages, first to last."""
        return [module for module in self.children() if isinstance(module, Stage)]

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to the last stage's finest maps [N, channels, H / 4, W / 4].

        The other predictions are not computed.

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        return self.stages[-1].upsample.up4.predict(self._results(images)[-1][3], _map_size(images))

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """Four maps per stage, coarse to fine, stage by stage; all of the finest's size."""
        size = _map_size(images)
        return tuple(
            level.predict(result, size)
            for stage, results in zip(self.stages, self._results(images))
            for level, result in zip(stage.upsample.levels, results)
        )

    def _results(self, images: Tensor) -> list[Levels]:
        """The decoders' results of every stage."""
        check_size(images, 32)
        x, skips, results = self.top(images), None, []
        for stage in self.stages:
            features = stage.downsample(x, skips)
            results.append(stage.upsample(features))
            if (cross := stage.upsample.up4.cross_conv) is not None:
                x, skips = cross(results[-1][3]), stage.upsample.skips(features, results[-1])
        return results


def _map_size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2] // 4, images.shape[-1] // 4


def official_spec(name: str, builder: Callable[[int], nn.Module], codec: MultiScaleHeatmap, paper: str) -> Spec:
    """As megvii's code has MSPN and RSN: images in BGR, a box widened by 9 % and heightened by 13.5 %."""
    return Spec(
        name=f"{name}-{codec.size[0]}x{codec.size[1]}",
        builder=builder,
        codec=codec,
        skeleton=COCO17,
        size=codec.size,
        padding=(1.09, 1.135),
        colour="bgr",
        mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395),
        scoring="all",
        nms=None,
        paper=paper,
    )


def mmpose_spec(name: str, builder: Callable[[int], nn.Module], paper: str) -> Spec:
    """As mmpose trained them: images in RGB, the usual padding and scores, its own labels and their reading."""
    codec = MmposeMultiScaleHeatmap((256, 192), (64, 48))
    return Spec(f"{name}-mmpose-256x192", builder, codec, COCO17, codec.size, nms=None, paper=paper)
