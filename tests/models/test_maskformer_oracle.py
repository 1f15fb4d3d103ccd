"""Compare MaskFormer with transformers' `MaskFormerForInstanceSegmentation` with the same weights."""

import pytest
import torch
from network_tester import make_view, scene
from torch.nn import functional as F
from transformers import (
    DetrConfig,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    ResNetConfig,
)

from segbench.contract.view import View
from segbench.models.maskformer import MaskFormer
from segbench.models.weights.transformers import load_transformers_state

LAYERS = 3


def oracle(classes: int, width: int, **decoder) -> MaskFormerForInstanceSegmentation:
    backbone = ResNetConfig(
        depths=[3, 4, 6, 3],
        layer_type="bottleneck",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=DetrConfig(d_model=width, **decoder),
        fpn_feature_size=width,
        mask_feature_size=width,
        num_labels=classes,
    )
    return MaskFormerForInstanceSegmentation(config)


@pytest.fixture(scope="module")
def pair():
    """The oracle at random weights, its norms and biases too, and our network with its weights."""
    torch.manual_seed(0)
    model = oracle(4, 64, num_queries=12, decoder_layers=LAYERS, decoder_ffn_dim=80).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pixel_level_module.encoder" not in name:
                parameter += 0.05 * torch.randn_like(parameter)
    network = MaskFormer(
        make_view("panoptic"), 3, hidden_dim=64, queries=12, decoder_layers=LAYERS, decoder_feedforward=80
    ).eval()
    load_transformers_state(network, model.state_dict())
    return model, network


def layers_of(model, images):
    """Class and mask logits of every layer.

    transformers' own auxiliary logits lack the norm before the heads, which the authors' code applies to
    every layer; so the heads are applied to the layers' outputs here.
    """
    outputs = []
    module = model.model.transformer_module.decoder
    hooks = [layer.register_forward_hook(lambda _, __, out: outputs.append(out)) for layer in module.layers]
    last = model(images)
    for hook in hooks:
        hook.remove()
    layers = []
    for output in outputs:
        state = module.layernorm(output)
        masks = torch.einsum(
            "bqc,bchw->bqhw", model.mask_embedder(state), last.pixel_decoder_last_hidden_state
        )
        layers.append((model.class_predictor(state), masks))
    torch.testing.assert_close(layers[-1], (last.class_queries_logits, last.masks_queries_logits))
    return layers


@pytest.mark.parametrize("size", [(64, 96), (75, 101), (33, 130)])
@torch.no_grad()
def test_logits_of_every_layer_from_the_same_features(pair, size):
    model, network = pair
    images = torch.randn(2, 3, *size)
    ours = network.decode(model.model.pixel_level_module.encoder(images).feature_maps)
    expected = layers_of(model, images)
    assert len(ours.classes) == len(expected) == LAYERS
    for layer, (classes, masks) in enumerate(expected):
        torch.testing.assert_close(ours.classes[layer], classes, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.masks(layer), masks, atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_of_whole_networks(pair):
    """Images are padded to a multiple of 32, as in the authors' code; transformers does not pad."""
    model, network = pair
    images = torch.randn(1, 3, 75, 101)
    theirs = model(F.pad(images, (0, 27, 0, 21)))
    ours = network(images)
    torch.testing.assert_close(ours.classes[-1], theirs.class_queries_logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.masks(), theirs.masks_queries_logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seeds", [(0, 1), (2, 2, 3)])
def test_losses_and_gradients(pair, seeds):
    model, network = pair
    scenes = [scene("panoptic", (64, 96), 3, seed) for seed in seeds]
    images = torch.stack([image for image, _ in scenes])
    targets = [target for _, target in scenes]
    targets[1] = targets[1] | {name: targets[1][name][1:] for name in ("masks", "labels")}  # unlike counts
    labels = [t["masks"].float() for t in targets], [t["labels"] for t in targets]
    *inner, (classes, masks) = layers_of(model, images)
    auxiliary = [{"class_queries_logits": c, "masks_queries_logits": m} for c, m in inner]
    theirs = model.get_loss(model.get_loss_dict(masks, classes, *labels, auxiliary))
    ours = sum(network.losses(images, targets).values())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)

    model.zero_grad(), network.zero_grad()
    theirs.backward(), ours.backward()
    for our, their in [
        (network.query_decoder.query_places, model.model.transformer_module.queries_embedder.weight),
        (
            network.pixel_decoder.stem[0].weight,
            model.model.pixel_level_module.decoder.fpn.stem.get_submodule("0").weight,
        ),
        (
            network.backbone.net.model.conv1.weight,
            model.model.pixel_level_module.encoder.embedder.embedder.convolution.weight,
        ),
    ]:
        torch.testing.assert_close(our.grad, their.grad, atol=1e-3 * float(their.grad.abs().max()), rtol=0)


def test_loads_a_checkpoint_of_the_published_size():
    """Every weight of facebook's ResNet-50 architecture is used; 41 M parameters (paper, table 1)."""
    with torch.device("meta"):
        model = oracle(150, 256)
        network = MaskFormer(View("semantic", make_view("semantic").classes[:1] * 150), 3)
    state = {name: torch.empty_like(value, device="cpu") for name, value in model.state_dict().items()}
    load_transformers_state(network.to_empty(device="cpu"), state)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == sum(p.numel() for p in model.parameters())
    assert parameters == pytest.approx(41e6, abs=0.5e6)
