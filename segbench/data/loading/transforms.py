"""Augmentation of training images and their truth, as torchvision v2 transforms.

Input and output are an `Image` (C x H x W uint8 or float32 in 0..1, then float32) and a `Mask` (K x H x W
integer layers, 0 = void or no object) or `BoundingBoxes`. Padding is 0 in image and mask: the mean colour,
and void.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from segbench.contract.recipe import Augment
from segbench.data.loading.boxes import turned, windowed


def plain_transform(mean: Sequence[float], std: Sequence[float]) -> v2.Transform:
    """Return the transform for evaluation: scale to 0..1, then normalise by channel."""
    # a constant channel has std 0
    return v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, [s or 1.0 for s in std])])


def training_transform(augment: Augment, mean: Sequence[float], std: Sequence[float]) -> v2.Transform:
    """Return the transform for training. Random numbers come from torch's global generator.

    Args:
        augment: the augmentation of the recipe.
        mean, std: statistics by channel, in 0..1.
    """
    steps: list[v2.Transform] = []
    if augment.rotate90:
        steps.append(Rotate90())
    if augment.crop or augment.scale != (1.0, 1.0):
        steps.append(ScaleCrop(augment.scale, augment.crop))
    if augment.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip())
    if augment.vertical_flip:
        steps.append(v2.RandomVerticalFlip())
    if strength := augment.color_jitter:
        if len(mean) in (1, 3):
            steps.append(v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength))
        else:  # no colours
            steps.append(BrightnessContrast(strength))
    steps.append(plain_transform(mean, std))
    if augment.crop:
        steps.append(PadTo(augment.crop))
    return v2.Compose(steps)


class Rotate90(v2.Transform):
    """Rotate by 0, 90, 180 or 270 degrees at random."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return turned(inpt, params["turns"])
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], (-2, -1)), like=inpt)


class BrightnessContrast(v2.Transform):
    """Change brightness and contrast of images of any number of channels, in random order.

    All channels get the same factors; contrast changes around the mean of each channel.

    Args:
        strength: both factors are drawn uniformly from 1 - strength to 1 + strength.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        brightness, contrast = torch.empty(2).uniform_(max(0, 1 - self.strength), 1 + self.strength).tolist()
        return {
            "factors": {"brightness": brightness, "contrast": contrast},
            "first": int(torch.randint(2, ())),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        limit = 1.0 if inpt.is_floating_point() else 255.0
        values = inpt.as_subclass(torch.Tensor).float()
        names = ("brightness", "contrast")
        for name in names[:: -1 if params["first"] else 1]:
            origin = 0.0 if name == "brightness" else values.mean((-2, -1), keepdim=True)
            values = (origin + params["factors"][name] * (values - origin)).clamp(0, limit)
        values = values if inpt.is_floating_point() else values.round()
        return tv_tensors.wrap(values.to(inpt.dtype), like=inpt)


class ScaleCrop(v2.Transform):
    """Resize by a random factor, then crop at a random place, without padding.

    Only the window inside of the crop is resized: resizing a whole street scene to twice its size would cost
    more than the forward pass of a small network.

    Args:
        scale: smallest and largest factor, drawn uniformly.
        crop: height and width, or None.
    """

    def __init__(self, scale: tuple[float, float], crop: tuple[int, int] | None) -> None:
        super().__init__()
        self.scale, self.crop = scale, crop

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        factor = float(torch.empty(()).uniform_(*self.scale))
        spans = [
            _span(length, factor, limit)
            for length, limit in zip(v2.query_size(flat_inputs), self.crop or (None, None))
        ]
        return {"window": [span for span, _ in spans], "size": [size for _, size in spans]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return windowed(inpt, params["window"], params["size"])
        rows, columns = params["window"]
        is_mask = isinstance(inpt, tv_tensors.Mask)
        # of torchvision's two nearest modes, only this one samples at the same places as bilinear mode
        mode = InterpolationMode.NEAREST_EXACT if is_mask else InterpolationMode.BILINEAR
        return tv_tensors.wrap(F.resize_image(inpt[..., rows, columns], params["size"], mode), like=inpt)


def _span(length: int, factor: float, limit: int | None) -> tuple[slice, int]:
    """Draw the window of one axis: the pixels to crop, and the size to resize them to."""
    scaled = max(1, round(length * factor))
    size = min(limit or scaled, scaled)
    start = int(torch.randint(scaled - size + 1, ()))
    first = min(round(start / factor), length - 1)
    return slice(first, min(length, first + max(1, round(size / factor)))), size


class PadTo(v2.Transform):
    """Pad with 0, at the bottom and the right, to at least a height and width."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        return {"padding": [0, 0, max(0, self.size[1] - width), max(0, self.size[0] - height)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not any(params["padding"]):
            return inpt
        if isinstance(inpt, tv_tensors.BoundingBoxes):  # `pad` would clip them
            _, _, right, bottom = params["padding"]
            height, width = inpt.canvas_size
            return tv_tensors.wrap(inpt, like=inpt, canvas_size=(height + bottom, width + right))
        return F.pad(inpt, params["padding"])
