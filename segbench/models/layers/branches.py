"""An encoder for each modality of an image, such as the sequences of an MRI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segbench.errors import SegbenchError
from segbench.models.whole_batch import uniform


class Branches(nn.Module):
    """Encode each modality by itself, and average the features of the present ones at each level.

    The average over the modalities that are present is the fusion of HeMIS (Havaei et al. 2016, 1607.05194),
    without the variances: it has the same channels for any number of modalities. As in that paper, modalities
    are dropped at random in training, for each image by itself and never all of them; here, each is dropped
    with the same probability.

    Args:
        encoder: makes an encoder for a number of channels, such as a `Backbone`.
        in_channels: channels of the images.
        modalities: the channels of each modality, numbered from 1; None: each channel is a modality.
        dropout: probability that a modality of an image is dropped in training, from 0 to below 1. If all
            would be dropped, one remains.

    Raises:
        SegbenchError: a channel is in no modality or in several, or `dropout` is out of range.
    """

    def __init__(
        self,
        encoder: Callable[[int], nn.Module],
        in_channels: int,
        modalities: Sequence[Sequence[int]] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        numbers = range(1, in_channels + 1)
        given = [[n] for n in numbers] if modalities is None else [list(group) for group in modalities]
        if sorted(n for group in given for n in group) != [*numbers] or not all(given):
            raise SegbenchError(
                f"{given} does not divide the {in_channels} channels of the images",
                where="options.modalities",
                remedy=f"give a list for each modality, and in them each number from 1 to {in_channels} once",
            )
        self.groups = [[n - 1 for n in group] for group in given]
        if not 0 <= dropout < 1:
            raise SegbenchError(
                f"{dropout} is no probability from 0 to below 1",
                where="options.modality_dropout",
                remedy="give a value such as 0.2",
            )
        self.dropout = dropout
        self.encoders = nn.ModuleList(encoder(len(group)) for group in self.groups)
        first: Any = self.encoders[0]
        self.channels: list[int] = first.channels
        self.reductions: list[int] = first.reductions

    def forward(self, images: Tensor) -> list[Tensor]:
        present = self.present(images)
        total: list[Tensor] = []
        for encoder, group, weight in zip(self.encoders, self.groups, (present / present.sum(0)).unbind()):
            levels = [
                level * weight.to(level.dtype)[:, None, None, None] for level in encoder(images[:, group])
            ]
            total = [a + b for a, b in zip(total, levels)] if total else levels
        return total

    def present(self, images: Tensor) -> Tensor:
        """Draw which modalities of a batch of images are present: modalities x B, 1 or 0."""
        size = len(self.groups), len(images)
        if not self.training or not self.dropout:
            return torch.ones(size, device=images.device)
        draw = uniform([1] * len(images), len(self.groups), device=images.device).T
        return ((draw >= self.dropout) | (draw == draw.amax(0))).float()

    def load(self, state: dict[str, Tensor]) -> None:
        """Load the weights of a backbone into each encoder, see `Backbone.load`."""
        encoder: Any
        for encoder in self.encoders:
            encoder.load(state)
