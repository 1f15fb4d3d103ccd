"""Entries of networks that this project does not ship."""

ENTRIES = {
    "mobilenet_v2": """
title: DeepLabV3+ (MobileNetV2)
class: segbench.models.transformers_semantic:TransformersSemantic
tasks: [semantic]
options:
  model_type: mobilenet_v2
  config: {depth_multiplier: 0.25, finegrained_output: true}
card: A network of transformers.
recipes:
  demo: {iterations: 3, batch_size: 2, augment: {crop: [32, 32]}}
""",
    "maskformer_resnet18": """
title: MaskFormer of transformers
class: segbench.models.transformers_universal:TransformersUniversal
tasks: [semantic, instance, panoptic]
options:
  model_type: maskformer
  backbone: test_resnet
  config:
    fpn_feature_size: 32
    mask_feature_size: 32
    decoder_config:
      {model_type: detr, d_model: 32, decoder_layers: 1, decoder_attention_heads: 2, num_queries: 9}
card: Another one.
recipes:
  demo: {iterations: 3, batch_size: 2, augment: {crop: [32, 32]}}
""",
    "vit_upernet": """
title: A Vision Transformer with the head of UPerNet
class: segbench.models.timm_head:TimmHead
tasks: [semantic]
options: {backbone: test_vit3, head: upernet, channels: 16}
card: A network of timm.
recipes:
  demo: {iterations: 3, batch_size: 2, augment: {crop: [32, 32]}}
""",
}
