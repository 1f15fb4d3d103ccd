from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segbench.config import overlay, resolve
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[1]
RECIPE = {"iterations": 10, "batch_size": 2}
PAPER = {"authors": "A", "title": "t", "venue": "v", "year": 2015, "url": "https://example.org"}
CARD = {"paper": PAPER, "good": "g", "bad": "b", "licence": "l"}


def model(tasks: list[str], **more: object) -> dict:
    base = {"title": "t", "class": "m:C", "tasks": tasks, "card": CARD, "recipes": {"demo": RECIPE}}
    return {**base, **more}


def dataset(tasks: list[str], **more: object) -> dict:
    base = {"title": "t", "convert": "m:f", "tasks": tasks, "channels": 3, "licence": "l", "citation": "c"}
    return {**base, **more}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    entries = {
        "datasets/vessels": dataset(["semantic"]),
        "datasets/cells": dataset(["semantic", "instance"], recipe={"augment": {"crop": [64, 64]}}),
        "datasets/street": dataset(["semantic", "instance", "panoptic"], options={"size": [8, 8], "seed": 0}),
        "models/unet": model(["semantic"]),
        "models/mask_rcnn": model(["instance"]),
        "models/mask2former": model(["semantic", "instance", "panoptic"]),
        "models/control_truth": model(["semantic", "instance", "panoptic"], trained=False, recipes={}),
    }
    for name, entry in entries.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(entry))
    (tmp_path / "weights").mkdir()
    return tmp_path


def config(**more: object) -> dict:
    base = {
        "datasets": ["vessels", "cells", "street"],
        "models": ["unet", "mask_rcnn", "mask2former"],
        "controls": ["control_truth"],
    }
    return {**base, **more}


def test_a_cell_trains_on_the_richest_view_that_both_sides_support(registry: Path) -> None:
    run = resolve(config(), registry)
    tasks = {(c.dataset, c.model): c.task for c in run.cells}
    assert tasks["street", "mask2former"] == "panoptic"
    assert tasks["cells", "mask2former"] == "instance"
    assert tasks["cells", "unet"] == "semantic"
    assert tasks["street", "control_truth"] == "panoptic"
    assert ("vessels", "mask_rcnn") not in tasks


def test_pairs_left_out_come_with_the_reason(registry: Path) -> None:
    run = resolve(config(exclude=[{"dataset": "cells", "model": "unet"}]), registry)
    assert ("vessels", "mask_rcnn", "needs instance truth; the dataset has semantic") in run.left_out
    assert ("cells", "unet", "excluded by the configuration") in run.left_out
    assert ("cells", "unet", 0) not in run.by_key


def test_seeds_multiply_trained_cells_but_not_controls(registry: Path) -> None:
    run = resolve(config(seeds=[0, 1, 2]), registry)
    assert len([c for c in run.cells if c.model == "unet"]) == 3 * 3
    assert len([c for c in run.cells if c.control]) == 3


def test_recipe_is_laid_network_dataset_overrides(registry: Path) -> None:
    overrides = [
        {"recipe": {"batch_size": 4}},
        {"datasets": ["cells"], "models": ["unet"], "recipe": {"batch_size": 8, "options": {"widths": [4]}}},
    ]
    run = resolve(config(overrides=overrides), registry)
    unet, other = run.by_key["cells", "unet", 0], run.by_key["cells", "mask2former", 0]
    assert (unet.recipe.batch_size, other.recipe.batch_size) == (8, 4)
    assert (
        unet.recipe.augment.crop == (64, 64) and run.by_key["street", "unet", 0].recipe.augment.crop is None
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
    plain = resolve(config(), registry).by_key["cells", "unet", 0]
    tuned = resolve(config(overrides=[{"recipe": {"inference": {"short_side": 99}}}]), registry)
    tuned = tuned.by_key["cells", "unet", 0]
    assert tuned.spec == plain.spec
    assert tuned.predict_arguments != plain.predict_arguments


def test_dataset_options_are_laid_over_the_entry(registry: Path) -> None:
    run = resolve(config(dataset_options={"street": {"size": [16, 16]}}), registry)
    assert run.datasets["street"].options == {"size": [16, 16], "seed": 0}


def test_every_mistake_is_reported_at_once_with_path_value_and_nearest_name(registry: Path) -> None:
    raw = config(
        models=["unett"], modle=["unet"], seeds=["x"], exclude=[{"dataset": "cell", "model": "unet"}]
    )
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry, source="my.yaml")
    text = str(caught.value)
    assert "my.yaml: modle: unknown key; did you mean 'models'?" in text
    assert "my.yaml: seeds.0" in text and "'x'" in text
    assert "unett.yaml; did you mean 'unet'?" in text


def test_unknown_names_in_exclude_and_overrides_are_errors(registry: Path) -> None:
    raw = config(
        exclude=[{"dataset": "cell", "model": "unet"}],
        overrides=[{"models": ["mask2formr"], "recipe": {}}],
        dataset_options={"stret": {}},
    )
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry)
    text = str(caught.value)
    assert "exclude.0.dataset: no dataset 'cell'; did you mean 'cells'?" in text
    assert "overrides.0.models: no model 'mask2formr'; did you mean 'mask2former'?" in text
    assert "dataset_options: no dataset 'stret'; did you mean 'street'?" in text


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": {"lrr": 1}}, "optimizer.lrr: unknown key; did you mean 'lr'?"),
        ({"augment": {"crop": [0, 4]}}, "augment.crop.0"),
        ({"schedule": {"name": "polly"}}, "(value: 'polly')"),
    ],
)
def test_mistakes_inside_a_recipe_are_found(registry: Path, recipe: dict, message: str) -> None:
    with pytest.raises(SegbenchError) as caught:
        resolve(config(overrides=[{"models": ["unet"], "recipe": recipe}]), registry)
    assert message in str(caught.value) and "recipe of unet on" in str(caught.value)


def test_a_recipe_that_a_network_lacks_is_named(registry: Path) -> None:
    with pytest.raises(SegbenchError, match=r"has no recipe 'papr' \(has: demo\)"):
        resolve(config(recipe="papr"), registry)


def test_a_name_listed_twice_is_an_error(registry: Path) -> None:
    with pytest.raises(SegbenchError, match="'unet' is listed twice"):
        resolve(config(models=["unet", "unet"]), registry)


def test_a_broken_registry_file_is_named(registry: Path) -> None:
    (registry / "models" / "unet.yaml").write_text("title: [")
    with pytest.raises(SegbenchError, match=r"unet\.yaml: cannot be read as YAML"):
        resolve(config(), registry)


def test_one_archive_described_in_two_ways_is_an_error(registry: Path) -> None:
    for name, url in (("vessels", "http://a/x.zip"), ("cells", "http://b/x.zip")):
        entry = dataset(["semantic"], archives={"x.zip": {"url": url}})
        (registry / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    with pytest.raises(SegbenchError, match=r"archives\.x\.zip: differs from the one in vessels\.yaml"):
        resolve(config(), registry)


def test_a_published_score_of_an_unknown_dataset_is_named(registry: Path) -> None:
    score = {
        "dataset": "vesels",
        "split": "val",
        "metric": "miou",
        "value": 0.5,
        "tolerance": 0,
        "source": "s",
    }
    (registry / "models" / "unet.yaml").write_text(yaml.safe_dump(model(["semantic"], published=[score])))
    with pytest.raises(
        SegbenchError, match="published.0.dataset: no dataset 'vesels'; did you mean 'vessels'"
    ):
        resolve(config(), registry)


WEIGHTS = {
    "backbone": {"timm": "resnet18"},
    "whole": {"checkpoint": {"class": "m:C"}},
    "other": {"checkpoint": {"class": "m:D"}},
    "research": {"checkpoint": {"class": "m:C"}, "non_commercial": True},
}


@pytest.fixture
def weights(registry: Path) -> Path:
    for name, entry in WEIGHTS.items():
        about = {"url": "https://example.org/w", "licence": "CC BY-NC 4.0", "citation": "c"}
        (registry / "weights" / f"{name}.yaml").write_text(yaml.safe_dump(about | entry))
    return registry


def recipe_of_unet(**recipe: object) -> dict:
    return config(overrides=[{"models": ["unet"], "recipe": recipe}])


def test_a_cell_needs_no_training_when_it_has_public_weights(weights: Path) -> None:
    run = resolve(recipe_of_unet(weights="whole", iterations=0), weights)
    cell = run.by_key["vessels", "unet", 0]
    assert cell.weights == "whole" and cell.recipe.iterations == 0
    assert set(run.weights) == {"whole"} and run.loader(cell) is None
    assert run.by_key["street", "mask_rcnn", 0].weights is None


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"weights": "whol"}, "no .*whol.yaml; did you mean 'whole'"),
        ({"weights": "backbone"}, "'backbone' is a backbone; name it as `pretrained`"),
        ({"pretrained": "whole"}, "'whole' is a whole network; name it as `weights`"),
        ({"weights": "other"}, "'other' is made for m:D"),
        ({"weights": "whole", "pretrained": "backbone"}, "give `pretrained`"),
        ({"weights": "whole", "init_from": "mask_rcnn"}, "give `weights`"),
        ({"iterations": 0}, "iterations: 0 needs `weights`"),
        ({"weights": "research"}, "CC BY-NC 4.0.*forbids commercial use; allow_non_commercial: true"),
    ],
)
def test_weights_that_do_not_suit_the_recipe_are_refused(weights: Path, recipe: dict, message: str) -> None:
    with pytest.raises(SegbenchError, match=message):
        resolve(recipe_of_unet(**recipe), weights)


def test_weights_for_research_are_used_where_that_is_allowed(weights: Path) -> None:
    run = resolve(recipe_of_unet(weights="research") | {"allow_non_commercial": True}, weights)
    assert run.weights["research"].non_commercial


def staged(*pairs: tuple[str, str], **more: object) -> dict:
    recipes = [{"models": [later], "recipe": {"init_from": earlier}} for later, earlier in pairs]
    return config(overrides=recipes, **more)


def test_a_cell_can_start_from_another_of_its_dataset_and_seed(registry: Path) -> None:
    run = resolve(staged(("mask2former", "unet"), datasets=["cells"], seeds=[0, 3]), registry)
    assert run.by_key["cells", "mask2former", 3].earlier == ("cells", "unet", 3)
    assert run.by_key["cells", "unet", 3].earlier is None


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("unet", "unett")], "recipe of unet on cells: init_from: the run trains no 'unett'.*mean 'unet'"),
        ([("unet", "control_truth")], "the run trains no 'control_truth' on cells"),
        ([("unet", "mask_rcnn"), ("mask_rcnn", "unet")], "recipe of unet .*start from each other"),
        ([("unet", "unet")], "start from each other"),
    ],
)
def test_a_cell_cannot_start_from_what_the_run_does_not_train_before(
    registry: Path, pairs: list, message: str
) -> None:
    with pytest.raises(SegbenchError, match=message):
        resolve(staged(*pairs, datasets=["cells"]), registry)


def test_names_that_would_leave_the_results_folder_are_refused(registry: Path) -> None:
    with pytest.raises(SegbenchError, match="run"):
        resolve(config(run="../up"), registry)


def test_overlay_replaces_lists_and_merges_mappings() -> None:
    assert overlay({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}}


def test_the_staged_fcn_of_the_readme_has_the_values_of_its_authors_solvers() -> None:
    text = (ROOT / "config" / "README.md").read_text()
    block = text.split("FCN trained in stages")[1].split("\n\n")[1]
    raw = yaml.safe_load("\n".join(line.removeprefix("    ") for line in block.splitlines()))
    run = resolve({**raw, "datasets": ["voc2012_sbd"], "controls": []}, ROOT / "config")
    pixels = 190_000  # their rates are for sums over the pixels of an image of VOC, ours for means
    for stride, rate in ((32, 1e-10), (16, 1e-12), (8, 1e-14)):
        recipe = run.by_key["voc2012_sbd", f"fcn{stride}s_vgg16", 0].recipe
        assert recipe is not None
        assert recipe.optimizer.lr == pytest.approx(rate * pixels, rel=0.06)
        assert (recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (0.99, 5e-4)
        assert (recipe.batch_size, recipe.iterations, recipe.schedule.name) == (1, 100_000, "constant")
