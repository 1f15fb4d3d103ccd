from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segbench.data.loading.colour import (
    Blur,
    BrightnessContrast,
    ColorJitter,
    Noise,
    Photometric,
    saturated,
)

PAPER = Photometric(32, (0.5, 1.5), (0.5, 1.5), 18)


def reference(image: np.ndarray, steps: list[tuple[str, float]]) -> np.ndarray:
    """mmsegmentation's steps on an H x W x 3 image in 0..1, pixel by pixel."""
    result = image.astype(np.float64).copy()
    for name, amount in steps:
        if name == "brightness":
            result = np.clip(result + amount, 0, 1)
        elif name == "contrast":
            result = np.clip(result * amount, 0, 1)
        else:
            for pixel in result.reshape(-1, 3):
                hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
                if name == "saturation":
                    saturation = min(1.0, saturation * amount)
                else:
                    hue = (hue + amount) % 1
                pixel[:] = colorsys.hsv_to_rgb(hue, saturation, value)
    return result


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    "steps",
    [
        [("brightness", 32 / 255)],
        [("contrast", 1.4)],
        [("saturation", 1.5)],
        [("saturation", 0.5)],
        [("hue", 0.1)],
        [("brightness", -0.1), ("contrast", 0.6), ("saturation", 1.3), ("hue", -0.07)],
        [("brightness", 0.1), ("saturation", 0.7), ("hue", 0.1), ("contrast", 1.5)],
    ],
)
def test_photometric_distortion_is_that_of_mmsegmentation(dtype: torch.dtype, steps: list) -> None:
    torch.manual_seed(0)
    image = torch.randint(256, (3, 6, 7), dtype=torch.uint8)
    image[:, 0] = 77  # a row of grey
    image[:, 1] = 0
    image = image if dtype == torch.uint8 else image / 255
    changed = PAPER.transform(tv_tensors.Image(image), {"steps": steps})
    assert changed.dtype == dtype and isinstance(changed, tv_tensors.Image)
    limit = 255 if dtype == torch.uint8 else 1
    expected = reference((image / limit).permute(1, 2, 0).numpy(), steps).transpose(2, 0, 1)
    tolerance = 0.51 / 255 if dtype == torch.uint8 else 2e-5
    assert (changed.numpy() / limit - expected).__abs__().max() < tolerance


def test_photometric_steps_are_drawn_as_in_the_paper() -> None:
    """Each step in half of the images, contrast before or after the colours, amounts in their ranges."""
    torch.manual_seed(0)
    drawn = [PAPER.make_params([])["steps"] for _ in range(2000)]
    names = [[name for name, _ in steps] for steps in drawn]
    for name, low, high in (
        ("brightness", -32 / 255, 32 / 255),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -0.1, 0.1),
    ):
        amounts = [amount for steps in drawn for key, amount in steps if key == name]
        assert abs(len(amounts) - 1000) < 100
        assert low <= min(amounts) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < max(amounts) <= high
    full = [tuple(one) for one in names if len(one) == 4]
    before = full.count(("brightness", "contrast", "saturation", "hue"))
    after = full.count(("brightness", "saturation", "hue", "contrast"))
    assert before + after == len(full) and abs(before - after) < 60
    assert abs(sum(not one for one in names) - 125) < 50


def test_two_steps_are_drawn_independently() -> None:
    torch.manual_seed(1)
    drawn = [{name for name, _ in PAPER.make_params([])["steps"]} for _ in range(2000)]
    assert abs(sum({"saturation", "hue"} <= one for one in drawn) - 500) < 80


@pytest.mark.parametrize("channels", [1, 5])
def test_channels_without_colours_get_brightness_and_contrast(channels: int) -> None:
    image = tv_tensors.Image(torch.rand(channels, 8, 9))
    steps = [("brightness", 0.05), ("saturation", 0.1), ("hue", 0.1), ("contrast", 0.5)]
    changed = PAPER.transform(image, {"steps": steps})
    torch.testing.assert_close(changed.as_subclass(torch.Tensor), (image + 0.05).clamp(max=1) * 0.5)


def test_saturation_stops_at_its_largest_value() -> None:
    """HSV (h, 0.5, 0.8) has its saturation doubled and trebled: both are (h, 1, 0.8)."""
    pixel = torch.tensor([0.8, 0.4, 0.6]).view(3, 1, 1)
    for factor in (2.0, 3.0):
        torch.testing.assert_close(saturated(pixel, factor).flatten(), torch.tensor([0.8, 0.0, 0.4]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_blurred_point_is_a_gaussian(dtype: torch.dtype) -> None:
    image = torch.zeros(2, 31, 41)
    image[0, 15, 20] = 1
    image = image if dtype == torch.float32 else (255 * image).to(torch.uint8)
    changed = Blur((1.5, 1.5)).transform(tv_tensors.Image(image), {"sigma": 1.5})
    assert changed.dtype == dtype and not changed[1].any()
    for dy, dx in ((0, 0), (1, 0), (0, 2), (3, 3)):
        density = math.exp(-(dy**2 + dx**2) / (2 * 1.5**2)) / (2 * math.pi * 1.5**2)
        expected = density if dtype == torch.float32 else round(255 * density)
        assert float(changed[0, 15 + dy, 20 + dx]) == pytest.approx(expected, rel=0.01)


def test_blur_keeps_a_constant_and_takes_tiny_images() -> None:
    for size in ((1, 1), (3, 200)):
        image = tv_tensors.Image(torch.full((5, *size), 90, dtype=torch.uint8))
        assert (Blur((9.0, 9.0))(image) == 90).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_noise_has_its_deviation_and_no_shift(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    middle = 128 if dtype == torch.uint8 else 128 / 255
    image = tv_tensors.Image(torch.full((3, 200, 200), middle, dtype=dtype))
    changed = Noise((0.01, 0.01))(image).double() / (255 if dtype == torch.uint8 else 1)
    rounding = 1 / 255**2 / 12 if dtype == torch.uint8 else 0
    assert float(changed.std()) == pytest.approx(math.sqrt(0.01**2 + rounding), rel=0.02)
    assert float(changed.mean()) == pytest.approx(128 / 255, abs=1e-4)
    flat = changed.flatten(1)
    assert abs(torch.corrcoef(flat)[0, 1]) < 0.02


def test_noise_stays_in_the_range_of_values() -> None:
    torch.manual_seed(0)
    dark = Noise((0.5, 0.5))(tv_tensors.Image(torch.zeros(1, 50, 50, dtype=torch.uint8)))
    assert (dark == 0).float().mean() > 0.4 and (dark == 255).any()


@pytest.mark.parametrize("change", [PAPER, Blur((1, 2)), Noise((0.1, 0.2)), BrightnessContrast(0.5)])
def test_truth_stays(change: torch.nn.Module) -> None:
    torch.manual_seed(0)
    mask = tv_tensors.Mask(torch.randint(5, (2, 8, 9), dtype=torch.int32))
    boxes = tv_tensors.BoundingBoxes([[1.0, 2, 3, 4]], format="XYXY", canvas_size=(8, 9))
    image = tv_tensors.Image(torch.randint(256, (5, 8, 9), dtype=torch.uint8))
    _, same, labels = change(image, mask, np.array([1]))
    assert torch.equal(same, mask) and labels.tolist() == [1]
    _, same = change(image, boxes)
    assert same.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_jitter_is_that_of_torchvision_to_the_bit(channels: int, dtype: torch.dtype) -> None:
    for seed in range(40):
        torch.manual_seed(seed)
        image = torch.randint(256, (channels, 31, 40 + seed), dtype=torch.uint8)
        given = tv_tensors.Image(image if dtype == torch.uint8 else image / 255)
        strength = 0.2 + 0.8 * (seed % 2)
        found, expected = (
            (torch.manual_seed(seed), jitter(strength, strength, strength)(given))[1]
            for jitter in (ColorJitter, v2.ColorJitter)
        )
        assert type(found) is tv_tensors.Image and torch.equal(found, expected)
