"""Changes of image values that the loader draws and the device makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segbench.contract.prediction import Target
from segbench.contract.recipe import Augment
from segbench.copying import upload
from segbench.data.loading.colour import ValueTransform
from segbench.data.loading.resizing import PadTo
from segbench.data.loading.transforms import value_changes

Drawn = tuple[tuple[int, int], list[tuple[int, dict[str, Any]]]]
"""Height and width of an image without padding; number of each change that is made, and its parameters, which
are plain numbers."""


class DeviceChanges:
    """Changes of colours, blur and noise, and the normalisation, of a batch on its device.

    The loader draws the same numbers as it does when it makes the changes itself, and pads. It gives the
    values of the files, a quarter of the bytes, and keeps what it has drawn in the `changes` of each target.
    On a processor the result is equal to the bit, on a GPU up to rounding and, with `noise`, its own draws.

    Args:
        augment: augmentation of the recipe.
        mean, std: statistics by channel, in 0..1.
    """

    def __init__(self, augment: Augment, mean: Sequence[float], std: Sequence[float]) -> None:
        self._changes: list[tuple[ValueTransform, float | None]] = [
            (one.transforms[0], one.p) if isinstance(one, v2.RandomApply) else (one, None)
            for one in value_changes(augment, len(mean))
        ]
        self._pad = PadTo(augment.crop_size) if augment.crop_size else None
        self._mean, self._std = list(mean), [s or 1.0 for s in std]  # a constant channel has std 0

    def draw(self, image: Tensor, truth: Any) -> tuple[Tensor, Any, Drawn]:
        """Draw the changes of an image from torch's global generator, and pad it and its truth."""
        steps = []
        for number, (change, probability) in enumerate(self._changes):
            if probability is None or torch.rand(1) < probability:
                steps.append((number, change.make_params([image])))
        drawn: Drawn = (image.shape[-2], image.shape[-1]), steps
        if self._pad:
            image, truth = self._pad(image, truth)
        return image, truth, drawn

    def __call__(self, images: Tensor, targets: Sequence[Target]) -> Tensor:
        """Change and normalise a batch.

        Args:
            images: B x C x H x W uint8, or float32 in 0..1, on the device.
            targets: their truth, with `changes`.

        Returns:
            B x C x H x W float32, which is 0 on padding.
        """
        found = torch.zeros(images.shape, device=images.device)
        mean, std = (upload([*values], images.device, torch.float32) for values in (self._mean, self._std))
        for image, slot, target in zip(images, found, targets, strict=True):
            (height, width), steps = target["changes"]
            values = image[:, :height, :width]
            for number, params in steps:
                values = self._changes[number][0].values(values, params)
            values = F.to_dtype(values, torch.float32, scale=True)
            slot[:, :height, :width] = F.normalize(values, mean, std)
        return found
