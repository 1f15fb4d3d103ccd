from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from small_registry import config, model, recipe_of_unet, staged

from segbench.config.describe import describe
from segbench.config.model_file import trained_class
from segbench.config.resolve import resolve
from segbench.errors import SegbenchError


def pretrained(start: object, **more: object) -> dict:
    """unet on vessels starts from a trained network."""
    override = {"models": ["unet"], "datasets": ["vessels"], "recipe": {"init_from": start}}
    return config(overrides=[override], models=["unet", "mask2former"], **more)


def written(path: Path, **state: object) -> Path:
    torch.save({"weights": torch.zeros(3), **state}, path)
    return path


def test_a_cell_starts_from_one_of_the_same_seed_on_another_dataset(registry: Path) -> None:
    run = resolve(pretrained({"dataset": "cells"}, seeds=[0, 3]), registry)
    assert run.by_key["vessels", "unet", "seed3"].earlier == ("cells", "unet", "seed3")
    assert run.by_key["cells", "unet", "seed3"].earlier is None
    other = resolve(pretrained({"dataset": "cells", "model": "mask2former"}), registry)
    assert other.by_key["vessels", "unet", "seed0"].earlier == ("cells", "mask2former", "seed0")
    described = {cell.name: cell.start for cell in describe(other).cells}
    assert described["vessels/unet/seed0"] == "cells/mask2former/seed0"
    assert described["cells/unet/seed0"] is None


def test_a_fold_starts_from_the_same_fold_or_from_a_dataset_without_folds(registry: Path) -> None:
    for folds, expected in (({"vessels": 2, "cells": 2}, "seed0-fold1"), ({"vessels": 2}, "seed0")):
        run = resolve(pretrained({"dataset": "cells"}, folds=folds), registry)
        assert run.by_key["vessels", "unet", "seed0-fold1"].earlier == ("cells", "unet", expected)
    for folds in ({"cells": 2}, {"cells": 3, "vessels": 2}):
        with pytest.raises(SegbenchError, match="cells has . folds and vessels has .*same number"):
            resolve(pretrained({"dataset": "cells"}, folds=folds), registry)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"dataset": "cels"}, "the run has no dataset 'cels'; did you mean 'cells'.*add it to datasets"),
        ({"dataset": "cells", "model": "unett"}, "the run trains no 'unett' on cells; did you mean 'unet'"),
        ({"dataset": "vessels"}, "unet on vessels: init_from: starts from itself"),
        ({}, "init_from: .*give `dataset`, `model` or both"),
        ({"dataset": "cells", "path": "a.pt"}, "init_from: .*give `dataset`, `model` or both"),
        ({"data": "cells"}, "init_from.data: unknown key.*'dataset'"),
        ({"path": "missing.pt"}, "missing.pt does not exist; give the model.pt of a trained cell"),
    ],
)
def test_starts_that_are_not_possible(registry: Path, start: dict, message: str) -> None:
    with pytest.raises(SegbenchError, match=message):
        resolve(pretrained(start), registry)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("unet", "unett")], "recipe of unet on cells: init_from: the run trains no 'unett'.*mean 'unet'"),
        ([("unet", "control_truth")], "the run trains no 'control_truth' on cells"),
        (
            [("unet", "mask_rcnn"), ("mask_rcnn", "unet")],
            "start from each other: cells/unet/seed0 <- cells/mask_rcnn/seed0 <- cells/unet/seed0",
        ),
        ([("unet", "unet")], "starts from itself"),
    ],
)
def test_stages_that_are_not_possible(registry: Path, pairs: list, message: str) -> None:
    with pytest.raises(SegbenchError, match=message):
        resolve(staged(*pairs, datasets=["cells"]), registry)


def test_datasets_that_start_from_each_other(registry: Path) -> None:
    raw = pretrained({"dataset": "cells"})
    back = {"models": ["unet"], "datasets": ["cells"], "recipe": {"init_from": {"dataset": "vessels"}}}
    raw["overrides"].append(back)
    with pytest.raises(SegbenchError, match="2 mistakes.*") as caught:
        resolve(raw, registry)
    assert "cells/unet/seed0 <- vessels/unet/seed0 <- cells/unet/seed0" in str(caught.value)


def test_networks_of_another_class_are_no_beginning(registry: Path, tmp_path: Path) -> None:
    other = model(["semantic", "instance", "panoptic"], **{"class": "m:Base"})
    (registry / "models" / "mask2former.yaml").write_text(yaml.safe_dump(other))
    start = {"dataset": "cells", "model": "mask2former"}
    assert resolve(pretrained(start), registry).cells, "C descends from Base"
    other["class"] = "m:Options"
    (registry / "models" / "mask2former.yaml").write_text(yaml.safe_dump(other))
    unet = model(["semantic"], **{"class": "segbench.models.unet:UNet"})
    (registry / "models" / "unet.yaml").write_text(yaml.safe_dump(unet))
    other["class"] = "segbench.models.fcn:FCN"
    (registry / "models" / "mask2former.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(SegbenchError, match="'mask2former' is a segbench.models.fcn:FCN, and unet a"):
        resolve(pretrained(start), registry)
    file = written(tmp_path / "fcn.pt", spec='{"class_path": "segbench.models.fcn:FCN"}')
    with pytest.raises(SegbenchError, match="fcn.pt is a segbench.models.fcn:FCN, and unet a"):
        resolve(pretrained({"path": str(file)}), registry)


def test_a_file_of_another_run(registry: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "model.pt", spec='{"class_path": "m:C"}')
    run = resolve(pretrained({"path": str(file)}, folds={"vessels": 2}, seeds=[0, 1]), registry)
    cell = run.by_key["vessels", "unet", "seed1-fold1"]
    assert cell.given == file and cell.earlier is None and cell.weights is None
    assert run.by_key["cells", "unet", "seed1"].given is None
    own = {"results": str(tmp_path), "run": "mine"}
    inside = written(tmp_path / "mine.pt", spec="{}")
    (tmp_path / "mine" / "cells").mkdir(parents=True)
    inside = inside.rename(tmp_path / "mine" / "cells" / "model.pt")
    with pytest.raises(SegbenchError, match="belongs to this run; name its `dataset` and `model`"):
        resolve(pretrained({"path": str(inside)}, **own), registry)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    assert trained_class(written(tmp_path / "a.pt", spec='{"class_path": "m:C"}')) == "m:C"
    (tmp_path / "text.pt").write_text("no zip file")
    whole = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "torn.pt").write_bytes(whole[: len(whole) // 2])
    written(tmp_path / "other.pt", epoch=3)
    written(tmp_path / "list.pt", spec="[]")
    for name in ("text.pt", "torn.pt", "other.pt", "list.pt"):
        with pytest.raises(SegbenchError, match=f"{name}: is no model.pt of a training"):
            trained_class(tmp_path / name)


def test_only_the_cells_concerned_are_trained_again(registry: Path) -> None:
    plain, later = (resolve(raw, registry).by_key for raw in (config(), recipe_of_unet(ema=0.9)))
    started = resolve(pretrained({"dataset": "cells"}), registry).by_key
    changed = {key for key in started if started[key].spec != plain[key].spec}
    assert changed == {("vessels", "unet", "seed0")}
    assert later["cells", "unet", "seed0"].spec != plain["cells", "unet", "seed0"].spec
