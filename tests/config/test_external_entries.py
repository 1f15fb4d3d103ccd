"""Entries with predictions of other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_registry import config

from segbench.config.describe import describe
from segbench.config.resolve import resolve
from segbench.contract.external import ExternalSpec
from segbench.errors import SegbenchError


def write(registry: Path, name: str = "nnunet", **external: Any) -> None:
    entry = {"title": "nnU-Net", "card": "2d, trained elsewhere.", "external": external}
    (registry / "models" / f"{name}.yaml").write_text(yaml.safe_dump(entry))


def test_one_entry_serves_several_datasets_with_one_seed(registry: Path) -> None:
    for name in ("vessels", "cells", "street"):
        (registry / "out" / name).mkdir(parents=True)
    costs = {"parameters": 5, "training_hours": 2, "latency_ms": 40}
    write(registry, path=f"{registry}/out/{{dataset}}", format="nnunet", costs=costs)
    run = resolve(config(models=["unet", "nnunet"], seeds=[3, 4]), registry)
    cells = [cell for cell in run.cells if cell.external]
    assert [cell.key for cell in cells] == [(d, "nnunet", "seed3") for d in ("vessels", "cells", "street")]
    spec = ExternalSpec.model_validate_json(cells[1].external_spec)
    assert (spec.path, spec.task, spec.some) == (registry / "out/cells", "semantic", False)
    described = describe(run)
    assert described.title("nnunet") == "nnU-Net (external)" and described.title("unet") == "t"
    assert described.models["nnunet"].costs == {
        "train_parameters": 5,
        "train_seconds": 7200,
        "predict_latency_median": 0.04,
    }
    assert "external" not in json.loads(described.model_dump_json())["cells"][0]


def test_folders_for_each_seed_and_fold(registry: Path) -> None:
    for seed in (3, 4):
        for fold in (0, 1):
            (registry / f"seed{seed}/fold_{fold}").mkdir(parents=True)
    write(registry, path=f"{registry}/seed{{seed}}/fold_{{fold}}", format="label_maps")
    chosen = config(datasets=["vessels"], models=["nnunet"], seeds=[3, 4], folds=2)
    cells = [cell for cell in resolve(chosen, registry).cells if cell.external]
    assert [cell.external.path.relative_to(registry) for cell in cells if cell.external] == [
        Path(f"seed{seed}/fold_{fold}") for seed in (3, 4) for fold in (0, 1)
    ]
    assert not any(cell.external.some for cell in cells if cell.external)


def test_one_folder_for_all_folds_may_hold_other_images(registry: Path) -> None:
    write(registry, path=str(registry), format="label_maps")
    cells = resolve(config(datasets=["vessels"], models=["nnunet"], folds=2), registry).cells
    assert [cell.external.some for cell in cells if cell.external] == [True, True]


def test_a_recipe_for_predictions_of_another_program_is_an_error(registry: Path) -> None:
    write(registry, path=str(registry), format="label_maps")
    override = {"models": ["unet", "nnunet"], "recipe": {"iterations": 5}}
    with pytest.raises(SegbenchError, match=r"overrides\.0\.models: 'nnunet' is not trained"):
        resolve(config(models=["unet", "nnunet"], overrides=[override]), registry)
    assert resolve(config(models=["unet", "nnunet"], overrides=[override | {"models": ["unet"]}]), registry)


def test_a_missing_folder_is_named_before_anything_runs(registry: Path) -> None:
    (registry / "out/vessels").mkdir(parents=True)
    write(registry, path=f"{registry}/out/{{dataset}}", format="label_maps")
    with pytest.raises(SegbenchError) as caught:
        resolve(config(datasets=["vessels", "cells"], models=["nnunet"]), registry)
    message = str(caught.value)
    assert "nnunet.yaml: external.path" in message and "out/cells does not exist" in message
    assert "out/vessels" not in message and "exclude: [{dataset: cells, model: nnunet}]" in message


@pytest.mark.parametrize(
    ("external", "expected"),
    [
        ({"path": "{data}", "format": "coco"}, "{data} has no meaning; use {dataset}, {seed}, {fold}"),
        ({"path": "{dataset", "format": "coco"}, "a brace without its partner"),
        ({"path": "a", "format": "masks"}, "external.format"),
        ({"path": "a", "format": "nnunet", "annotations": "b"}, "not for nnunet"),
        ({"path": "a", "format": "coco", "classes": ["b"]}, "by the file in `annotations`"),
        ({"path": "a", "format": "object_maps", "classes": ["b", "c"]}, "one name"),
    ],
)
def test_mistakes_in_an_entry(registry: Path, external: dict[str, Any], expected: str) -> None:
    write(registry, **external)
    with pytest.raises(SegbenchError) as caught:
        resolve(config(models=["nnunet"]), registry)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"class": "m:C"}, "no `class`"),
        ({"external": None}, "needs `class` and `tasks`, or `external`"),
    ],
)
def test_an_entry_is_a_network_or_external(registry: Path, more: dict[str, Any], expected: str) -> None:
    entry = {
        "title": "t",
        "card": "c",
        "external": {"path": str(registry), "format": "label_maps"},
        **more,
    }
    (registry / "models/nnunet.yaml").write_text(yaml.safe_dump(entry))
    with pytest.raises(SegbenchError, match=expected):
        resolve(config(models=["nnunet"]), registry)


def test_a_training_cannot_start_from_external_predictions(registry: Path) -> None:
    write(registry, path=str(registry), format="label_maps")
    override = {"models": ["unet"], "recipe": {"init_from": "nnunet"}}
    with pytest.raises(SegbenchError, match="trains no 'nnunet'"):
        resolve(config(models=["unet", "nnunet"], overrides=[override]), registry)
