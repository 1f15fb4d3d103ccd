"""`segbench plan` shows what the rules derive from a converted dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segbench.config.resolve import resolve
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Sample
from segbench.data.writing.writer import write_dataset
from segbench.jobs.plan import fitted_recipes

REGISTRY = Path(__file__).parents[2] / "config"


def test_a_table_of_values_and_rules_once_the_data_are_converted(tmp_path):
    raw = {"datasets": ["vessels"], "models": ["unet"], "data": str(tmp_path)}
    raw["overrides"] = [{"recipe": {"fit": True}}]
    run = resolve(raw, REGISTRY, check_code=False)
    assert list(fitted_recipes(run)) == []
    truth = np.zeros((64, 96), np.int32)
    truth[10:14] = 1
    image = np.zeros((64, 96, 3), np.uint8)
    samples = [Sample(split, "a", image, semantic=truth) for split in ("train", "test")]
    classes = [Category(id=1, name="vessel", isthing=False, color=(1, 2, 3))]
    texts = dict.fromkeys(("name", "title", "licence", "citation"), "vessels")
    converted = Converted(classes, True, "test", samples, orientation="stored")
    write_dataset(converted, tmp_path / "vessels", archives={}, channels=3, **texts)
    head, names, *rows = fitted_recipes(run)
    assert "docs/fitting.md" in head
    assert names.split() == ["dataset", "network", "key", "value", "rule", "because", "of"]
    shown = {tuple(row.split()[:3]): row for row in rows}
    assert "175" in shown["vessels", "unet", "iterations"]
    assert "from random weights" in shown["vessels", "unet", "iterations"]
    assert "scale" in shown["vessels", "unet", "inference.scale"]
