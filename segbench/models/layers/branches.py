"""An encoder for each modality of an image, such as the sequences of an MRI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segbench.errors import SegbenchError


class Branches(nn.Module):
    """Encode each modality by itself, and average the features of the present ones at each level.

    The average over the modalities that are present is the fusion of HeMIS (Havaei et al. 2016, 1607.05194),
    without the variances: it has the same channels for any number of modalities. As in that paper, modalities
    are dropped at random in training, for each image by itself and never all of them; here, each is dropped
    with the same probability.

    Args:
        encoder: makes an encoder for a number of channels, such as a `Backbone`.
        in_channels: channels of the images.
        modalities: number of channels of each modality, in the order of the channels; None: each channel is a
            modality.
        dropout: probability that a modality of an image is dropped in training, from 0 to below 1. If all
            would be dropped, one remains.

    Raises:
        SegbenchError: the modalities do not add up to `in_channels`, or `dropout` is out of range.
    """

    def __init__(
        self,
        encoder: Callable[[int], nn.Module],
        in_channels: int,
        modalities: Sequence[int] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.modalities = [1] * in_channels if modalities is None else list(modalities)
        if sum(self.modalities) != in_channels or any(n < 1 for n in self.modalities):
            raise SegbenchError(
                f"{self.modalities} does not divide {in_channels} channels into modalities",
                where="options.modalities",
                remedy=f"give the number of channels of each modality; their sum must be {in_channels}",
            )
        if not 0 <= dropout < 1:
            raise SegbenchError(
                f"{dropout} is no probability from 0 to below 1",
                where="options.modality_dropout",
                remedy="give a value such as 0.2",
            )
        self.dropout = dropout
        self.encoders = nn.ModuleList(encoder(channels) for channels in self.modalities)
        first: Any = self.encoders[0]
        self.channels: list[int] = first.channels
        self.reductions: list[int] = first.reductions

    def forward(self, images: Tensor) -> list[Tensor]:
        parts = images.split(self.modalities, 1)
        present = self.present(images)
        total: list[Tensor] = []
        for encoder, part, weight in zip(self.encoders, parts, (present / present.sum(0)).unbind()):
            levels = [level * weight.to(level.dtype)[:, None, None, None] for level in encoder(part)]
            total = [a + b for a, b in zip(total, levels)] if total else levels
        return total

    def present(self, images: Tensor) -> Tensor:
        """Draw which modalities of a batch of images are present: modalities x B, 1 or 0."""
        size = len(self.modalities), len(images)
        if not self.training or not self.dropout:
            return torch.ones(size, device=images.device)
        draw = torch.rand(size, device=images.device)
        return ((draw >= self.dropout) | (draw == draw.amax(0))).float()

    def load(self, state: dict[str, Tensor]) -> None:
        """Load the weights of a backbone into each encoder, see `Backbone.load`."""
        encoder: Any
        for encoder in self.encoders:
            encoder.load(state)
