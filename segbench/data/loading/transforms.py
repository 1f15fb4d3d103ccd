"""Augmentation of training images and their truth, as torchvision v2 transforms.

Input and output are an `Image` (C x H x W uint8 or float32 in 0..1, then float32), a `Mask` (K x H x W
integer layers, 0 = void or no object) or `BoundingBoxes`, and the class index of each object. Padding is 0 in
image and mask: the mean colour, and void.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchvision.transforms import v2

from segbench.contract import recipe
from segbench.contract.recipe import Augment
from segbench.data.loading.colour import Blur, BrightnessContrast, ColorJitter, Noise, Photometric
from segbench.data.loading.resizing import PadTo, ResizeCrop, resize_of
from segbench.data.loading.warping import GridElastic, Rotate, Rotate90, SmoothElastic


def plain_transform(mean: Sequence[float], std: Sequence[float]) -> v2.Transform:
    """Return the transform for evaluation: scale to 0..1, then normalise by channel."""
    # a constant channel has std 0
    return v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, [s or 1.0 for s in std])])


def training_transform(augment: Augment, mean: Sequence[float], std: Sequence[float]) -> v2.Transform:
    """Return the transform for training. Random numbers come from torch's global generator.

    With `augment.on_device`, it ends before the changes of values and the padding, see `DeviceChanges`.

    Args:
        augment: the augmentation of the recipe.
        mean, std: statistics by channel, in 0..1.
    """
    steps: list[v2.Transform] = []
    if augment.rotate90:
        steps.append(Rotate90())
    if (turn := augment.rotate) is not None:
        steps.append(v2.RandomApply([Rotate(turn.degrees, mean)], turn.probability))
    if (elastic := augment.elastic) is not None:
        steps.append(v2.RandomApply([_deformation(elastic, mean)], elastic.probability))
    if augment.crop_size or augment.resizes:
        steps.append(ResizeCrop(resize_of(augment), augment.crop_size, augment.max_class_share))
    if augment.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip())
    if augment.vertical_flip:
        steps.append(v2.RandomVerticalFlip())
    if not augment.on_device:
        steps += [*value_changes(augment, len(mean)), plain_transform(mean, std)]
        if augment.crop_size:
            steps.append(PadTo(augment.crop_size))
    return v2.Compose(steps)


def value_changes(augment: Augment, channels: int) -> list[v2.Transform]:
    """Return the changes of the values of images with so many channels, in their order."""
    steps: list[v2.Transform] = []
    if strength := augment.color_jitter:
        if channels in (1, 3):
            steps.append(ColorJitter(brightness=strength, contrast=strength, saturation=strength))
        else:  # no colours
            steps.append(BrightnessContrast(strength))
    if (colours := augment.photometric) is not None:
        ranges = colours.contrast, colours.saturation
        steps.append(Photometric(colours.brightness, *ranges, colours.hue))
    if (blur := augment.blur) is not None:
        steps.append(v2.RandomApply([Blur(blur.sigma)], blur.probability))
    if (noise := augment.noise) is not None:
        steps.append(v2.RandomApply([Noise(noise.std)], noise.probability))
    return steps


def window_first(transform: v2.Transform) -> tuple[ResizeCrop | None, v2.Transform]:
    """Divide a transform into its crop, if an image can be cropped before all else, and what follows.

    What is turned or deformed first needs the whole image, and `max_class_share` the whole truth.
    """
    steps = transform.transforms if isinstance(transform, v2.Compose) else []
    if steps and isinstance(steps[0], ResizeCrop) and steps[0].max_class_share is None:
        return steps[0], v2.Compose(steps[1:])
    return None, transform


def _deformation(elastic: recipe.Elastic, mean: Sequence[float]) -> v2.Transform:
    if elastic.std is not None:
        return GridElastic(elastic.std, elastic.grid, mean)
    assert elastic.alpha is not None and elastic.sigma is not None
    return SmoothElastic(elastic.alpha, elastic.sigma, mean)
