"""Rotations and deformations of training images and their truth.

The size of the image stays, but for turns by 90 degrees. What lies outside of the image is void and has the
mean colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from segbench.data.loading.boxes import displaced, turned

BILINEAR = InterpolationMode.BILINEAR


class Rotate90(v2.Transform):
    """Rotate by 0, 90, 180 or 270 degrees at random."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return turned(inpt, params["turns"])
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], (-2, -1)), like=inpt)


class Rotate(v2.Transform):
    """Rotate around the centre by an angle drawn uniformly. A box becomes the bounds of the turned box.

    Args:
        degrees: largest angle, in both directions.
        mean: mean colour by channel, in 0..1.
    """

    def __init__(self, degrees: float, mean: Sequence[float]) -> None:
        super().__init__()
        self.degrees, self.mean = degrees, mean

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"angle": float(torch.empty(()).uniform_(-self.degrees, self.degrees))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        angle = params["angle"]
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            # boxes are not clipped: `box_target` must know how large they were
            moved, _ = F.rotate_bounding_boxes(
                inpt.as_subclass(Tensor), inpt.format, inpt.canvas_size, angle, clamping_mode=None
            )
            return tv_tensors.wrap(moved, like=inpt)
        if isinstance(inpt, tv_tensors.Mask):
            return tv_tensors.wrap(F.rotate_mask(inpt.as_subclass(Tensor), angle), like=inpt)
        return _warped(inpt, self.mean, partial(F.rotate_image, angle=angle, interpolation=BILINEAR))


class Elastic(v2.Transform):
    """Deform by a random field of displacements.

    Subclasses draw the field. A box becomes the bounds of its moved outline.

    Args:
        mean: mean colour by channel, in 0..1.
    """

    def __init__(self, mean: Sequence[float]) -> None:
        super().__init__()
        self.mean = mean

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"field": self.field(*v2.query_size(flat_inputs))}

    def field(self, height: int, width: int) -> Tensor:
        """Draw how far from a pixel its value is taken (H x W x 2, x and y, in pixels)."""
        raise NotImplementedError

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        field = params["field"]
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return displaced(inpt, field)
        height, width = field.shape[:2]
        relative = (field * torch.tensor([2 / width, 2 / height]))[None]  # the image spans -1..1
        if isinstance(inpt, tv_tensors.Mask):
            return tv_tensors.wrap(F.elastic_mask(inpt.as_subclass(Tensor), relative), like=inpt)
        warp = partial(F.elastic_image, displacement=relative, interpolation=BILINEAR)
        return _warped(inpt, self.mean, warp)


class SmoothElastic(Elastic):
    """Displacements are uniform noise, smoothed by a Gaussian and multiplied (Simard et al., ICDAR 2003).

    Args:
        alpha: factor on the smoothed noise in -1..1, in pixels.
        sigma: standard deviation of the Gaussian, in pixels.
        mean: mean colour by channel, in 0..1.
    """

    def __init__(self, alpha: float, sigma: float, mean: Sequence[float]) -> None:
        super().__init__(mean)
        self.alpha, self.sigma = alpha, sigma

    def field(self, height: int, width: int) -> Tensor:
        noise = torch.empty(height, width, 2).uniform_(-1, 1)
        # torchvision's kernel must be smaller than the image
        return self.alpha * torch.from_numpy(gaussian_filter(noise.numpy(), self.sigma, axes=(0, 1)))


class GridElastic(Elastic):
    """Displacements are normally distributed at the points of a coarse grid, with bicubic interpolation
    between them (Ronneberger et al., MICCAI 2015).

    Args:
        std: standard deviation of the displacements at the points, in pixels.
        grid: rows and columns of points. The outer ones lie on the corners of the image.
        mean: mean colour by channel, in 0..1.
    """

    def __init__(self, std: float, grid: tuple[int, int], mean: Sequence[float]) -> None:
        super().__init__(mean)
        self.std, self.grid = std, grid

    def field(self, height: int, width: int) -> Tensor:
        points = self.std * torch.randn(1, 2, *self.grid)
        return interpolate(points, (height, width), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)


def _warped(image: tv_tensors.Image, mean: Sequence[float], warp: Callable[[Tensor], Tensor]) -> Any:
    """Warp an image by a function that pads with 0; the padding gets the mean colour.

    torchvision's `fill` counts the padding twice in pixels on the border of the image.
    """
    limit = 1.0 if image.is_floating_point() else 255.0
    colour = limit * torch.tensor(mean, dtype=torch.float32)[:, None, None]
    values = (warp(image.as_subclass(Tensor).float() - colour) + colour).clamp(0, limit)
    values = values if image.is_floating_point() else values.round()
    return tv_tensors.wrap(values.to(image.dtype), like=image)
