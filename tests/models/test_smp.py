"""Networks of segmentation_models_pytorch, compared with the library's own."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from network_tester import NetworkTester, make_view
from torch.nn import functional as F

from segbench.errors import SegbenchError
from segbench.models.smp import SMP

DECODERS = [kind.__name__ for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()]
VIEW = make_view("semantic")


def encoder_of(decoder):
    return "tu-test_vit" if decoder == "DPT" else "tu-test_resnet"


class SMPTester(NetworkTester):
    @pytest.mark.parametrize("channels", [3, 1])
    def test_loads_weights_of_its_backbone(self, task, channels):
        network = self.make(task, channels)
        torch.manual_seed(1)
        state = timm.create_model(self.options["backbone"].removeprefix("tu-")).state_dict()
        network.load_backbone(state)
        own = network.backbone.net.model.state_dict()
        first = {"tu-test_resnet": "conv1.0.weight", "tu-test_vit": "patch_embed.proj.weight"}
        for name, value in own.items():
            expected = state[name]
            if name == first[self.options["backbone"]] and channels == 1:
                expected = expected.sum(1, keepdim=True)
            assert torch.equal(value, expected), name


class TestSMPUnet(SMPTester):
    network = SMP
    options = {
        "decoder": "Unet",
        "backbone": "tu-test_resnet",
        "settings": {"decoder_channels": [32, 16, 16, 8, 8]},
    }
    lr = 0.005


@pytest.mark.extensive
class TestSMPDPT(SMPTester):
    network = SMP
    options = {
        "decoder": "DPT",
        "backbone": "tu-test_vit",
        "settings": {"decoder_intermediate_channels": [16, 16, 32, 32], "decoder_fusion_channels": 32},
    }
    lr = 0.005


@pytest.mark.parametrize("decoder", DECODERS)
def test_equals_the_library(decoder):
    torch.manual_seed(0)
    extra = {"dynamic_img_size": True} if decoder == "DPT" else {}
    theirs = smp.create_model(decoder, encoder_of(decoder), encoder_weights=None, classes=4, **extra)
    torch.manual_seed(0)
    ours = SMP(VIEW, 3, decoder, encoder_of(decoder)).eval()
    images = torch.randn(1, 3, 121, 128)
    with torch.no_grad():
        expected = theirs.eval()(F.pad(images, (0, 0, 0, 7)))[..., :121, :]
        torch.testing.assert_close(ours(images), expected, rtol=0, atol=1e-5)


SWIN = "tu-swin_tiny_patch4_window7_224"
REFUSED = {
    SWIN: ("DeepLabV3", "DeepLabV3Plus", "PAN"),  # it cannot be dilated
    "mit_b0": ("Linknet", "UnetPlusPlus"),  # it has no features of stride 2
}


ENCODERS = ["resnet18", "mobilenet_v2", "mit_b0", "tu-convnext_atto", SWIN]
PAIRS = [
    pytest.param(
        decoder, encoder, marks=[] if decoder == "Unet" or encoder == "resnet18" else pytest.mark.extensive
    )
    for decoder in DECODERS
    for encoder in ENCODERS
    if decoder != "DPT"
]


@pytest.mark.parametrize(("decoder", "encoder"), PAIRS)
def test_images_of_any_size_and_channels_with_encoders_of_every_kind(decoder, encoder):
    if decoder in REFUSED.get(encoder, ()):
        with pytest.raises(SegbenchError, match="cannot be built"):
            SMP(VIEW, 3, decoder, encoder)
        return
    torch.manual_seed(0)
    network = SMP(VIEW, 2, decoder, encoder).eval()
    with torch.no_grad():
        for size in ((45, 71), (200, 33)):
            assert network(torch.randn(1, 2, *size)).shape == (1, 4, *size)


def test_weights_of_torchvision_fit_the_encoders_of_the_library():
    network = SMP(VIEW, 3, "Unet", "resnet18")
    state = timm.create_model("resnet18").state_dict()
    network.load_backbone(state)
    own = network.backbone.net.state_dict()
    assert own and all(torch.equal(value, state[name]) for name, value in own.items())
    with pytest.raises(SegbenchError, match=r"do not fit resnet18: \d+ tensors .* 'conv1.weight'"):
        network.load_backbone({})


def test_names_of_features_that_differ_from_those_of_the_timm_model():
    network = SMP(VIEW, 3, "FPN", "tu-convnext_atto")
    state = timm.create_model("convnext_atto").state_dict()
    assert "model.stages_0.blocks.0.gamma" in network.backbone.net.state_dict()
    network.load_backbone(state)
    own = network.backbone.net.state_dict()
    assert torch.equal(own["model.stages_0.blocks.0.gamma"], state["stages.0.blocks.0.gamma"])


def test_frozen_norms_stay_as_they_are():
    network = SMP(VIEW, 3, "Unet", "tu-test_resnet", frozen_norm=True).train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    assert not [name for name, _ in network.backbone.named_parameters() if ".bn" in name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "Unett"}, "decoder: .* 'Unett'(.|\n)*did you mean 'Unet'"),
        ({"backbone": "resnet43"}, "backbone: .* 'resnet43'(.|\n)*did you mean 'resnet34'"),
        ({"backbone": "tu-resnet43"}, "backbone: .* 'tu-resnet43'(.|\n)*did you mean 'tu-resnet"),
        ({"settings": {"decoder_chanels": [8]}}, "settings: .*(.|\n)*did you mean 'decoder_channels'"),
        ({"settings": {"encoder_weights": "imagenet"}}, "settings: .* 'encoder_weights'"),
        (
            {"settings": {"decoder_channels": [8]}},
            "Unet with the encoder 'resnet34'.*cannot be built",
        ),
        ({"decoder": "DPT"}, "Only Timm encoders are supported for DPT"),
    ],
)
def test_mistakes_in_options(options, message):
    with pytest.raises(SegbenchError, match=message):
        SMP(VIEW, 3, **options)


def test_an_upsampling_that_does_not_fit_the_decoder():
    network = SMP(VIEW, 3, "PSPNet", "tu-test_resnet", settings={"encoder_depth": 4})
    with pytest.raises(SegbenchError, match="set `upsampling`"):
        network.eval()(torch.randn(1, 3, 64, 64))
