"""Load state dicts of MaskFormer and Mask2Former from the `transformers` library."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from segbench.models.mask2former import Mask2Former
from segbench.models.maskformer import MaskFormer

Rules = list[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Patterns and replacements, applied in this order."""

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
    # the pixel decoder of MaskFormer
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
    # layers of the pixel decoder have one attention, layers of the query decoder have two
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

SWIN: Rules = [
    (r"^(swin|model)\.", ""),
    (r"^hidden_states_norms\.stage(\d)\.", lambda m: f"norms.{int(m[1]) - 1}."),
    (r"^hidden_states_norms\.(\d)\.", r"norms.\1."),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^encoder\.", ""),
    # timm merges patches at the beginning of a stage, transformers at the end
    (r"^layers\.(\d)\.downsample\.", lambda m: f"layers.{int(m[1]) + 1}.downsample."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.(intermediate\.dense|mlp\.fc1)\.", ".mlp.fc1."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.attention\.self\.(query|key|value)\.", lambda m: f".attn.{m[1][0]}_proj."),
    (r"\.attention\.(self|relative_position_bias)\.", ".attn."),
    (r"\.attention\.", ".attn."),
    (r"\.output\.dense\.", ".mlp.fc2."),
]

BACKBONE = "model.pixel_level_module.encoder."


def load_transformers_state(network: MaskFormer | Mask2Former, state: dict[str, Tensor]) -> None:
    """Load all weights of a `transformers` model with a ResNet or a Swin Transformer.

    Args:
        network: network of the same sizes, changed in place.
        state: state dict of the `transformers` model.

    Raises:
        RuntimeError: the weights do not fit.
    """
    rules = SWIN if any(".patch_embeddings." in key for key in state) else RESNET
    decoders: dict[str, Tensor] = {}
    backbone: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith(BACKBONE):
            backbone[_renamed(key.removeprefix(BACKBONE), rules)] = value
        elif not key.startswith("criterion."):
            decoders[_renamed(key, DECODERS)] = value
    _join(decoders, "query_decoder.layers.", "projection")
    _join(backbone, "layers.", "qkv")
    network.load_backbone(backbone)
    norms = {f"backbone.{key}": value for key, value in backbone.items() if key.startswith("norms.")}
    network.load_state_dict(network.backbone.state_dict(prefix="backbone.") | norms | decoders)


def _join(state: dict[str, Tensor], prefix: str, whole: str) -> None:
    """Concatenate the weights of query, key and value, which `transformers` stores separately, in place."""
    for key in [key for key in state if key.startswith(prefix) and ".q_proj." in key]:
        parts = [state.pop(key.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        state[key.replace(".q_proj.", f".{whole}.")] = torch.cat(parts)


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
