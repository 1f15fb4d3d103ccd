from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_registry import MODULE, config, dataset, forget_sources, model, recipe_of_unet, staged

from segbench.config.resolve import resolve
from segbench.config.resolved_run import ResolvedRun
from segbench.contract.run import SkippedPair
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2]


def test_a_cell_trains_on_the_richest_view_that_both_sides_support(registry: Path) -> None:
    run = resolve(config(), registry)
    tasks = {(c.dataset, c.model): c.task for c in run.cells}
    assert tasks["street", "mask2former"] == "panoptic"
    assert tasks["cells", "mask2former"] == "instance"
    assert tasks["cells", "unet"] == "semantic"
    assert tasks["street", "control_truth"] == "panoptic"
    assert ("vessels", "mask_rcnn") not in tasks


def test_masks_give_boxes_and_boxes_give_no_masks(registry: Path) -> None:
    entries = {
        "datasets/boxes": dataset(["detection"]),
        "models/boxes_only": model(["detection"]),
        "models/boxes_or_masks": model(["detection", "instance"]),
    }
    for name, entry in entries.items():
        (registry / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    models = ["unet", "mask_rcnn", "boxes_only", "boxes_or_masks"]
    run = resolve(config(datasets=["vessels", "cells", "boxes"], models=models, controls=[]), registry)
    tasks = {(c.dataset, c.model): c.task for c in run.cells}
    assert {k: t for k, t in tasks.items() if k[1].startswith("boxes")} == {
        ("cells", "boxes_only"): "detection",
        ("cells", "boxes_or_masks"): "instance",
        ("boxes", "boxes_only"): "detection",
        ("boxes", "boxes_or_masks"): "detection",
    }
    reasons = {s.model: s.reason for s in run.skipped if s.dataset == "boxes"}
    assert reasons["mask_rcnn"] == "needs instance truth; the dataset has detection"
    assert reasons["unet"] == "needs semantic truth; the dataset has detection"
    reasons = {s.model: s.reason for s in run.skipped if s.dataset == "vessels"}
    assert reasons["boxes_or_masks"] == "needs detection, instance truth; the dataset has semantic"


def test_skipped_pairs_come_with_the_reason(registry: Path) -> None:
    run = resolve(config(exclude=[{"dataset": "cells", "model": "unet"}]), registry)
    assert run.skipped == [
        SkippedPair(
            dataset="vessels", model="mask_rcnn", reason="needs instance truth; the dataset has semantic"
        ),
        SkippedPair(dataset="cells", model="unet", reason="excluded by the configuration"),
    ]
    assert ("cells", "unet", "seed0") not in run.by_key


def test_seeds_multiply_trained_cells_but_not_controls(registry: Path) -> None:
    run = resolve(config(seeds=[0, 1, 2]), registry)
    assert len([c for c in run.cells if c.model == "unet"]) == 3 * 3
    assert len([c for c in run.cells if c.control]) == 3


def test_folds_multiply_all_cells_of_their_datasets(registry: Path) -> None:
    run = resolve(config(seeds=[4, 5], folds={"cells": 3}), registry)
    folds = [(c.seed, c.fold) for c in run.cells if (c.dataset, c.model) == ("cells", "unet")]
    assert folds == [(s, f) for s in (4, 5) for f in range(3)]
    assert [c.fold for c in run.cells if c.dataset == "cells" and c.control] == [0, 1, 2]
    assert {c.fold for c in run.cells if c.dataset != "cells"} == {None}
    assert run.by_key["cells", "unet", "seed5-fold2"].fold == 2
    assert run.by_key["vessels", "unet", "seed5"].spec == resolve(config(seeds=[5]), registry).cells[0].spec
    assert {c.fold for c in resolve(config(folds=2), registry).cells} == {0, 1}


def test_an_earlier_cell_is_of_the_same_fold(registry: Path) -> None:
    run = resolve(staged(("mask2former", "unet"), datasets=["cells"], folds=2), registry)
    assert run.by_key["cells", "mask2former", "seed0-fold1"].earlier == ("cells", "unet", "seed0-fold1")


def test_wrong_folds(registry: Path) -> None:
    with pytest.raises(SegbenchError) as found:
        resolve(config(folds={"cels": 3}), registry)
    assert "folds: no dataset 'cels'" in str(found.value) and "'cells'" in str(found.value)
    for wrong in (1, {"cells": 0}):
        with pytest.raises(SegbenchError, match=r"folds.*2"):
            resolve(config(folds=wrong), registry)


def test_recipes_are_merged_network_dataset_overrides(registry: Path) -> None:
    overrides = [
        {"recipe": {"batch_size": 4}},
        {"datasets": ["cells"], "models": ["unet"], "recipe": {"batch_size": 8, "options": {"widths": [4]}}},
    ]
    run = resolve(config(overrides=overrides), registry)
    unet, other = run.by_key["cells", "unet", "seed0"], run.by_key["cells", "mask2former", "seed0"]
    assert (unet.recipe.batch_size, other.recipe.batch_size) == (8, 4)
    assert (
        unet.recipe.augment.crop == (64, 64)
        and run.by_key["street", "unet", "seed0"].recipe.augment.crop is None
    )
    assert unet.options == {"widths": [4]} and other.options == {}


def test_an_override_can_give_cells_more_threads(registry: Path) -> None:
    run = resolve(config(overrides=[{"models": ["unet"], "threads": 2}]), registry)
    assert {c.model: c.threads for c in run.cells if c.dataset == "street"} == {
        "unet": 2,
        "mask_rcnn": 1,
        "mask2former": 1,
        "control_truth": 1,
    }


def test_inference_settings_do_not_change_the_training(registry: Path) -> None:
    plain = resolve(config(), registry).by_key["cells", "unet", "seed0"]
    tuned = resolve(config(overrides=[{"recipe": {"inference": {"short_side": 99}}}]), registry)
    tuned = tuned.by_key["cells", "unet", "seed0"]
    assert tuned.spec == plain.spec
    assert tuned.inference != plain.inference


def test_dataset_options_are_merged_over_those_of_the_entry(registry: Path) -> None:
    run = resolve(config(dataset_options={"street": {"size": [16, 16]}}), registry)
    assert run.datasets["street"].options == {"size": [16, 16], "seed": 0}


def test_a_recipe_that_a_network_lacks_is_named(registry: Path) -> None:
    with pytest.raises(SegbenchError, match=r"has no recipe 'papr' \(has: demo\)"):
        resolve(config(recipe="papr"), registry)


def test_a_cell_needs_no_training_when_it_has_public_weights(weights: Path) -> None:
    run = resolve(recipe_of_unet(weights="whole", iterations=0), weights)
    cell = run.by_key["vessels", "unet", "seed0"]
    assert cell.weights == "whole" and cell.recipe.iterations == 0
    assert set(run.weights) == {"whole"} and run.loader(cell) is None
    assert run.by_key["street", "mask_rcnn", "seed0"].weights is None


def test_a_cell_can_start_from_another_of_its_dataset_and_seed(registry: Path) -> None:
    run = resolve(staged(("mask2former", "unet"), datasets=["cells"], seeds=[0, 3]), registry)
    assert run.by_key["cells", "mask2former", "seed3"].earlier == ("cells", "unet", "seed3")
    assert run.by_key["cells", "unet", "seed3"].earlier is None


def test_the_staged_fcn_of_the_readme_has_the_values_of_its_authors_solvers() -> None:
    text = (ROOT / "config" / "README.md").read_text()
    block = text.split("FCN trained in stages")[1].split("\n\n")[1]
    raw = yaml.safe_load("\n".join(line.removeprefix("    ") for line in block.splitlines()))
    run = resolve({**raw, "datasets": ["voc2011"], "controls": []}, ROOT / "config")
    pixels = 190_000  # their rates are for sums over the pixels of an image of VOC, ours for means
    for stride, rate in ((32, 1e-10), (16, 1e-12), (8, 1e-14)):
        recipe = run.by_key["voc2011", f"fcn{stride}s_vgg16", "seed0"].recipe
        assert recipe is not None
        assert recipe.optimizer.lr == pytest.approx(rate * pixels, rel=0.06)
        assert (recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (0.99, 5e-4)
        assert (recipe.batch_size, recipe.iterations, recipe.schedule.name) == (1, 100_000, "constant")


def test_home_in_the_folder_of_a_dataset(registry: Path) -> None:
    (registry / "m.py").write_text(MODULE.replace("seed: int = 0", "seed: int = 0\n    folder: str = ''"))
    forget_sources()
    run = resolve(config(dataset_options={"vessels": {"folder": "~/cells"}}), registry)
    assert run.datasets["vessels"].options["folder"] == str(Path.home() / "cells")


def _protocol(registry: Path, raw: object, **entries: dict) -> None:
    (registry / "recipes").mkdir()
    (registry / "recipes" / "demo.yaml").write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw))
    for name, entry in entries.items():
        kind = "datasets" if "convert" in entry else "models"
        (registry / kind / f"{name}.yaml").write_text(yaml.safe_dump(entry))


def test_a_protocol_gives_defaults_and_the_datasets_share_holds_for_all_networks(registry: Path) -> None:
    share = {"demo": {"iterations": 7, "augment": {"crop": [32, 64]}}}
    _protocol(
        registry,
        {"iterations": 5, "batch_size": 4, "augment": {"crop": [16, 16], "color_jitter": 0.2}},
        unet=model(["semantic"], recipes={"demo": {"optimizer": {"lr": 0.5}, "augment": {"crop": [8, 8]}}}),
        street=dataset(["semantic"], recipe={"augment": {"horizontal_flip": False}}, recipes=share),
    )
    run = resolve(config(datasets=["vessels", "street"], models=["unet"], controls=[]), registry)
    vessels, street = (c.recipe for c in run.cells)
    assert vessels and street
    assert (vessels.iterations, vessels.batch_size, vessels.optimizer.lr) == (5, 4, 0.5)
    assert vessels.augment.crop == (8, 8)  # the network's own, since the dataset has no share
    assert (street.iterations, street.augment.crop, street.augment.color_jitter) == (7, (32, 64), 0.2)
    assert not street.augment.horizontal_flip
    override = [{"datasets": ["street"], "recipe": {"iterations": 3}}]
    run = resolve(config(datasets=["street"], models=["unet"], controls=[], overrides=override), registry)
    assert run.cells[0].recipe and run.cells[0].recipe.iterations == 3


def test_a_change_of_the_datasets_share_does_not_convert_it_again(registry: Path) -> None:
    before = resolve(config(), registry).convert_spec("street")
    share = {"demo": {"iterations": 7}}
    entry = dataset(["semantic", "instance", "panoptic"], options={"size": [8, 8], "seed": 0}, recipes=share)
    _protocol(registry, {}, street=entry)
    run = resolve(config(), registry)
    assert run.convert_spec("street") == before
    assert run.by_key["street", "unet", "seed0"].recipe.iterations == 7  # type: ignore[union-attr]


def test_a_dataset_asks_for_further_metrics_without_being_converted_again(registry: Path) -> None:
    before = resolve(config(), registry)
    path = registry / "datasets" / "vessels.yaml"
    path.write_text(yaml.dump({**yaml.safe_load(path.read_text()), "families": ["cldice", "objects"]}))
    run = resolve(config(evaluation={"families": ["objects"]}), registry)
    assert run.evaluation("vessels").families == ("objects", "cldice")
    assert run.evaluation("cells").families == ("objects",)
    assert run.convert_spec("vessels") == before.convert_spec("vessels")
    assert before.evaluation("vessels") == before.config.evaluation


def test_mistakes_of_protocols_name_the_file(registry: Path) -> None:
    _protocol(registry, "- 1", street=dataset(["semantic"], recipes={"dmo": {"iterations": 7}}))
    with pytest.raises(SegbenchError) as caught:
        resolve(config(), registry)
    assert f"{registry}/recipes/demo.yaml: must be a mapping of recipe keys" in caught.value.what
    wrong = f"{registry}/datasets/street.yaml: recipes.dmo: no {registry}/recipes/dmo.yaml"
    assert f"{wrong}; did you mean 'demo'?" in caught.value.what
    (registry / "recipes" / "demo.yaml").write_text("a: [")
    with pytest.raises(SegbenchError, match=r"recipes/demo\.yaml: cannot be read as YAML"):
        resolve(config(), registry)


def paper_of(registry: Path, name: str, papers: dict, **more: object) -> None:
    recipes = {"demo": {"iterations": 10, "batch_size": 2}, "paper": {"iterations": 70, "batch_size": 3}}
    entry = model(["semantic"], recipes=recipes, papers=papers, **more)
    (registry / "models" / f"{name}.yaml").write_text(yaml.safe_dump(entry))


def test_paper_recipe_is_laid_over_by_its_pair_and_the_run(registry: Path) -> None:
    paper_of(registry, "unet", {"vessels": {}, "cells": {"iterations": 90, "augment": {"crop": [32, 48]}}})
    raw = config(datasets=["vessels", "cells"], models=["unet"], controls=[], recipe="paper")
    recipes = {c.dataset: c.recipe for c in resolve(raw, registry).cells}
    assert (recipes["vessels"].iterations, recipes["vessels"].augment.crop) == (70, None)
    assert (recipes["cells"].iterations, recipes["cells"].batch_size) == (90, 3)
    assert recipes["cells"].augment.crop == (32, 48)  # of the pair, not of the dataset's recipe
    raw["overrides"] = [{"datasets": ["cells"], "recipe": {"iterations": 5}}]
    assert resolve(raw, registry).by_key["cells", "unet", "seed0"].recipe.iterations == 5


def test_paper_recipe_on_other_datasets_is_a_mistake_beside_all_others(registry: Path) -> None:
    paper_of(registry, "unet", {"vessels": {}, "cells": {}})
    paper_of(registry, "linknet", {})
    raw = config(datasets=["street"], models=["unet", "linknet"], recipe="paper", seeds=[1, 1])
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry)
    message = str(caught.value)
    assert "(unet on cells, unet on vessels), not for unet on street" in message
    assert "models/unet.yaml: papers.street" in message and "add the pair to `exclude`" in message
    assert "(no dataset), not for linknet on street" in message
    assert "'1' is listed twice" in message
    resolve({**raw, "seeds": [1], "recipe": "demo"}, registry)


def test_papers_name_known_datasets_and_need_the_recipe(registry: Path) -> None:
    paper_of(registry, "unet", {"vesels": {}})
    with pytest.raises(SegbenchError, match=r"papers\.vesels: no dataset 'vesels'; did you mean 'vessels'"):
        resolve(config(models=["unet"]), registry)
    entry = model(["semantic"], papers={"vessels": {}})
    (registry / "models" / "unet.yaml").write_text(yaml.safe_dump(entry))
    with pytest.raises(SegbenchError, match=r"unet.yaml: papers: needs a recipe 'paper'"):
        resolve(config(models=["unet"]), registry)


def test_a_second_person_is_scored_where_the_options_name_one(registry: Path) -> None:
    human = model(["semantic", "instance"], trained=False, recipes={}, second=True)
    (registry / "models" / "control_human.yaml").write_text(yaml.safe_dump(human))
    splits = {"train": {"second": "a/{name}.png"}, "test": {"image": "i/{name}.png"}}
    for name, options in (("vessels", {"second": True}), ("cells", {"splits": splits}), ("street", {})):
        entry = dataset(["semantic", "instance"], options=options)
        (registry / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    names = ["vessels", "cells", "street"]
    raw = config(datasets=names, models=["unet"], controls=["control_human"])
    run = resolve(raw, registry, check_code=False)
    assert [(c.dataset, c.task) for c in run.cells if c.control] == [("vessels", "instance")]
    assert not run.skipped  # of most datasets there is none; that of the training split alone does not count
    folded = resolve({**raw, "folds": {"vessels": 3}}, registry, check_code=False)
    assert "cross-validation" in next(p.reason for p in folded.skipped if p.dataset == "vessels")


def test_the_human_control_changes_no_other_cell() -> None:
    raw = {"datasets": ["drive"], "models": ["unet_mini"]}
    with_human = resolve(raw, ROOT / "config")
    without = resolve(
        {**raw, "controls": ["control_constant", "control_random", "control_truth"]}, ROOT / "config"
    )
    assert {c.key for c in with_human.cells} - {c.key for c in without.cells} == {
        ("drive", "control_human", "seed0")
    }
    for cell in without.cells:
        same = with_human.by_key[cell.key]
        assert (same.control_keys, same.recipe) == (cell.control_keys, cell.recipe)
        assert cell.control or same.spec == cell.spec


def test_columns_are_checked_at_once_and_repeat_no_conversion(registry: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/cases.csv").write_text("image,scanner\na,A\n")
    options = {
        "folder": str(tmp_path / "own"),
        "image": "{name}.png",
        "mask": "{name}_m.png",
        "classes": ["a"],
    }
    wanted = {"file": "cases.csv", "columns": ["scanner"]}
    converter = {"convert": "segbench.data.converters.pairs:convert"}

    def run(**metadata: object) -> ResolvedRun:
        entry = dataset(["semantic"], options={**options, **metadata}, **converter)
        (registry / "datasets" / "vessels.yaml").write_text(yaml.safe_dump(entry))
        return resolve(config(datasets=["vessels"], models=["unet"]), registry)

    found = run(metadata=wanted)
    assert found.convert_spec("vessels") == run().convert_spec("vessels")
    columns = found.datasets["vessels"].columns
    assert columns and columns.file == tmp_path / "own/cases.csv"
    with pytest.raises(SegbenchError) as error:
        run(metadata={"file": "cases.csv", "columns": ["scaner", "site"], "image": "name"})
    for part in ("no column 'name', 'scaner', 'site'", "vessels.yaml: options.metadata"):
        assert part in str(error.value)
    with pytest.raises(SegbenchError, match=r"gone.csv: cannot be read"):
        run(metadata={**wanted, "file": "gone.csv"})
    with pytest.raises(SegbenchError, match=r"vessels.yaml: options.metadata"):
        run(metadata={"file": "cases.csv", "column": "scanner"})
