"""What the recipes promise: on a dataset, all networks see the same images and pixels on the same backbone.

docs/protocol.md explains the promises.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from segbench.config.registry import entry_names, read_protocol, read_yaml
from segbench.config.resolve import resolve
from segbench.config.resolved_run import PlannedCell
from segbench.config.signature import constructor_options
from segbench.contract.recipe import Recipe

CONFIG = Path(__file__).parents[2] / "config"
NETWORKS = [
    name
    for name in entry_names(CONFIG / "models")
    if read_yaml(CONFIG / "models" / f"{name}.yaml").get("trained", True)
]
DATASETS = ["voc2012_sbd", "ade20k", "cityscapes", "coco2017", "drive", "street"]

STANDARD = {
    "voc2012_sbd": (640_000, (512, 512)),
    "ade20k": (1_280_000, (512, 512)),
    "cityscapes": (640_000, (512, 1024)),
    "coco2017": (1_440_000, None),
    "drive": (80_000, None),
    "street": (32_000, None),
}
"""Images, and the crop (None: whole images)."""

FAMILIES = {
    "dense": "fcn8s_vgg16 fcn16s_vgg16 fcn32s_vgg16 fcn_resnet50 deeplabv3_resnet50 deeplabv3plus_resnet50"
    " pspnet_resnet50 resnet34_unet lraspp_mobilenet_v3 deeplabv3_mobilenet_v3 smp_unetplusplus_resnet34"
    " smp_manet_resnet34 upernet_convnext_tiny dinov2_small_linear",
    "segformer": "segformer_b0 segformer_b2",
    "unet": "unet unet_mini",
    "two-stage": "faster_rcnn_resnet50_fpn mask_rcnn_resnet50_fpn mask_rcnn_resnet50_fpn_v2 htc_resnet50_fpn",
    "one-stage": "solo_resnet50_fpn solov2_resnet50_fpn blendmask_resnet50_fpn",
    "one-stage boxes": "retinanet_resnet50_fpn fcos_resnet50_fpn",
    "masks": "maskformer_resnet50 mask2former_resnet50 mask2former_swin_tiny panoptic_deeplab_resnet50"
    " oneformer_swin_tiny",
    "transformers without a pyramid": "eomt_base rf_detr_seg_small",
}
FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names.split()}

SMALL = {"unet": (None, None), "unet_mini": (None, None)}
SMP = {
    name: ("tu-tf_efficientnet_lite0", "efficientnet_lite0") for name in NETWORKS if name.startswith("smp_")
}
MOBILE = ("mobilenetv3_large_100", "mobilenetv3_large")
UNTRAINED = dict.fromkeys(["segformer_b0", "segformer_b2", "eomt_base", "rf_detr_seg_small"], (None, None))
"""Transformers whose weights no package contains, or whose licence forbids commercial use."""
OWN_BACKBONES = {
    "standard": SMALL
    | UNTRAINED
    | {f"fcn{stride}s_vgg16": ("vgg16", "vgg16") for stride in (8, 16, 32)}
    | {
        "resnet34_unet": ("resnet34", "resnet34"),
        "lraspp_mobilenet_v3": MOBILE,
        "deeplabv3_mobilenet_v3": MOBILE,
        **dict.fromkeys(SMP, ("resnet34", "resnet34")),
        "mask2former_swin_tiny": ("swin_tiny_patch4_window7_224", "swin_tiny"),
        "oneformer_swin_tiny": ("swin_tiny_patch4_window7_224", "swin_tiny"),
        "upernet_convnext_tiny": ("convnext_tiny", "convnext_tiny"),
        "dinov2_small_linear": ("vit_small_patch14_dinov2", "dinov2_small"),
    },
    "budget": SMALL
    | SMP
    | UNTRAINED
    | {"mask2former_swin_tiny": ("swin_tiny_patch4_window7_224", "swin_tiny")},
    "demo": SMALL | SMP | UNTRAINED | {"mask2former_swin_tiny": ("swin_tiny_patch4_window7_224", None)},
}
BACKBONE = {
    "standard": ("resnet50", "resnet50"),
    "budget": ("tf_efficientnet_lite0", "efficientnet_lite0"),
    "demo": ("tf_efficientnet_lite0", "efficientnet_lite0"),
}


@cache
def cells(recipe: str) -> dict[tuple[str, str], tuple[PlannedCell, Recipe]]:
    raw = {"datasets": DATASETS, "models": NETWORKS, "controls": [], "recipe": recipe}
    run = resolve(raw, CONFIG, check_code=False)
    return {(c.dataset, c.model): (c, c.recipe) for c in run.cells if c.recipe}


@cache
def entry(kind: str, name: str) -> dict:
    return read_yaml(CONFIG / kind / f"{name}.yaml")


def seen(recipe: Recipe) -> tuple[int, tuple[int, int] | None]:
    """Images of a training, and its crop."""
    return recipe.iterations * recipe.batch_size, recipe.augment.crop


def test_every_network_belongs_to_a_family() -> None:
    assert set(FAMILY_OF) == set(NETWORKS)
    assert {model for _, model in cells("standard")} == set(NETWORKS)


def test_standard_shows_all_networks_the_promised_images_and_crops() -> None:
    for (dataset, model), (_, recipe) in cells("standard").items():
        assert seen(recipe) == STANDARD[dataset], (dataset, model)


def test_budget_shows_all_networks_the_same_3200_crops() -> None:
    for (dataset, model), (_, recipe) in cells("budget").items():
        crop = (128, 192) if dataset == "street" else (256, 256)
        assert seen(recipe) == (3_200, crop), (dataset, model)


@pytest.mark.parametrize("name", ["standard", "budget"])
def test_all_networks_see_a_dataset_changed_in_the_same_way(name: str) -> None:
    for dataset in DATASETS:
        recipes = {model: recipe for (d, model), (_, recipe) in cells(name).items() if d == dataset}
        assert len({r.augment.model_dump_json() for r in recipes.values()}) == 1, dataset
        assert len({(r.batch_size, r.precision, r.select) for r in recipes.values()}) == 1, dataset
        sizes = {(r.inference.short_side, r.inference.max_side) for r in recipes.values()}
        assert len(sizes) == 1, dataset


@pytest.mark.parametrize("name", ["standard", "budget", "demo"])
def test_all_networks_that_can_have_the_same_pretrained_backbone(name: str) -> None:
    for (_, model), (cell, recipe) in cells(name).items():
        own = OWN_BACKBONES[name].get(model, BACKBONE[name])
        assert (cell.options.get("backbone"), recipe.pretrained) == own, model


def test_budget_fixes_the_norms_of_all_pretrained_backbones_with_norms() -> None:
    for (_, model), (cell, recipe) in cells("budget").items():
        assert cell.options.get("frozen_norm", False) == (recipe.pretrained == "efficientnet_lite0"), model


@pytest.mark.parametrize("name", ["standard", "budget", "demo"])
def test_all_detectors_may_give_400_objects(name: str) -> None:
    detectors = 0
    for (_, model), (cell, _) in cells(name).items():
        if "detections_per_image" in constructor_options(cell.class_path, 2):
            detectors += 1
            assert cell.options.get("detections_per_image") == 400, model
            if FAMILY_OF[model] == "two-stage":
                assert cell.options.get("score_threshold", 0.05) == 0.05, model
    with_objects = [
        d for d in DATASETS if ("mask_rcnn_resnet50_fpn" in {m for e, m in cells(name) if e == d})
    ]
    assert detectors == 9 * len(with_objects)


def test_demo_is_the_same_within_a_family() -> None:
    for dataset in DATASETS:
        images: dict[str, set[int]] = {}
        pixels: dict[str, list[int]] = {}
        for (one, model), (_, recipe) in cells("demo").items():
            if one == dataset:
                count, crop = seen(recipe)
                assert crop
                images.setdefault(FAMILY_OF[model], set()).add(count)
                pixels.setdefault(FAMILY_OF[model], []).append(count * crop[0] * crop[1])
        for family in images:
            assert len(images[family]) == 1, (dataset, family)
            # PSPNet's crop has a side of 8 k + 1
            assert max(pixels[family]) <= 1.011 * min(pixels[family]), (dataset, family)


@pytest.mark.parametrize("name", ["standard", "budget"])
def test_entries_hold_only_their_own_share(name: str) -> None:
    protocol = {"iterations", "batch_size", "augment"}
    assert protocol <= set(read_protocol(CONFIG / "recipes", name, []))
    for model in NETWORKS:
        own = entry("models", model)["recipes"][name]
        assert not protocol & set(own), model
        assert "name" not in own.get("schedule", {}) or name == "budget", model
    for dataset in entry_names(CONFIG / "datasets"):
        share = entry("datasets", dataset).get("recipes", {}).get(name, {})
        assert set(share) <= {"iterations", "accumulate", "augment", "inference"}, dataset


@pytest.mark.parametrize("name", ["standard", "budget"])
def test_warm_ups_are_short_beside_the_training(name: str) -> None:
    for key, (_, recipe) in cells(name).items():
        assert recipe.schedule.warmup_iterations <= 0.5 * recipe.iterations, key
