from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from painted import LABELS, inner, painted, shown
from torchvision import tv_tensors
from torchvision.transforms import v2

from segbench.contract.recipe import Augment
from segbench.data.loading.colour import BrightnessContrast
from segbench.data.loading.transforms import plain_transform, training_transform

ALL = Augment(
    scale=(0.5, 2.0), crop=(48, 40), horizontal_flip=True, vertical_flip=True, rotate90=True, color_jitter=0.0
)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("augment", [ALL, Augment(crop=(48, 40), rotate90=True), Augment(scale=(0.5, 2.0))])
def test_image_and_mask_change_alike(augment: Augment, seed: int) -> None:
    torch.manual_seed(seed)
    image, mask = training_transform(augment, [0] * 3, [1] * 3)(*painted(60, 72))
    assert image.shape[1:] == mask.shape[1:]
    alike = inner(mask, 2)
    assert alike.sum() > 100
    assert (shown(image)[alike] - mask[0][alike]).abs().max() < 0.06


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
    assert ((shown(changed) > 1.5) == (truth[0] == 2)).all()


def test_crop_is_padded_with_mean_colour_and_void() -> None:
    augment = Augment(crop=(50, 90))
    image, mask = training_transform(augment, [0.5, 0.4, 0.3], [0.2] * 3)(*painted(40, 100))
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
    image, mask = painted(20, 20)
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
    image, mask = painted(60, 72)
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
    assert jitter(tv_tensors.Image(image), mask)[1] is mask


def test_channels_without_colours_get_no_saturation() -> None:
    jitter = Augment(color_jitter=0.3)
    kinds = [
        [type(t).__name__ for t in training_transform(jitter, [0] * n, [1] * n).transforms] for n in (3, 5)
    ]
    assert "ColorJitter" in kinds[0] and "BrightnessContrast" in kinds[1] and "ColorJitter" not in kinds[1]


def ranges(low: float, high: float) -> st.SearchStrategy:
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(sorted)


RESIZES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"scale": ranges(0.4, 1.6)}),
    st.fixed_dictionaries({"resize": st.tuples(st.integers(30, 100), st.integers(30, 100))}),
    st.fixed_dictionaries(
        {"short_sides": st.lists(st.integers(20, 100), min_size=1, max_size=3)},
        optional={"max_side": st.integers(30, 150)},
    ),
    st.fixed_dictionaries(
        {
            "large_scale_jitter": st.fixed_dictionaries(
                {"range": ranges(0.3, 1.6), "size": st.tuples(st.integers(30, 60), st.integers(30, 60))}
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "ratio_range": st.fixed_dictionaries(
                {"range": ranges(0.4, 1.6), "base": st.tuples(st.integers(40, 60), st.integers(40, 60))}
            )
        }
    ),
)
GEOMETRY = st.fixed_dictionaries(
    {},
    optional={
        "crop": st.tuples(st.integers(20, 90), st.integers(20, 90)),
        "horizontal_flip": st.booleans(),
        "vertical_flip": st.booleans(),
        "rotate90": st.booleans(),
        "rotate": st.fixed_dictionaries({"degrees": st.floats(1, 180)}),
        "elastic": st.sampled_from([{"std": 3}, {"alpha": 80, "sigma": 6}]),
    },
)


@settings(max_examples=40, deadline=None)
@given(
    resize=RESIZES,
    geometry=GEOMETRY,
    size=st.tuples(st.integers(60, 90), st.integers(60, 90)),
    channels=st.sampled_from([1, 3, 5]),
    dtype=st.sampled_from([torch.uint8, torch.float32]),
    seed=st.integers(0, 1000),
)
def test_image_and_mask_stay_aligned_under_all_changes(
    resize: dict, geometry: dict, size: tuple[int, int], channels: int, dtype: torch.dtype, seed: int
) -> None:
    """The image shows the label of the mask; where the mask is void, it shows the mean colour, here 0."""
    augment = Augment.model_validate(resize | geometry)
    torch.manual_seed(seed)
    change = training_transform(augment, [0] * channels, [1] * channels)
    image, mask = change(*painted(*size, channels, dtype))
    assert image.shape == (channels, *mask.shape[1:]) and image.dtype == torch.float32
    assert mask.dtype == torch.int32 and set(mask.unique().tolist()) <= set(range(LABELS + 1))
    if augment.crop_size:
        wanted = [min(crop, got) for crop, got in zip(augment.crop_size, image.shape[1:])]
        assert tuple(wanted) == augment.crop_size
    alike = inner(mask, 5)  # two warps, each of which interpolates over a pixel, then resized to 1.7 times
    assert not alike.any() or (shown(image)[alike] - mask[0][alike]).abs().max() < 0.06


FULL = {
    "crop": [32, 40],
    "max_class_share": 0.9,
    "vertical_flip": True,
    "rotate90": True,
    "rotate": {"degrees": 90},
    "elastic": {"std": 2},
    "photometric": {},
    "blur": {"sigma": [0.5, 1]},
    "noise": {"std": [0, 0.1]},
}
"""All changes but a resize."""


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(
    "resize",
    [
        {"scale": [0.5, 2]},
        {"resize": [50, 40]},
        {"short_sides": [40, 60], "max_side": 80},
        {"large_scale_jitter": {"size": [40, 40]}},
        {"ratio_range": {"base": [80, 40]}},
    ],
)
def test_all_changes_together(resize: dict, channels: int, dtype: torch.dtype) -> None:
    augment = Augment.model_validate(FULL | resize)
    change = training_transform(augment, [0.5] * channels, [0.2] * channels)
    boxes = tv_tensors.BoundingBoxes([[5.0, 10, 30, 40]], format="XYXY", canvas_size=(60, 72))
    for seed in range(3):
        image, mask = painted(60, 72, channels, dtype)
        layers = tv_tensors.Mask(torch.cat([mask, mask * 100_000]))
        torch.manual_seed(seed)
        changed, truth, labels = change(image, layers, np.zeros(0, np.int64))
        assert changed.shape == (channels, 32, 40) and changed.dtype == torch.float32
        assert changed.isfinite().all() and changed.abs().max() <= 0.5 / 0.2 + 1e-4
        assert truth.dtype == torch.int32 and torch.equal(truth[1], truth[0] * 100_000)
        assert not len(labels)
        torch.manual_seed(seed)  # boxes change nothing of what is drawn
        alone = training_transform(
            augment.model_copy(update={"max_class_share": None}), [0.5] * channels, [0.2] * channels
        )
        changed, moved = alone(image, boxes)
        assert changed.shape == (channels, 32, 40) and moved.canvas_size == (32, 40)
        assert moved.isfinite().all()


def test_the_changes_are_applied_in_their_order() -> None:
    augment = Augment.model_validate(FULL | {"short_sides": [40]})
    names = [
        type(one.transforms[0] if isinstance(one, v2.RandomApply) else one).__name__
        for one in training_transform(augment, [0] * 3, [1] * 3).transforms
    ]
    assert names == [
        *("Rotate90", "Rotate", "GridElastic", "ResizeCrop", "RandomHorizontalFlip", "RandomVerticalFlip"),
        *("Photometric", "Blur", "Noise", "Compose", "PadTo"),
    ]


@pytest.mark.parametrize("key", ["rotate", "elastic", "blur", "noise"])
def test_probabilities(key: str) -> None:
    """A change with probability 0.25 is seen in a quarter of the images."""
    torch.manual_seed(0)
    settings = {"blur": {"sigma": [2, 2]}, "noise": {"std": [0.1, 0.1]}}.get(key, FULL[key])
    augment = Augment.model_validate({"horizontal_flip": False, key: {**settings, "probability": 0.25}})
    change = training_transform(augment, [0] * 3, [1] * 3)
    image, mask = painted(20, 30)
    changed = sum(not torch.allclose(change(image, mask)[0], image / 255, atol=1e-6) for _ in range(200))
    assert 30 < changed < 70
