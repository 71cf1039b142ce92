import pytest
import torch

from posewright.models._efficientnet import EfficientNetLite0
from posewright.models.litebaseline import LiteBaseline
from posewright.weights import checkpoint, conversion


def test_number_of_parameters():
    with torch.device("meta"):
        trunk, net = EfficientNetLite0(), LiteBaseline(14)
    # EfficientNet-Lite0 has 4,652,008; its last convolution 320 x 1280, that one's norm and the classifier are not here
    assert sum(p.numel() for p in trunk.parameters()) == 4_652_008 - 320 * 1280 - 2 * 1280 - 1281 * 1000
    assert sum(p.numel() for p in net.parameters()) == 3_672_046


def test_features_come_at_their_scales():
    shapes = [tuple(f.shape) for f in EfficientNetLite0().eval().features(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 24, 16, 24), (1, 40, 8, 12), (1, 112, 4, 6), (1, 320, 2, 3)]


def test_names_of_the_classifiers():
    with torch.device("meta"):
        names = conversion.backbone(LiteBaseline.naming, LiteBaseline(14).state_dict())
    assert names["stem.0.weight"] == "_conv_stem.weight"
    assert names["stem.1.running_var"] == "_bn0.running_var"
    assert names["blocks.0.depthwise.0.weight"] == "_blocks.0._depthwise_conv.weight"
    assert names["blocks.12.expand.1.bias"] == "_blocks.12._bn0.bias"
    assert names["blocks.3.project.1.num_batches_tracked"] == "_blocks.3._bn2.num_batches_tracked"
    assert "deconvs.0.weight" not in names


def test_a_classifier_fills_the_trunk(tmp_path):
    torch.manual_seed(1)
    source, net = LiteBaseline(14), LiteBaseline(14)
    named = conversion.backbone(source.naming, source.state_dict())
    state = {theirs: source.state_dict()[ours] for ours, theirs in named.items()}
    torch.save(state | {"_fc.bias": torch.zeros(1000)}, tmp_path / "classifier.pth")
    loaded = checkpoint.load_backbone(net, tmp_path / "classifier.pth")
    assert loaded.read == len(EfficientNetLite0().state_dict())
    assert loaded.dropped == ("_fc.bias",)
    for ours in named:
        assert torch.equal(net.state_dict()[ours], source.state_dict()[ours])
    assert not torch.equal(net.deconvs[0].weight, source.deconvs[0].weight)


def test_refuses_sizes_that_do_not_divide():
    with pytest.raises(ValueError, match="multiples of 32"):
        LiteBaseline(14)(torch.zeros(1, 3, 160, 150))
