"""What a recipe gives each network on a dataset: images, pixels, backbone, detections, optimizer."""

from __future__ import annotations

import re
from pathlib import Path

from segbench.catalogue.listing import Row, markdown, networks
from segbench.config.registry import CONFIG
from segbench.config.resolve import resolve
from segbench.config.resolved_run import PlannedCell
from segbench.config.schema import PAPER
from segbench.contract.recipe import Optimizer, Recipe
from segbench.errors import SegbenchError
from segbench.units import NOTHING

MARKED = re.compile(r"(<!-- recipe (\w+) on (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
RIGHT = {"Images", "Mpx", "Detections", "Rate", "Decay", "Warm-up"}


def recipe_rows(recipe: str, dataset: str, registry: Path = CONFIG) -> list[Row]:
    """Return one row for each network that has this recipe and can learn from the dataset.

    Args:
        recipe: name of the recipe.
        dataset: name of an entry of `config/datasets/`.
        registry: folder of the entries.

    Raises:
        SegbenchError: no network has the recipe, or the dataset has no entry.
    """
    if recipe == PAPER:
        return [row for row in paper_rows(registry) if row["Dataset"] == dataset]
    models = [name for name, entry in networks(registry).items() if recipe in entry.recipes]
    if not models:
        raise SegbenchError(f"no network has a recipe '{recipe}'", remedy="`segbench models NAME` lists them")
    raw = {"datasets": [dataset], "models": models, "controls": [], "recipe": recipe}
    run = resolve(raw, registry, "segbench models", check_code=False)
    return [_row(cell, cell.recipe) for cell in run.cells if cell.recipe]


def paper_rows(registry: Path = CONFIG) -> list[Row]:
    """Return one row for each network and dataset of the recipe `paper`.

    Raises:
        SegbenchError: no network has such a pair.
    """
    rows = []
    for name, entry in networks(registry).items():
        if entry.papers:
            raw = {"datasets": [*entry.papers], "models": [name], "controls": [], "recipe": PAPER}
            run = resolve(raw, registry, "segbench models", check_code=False)
            rows += [(cell.dataset, _row(cell, cell.recipe)) for cell in run.cells if cell.recipe]
    if not rows:
        raise SegbenchError("no network has `papers`", remedy="name its datasets there")
    return [{"Network": row.pop("Network"), "Dataset": dataset, **row} for dataset, row in rows]


def _row(cell: PlannedCell, recipe: Recipe) -> Row:
    images, crop = (recipe.iterations or 0) * recipe.batch_size, recipe.augment.crop_size
    return {
        "Network": cell.model,
        "Backbone": backbone(cell),
        "Images": f"{images:,}",
        "Crop": f"{crop[0]} x {crop[1]}" if crop else "whole images",
        "Mpx": f"{images * crop[0] * crop[1] / 1e6:,.0f}" if crop else NOTHING,
        "Detections": str(cell.options.get("detections_per_image", NOTHING)),
        "Optimizer": _optimizer(recipe.optimizer),
        "Rate": _rate(recipe.optimizer),
        "Decay": f"{recipe.optimizer.weight_decay:g}",
        "Clip": f"{recipe.clip_norm:g}" if recipe.clip_norm else NOTHING,
        "Warm-up": str(recipe.schedule.warmup_iterations),
        "Batch": f"{recipe.batch_size} in {recipe.accumulate}",
    }


def backbone(cell: PlannedCell) -> str:
    """Name the backbone of a cell, and whether its weights are random; `–` for networks without one."""
    name = cell.options.get("backbone")
    if name is None:
        return NOTHING
    return str(name) if cell.weights else f"{name}, random"


def _optimizer(optimizer: Optimizer) -> str:
    return "AdamW" if optimizer.name == "adamw" else f"SGD {optimizer.momentum:g}"


def _rate(optimizer: Optimizer) -> str:
    factor = optimizer.backbone_lr_factor
    return f"{optimizer.lr:g}" + (f" (backbone x {factor:g})" if factor != 1 else "")


def with_recipe_tables(text: str, registry: Path = CONFIG) -> str:
    """Replace the tables after `<!-- recipe NAME on DATASET -->` in Markdown text."""

    def written(found: re.Match[str]) -> str:
        head, recipe, dataset, _, end = found.groups()
        return head + markdown(recipe_rows(recipe, dataset, registry), RIGHT) + end

    return MARKED.sub(written, text)
