"""Paper recipes against numbers of the authors' code. docs/paper_recipes.md names the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from segbench.config.resolve import resolve
from segbench.contract.recipe import LargeScaleJitter, Photometric, Recipe
from segbench.training.optimizer import rate_factor

CONFIG = Path(__file__).parents[2] / "config"


def paper(model: str, dataset: str) -> Recipe:
    raw = {"datasets": [dataset], "models": [model], "controls": [], "recipe": "paper"}
    (cell,) = resolve(raw, CONFIG, check_code=False).cells
    assert cell.recipe is not None
    return cell.recipe


def assert_rates(recipe: Recipe, rates: dict[int, float]) -> None:
    """Compare the learning rate, without the factor of the backbone, at some iterations."""
    assert recipe.iterations is not None
    for iteration, rate in rates.items():
        ours = recipe.optimizer.lr * rate_factor(recipe.schedule, iteration, recipe.iterations)
        assert ours == pytest.approx(rate, rel=1e-4), iteration


def test_mask_rcnn_on_coco() -> None:
    recipe = paper("mask_rcnn_resnet50_fpn", "coco2017")
    assert_rates(
        recipe, {0: 0.00666667, 250: 0.0133333, 500: 0.02, 119_999: 0.02, 120_000: 0.002, 159_999: 0.002}
    )
    assert (recipe.iterations, recipe.batch_size, recipe.gpus) == (160_000, 16, 8)
    assert (recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (0.9, 1e-4)
    assert (recipe.augment.short_sides, recipe.augment.max_side) == ([800], 1333)
    assert (recipe.inference.short_side, recipe.inference.max_side) == (800, 1333)
    assert recipe.augment.resizes == ["short_sides"]
    assert recipe.augment.horizontal_flip and recipe.augment.crop is None and recipe.skip_empty


def test_mask2former_on_coco() -> None:
    recipe = paper("mask2former_resnet50", "coco2017")
    assert_rates(recipe, {0: 1e-4, 327_777: 1e-4, 327_778: 1e-5, 355_091: 1e-5, 355_092: 1e-6})
    assert (recipe.iterations, recipe.batch_size, recipe.clip_norm) == (368_750, 16, 0.01)
    assert (recipe.optimizer.backbone_lr_factor, recipe.optimizer.weight_decay) == (0.1, 0.05)
    assert recipe.augment.large_scale_jitter == LargeScaleJitter(range=(0.1, 2.0), size=(1024, 1024))
    assert recipe.augment.crop_size == (1024, 1024) and recipe.augment.photometric is None


@pytest.mark.parametrize(
    ("dataset", "iterations", "shortest", "longest", "crop", "limits", "middle"),
    [
        ("ade20k", 160_000, [256, 307, 358], 1024, (512, 512), (2048, 512, 2048), 5.35887e-5),
        ("cityscapes", 90_000, [512, 614, 716], 2048, (512, 1024), (4096, 1024, 2048), 5.35887e-5),
    ],
)
def test_mask2former_on_other_datasets(
    dataset: str,
    iterations: int,
    shortest: list[int],
    longest: int,
    crop: tuple[int, int],
    limits: tuple[int, int, int],
    middle: float,
) -> None:
    recipe = paper("mask2former_resnet50", dataset)
    assert recipe.iterations == iterations
    assert_rates(recipe, {0: 1e-4, iterations // 2: middle})
    sides = recipe.augment.short_sides
    assert sides is not None and len(sides) == 16
    assert (sides[:3], sides[-1], recipe.augment.crop) == (shortest, longest, crop)
    test = recipe.inference
    assert (recipe.augment.max_side, test.short_side, test.max_side) == limits
    assert recipe.augment.photometric == Photometric(
        brightness=32, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=18
    )
    assert recipe.augment.max_class_share is None and recipe.augment.large_scale_jitter is None


@pytest.mark.parametrize(
    ("dataset", "iterations", "crop"), [("ade20k", 126_300, 473), ("cityscapes", 37_200, 713)]
)
def test_pspnet(dataset: str, iterations: int, crop: int) -> None:
    recipe = paper("pspnet_resnet50", dataset)
    assert recipe.iterations == iterations and recipe.batch_size == 16 and recipe.sync_batch_norm
    assert_rates(recipe, {0: 0.1, iterations // 2: 0.0535887})  # heads; a tenth for the backbone
    assert recipe.optimizer.backbone_lr_factor == 0.1
    augment, test = recipe.augment, recipe.inference
    assert (augment.scale, augment.crop) == ((0.5, 2.0), (crop, crop))
    assert augment.rotate is not None and augment.blur is not None
    assert (augment.rotate.degrees, augment.rotate.probability) == (10, 0.5)
    assert (augment.blur.sigma, augment.blur.probability) == ((1.0, 1.0), 0.5)
    assert (test.window, test.flip, test.scales) == ((crop, crop), True, [1.0])
    assert test.overlap == pytest.approx(1 / 3, abs=1e-3)
