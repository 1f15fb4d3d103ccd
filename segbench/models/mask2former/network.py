"""Mask2Former: Cheng et al. 2022, "Masked-attention Mask Transformer for Universal Image Segmentation".

arXiv 2112.01527. Where the paper leaves a choice, this follows the authors' code
(github.com/facebookresearch/Mask2Former), but for two things:
- void pixels and padding, which the code counts as outside of every mask, take no part in the mask losses;
- the points of the matching are drawn once an image, not once an image and layer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segbench.data.dataset import View
from segbench.models.bases.mask_classifier import MaskClassifier
from segbench.models.layers.mask_queries import MaskQueries
from segbench.models.mask2former.criterion import Criterion
from segbench.models.mask2former.pixel_decoder import PixelDecoder
from segbench.models.mask2former.query_decoder import QueryDecoder


class Mask2Former(MaskClassifier):
    """The `decoder_layers` visit strides 32, 16, 8, 32, ... in turn.

    loss: arguments of `Criterion`. options: those of `MaskClassifier`.
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
