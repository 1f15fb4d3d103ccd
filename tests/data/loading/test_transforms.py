from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchvision import tv_tensors

from segbench.contract.recipe import Augment
from segbench.data.loading.colour import BrightnessContrast
from segbench.data.loading.transforms import plain_transform, training_transform

ALL = Augment(
    scale=(0.5, 2.0), crop=(48, 40), horizontal_flip=True, vertical_flip=True, rotate90=True, color_jitter=0.0
)


def scene(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """An image whose channel 0 is 40 times its mask: four fields of different shapes, values 1 to 4."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = 1 + (y > height // 3).int() + 2 * (x + y > width // 2).int()
    image = torch.stack([mask * 40, mask * 20, mask * 10]).to(torch.uint8)
    return tv_tensors.Image(image), tv_tensors.Mask(mask[None])


def denormalised(image: torch.Tensor) -> torch.Tensor:
    """Channel 0 as a multiple of 40, after a normalisation with mean 0 and deviation 1."""
    return image[0] * 255 / 40


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("augment", [ALL, Augment(crop=(48, 40), rotate90=True), Augment(scale=(0.5, 2.0))])
def test_image_and_mask_change_alike(augment: Augment, seed: int) -> None:
    torch.manual_seed(seed)
    image, mask = training_transform(augment, [0] * 3, [1] * 3)(*scene(60, 72))
    assert image.shape[1:] == mask.shape[1:]
    values = mask.as_subclass(torch.Tensor).float()
    # away from the edges of fields, where the image is interpolated
    padded = F.pad(values[None], (2, 2, 2, 2), mode="replicate")
    inner = (F.max_pool2d(padded, 5, 1) == -F.max_pool2d(-padded, 5, 1))[0, 0]
    assert inner.sum() > 100
    assert (denormalised(image)[inner] - values[0][inner]).abs().max() < 0.06


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_scaling_does_not_shift_the_mask_against_the_image(factor: float) -> None:
    """Edges of the mask are where the image crosses the middle between two values."""
    mask = torch.ones(1, 30, 30, dtype=torch.int32)
    mask[:, :, 18:] = 2
    image = (mask.expand(3, -1, -1) * 40).to(torch.uint8)
    augment = Augment(scale=(factor, factor), horizontal_flip=False)
    changed, truth = training_transform(augment, [0] * 3, [1] * 3)(
        tv_tensors.Image(image), tv_tensors.Mask(mask)
    )
    assert changed.shape[1:] == truth.shape[1:] == (round(30 * factor),) * 2
    assert ((denormalised(changed) > 1.5) == (truth[0] == 2)).all()


def test_crop_is_padded_with_mean_colour_and_void() -> None:
    augment = Augment(crop=(50, 90))
    image, mask = training_transform(augment, [0.5, 0.4, 0.3], [0.2] * 3)(*scene(40, 100))
    assert image.shape == (3, 50, 90) and mask.shape == (1, 50, 90)
    assert (image[:, 40:] == 0).all() and (mask[:, 40:] == 0).all()
    assert (mask[:, :40] > 0).all()


def test_crops_reach_every_part_of_the_image() -> None:
    torch.manual_seed(0)
    mask = tv_tensors.Mask(torch.arange(64, dtype=torch.int32).view(1, 8, 8) + 1)
    image = tv_tensors.Image(torch.zeros(1, 8, 8, dtype=torch.uint8))
    change = training_transform(Augment(crop=(3, 3)), [0], [1])
    seen = torch.cat([change(image, mask)[1].flatten() for _ in range(300)]).unique()
    assert len(seen) == 64


def test_flips_and_turns_give_all_eight_views() -> None:
    torch.manual_seed(0)
    mask = tv_tensors.Mask(torch.arange(4, dtype=torch.int32).view(1, 2, 2) + 1)
    image = tv_tensors.Image(torch.zeros(1, 2, 2, dtype=torch.uint8))
    augment = Augment(vertical_flip=True, rotate90=True)
    change = training_transform(augment, [0], [1])
    assert len({tuple(change(image, mask)[1].flatten().tolist()) for _ in range(200)}) == 8


def test_jitter_changes_only_the_image() -> None:
    torch.manual_seed(0)
    image, mask = scene(20, 20)
    augment = Augment(horizontal_flip=False, color_jitter=0.5)
    changed, truth = training_transform(augment, [0] * 3, [1] * 3)(image, mask)
    assert (truth == mask).all()
    assert (changed - image / 255).abs().mean() > 0.01


def test_plain_transform_normalises_and_survives_a_constant_channel() -> None:
    image = tv_tensors.Image(torch.full((2, 4, 4), 51, dtype=torch.uint8))
    changed = plain_transform([0.1, 0.2], [0.5, 0.0])(image)
    expected = torch.tensor([0.2, 0.0]).view(2, 1, 1).expand(2, 4, 4)
    assert torch.allclose(changed, expected, atol=1e-6)


def test_any_number_of_channels_changes_alike() -> None:
    """Flips, turns, scales and crops of eight channels are those of each channel."""
    image, mask = scene(60, 72)
    many = tv_tensors.Image(image[[0, 1, 2, 0, 1, 2, 2, 1]].float() / 255)
    for seed in range(5):
        torch.manual_seed(seed)
        changed, truth = training_transform(ALL, [0] * 8, [1] * 8)(many, mask)
        torch.manual_seed(seed)
        expected, same = training_transform(ALL, [0] * 3, [1] * 3)(tv_tensors.Image(many[:3]), mask)
        assert (truth == same).all()
        torch.testing.assert_close(changed[:3], expected)
        torch.testing.assert_close(changed[3:6], expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_jitter_of_many_channels_keeps_what_is_between_them(dtype: torch.dtype) -> None:
    image = torch.rand(5, 20, 30) * 0.4 + 0.3
    image = (image * 255).round().to(torch.uint8) if dtype == torch.uint8 else image
    jitter = BrightnessContrast(0.2)
    factors = {"brightness": 1.1, "contrast": 0.9}
    values = image.double() / (255 if dtype == torch.uint8 else 1)
    mean = values.mean((1, 2), keepdim=True)
    for first in (0, 1):  # around the mean, both orders are the same where nothing is clipped
        changed = jitter.transform(tv_tensors.Image(image), {"factors": factors, "first": first})
        expected = 1.1 * (mean + 0.9 * (values - mean))
        assert changed.dtype == dtype
        found = changed.double() / (255 if dtype == torch.uint8 else 1)
        assert (found - expected).abs().max() < (0.51 / 255 if dtype == torch.uint8 else 1e-6)
    torch.manual_seed(3)
    drawn = [jitter.make_params([])["factors"] for _ in range(200)]
    assert all(0.8 <= value <= 1.2 for params in drawn for value in params.values())
    mask = tv_tensors.Mask(torch.ones(1, 20, 30))
    assert jitter.transform(mask, {"factors": factors, "first": 0}) is mask


def test_channels_without_colours_get_no_saturation() -> None:
    jitter = Augment(color_jitter=0.3)
    kinds = [
        [type(t).__name__ for t in training_transform(jitter, [0] * n, [1] * n).transforms] for n in (3, 5)
    ]
    assert "ColorJitter" in kinds[0] and "BrightnessContrast" in kinds[1] and "ColorJitter" not in kinds[1]
