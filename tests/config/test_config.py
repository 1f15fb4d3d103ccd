from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from segbench.config import resolve as config_module
from segbench.config import signature
from segbench.config.resolve import overlay, resolve
from segbench.errors import SegbenchError
from segbench.jobs import fingerprint

MODULE = """
from typing import Annotated, Literal
from pydantic import BaseModel, Field

Side = Annotated[int, Field(ge=8)]

class Options(BaseModel):
    model_config = {"extra": "forbid"}
    size: tuple[Side, Side] = (8, 8)
    seed: int = 0
    images: dict[Literal["train", "test"], int] = {}

def f(archives, options): ...

def g(network, state): ...

class Base:
    def __init__(self, view, in_channels, width: int = 8, loss: dict[str, float] | None = None): ...

class C(Base):
    def __init__(self, view, in_channels, widths: "str" = (), sizes: tuple[int, int] = (1, 2), **options):
        super().__init__(view, in_channels, **options)
"""
ROOT = Path(__file__).parents[2]
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
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_sources()
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


def forget_sources() -> None:
    """Modules of one name differ between tests."""
    for cached in (fingerprint.tree, fingerprint.module_source, signature.constructor_options,
                   signature.model_options, config_module._fault_of_code):  # fmt: skip
        cached.cache_clear()


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


def network_options(**options: object) -> dict:
    return config(datasets=["vessels"], models=["unet"], overrides=[{"recipe": {"options": options}}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widthss": [8]}, "unet on vessels: options.widthss: unknown option; did you mean 'widths'?"),
        ({"width": "8"}, "recipe of unet on vessels: options.width: .*valid integer \\(value: '8'\\)"),
        ({"width": 8.5}, "options.width: .*integer"),
        ({"width": None}, "options.width: .*integer"),
        ({"width": True}, "options.width: .*integer"),
        ({"sizes": [1]}, "options.sizes.1: "),
        ({"loss": {"dice": "much"}}, "options.loss.dice: .*number"),
        ({"view": 1}, "options.view: unknown option"),
        ({"zzz": 1}, "unknown option \\(known: loss, sizes, width, widths\\)"),
    ],
)
def test_options_that_a_network_does_not_take(registry: Path, options: dict, message: str) -> None:
    with pytest.raises(SegbenchError, match=message):
        resolve(network_options(**options), registry)


def test_options_that_a_network_takes_from_its_base_too(registry: Path) -> None:
    options = {"width": 4, "widths": [8, 16], "sizes": [3, 4], "loss": {"dice": 1}}
    assert resolve(network_options(**options), registry).cells[0].options == options
    assert resolve(network_options(loss=None), registry).cells


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 4}, "dataset_options.vessels.train: unknown option .known: images, seed, size"),
        ({"imagez": {}}, "dataset_options.vessels.imagez: unknown option; did you mean 'images'?"),
        ({"size": [8]}, "dataset_options.vessels.size.1: "),
        ({"size": [8, 4]}, "dataset_options.vessels.size.1: .*greater than or equal to 8 \\(value: 4\\)"),
        ({"images": {"train": "many"}}, "dataset_options.vessels.images.train: .*integer"),
    ],
)
def test_options_that_a_converter_does_not_take(registry: Path, options: dict, message: str) -> None:
    with pytest.raises(SegbenchError, match=message):
        resolve(config(dataset_options={"vessels": options}), registry)


def test_the_projects_own_networks_and_datasets_say_what_they_take() -> None:
    """Without torch: what the first command of a user waits for."""
    wrong = {
        "datasets": ["vessels", "camvid"],
        "models": ["deeplabv3_resnet50", "mask2former_resnet50"],
        "dataset_options": {"vessels": {"train": 4}, "camvid": {"fold": 1}},
        "overrides": [{"recipe": {"options": {"droput": 0.2, "backbone": 50}}}],
    }
    with pytest.raises(SegbenchError) as error:
        resolve(wrong, ROOT / "config")
    text = str(error.value)
    assert "dataset_options.vessels.train: unknown option (known: images, seed, size)" in text
    assert "dataset_options.camvid.fold: unknown option (there are none)" in text
    assert "deeplabv3_resnet50 on vessels: options.droput: unknown option; did you mean 'dropout'?" in text
    assert (
        "recipe of mask2former_resnet50 on vessels: options.backbone: Input should be a valid string" in text
    )
    code = "import sys, segbench.config.resolve, segbench.config.signature as s; "
    code += "s.constructor_options('segbench.models.unet:UNet', 2); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_python_path_is_checked_with_the_other_mistakes(registry: Path) -> None:
    (registry / "torn.py").write_text("def f(:\n")
    checkpoint = {"class": "m:C", "load": "m:ggg", "classes": ["a", "b"], "mean": [0.5], "std": [0.5]}
    entry = {"checkpoint": checkpoint, "url": "https://example.org/a.pth", "licence": "l", "citation": "c"}
    recipe = {**RECIPE, "weights": "whole"}
    for name, content in {
        "datasets/vessels": dataset(["semantic"], convert="torn:f"),
        "datasets/cells": dataset(["semantic"], convert="ext.mime:f"),
        "models/unet": model(["semantic"], **{"class": "m:CC"}),
        "models/mask_rcnn": model(["semantic"], recipes={"demo": recipe}),
        "weights/whole": entry,
    }.items():
        (registry / f"{name}.yaml").write_text(yaml.safe_dump(content))
    raw = config(datasets=["vessels", "cells"], models=["unet", "mask_rcnn"], controls=[], device="gpu")
    with pytest.raises(SegbenchError) as device:
        resolve(raw, registry)
    assert "device: a device is auto, cpu, cuda or cuda:<n>" in str(device.value)
    with pytest.raises(SegbenchError) as error:
        resolve({**raw, "device": "cpu"}, registry)
    text = str(error.value)
    assert (
        f"{registry}/datasets/vessels.yaml: convert: {registry}/torn.py, line 1: is not valid Python" in text
    )
    assert f"{registry}/datasets/cells.yaml: convert: no module 'ext.mime'" in text
    assert f"{registry}/models/unet.yaml: class: module 'm' has no 'CC'; did you mean 'C'?" in text
    assert f"{registry}/weights/whole.yaml: checkpoint.load: module 'm' has no 'ggg'" in text


def test_a_namespace_package_is_found(registry: Path) -> None:
    (registry / "ext").mkdir()
    (registry / "ext" / "mine.py").write_text("def chase(archives, options): ...\n")
    sys.path_importer_cache.clear()
    (registry / "datasets/vessels.yaml").write_text(
        yaml.safe_dump(dataset(["semantic"], convert="ext.mine:chase"))
    )
    assert resolve(config(datasets=["vessels"]), registry).datasets["vessels"].convert == "ext.mine:chase"


@pytest.mark.parametrize("key", ["results", "data", "archives", "weights", "mirror"])
def test_home_and_odd_names_in_paths(registry: Path, key: str) -> None:
    assert getattr(resolve(config(**{key: "~/a b"}), registry).config, key) == str(Path.home() / "a b")
    assert getattr(resolve(config(**{key: "it's/ü/"}), registry).config, key) == "it's/ü"
    for wrong in ("a{b}", "a\nb", " ", ""):
        with pytest.raises(SegbenchError, match=f"{key}: a path may not"):
            resolve(config(**{key: wrong}), registry)


def test_addresses_of_a_mirror_stay_as_they_are(registry: Path) -> None:
    assert resolve(config(mirror="https://a.org/~me/x/"), registry).config.mirror == "https://a.org/~me/x/"


def test_home_in_the_folder_of_a_dataset(registry: Path) -> None:
    (registry / "m.py").write_text(MODULE.replace("seed: int = 0", "seed: int = 0\n    folder: str = ''"))
    forget_sources()
    run = resolve(config(dataset_options={"vessels": {"folder": "~/cells"}}), registry)
    assert run.datasets["vessels"].options["folder"] == str(Path.home() / "cells")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices(registry: Path, device: str) -> None:
    assert resolve(config(device=device), registry).config.device == device


@pytest.mark.parametrize("device", ["gpu", "", "CUDA", "cuda:", "cuda:-1", "cuda:0 ", "mps"])
def test_devices_that_there_are_none_of(registry: Path, device: str) -> None:
    with pytest.raises(SegbenchError, match="device: .*auto, cpu, cuda or cuda:<n>"):
        resolve(config(device=device), registry)
