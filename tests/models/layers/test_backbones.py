import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from segbench.errors import SegbenchError
from segbench.models.layers.backbones import Backbone, pad_to_multiple

PYRAMIDS = {
    "resnet18": ([64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
    "resnet50": ([64, 256, 512, 1024, 2048], [2, 4, 8, 16, 32]),
    "vgg16": ([64, 128, 256, 512, 512, 512], [1, 2, 4, 8, 16, 32]),
    "tf_efficientnet_lite0": ([16, 24, 40, 112, 320], [2, 4, 8, 16, 32]),
    "convnext_atto": ([40, 80, 160, 320], [4, 8, 16, 32]),
    "swin_tiny_patch4_window7_224": ([96, 192, 384, 768], [4, 8, 16, 32]),
}


@pytest.mark.parametrize("name", PYRAMIDS)
def test_gives_a_pyramid_of_channels_first_features(name):
    backbone = Backbone(name).eval()
    assert (backbone.channels, backbone.reductions) == PYRAMIDS[name]
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 96))
    shapes = [(1, c, 64 // r, 96 // r) for c, r in zip(backbone.channels, backbone.reductions)]
    assert [tuple(f.shape) for f in features] == shapes


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_takes_any_image_size(name):
    with torch.no_grad():
        features = Backbone(name, out_indices=(-1,)).eval()(torch.randn(1, 3, 97, 150))
    assert [tuple(f.shape[2:]) for f in features] == [(4, 5)]


def test_levels_are_chosen_from_the_coarse_end_too():
    for name in PYRAMIDS:
        with torch.device("meta"):
            backbone = Backbone(name, out_indices=(-4, -3, -2, -1))
        assert backbone.reductions == [4, 8, 16, 32]


def test_loaded_features_equal_those_of_timms_model_and_of_another_library():
    torch.manual_seed(0)
    encoder = smp.encoders.get_encoder("resnet18", weights=None, depth=5).eval()
    state = encoder.state_dict()
    backbone = Backbone("resnet18").eval()
    backbone.load(state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})
    full = timm.create_model("resnet18").eval()
    full.load_state_dict(state, strict=False)
    images = torch.randn(2, 3, 75, 64)
    with torch.no_grad():
        ours, theirs = backbone(images), encoder(images)[1:]
        top = full.forward_features(images)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours[-1], top, rtol=0, atol=1e-4)


def test_grey_images_give_the_same_features_as_their_three_equal_channels():
    state = timm.create_model("test_resnet").state_dict()
    grey, color = Backbone("test_resnet", 1).eval(), Backbone("test_resnet", 3).eval()
    grey.load(state)
    color.load(state)
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for a, b in zip(grey(image), color(image.expand(-1, 3, -1, -1))):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_weights_of_another_model_are_refused():
    with pytest.raises(SegbenchError, match=r"resnet18.*'layer"):
        Backbone("resnet18").load(timm.create_model("resnet50").state_dict())
    with pytest.raises(SegbenchError, match="do not fit"):
        Backbone("resnet18").load({})


def test_unknown_backbone_is_named_with_the_nearest_known():
    with pytest.raises(SegbenchError, match=r"resnet_18.*\n.*resnet18"):
        Backbone("resnet_18")


def test_backbone_without_dilation_says_so():
    with pytest.raises(SegbenchError, match=r"vgg16.*output_stride"):
        Backbone("vgg16", output_stride=8)


def test_dilated_backbone_keeps_its_weights_names():
    backbone = Backbone("resnet18", output_stride=8)
    assert backbone.reductions == [2, 4, 8, 8, 8]
    backbone.load(timm.create_model("resnet18").state_dict())


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100"])
def test_dilated_mobilenets_give_larger_maps_with_the_same_weights(name):
    backbone = Backbone(name, output_stride=8)
    assert backbone.reductions == [2, 4, 8, 8, 8]
    state = timm.create_model(name).state_dict()
    backbone.load(state)
    plain = Backbone(name).eval()
    plain.load(state)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps, expected = backbone.eval()(images), plain(images)
    assert [tuple(m.shape[-2:]) for m in maps] == [(64 // r, 96 // r) for r in backbone.reductions]
    for a, b in zip(maps[:3], expected):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["test_resnet", "tf_efficientnet_lite0"])
def test_frozen_norms_neither_learn_nor_follow_the_batch(name):
    torch.manual_seed(0)
    state = timm.create_model(name).state_dict()
    for key, value in state.items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    frozen, plain = Backbone(name, frozen_norm=True), Backbone(name)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in frozen.modules())
    frozen.load(state)
    plain.load(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        first = frozen.train()(images)
        for a, b in zip(first, plain.eval()(images)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        for a, b in zip(first, frozen(images)):
            assert torch.equal(a, b)


def test_the_seed_decides_the_initial_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in Backbone("test_resnet").parameters()])

    assert torch.equal(weights(3), weights(3)) and not torch.equal(weights(3), weights(4))


def test_padding_is_added_right_and_below_only_where_needed():
    images = torch.ones(1, 1, 5, 8)
    padded = pad_to_multiple(images, 4)
    assert padded.shape == (1, 1, 8, 8)
    assert torch.equal(padded[..., :5, :], images) and padded[..., 5:, :].eq(0).all()
    assert pad_to_multiple(padded, 4) is padded


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", 1),
        ("resnet18", 5),
        ("tf_efficientnet_lite0", 16),
        ("test_vit", 2),
        pytest.param("swin_tiny_patch4_window7_224", 5, marks=pytest.mark.slow),
        pytest.param("vgg11", 5, marks=pytest.mark.slow),
    ],
)
def test_first_convolution_is_adapted_as_timm_does(name, channels):
    torch.manual_seed(0)
    state = timm.create_model(name).state_dict()
    theirs = timm.create_model(
        name, pretrained=True, in_chans=channels, pretrained_cfg_overlay={"state_dict": dict(state)}
    ).state_dict()
    backbone = Backbone(name, channels)
    backbone.load(state)
    own = backbone.net.model.state_dict()
    first = backbone.net.pretrained_cfg["first_conv"] + ".weight"
    assert own[first].shape[1] == channels
    assert torch.equal(own[first], theirs[first])
