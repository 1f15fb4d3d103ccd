"""State dicts of transformers' `Mask2FormerForUniversalSegmentation` in the names of this package."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from segbench.models.mask2former.network import Mask2Former

Rules = list[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Pattern and replacement, applied in turn."""

DECODERS: Rules = [
    (r"^class_predictor\.", "query_decoder.classifier."),
    (r"^model\.pixel_level_module\.decoder\.", "pixel_decoder."),
    (r"^model\.transformer_module\.", "query_decoder."),
    (r"^pixel_decoder\.input_projections\.", "pixel_decoder.projections."),
    (r"^pixel_decoder\.level_embed$", "pixel_decoder.level_embedding"),
    (r"^pixel_decoder\.encoder\.layers\.", "pixel_decoder.layers."),
    (r"^pixel_decoder\.adapter_1\.", "pixel_decoder.lateral."),
    (r"^pixel_decoder\.layer_1\.", "pixel_decoder.output."),
    (r"^query_decoder\.queries_features\.weight$", "query_decoder.query_features"),
    (r"^query_decoder\.queries_embedder\.weight$", "query_decoder.query_places"),
    (r"^query_decoder\.level_embed\.weight$", "query_decoder.level_embedding"),
    (r"^query_decoder\.decoder\.layers\.", "query_decoder.layers."),
    (r"^query_decoder\.decoder\.layernorm\.", "query_decoder.norm."),
    (r"\.mask_embedder\.(\d)\.0\.", lambda m: f".mask_embedding.{2 * int(m[1])}."),
    (r"^query_decoder\.decoder\.mask_predictor\.", "query_decoder."),
    # layers of the pixel decoder have one attention, those of the query decoder two
    (r"^(pixel_decoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    (r"^(pixel_decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.attention_norm."),
    (r"\.(self|cross)_attn_layer_norm\.", r".\1_norm."),
    (r"\.(self|cross)_attn\.out_proj\.", r".\1_attention.output."),
    (r"\.(self|cross)_attn\.in_proj_", r".\1_attention.projection."),
    (r"\.(self|cross)_attn\.", r".\1_attention."),
    (r"\.fc1\.", ".feedforward.0."),
    (r"\.fc2\.", ".feedforward.2."),
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


def load_transformers_state(network: Mask2Former, state: dict[str, Tensor]) -> None:
    """Take every weight of a transformers model of the same sizes; its backbone must be a ResNet."""
    decoders: dict[str, Tensor] = {}
    backbone: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith(BACKBONE):
            backbone[_renamed(key.removeprefix(BACKBONE), RESNET)] = value
        elif not key.startswith("criterion."):
            decoders[_renamed(key, DECODERS)] = value
    # transformers keeps query, key and value of the self-attention apart; here they are one matrix
    for key in [key for key in decoders if ".self_attention.q_proj." in key]:
        parts = [decoders.pop(key.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        decoders[key.replace("q_proj", "projection")] = torch.cat(parts)
    network.load_backbone(backbone)
    network.load_state_dict(decoders | network.backbone.state_dict(prefix="backbone."))


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
