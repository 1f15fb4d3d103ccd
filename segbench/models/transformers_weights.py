"""State dicts of transformers' MaskFormer and Mask2Former in the names of this package."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from segbench.models.mask2former import Mask2Former
from segbench.models.maskformer import MaskFormer

Rules = list[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Pattern and replacement, applied in turn."""

DECODERS: Rules = [
    (r"^class_predictor\.", "query_decoder.classifier."),
    (r"^mask_embedder\.", "query_decoder.mask_embedder."),
    (r"^model\.pixel_level_module\.decoder\.", "pixel_decoder."),
    (r"^model\.transformer_module\.", "query_decoder."),
    # the pixel decoder of Mask2Former
    (r"^pixel_decoder\.input_projections\.", "pixel_decoder.projections."),
    (r"^pixel_decoder\.level_embed$", "pixel_decoder.level_embedding"),
    (r"^pixel_decoder\.encoder\.layers\.", "pixel_decoder.layers."),
    (r"^pixel_decoder\.adapter_1\.", "pixel_decoder.lateral."),
    (r"^pixel_decoder\.layer_1\.", "pixel_decoder.output."),
    # that of MaskFormer
    (r"^pixel_decoder\.fpn\.stem\.", "pixel_decoder.stem."),
    (r"^pixel_decoder\.fpn\.layers\.(\d)\.proj\.", r"pixel_decoder.laterals.\1."),
    (r"^pixel_decoder\.fpn\.layers\.(\d)\.block\.", r"pixel_decoder.outputs.\1."),
    # the query decoders
    (r"^query_decoder\.queries_features\.weight$", "query_decoder.query_features"),
    (r"^query_decoder\.queries_embedder\.weight$", "query_decoder.query_places"),
    (r"^query_decoder\.level_embed\.weight$", "query_decoder.level_embedding"),
    (r"^query_decoder\.input_projection\.", "query_decoder.projection."),
    (r"^query_decoder\.decoder\.layers\.", "query_decoder.layers."),
    (r"^query_decoder\.decoder\.layernorm\.", "query_decoder.norm."),
    (r"\.mask_embedder\.(\d)\.0\.", lambda m: f".mask_embedding.{2 * int(m[1])}."),
    (r"^query_decoder\.decoder\.mask_predictor\.", "query_decoder."),
    # layers of the pixel decoder have one attention, those of the query decoder two
    (r"^(pixel_decoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    (r"^(pixel_decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.attention_norm."),
    (r"\.encoder_attn", ".cross_attn"),
    (r"\.(self|cross)_attn_layer_norm\.", r".\1_norm."),
    (r"\.(self|cross)_attn\.(out_proj|o_proj)\.", r".\1_attention.output."),
    (r"\.(self|cross)_attn\.in_proj_", r".\1_attention.projection."),
    (r"\.(self|cross)_attn\.", r".\1_attention."),
    (r"\.(mlp\.)?fc1\.", ".feedforward.0."),
    (r"\.(mlp\.)?fc2\.", ".feedforward.2."),
    (r"\.final_layer_norm\.", ".feedforward_norm."),
]

RESNET: Rules = [
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d+)\.layers\.", lambda m: f"layer{int(m[1]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.(\d)\.convolution\.", lambda m: f".conv{int(m[1]) + 1}."),
    (r"\.layer\.(\d)\.normalization\.", lambda m: f".bn{int(m[1]) + 1}."),
]

BACKBONE = "model.pixel_level_module.encoder."


def load_transformers_state(network: MaskFormer | Mask2Former, state: dict[str, Tensor]) -> None:
    """Take every weight of a transformers model of the same sizes; its backbone must be a ResNet."""
    decoders: dict[str, Tensor] = {}
    backbone: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith(BACKBONE):
            backbone[_renamed(key.removeprefix(BACKBONE), RESNET)] = value
        elif not key.startswith("criterion."):
            decoders[_renamed(key, DECODERS)] = value
    _join(decoders, "query_decoder", ("q_proj", "k_proj", "v_proj"), "projection")
    network.load_backbone(backbone)
    network.load_state_dict(network.backbone.state_dict(prefix="backbone.") | decoders)


def _join(state: dict[str, Tensor], prefix: str, parts: tuple[str, str, str], whole: str) -> None:
    """Query, key and value, which transformers keeps apart, become one matrix (and one bias), in place."""
    query = f".{parts[0]}."
    for key in [key for key in state if key.startswith(prefix) and query in key]:
        state[key.replace(query, f".{whole}.")] = torch.cat(
            [state.pop(key.replace(query, f".{part}.")) for part in parts]
        )


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
