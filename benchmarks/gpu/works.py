"""The training that is measured of each network: recipe `standard` on Cityscapes, which has all tasks."""

from __future__ import annotations

from segbench.catalogue.listing import networks
from segbench.config.registry import CONFIG
from segbench.config.resolve import resolve
from segbench.jobs.cost.estimate import figures_of
from segbench.jobs.cost.work import Scene, Work

FIRST = ("deeplabv3plus_resnet50", "pspnet_resnet50", "mask2former_resnet50", "mask_rcnn_resnet50_fpn")
"""Measured before the others, which may get no time. The goals are those of the first three."""
QUICK_SIDE, QUICK_BATCH = 64, 2


def works(names: list[str], quick: bool) -> dict[str, Work]:
    """Return the work of networks, by name: crops of 512 x 1024, 16 images a step, not accumulated.

    Args:
        names: names of networks; empty: all.
        quick: small crops, and two images.

    Raises:
        SegbenchError: a name is unknown.
    """
    known = networks()
    names = names or sorted(
        known, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)
    )
    raw = {"datasets": ["cityscapes"], "models": names, "controls": [], "recipe": "standard"}
    recipe: dict[str, object] = {"accumulate": 1}
    if quick:
        recipe |= {"batch_size": QUICK_BATCH, "augment": {"crop": [QUICK_SIDE] * 2}}
    run = resolve({**raw, "overrides": [{"recipe": recipe}]}, CONFIG, "benchmarks", check_code=False)
    found = {}
    for cell in run.cells:
        size = cell.recipe.augment.crop_size if cell.recipe else None
        found[cell.model] = figures_of(run, cell, Scene.assumed({}, size or (512, 1024))).work
    return {name: found[name] for name in names}
