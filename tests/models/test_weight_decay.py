"""Parameters that networks exclude from weight decay, by name; numbers in names are replaced by #."""

from __future__ import annotations

import re

import pytest
import torch
from network_tester import make_view
from torch import nn

from segbench.models.dilated import DilatedFCN
from segbench.models.faster_rcnn import FasterRCNN
from segbench.models.htc import HTC
from segbench.models.layers.weight_decay import norm_parameters
from segbench.models.mask2former import Mask2Former
from segbench.models.pspnet import PSPNet
from segbench.models.solo import SOLO, SOLOv2
from segbench.models.unet import UNet

KINDS = ("weight", "bias")
SMALL = {
    "hidden_dim": 32,
    "queries": 5,
    "encoder_layers": 1,
    "encoder_feedforward": 16,
    "decoder_layers": 2,
    "decoder_feedforward": 16,
}
MASK2FORMER = {
    "pixel_decoder.lateral.#.bias",
    "pixel_decoder.lateral.#.weight",
    "pixel_decoder.layers.#.attention_norm.bias",
    "pixel_decoder.layers.#.attention_norm.weight",
    "pixel_decoder.layers.#.feedforward_norm.bias",
    "pixel_decoder.layers.#.feedforward_norm.weight",
    "pixel_decoder.output.#.bias",
    "pixel_decoder.output.#.weight",
    "pixel_decoder.projections.#.#.bias",
    "pixel_decoder.projections.#.#.weight",
    "query_decoder.layers.#.cross_norm.bias",
    "query_decoder.layers.#.cross_norm.weight",
    "query_decoder.layers.#.feedforward_norm.bias",
    "query_decoder.layers.#.feedforward_norm.weight",
    "query_decoder.layers.#.self_norm.bias",
    "query_decoder.layers.#.self_norm.weight",
    "query_decoder.level_embedding",
    "query_decoder.norm.bias",
    "query_decoder.norm.weight",
    "query_decoder.query_features",
    "query_decoder.query_places",
}
"""Norms, and embeddings of queries and levels; of GroupNorms, but not of the convolutions before them."""


def spared(network: nn.Module) -> set[str]:
    return {re.sub(r"\d+", "#", name) for name in network.no_weight_decay()}


def test_unet_spares_vectors() -> None:
    network = UNet(make_view("semantic"), 3, widths=[4, 8])
    assert network.no_weight_decay() == {
        *(f"encoder.stages.{stage}.{i}.{kind}" for stage in (0, 1) for i in (1, 4) for kind in KINDS),
        "decoder.1.up.bias",
        *(f"decoder.1.conv.{i}.{kind}" for i in (1, 4) for kind in KINDS),
        "head.bias",
    }


def test_mask2former_spares_norms_and_embeddings_but_no_biases() -> None:
    network = Mask2Former(make_view("panoptic"), 3, backbone="resnet18", frozen_norm=True, **SMALL)
    assert spared(network) == MASK2FORMER
    names = network.no_weight_decay()
    assert "pixel_decoder.projections.0.1.bias" in names  # of the norm
    assert "pixel_decoder.projections.0.0.bias" not in names  # of the convolution
    assert "pixel_decoder.level_embedding" not in names  # it decays in the authors' code


def test_mask2former_spares_norms_and_position_tables_of_a_swin() -> None:
    network = Mask2Former(make_view("panoptic"), 3, backbone="swin_tiny_patch4_window7_224", **SMALL)
    block = "backbone.net.model.layers.#.blocks.#"
    assert spared(network) - MASK2FORMER == {
        f"{block}.attn.relative_position_bias_table",
        *(f"{block}.norm{number}.{kind}" for number in "#" for kind in KINDS),
        *(
            f"backbone.net.model.{part}.norm.{kind}"
            for part in ("patch_embed", "layers.#.downsample")
            for kind in KINDS
        ),
        *(f"backbone.norms.#.{kind}" for kind in KINDS),
    }
    assert len([n for n in network.no_weight_decay() if n.endswith("bias_table")]) == 12


def test_networks_on_pyramids_spare_norms_but_no_biases() -> None:
    options = {"fpn_channels": 8, "box_channels": 8}
    network = FasterRCNN(make_view("instance"), 3, backbone="resnet18", **options)
    assert network.no_weight_decay() == {f"backbone.{name}" for name in norm_parameters(network.backbone)}
    assert "backbone.net.model.bn1.bias" in network.no_weight_decay()


@pytest.mark.parametrize(
    ("network", "task"),
    [
        (PSPNet, "semantic"),
        (DilatedFCN, "semantic"),
        (HTC, "instance"),
        (SOLO, "instance"),
        (SOLOv2, "instance"),
    ],
)
def test_where_the_authors_spare_nothing_everything_decays(network, task) -> None:
    """Recorded from semseg, torchvision's references and mmdetection: optimizers over all parameters."""
    with torch.device("meta"):
        assert network(make_view(task), 3, backbone="resnet18").no_weight_decay() == set()


def test_position_tables_of_a_swin_never_decay() -> None:
    with torch.device("meta"):
        network = SOLOv2(make_view("instance"), 3, backbone="swin_tiny_patch4_window7_224")
    names = network.no_weight_decay()
    assert len(names) == 12 and all(n.endswith("relative_position_bias_table") for n in names)


def test_norms_are_found_by_type() -> None:
    layers = (nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2, affine=True))
    module = nn.Sequential(
        *layers, nn.LayerNorm(2), nn.RMSNorm(2), nn.BatchNorm2d(2, affine=False), nn.Linear(2, 2)
    )
    both = {f"{i}.{kind}" for i in (1, 2, 3, 4) for kind in KINDS}
    assert norm_parameters(module) == both | {"5.weight"}
    assert norm_parameters(nn.LayerNorm(2)) == {"weight", "bias"}


def test_each_branch_is_spared_like_one_backbone():
    def spared(**options):
        with torch.device("meta"):
            network = UNet(make_view("semantic"), 2, [4] * 5, "swin_tiny_patch4_window7_224", **options)
        return network.no_weight_decay()

    alone, branches = spared(), spared(fusion="branches")
    tables = {name for name in alone if name.endswith("relative_position_bias_table")}
    assert len(tables) == 12
    for branch in "01":
        prefix = f"backbone.encoders.{branch}."
        assert {name.replace("backbone.", prefix, 1) for name in tables} <= branches
