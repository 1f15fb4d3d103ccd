from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segbench.contract.recipe import Augment
from segbench.data.loading import resizing
from segbench.data.loading.resizing import (
    FixedSize,
    ResizeCrop,
    Scale,
    Side,
    framed_size,
    jittered_size,
    largest_share,
    resize_of,
    short_side_size,
)
from segbench.data.loading.transforms import training_transform

SHORT_SIDES = [640, 672, 704, 736, 768, 800]
"""Mask R-CNN's in detectron2, with a longest side of 1333."""


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((427, 640), [(640, 959), (672, 1007), (704, 1055), (736, 1103), (768, 1151), (800, 1199)]),
        ((640, 427), [(959, 640), (1007, 672), (1055, 704), (1103, 736), (1151, 768), (1199, 800)]),
        ((375, 1242), [(402, 1333)] * 6),
        ((333, 500), [(640, 961), (672, 1009), (704, 1057), (736, 1105), (768, 1153), (800, 1201)]),
    ],
)
def test_short_sides_give_the_sizes_of_detectron2(size: tuple[int, int], expected: list) -> None:
    """Recorded from `ResizeShortestEdge.get_transform` of detectron2."""
    assert [short_side_size(*size, short, 1333) for short in SHORT_SIDES] == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((427, 640), [(68, 102), (239, 358), (547, 819), (683, 1024), (936, 1403), (1366, 2048)]),
        ((1024, 2048), [(51, 102), (179, 358), (410, 819), (512, 1024), (701, 1403), (1024, 2048)]),
    ],
)
def test_large_scale_jitter_gives_the_sizes_of_detectron2(size: tuple[int, int], expected: list) -> None:
    """Recorded from `ResizeScale._get_resize` of detectron2."""
    factors = (0.1, 0.35, 0.8, 1.0, 1.37, 2.0)
    assert [jittered_size(*size, (1024, 1024), factor) for factor in factors] == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((683, 512), [(342, 256), (499, 374), (683, 512), (843, 632), (1195, 896), (1366, 1024)]),
        ((375, 500), [(256, 341), (374, 499), (512, 683), (632, 843), (896, 1195), (1024, 1365)]),
        ((1024, 2048), [(256, 512), (374, 748), (512, 1024), (632, 1264), (896, 1792), (1024, 2048)]),
    ],
)
def test_a_ratio_range_gives_the_sizes_of_mmsegmentation(size: tuple[int, int], expected: list) -> None:
    """Recorded from mmcv's `RandomResize` with keep_ratio and `rescale_size`, for the frame 2048 x 512."""
    ratios = (0.5, 0.731, 1.0, 1.2345, 1.75, 2.0)
    assert [framed_size(*size, (2048, 512), ratio) for ratio in ratios] == expected
    assert [framed_size(*size, (512, 2048), ratio) for ratio in ratios] == expected


@pytest.mark.parametrize(
    ("augment", "low", "high"),
    [
        ({"short_sides": [20, 30, 40]}, 20, 40),
        ({"short_sides": [20, 300], "max_side": 60}, 20, 40),
        ({"ratio_range": {"base": [90, 60], "range": [0.5, 2]}}, 30, 120),
        ({"large_scale_jitter": {"range": [0.5, 2], "size": [60, 60]}}, 20, 80),
    ],
)
def test_all_sizes_of_a_range_are_drawn(augment: dict, low: int, high: int) -> None:
    torch.manual_seed(0)
    resize = resize_of(Augment.model_validate(augment))
    heights = [resize(60, 90)[0].length for _ in range(400)]
    assert min(heights) >= low and max(heights) <= high
    assert min(heights) - low <= (high - low) / 50 and high - max(heights) <= (high - low) / 50
    middle = sum(height > (low + high) / 2 for height in heights) / 400
    assert 0.3 < middle < 0.7 or "short_sides" in augment


def test_each_short_side_is_as_frequent() -> None:
    torch.manual_seed(0)
    resize = resize_of(Augment(short_sides=[20, 30, 40]))
    drawn = [resize(60, 90)[0].length for _ in range(600)]
    assert all(abs(drawn.count(length) - 200) < 50 for length in (20, 30, 40))


def test_draws_of_scale_and_crop_are_those_of_earlier_versions() -> None:
    """A training that was stopped goes on to the same weights: recorded windows and sizes."""
    image = tv_tensors.Image(torch.zeros(1, 60, 72, dtype=torch.uint8))
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        params = ResizeCrop(Scale((0.5, 2.0)), (48, 40)).make_params([image])
        found.append([(window.start, window.stop, size) for window, size in zip(*params.values())])
    assert found == [
        [(2, 41, 48), (23, 55, 40)],
        [(16, 45, 48), (7, 31, 40)],
        [(13, 47, 48), (37, 65, 40)],
    ]


@pytest.mark.parametrize("factor", [0.1, 0.7, 1.9])
def test_no_crop_keeps_the_whole_image(factor: float) -> None:
    torch.manual_seed(0)
    image = tv_tensors.Image(torch.zeros(1, 61, 83, dtype=torch.uint8))
    sides = tuple(Side(round(n * factor), round(n * factor) / n) for n in (61, 83))
    params = ResizeCrop(lambda height, width: sides, None).make_params([image])
    assert params["window"] == [slice(0, 61), slice(0, 83)]
    assert params["size"] == [side.length for side in sides]


def test_resize_gives_one_size_with_boxes_and_masks() -> None:
    change = training_transform(Augment(resize=(30, 90), horizontal_flip=False), [0], [1])
    boxes = tv_tensors.BoundingBoxes([[10.0, 10, 20, 30]], format="XYXY", canvas_size=(60, 60))
    mask = tv_tensors.Mask(torch.ones(2, 60, 60, dtype=torch.int32))
    image, mask, boxes = change(tv_tensors.Image(torch.zeros(1, 60, 60, dtype=torch.uint8)), mask, boxes)
    assert image.shape == (1, 30, 90) and mask.shape == (2, 30, 90) and boxes.canvas_size == (30, 90)
    assert boxes.tolist() == [[15, 5, 30, 15]]


def test_large_scale_jitter_crops_and_pads_to_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large image is never resized as a whole."""
    torch.manual_seed(0)
    resized = []
    resize = resizing.F.resize_image
    monkeypatch.setattr(
        resizing.F, "resize_image", lambda i, size, mode: resized.append(size) or resize(i, size, mode)
    )
    change = training_transform(
        Augment.model_validate({"large_scale_jitter": {"range": [0.1, 4], "size": [64, 48]}}), [0], [1]
    )
    for _ in range(20):
        image = tv_tensors.Image(torch.full((1, 50, 70), 255, dtype=torch.uint8))
        mask = tv_tensors.Mask(torch.ones(1, 50, 70, dtype=torch.int32))
        image, mask = change(image, mask)
        assert image.shape == mask.shape == (1, 64, 48)
        assert ((image > 0.5) == (mask > 0)).all()
    assert max(height for height, _ in resized) <= 64 and max(width for _, width in resized) <= 48
    crop = Augment.model_validate({"large_scale_jitter": {"size": [64, 48]}, "crop": [32, 32]})
    assert crop.crop_size == (32, 32)


def half(share: float) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """An image of 100 x 100 whose columns beyond a share have a second class."""
    mask = torch.ones(1, 100, 100, dtype=torch.int32)
    mask[..., round(100 * share) :] = 2
    return tv_tensors.Image(torch.zeros(1, 100, 100, dtype=torch.uint8)), tv_tensors.Mask(mask)


def test_crops_of_one_class_are_drawn_again() -> None:
    """A crop of 20 columns has less than 75 % of one class in 9 of 81 places.

    The first draw and ten more miss them with probability (72 / 81)^11 = 0.27.
    """
    torch.manual_seed(0)
    image, mask = half(0.5)
    change = ResizeCrop(Scale((1.0, 1.0)), (20, 20), max_class_share=0.75)
    good = 0
    for _ in range(200):
        window = change.make_params([image, mask, np.zeros(0, np.int64)])["window"]
        good += 36 <= window[1].start <= 44
    assert 0.64 < good / 200 < 0.82


def test_segments_of_one_class_count_together() -> None:
    """Two segments of half the crop each are one class: every crop is drawn eleven times."""
    image, mask = half(0.5)
    change = ResizeCrop(FixedSize((100, 100)), (90, 90), max_class_share=0.75)
    for labels, draws in (([4, 4], 11), ([4, 5], 1)):
        torch.manual_seed(0)
        change.make_params([image, mask, np.array(labels, np.int64)])
        after = torch.get_rng_state()
        torch.manual_seed(0)
        for _ in range(2 * draws):
            torch.randint(11, ())
        assert torch.equal(torch.get_rng_state(), after)


def test_shares_are_of_labelled_pixels() -> None:
    assert largest_share(torch.tensor([[0, 0, 0], [1, 1, 2]])) == pytest.approx(2 / 3)
    assert largest_share(torch.zeros(2, 2, dtype=torch.int32)) == 1
