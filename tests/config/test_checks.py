from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_registry import (
    RECIPE,
    config,
    dataset,
    forget_sources,
    model,
    recipe_of_unet,
)

from segbench.config import checks
from segbench.config.resolve import resolve
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2]


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


def test_a_baseline_that_the_run_does_not_train_is_an_error(registry: Path) -> None:
    with pytest.raises(SegbenchError, match="report.baseline: the run has no model 'resnet'"):
        resolve(config(report={"baseline": "resnet"}), registry)


def test_a_name_listed_twice_is_an_error(registry: Path) -> None:
    with pytest.raises(SegbenchError, match="'unet' is listed twice"):
        resolve(config(models=["unet", "unet"]), registry)


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
    code = "import sys, segbench.config.resolve, segbench.config.describe, segbench.config.signature as s; "
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


def test_a_key_that_is_wrong_hides_no_other_mistake(registry: Path) -> None:
    wrong = network_options(widthss=[8]) | {"modle": ["unet"], "device": "gpu"}
    wrong["dataset_options"] = {"vessels": {"imagez": {}}}
    with pytest.raises(SegbenchError, match="4 mistakes") as error:
        resolve(wrong, registry)
    for words in ("modle: unknown key", "device: a device is auto", "options.widthss", "vessels.imagez"):
        assert words in str(error.value)


def test_packages_that_a_converter_needs(registry: Path) -> None:
    (registry / "needy.py").write_text("NEEDS = {'numpy': 'core', 'absent_package': 'rare'}\ndef f(): ...\n")
    (registry / "datasets/cells.yaml").write_text(yaml.safe_dump(dataset(["semantic"], convert="needy:f")))
    with pytest.raises(SegbenchError) as caught:
        resolve(config(datasets=["cells"]), registry)
    assert (
        "cells.yaml: convert: needs the package 'absent_package' (extra 'rare'), which is not installed; "
        "pip install 'segbench[rare]'" in str(caught.value)
    )
    assert "numpy" not in str(caught.value)


def test_packages_that_a_network_needs(registry: Path) -> None:
    source = "NEEDS = {'numpy': 'core', 'absent_package': 'rare'}\nclass C:\n    tasks = ('semantic',)\n"
    (registry / "needy.py").write_text(source)
    entry = model(["semantic"], **{"class": "needy:C"})
    (registry / "models/unet.yaml").write_text(yaml.safe_dump(entry))
    with pytest.raises(SegbenchError) as caught:
        resolve(config(datasets=["vessels"], models=["unet"]), registry)
    assert (
        "unet.yaml: class: needs the package 'absent_package' (extra 'rare'), which is not installed; "
        "pip install 'segbench[rare]'" in str(caught.value)
    )
    assert "numpy" not in str(caught.value)
    resolve(config(datasets=["vessels"], models=["mask2former"]), registry)  # nobody else needs it


def test_packages_that_a_metric_needs(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataset(["semantic"], families=["cldice"])
    (registry / "datasets/vessels.yaml").write_text(yaml.safe_dump(entry))
    asked = config(datasets=["vessels"], evaluation={"families": ["cldice"]})
    resolve(asked, registry)
    monkeypatch.setattr(checks, "find_spec", lambda package: None)
    with pytest.raises(SegbenchError) as caught:
        resolve(asked, registry)
    text = str(caught.value)
    assert "evaluation.families: needs the package 'skimage' (extra 'classical')" in text
    assert "vessels.yaml: families: needs the package 'skimage' (extra 'classical')" in text


def test_networks_of_one_class_a_pixel_are_refused_where_classes_overlap(registry: Path) -> None:
    entry = dataset(["semantic"], options={"overlap": "keep"})
    (registry / "datasets" / "vessels.yaml").write_text(yaml.safe_dump(entry))
    unet = model(["semantic"], **{"class": "segbench.models.unet:UNet"})
    (registry / "models" / "unet.yaml").write_text(yaml.safe_dump(unet))
    raw = config(datasets=["vessels"], models=["unet", "mask2former"], seeds=[0, 1])
    source = (registry / "m.py").read_text().replace(", **options):", "):").replace(", **options)", ")")
    (registry / "m.py").write_text(source + "class Options(BaseModel):\n    overlap: str = 'last'\n")
    forget_sources()
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry)
    lines = [line for line in str(caught.value).splitlines() if "overlap" in line]
    assert len(lines) == 2, "once for all seeds"
    assert "recipe of unet on vessels: predicts one class for a pixel" in lines[0]
    assert "set `activation: sigmoid`" in lines[0]
    assert "recipe of mask2former on vessels" in lines[1] and "`exclude`" in lines[1]
    sigmoid = {"models": ["unet"], "recipe": {"options": {"activation": "sigmoid"}}}
    resolve({**raw, "models": ["unet"], "overrides": [sigmoid]}, registry)
    sigmoid["recipe"]["options"]["activation"] = "sigmod"
    with pytest.raises(SegbenchError, match="options.activation: .*'softmax' or 'sigmoid'"):
        resolve({**raw, "models": ["unet"], "overrides": [sigmoid]}, registry)


def test_averages_need_a_map_of_logits(registry: Path) -> None:
    """Scales, flips and blended windows are refused before anything runs, once for all seeds."""
    for name, path in {"unet": "unet:UNet", "mask_rcnn": "mask_rcnn:MaskRCNN"}.items():
        entry = model(["semantic", "instance"], **{"class": f"segbench.models.{path}"})
        (registry / "models" / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    inference = {"scales": [0.5, 1], "flip": True, "window": [64, 64], "overlap": 0.0, "blend": "gaussian"}
    raw = config(
        models=["unet", "mask_rcnn"],
        datasets=["vessels"],
        seeds=[0, 1],
        overrides=[{"recipe": {"inference": inference}}],
    )
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry)
    where = "recipe of mask_rcnn on vessels: inference"
    lines = [line.strip(" -") for line in str(caught.value).splitlines() if "inference" in line]
    assert lines == [
        f"{where}.scales: mask_rcnn has no map of logits to average over scales (value: [0.5, 1.0]); "
        "set scales: [1.0]",
        f"{where}.flip: mask_rcnn has no map of logits to average over flips; set flip: false",
        f"{where}.blend: mask_rcnn has no map of logits to average over windows (value: gaussian); "
        "set blend: uniform",
        f"{where}.overlap: mask_rcnn joins objects by the overlap of windows, which is 0; "
        "set overlap: 0.2 or more",
    ]
    inference |= {"scales": [1.0], "flip": False, "overlap": 0.5, "blend": "uniform"}
    resolve(raw, registry)


def test_networks_without_a_backbone_are_not_compiled(registry: Path) -> None:
    known = {
        "unet": "segbench.models.unet:UNet",
        "mask_rcnn": "segbench.models.mask_rcnn:MaskRCNN",
        "plain": "tiny_networks:Plain",
    }
    for name, path in known.items():
        entry = model(["semantic", "instance"], **{"class": path})
        (registry / "models" / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    raw = config(models=[*known], datasets=["vessels"], overrides=[{"recipe": {"compile": "default"}}])
    with pytest.raises(SegbenchError) as caught:
        resolve(raw, registry)
    lines = [line.strip(" -") for line in str(caught.value).splitlines() if "compile" in line]
    assert lines == [
        "recipe of plain on vessels: compile: plain cannot be compiled: it has no option `backbone`; "
        "set compile to null for it"
    ]
