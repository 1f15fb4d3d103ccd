"""Compare Mask2Former with transformers' `Mask2FormerForUniversalSegmentation` with the same weights."""

import pytest
import torch
from network_tester import make_view, scene
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig

from segbench.contract.view import View
from segbench.models.mask2former import Mask2Former
from segbench.models.weights.transformers import load_transformers_state

STAGES = ["stage1", "stage2", "stage3", "stage4"]


RESNET50 = ResNetConfig(depths=[3, 4, 6, 3], layer_type="bottleneck", out_features=STAGES)
SWIN_TINY = SwinConfig(depths=[2, 2, 6, 2], out_features=STAGES)
SIZES = {"encoder_layers": 2, "num_queries": 12, "dim_feedforward": 80, "encoder_feedforward_dim": 96}
OURS = {
    "hidden_dim": 64,
    "queries": 12,
    "encoder_layers": 2,
    "encoder_feedforward": 96,
    "decoder_layers": 4,
    "decoder_feedforward": 80,
    "loss": {"points": 300},
}


def oracle(backbone, classes: int, **options) -> Mask2FormerForUniversalSegmentation:
    """A transformers model at random weights, its norms and biases too."""
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=backbone, num_labels=classes, output_auxiliary_logits=True, **options
    )
    model = Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pixel_level_module.encoder" not in name:
                parameter += 0.05 * torch.randn_like(parameter)
    return model


def both(backbone, name: str) -> tuple[Mask2FormerForUniversalSegmentation, Mask2Former]:
    """The oracle and our network with its weights."""
    widths = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 64)
    model = oracle(backbone, 4, **SIZES, **widths, decoder_layers=5, train_num_points=300)
    network = Mask2Former(make_view("panoptic"), 3, backbone=name, **OURS).eval()
    load_transformers_state(network, model.state_dict())
    return model, network


@pytest.fixture(scope="module")
def pair():
    return both(RESNET50, "resnet50")


def layers_of(output):
    inner = [(a["class_queries_logits"], a["masks_queries_logits"]) for a in output.auxiliary_logits]
    return [*inner, (output.class_queries_logits, output.masks_queries_logits)]


@pytest.mark.parametrize("size", [(64, 96), (75, 101), (33, 130)])
@torch.no_grad()
def test_logits_of_every_layer_from_the_same_features(pair, size):
    model, network = pair
    images = torch.randn(2, 3, *size)
    theirs = model(images)
    ours = network.decode(model.model.pixel_level_module.encoder(images).feature_maps)
    expected = layers_of(theirs)
    assert len(ours.classes) == len(expected) == 5
    for layer, (classes, masks) in enumerate(expected):
        torch.testing.assert_close(ours.classes[layer], classes, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.masks(layer), masks, atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_of_whole_networks(pair):
    """Images are padded to a multiple of 32, as in the authors' code; transformers does not pad."""
    model, network = pair
    images = torch.randn(1, 3, 75, 101)
    theirs = model(torch.nn.functional.pad(images, (0, 27, 0, 21)))
    ours = network(images)
    torch.testing.assert_close(ours.classes[-1], theirs.class_queries_logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.masks(), theirs.masks_queries_logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_with_a_swin_transformer():
    """The sides of maps, 19 x 26 and smaller, are multiples neither of the windows' 7 nor of 2."""
    torch.manual_seed(1)
    model, network = both(SWIN_TINY, "swin_tiny_patch4_window7_224")
    images = torch.randn(2, 3, 75, 101)
    features = model.model.pixel_level_module.encoder(images).feature_maps
    for ours, theirs in zip(network.backbone(images), features, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    padded = torch.nn.functional.pad(images, (0, 27, 0, 21))
    expected = layers_of(model(padded))
    ours = network(images)
    for layer, (classes, masks) in enumerate(expected):
        torch.testing.assert_close(ours.classes[layer], classes, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.masks(layer), masks, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seeds", [(0, 1), (2, 2, 3)])
def test_losses_and_gradients_at_the_same_points(pair, monkeypatch, seeds):
    model, network = pair
    scenes = [scene("panoptic", (64, 96), 3, seed) for seed in seeds]
    images = torch.stack([image for image, _ in scenes])
    targets = [target for _, target in scenes]
    targets[1] = targets[1] | {name: targets[1][name][1:] for name in ("masks", "labels")}  # unlike counts
    uniform = torch.rand(4096, 2)
    monkeypatch.setattr(torch, "rand", lambda rows, count, two, device: uniform[:count].repeat(rows, 1, 1))
    theirs = model(
        images,
        mask_labels=[t["masks"].float() for t in targets],
        class_labels=[t["labels"] for t in targets],
    ).loss
    ours = sum(network.losses(images, targets).values())
    torch.testing.assert_close(ours, theirs.squeeze(), atol=1e-4, rtol=1e-5)

    model.zero_grad(), network.zero_grad()
    theirs.backward(), ours.backward()
    for our, their in [
        (network.query_decoder.query_features, model.model.transformer_module.queries_features.weight),
        (network.pixel_decoder.lateral[0].weight, model.model.pixel_level_module.decoder.adapter_1[0].weight),
        (
            network.pixel_decoder.layers[0].attention.sampling_offsets.weight,
            model.model.pixel_level_module.decoder.encoder.layers[0].self_attn.sampling_offsets.weight,
        ),
        (
            network.backbone.net.model.conv1.weight,
            model.model.pixel_level_module.encoder.embedder.embedder.convolution.weight,
        ),
    ]:
        torch.testing.assert_close(our.grad, their.grad, atol=1e-3 * float(their.grad.abs().max()), rtol=0)


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        (ResNetConfig(layer_type="bottleneck", out_features=STAGES), "resnet50"),
        (SWIN_TINY, "swin_tiny_patch4_window7_224"),
    ],
)
def test_loads_a_checkpoint_of_the_published_size(backbone, name):
    """Every weight of facebook's architectures is used."""
    with torch.device("meta"):
        model = Mask2FormerForUniversalSegmentation(
            Mask2FormerConfig(backbone_config=backbone, num_labels=133)
        )
        view = View("panoptic", make_view("panoptic").classes[:1] * 133)
        network = Mask2Former(view, 3, backbone=name)
    state = {key: torch.empty_like(value, device="cpu") for key, value in model.state_dict().items()}
    load_transformers_state(network.to_empty(device="cpu"), state)
    unused = sum(p.numel() for key, p in model.named_parameters() if ".encoder.swin.layernorm." in key)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == sum(p.numel() for p in model.parameters()) - unused
