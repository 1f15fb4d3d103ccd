"""Mask2Former: Cheng et al. 2022, "Masked-attention Mask Transformer for Universal Image Segmentation".

arXiv 2112.01527. Where the paper leaves a choice, this follows the authors' code
(github.com/facebookresearch/Mask2Former), with two exceptions:
- void pixels and padding, which the code counts as outside of every mask, are excluded from the mask losses;
- the points of the matching are drawn once per image, not once per image and layer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segbench.contract.view import View
from segbench.models.bases.mask_classifier import MaskClassifier
from segbench.models.layers.mask_queries import MaskQueries
from segbench.models.mask2former.criterion import Criterion
from segbench.models.mask2former.pixel_decoder import PixelDecoder
from segbench.models.mask2former.query_decoder import QueryDecoder


class Mask2Former(MaskClassifier):
    """Queries that attend to the pixels inside the masks they have predicted.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        hidden_dim: channels of both decoders; a multiple of 32 and of `heads`.
        queries: number of queries, the maximum number of segments per image.
        heads: attention heads.
        encoder_layers: layers of the pixel decoder.
        encoder_feedforward: hidden width of their feed-forward networks.
        decoder_layers: layers of the query decoder; they read strides 32, 16, 8, 32, ... in turn.
        decoder_feedforward: hidden width of their feed-forward networks.
        loss: arguments of `Criterion`.
        options: arguments of `MaskClassifier`.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        hidden_dim: int = 256,
        queries: int = 100,
        heads: int = 8,
        encoder_layers: int = 6,
        encoder_feedforward: int = 1024,
        decoder_layers: int = 9,
        decoder_feedforward: int = 2048,
        loss: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(view, in_channels, **options)
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels, hidden_dim, heads, encoder_layers, encoder_feedforward
        )
        self.query_decoder = QueryDecoder(
            len(view.classes), hidden_dim, queries, heads, decoder_layers, decoder_feedforward
        )
        self.criterion = Criterion(**(loss or {}))

    def decode(self, features: list[Tensor]) -> MaskQueries:
        return self.query_decoder(*self.pixel_decoder(features))
