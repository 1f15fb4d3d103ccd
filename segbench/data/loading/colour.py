"""Random changes of the values of training images. The truth stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segbench.copying import upload

VALUES = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256)
"""All values of 8 bits, as an image."""
HUES = 180
"""Steps of the hue circle, as OpenCV counts for 8 bit."""


class ValueTransform(v2.Transform):
    """Base of transforms of image values. Their parameters are plain numbers."""

    _transformed_types = (tv_tensors.Image,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(self.values(inpt.as_subclass(Tensor), params), like=inpt)

    def values(self, image: Tensor, params: dict[str, Any]) -> Tensor:
        """Return the changed image (C x H x W uint8, or float32 in 0..1), which is computed as float32."""
        limit = 1.0 if image.is_floating_point() else 255.0
        values = self.changed(image.float() / limit, params) * limit
        values = values if image.is_floating_point() else values.round()
        return values.to(image.dtype)

    def changed(self, values: Tensor, params: dict[str, Any]) -> Tensor:
        """Return the changed values (C x H x W float32 in 0..1), in 0..1."""
        raise NotImplementedError


class ColorJitter(ValueTransform, v2.ColorJitter):
    """torchvision's, to the bit. On a processor, brightness and contrast of 8 bits are looked up by value."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        params = super().make_params(flat_inputs)
        return {**params, "fn_idx": params["fn_idx"].tolist()}

    def values(self, image: Tensor, params: dict[str, Any]) -> Tensor:
        if image.dtype != torch.uint8 or image.device.type != "cpu":
            return v2.ColorJitter.transform(self, image, params)
        for step in params["fn_idx"]:
            if step == 0 and params["brightness_factor"] is not None:
                image = looked_up(image, F.adjust_brightness_image(VALUES, params["brightness_factor"]))
            elif step == 1 and params["contrast_factor"] is not None:
                factor = params["contrast_factor"]
                mean = grey(image).mean((-3, -2, -1), keepdim=True)
                table = VALUES.mul(factor).add_(mean, alpha=1.0 - factor).clamp_(0, 255)
                image = looked_up(image, table.to(torch.uint8))
            elif step == 2 and params["saturation_factor"] is not None:
                image = resaturated(image, params["saturation_factor"])
        return image


def looked_up(image: Tensor, table: Tensor) -> Tensor:
    """Replace each value of a uint8 image by its entry in a table of 256."""
    values = image.numpy().tobytes().translate(table.flatten().numpy().tobytes())
    return torch.frombuffer(bytearray(values), dtype=torch.uint8).reshape(image.shape)


def grey(image: Tensor) -> Tensor:
    """Return the grey values that torchvision's contrast uses: 1 x H x W float32 without fractions."""
    if len(image) == 1:
        return image.float()
    red, green, blue = image.float().unbind(0)  # converting first is faster than mixing types
    return red.mul_(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()[None]


def resaturated(image: Tensor, factor: float) -> Tensor:
    """Do what torchvision's `adjust_saturation` does with a uint8 image."""
    if len(image) == 1:
        return image
    blend = image.float().mul_(factor).add_(grey(image), alpha=1.0 - factor)
    return blend.clamp_(0, 255).to(torch.uint8)


class BrightnessContrast(ValueTransform):
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

    def values(self, image: Tensor, params: dict[str, Any]) -> Tensor:
        limit = 1.0 if image.is_floating_point() else 255.0
        values = image.float()
        names = ("brightness", "contrast")
        for name in names[:: -1 if params["first"] else 1]:
            origin = 0.0 if name == "brightness" else values.mean((-2, -1), keepdim=True)
            values = (origin + params["factors"][name] * (values - origin)).clamp(0, limit)
        values = values if image.is_floating_point() else values.round()
        return values.to(image.dtype)


class Photometric(ValueTransform):
    """Distort brightness, contrast, saturation and hue, as SSD and mmsegmentation's `PhotoMetricDistortion`.

    Each is changed with probability 0.5; contrast before or after saturation and hue, at random. Brightness
    is added, and contrast is a factor on all values (not around a mean, as torchvision's). Images that are
    not RGB get brightness and contrast only.

    Args:
        brightness: largest value that is added or subtracted, on a scale of 0..255.
        contrast, saturation: range of the factor.
        hue: largest shift, in steps of 2 degrees.
    """

    def __init__(
        self,
        brightness: float,
        contrast: tuple[float, float],
        saturation: tuple[float, float],
        hue: float,
    ) -> None:
        super().__init__()
        self.ranges = {
            "brightness": (-brightness / 255, brightness / 255),
            "contrast": contrast,
            "saturation": saturation,
            "hue": (-hue / HUES, hue / HUES),
        }

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        drawn = {name: float(torch.empty(()).uniform_(*ends)) for name, ends in self.ranges.items()}
        used = (torch.rand(len(drawn)) < 0.5).tolist()
        last = ("saturation", "hue", "contrast")
        order = ("contrast", "saturation", "hue") if int(torch.randint(2, ())) else last
        steps = [name for (name, use) in zip(drawn, used) if use]
        return {"steps": [(name, drawn[name]) for name in ("brightness", *order) if name in steps]}

    def changed(self, values: Tensor, params: dict[str, Any]) -> Tensor:
        for name, amount in params["steps"]:
            if name == "brightness":
                values = (values + amount).clamp(0, 1)
            elif name == "contrast":
                values = (values * amount).clamp(0, 1)
            elif len(values) == 3:
                values = saturated(values, amount) if name == "saturation" else F.adjust_hue(values, amount)
        return values


def saturated(values: Tensor, factor: float) -> Tensor:
    """Multiply the saturation of HSV by a factor, up to its largest value of 1.

    Args:
        values: 3 x H x W, RGB in 0..1.
        factor: 0 or more.
    """
    top = values.amax(0, keepdim=True)
    spread = top - values.amin(0, keepdim=True)  # saturation times top
    stretch = (top / spread.clamp(min=1e-8)).clamp(max=factor)
    return top - (top - values) * stretch


class Blur(ValueTransform):
    """Blur by a Gaussian.

    Args:
        sigma: range of its standard deviation in pixels, drawn uniformly.
    """

    def __init__(self, sigma: tuple[float, float]) -> None:
        super().__init__()
        self.sigma = sigma

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"sigma": float(torch.empty(()).uniform_(*self.sigma))}

    def changed(self, values: Tensor, params: dict[str, Any]) -> Tensor:
        # torchvision's kernel must be smaller than the image
        if values.device.type == "cpu":
            blurred = gaussian_filter(values.numpy(), params["sigma"], axes=(1, 2), mode="reflect")
            return torch.from_numpy(blurred).clamp(0, 1)
        rows, columns = (
            upload(blur_matrix(length, params["sigma"]), values.device) for length in values.shape[1:]
        )
        return (rows @ values @ columns.T).clamp(0, 1)


def blur_matrix(length: int, sigma: float) -> Tensor:
    """Return the matrix (N x N float32) that blurs columns of so many pixels, the same at each border."""
    return torch.from_numpy(
        gaussian_filter1d(np.eye(length, dtype=np.float32), sigma, axis=0, mode="reflect")
    )


class Noise(ValueTransform):
    """Add Gaussian noise, independent in each pixel and channel.

    Args:
        std: range of its standard deviation, drawn uniformly, where 1 is the range of the image's values.
    """

    def __init__(self, std: tuple[float, float]) -> None:
        super().__init__()
        self.std = std

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        seed = int(torch.randint(2**63 - 1, ()))
        return {"std": float(torch.empty(()).uniform_(*self.std)), "seed": seed}

    def changed(self, values: Tensor, params: dict[str, Any]) -> Tensor:
        generator = torch.Generator(values.device).manual_seed(params["seed"])
        noise = torch.randn(values.shape, generator=generator, device=values.device)
        return (values + params["std"] * noise).clamp(0, 1)
