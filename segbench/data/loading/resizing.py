"""Resizes of training images and their truth, with the crop that follows.

A resize draws the size of the whole image after it. Only the window inside of the crop is resized: resizing a
whole street scene to twice its size would cost more than the forward pass of a small network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from segbench.contract.recipe import Augment
from segbench.data.loading.boxes import windowed

REDRAWS = 10
"""How often a crop with too large a share of one class is drawn again, as in mmsegmentation."""


class Side(NamedTuple):
    """One side of an image after a resize."""

    length: int
    factor: float


Resize = Callable[[int, int], tuple[Side, Side]]
"""Draws the height and width after the resize of an image of a height and width."""


def resize_of(augment: Augment) -> Resize:
    """Return the resize of a recipe; without one, images keep their size."""
    if augment.resize is not None:
        return FixedSize(augment.resize)
    if augment.short_sides is not None:
        return ShortSides(augment.short_sides, augment.max_side)
    if (jitter := augment.large_scale_jitter) is not None:
        return LargeScaleJitter(jitter.range, jitter.size)
    if (ratio := augment.ratio_range) is not None:
        return RatioRange(ratio.base, ratio.range)
    return Scale(augment.scale)


def uniform(low: float, high: float) -> float:
    """Draw a number from a range."""
    return float(torch.empty(()).uniform_(low, high))


class Scale:
    """Resize by a factor, drawn uniformly from a range."""

    def __init__(self, scale: tuple[float, float]) -> None:
        self.scale = scale

    def __call__(self, height: int, width: int) -> tuple[Side, Side]:
        factor = uniform(*self.scale)
        return Side(max(1, round(height * factor)), factor), Side(max(1, round(width * factor)), factor)


class FixedSize:
    """Resize to a height and width."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, height: int, width: int) -> tuple[Side, Side]:
        return _sides((height, width), self.size)


class ShortSides:
    """Resize so that the shorter side has a length drawn from a list, and the longer one has a limit."""

    def __init__(self, lengths: Sequence[int], max_side: int | None) -> None:
        self.lengths, self.max_side = lengths, max_side

    def __call__(self, height: int, width: int) -> tuple[Side, Side]:
        short = self.lengths[int(torch.randint(len(self.lengths), ()))]
        return _sides((height, width), short_side_size(height, width, short, self.max_side))


class LargeScaleJitter:
    """Resize by a factor relative to a size that the image just fits into (Ghiasi et al., CVPR 2021)."""

    def __init__(self, scale: tuple[float, float], size: tuple[int, int]) -> None:
        self.scale, self.size = scale, size

    def __call__(self, height: int, width: int) -> tuple[Side, Side]:
        return _sides((height, width), jittered_size(height, width, self.size, uniform(*self.scale)))


class RatioRange:
    """Resize to fit into a frame that is multiplied by a random factor."""

    def __init__(self, base: tuple[int, int], scale: tuple[float, float]) -> None:
        self.base, self.scale = base, scale

    def __call__(self, height: int, width: int) -> tuple[Side, Side]:
        return _sides((height, width), framed_size(height, width, self.base, uniform(*self.scale)))


def short_side_size(height: int, width: int, short: int, max_side: int | None) -> tuple[int, int]:
    """Return the size of an image whose shorter side becomes `short`, as detectron2's `ResizeShortestEdge`.

    Args:
        height, width: size of the image.
        short: length of its shorter side after the resize, unless `max_side` makes it shorter.
        max_side: longest side after the resize; None: no limit.
    """
    factor = short / min(height, width)
    rows, columns = (short, width * factor) if height < width else (height * factor, short)
    if max_side is not None and max(rows, columns) > max_side:
        limit = max_side / max(rows, columns)
        rows, columns = rows * limit, columns * limit
    return _half_up(rows), _half_up(columns)


def jittered_size(height: int, width: int, size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return the size of an image that fits into `factor` times `size`, as detectron2's `ResizeScale`."""
    fit = min(size[0] * factor / height, size[1] * factor / width)
    return max(1, round(height * fit)), max(1, round(width * fit))


def framed_size(height: int, width: int, base: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return the size of an image that fits into `factor` times a frame, as mmsegmentation's `RandomResize`.

    Args:
        height, width: size of the image.
        base: long and short side of the frame, in any order. The frame turns with the image.
        factor: factor on the frame, whose sides are then rounded down.
    """
    short, long = sorted(max(1, int(side * factor)) for side in base)
    fit = min(long / max(height, width), short / min(height, width))
    return _half_up(height * fit), _half_up(width * fit)


def _half_up(length: float) -> int:
    return max(1, int(length + 0.5))


def _sides(before: tuple[int, int], after: tuple[int, int]) -> tuple[Side, Side]:
    height, width = (Side(new, new / old) for old, new in zip(before, after))
    return height, width


class ResizeCrop(v2.Transform):
    """Resize, then crop at a random place, without padding.

    Args:
        resize: draws the size of the whole image.
        crop: height and width, or None.
        max_class_share: draw the place again if a class has this share of the labelled pixels, or None.
    """

    _transformed_types = (tv_tensors.TVTensor, np.ndarray)  # v2 hides inputs of other types

    def __init__(
        self, resize: Resize, crop: tuple[int, int] | None, max_class_share: float | None = None
    ) -> None:
        super().__init__()
        self.resize, self.crop, self.max_class_share = resize, crop, max_class_share

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = v2.query_size(flat_inputs)
        sides = self.resize(*size)

        def draw() -> list[tuple[slice, int]]:
            return [_span(*axis) for axis in zip(size, sides, self.crop or (None, None))]

        spans = draw()
        if self.max_class_share is not None:
            classes = class_map(flat_inputs)
            for _ in range(REDRAWS):
                if largest_share(classes[spans[0][0], spans[1][0]]) < self.max_class_share:
                    break
                spans = draw()
        return {"window": [span for span, _ in spans], "size": [size for _, size in spans]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, np.ndarray):  # class indices
            return inpt
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return windowed(inpt, params["window"], params["size"])
        rows, columns = params["window"]
        is_mask = isinstance(inpt, tv_tensors.Mask)
        # of torchvision's two nearest modes, only this one samples at the same places as bilinear mode
        mode = InterpolationMode.NEAREST_EXACT if is_mask else InterpolationMode.BILINEAR
        return tv_tensors.wrap(F.resize_image(inpt[..., rows, columns], params["size"], mode), like=inpt)


def _span(length: int, side: Side, limit: int | None) -> tuple[slice, int]:
    """Draw the window of one axis: the pixels to crop, and the size to resize them to."""
    size = min(limit or side.length, side.length)
    start = int(torch.randint(side.length - size + 1, ()))
    first = min(round(start / side.factor), length - 1)
    return slice(first, min(length, first + max(1, round(size / side.factor)))), size


def class_map(inputs: list[Any]) -> torch.Tensor:
    """Return the class of each pixel + 1, 0 on void (H x W), from a semantic or panoptic truth.

    Args:
        inputs: a `Mask` of one layer, and the class index of each of its numbers (N int64 array; empty if
            the numbers are those of classes).
    """
    layer = next(one for one in inputs if isinstance(one, tv_tensors.Mask)).as_subclass(torch.Tensor)[0]
    labels = next(one for one in inputs if isinstance(one, np.ndarray))
    if not len(labels):
        return layer
    return torch.from_numpy(np.concatenate([[0], labels + 1]))[layer.long()]


def largest_share(classes: torch.Tensor) -> float:
    """Return the share of the most frequent class in the pixels above 0; 1 if there are none."""
    counts = torch.bincount(classes.flatten())[1:]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


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
