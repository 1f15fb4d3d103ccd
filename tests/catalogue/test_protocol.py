"""Tables of recipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segbench.catalogue.protocol import paper_rows, recipe_rows, with_recipe_tables
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"


def test_rows_have_the_values_of_the_resolved_recipe() -> None:
    rows = {row["Network"]: row for row in recipe_rows("standard", "cityscapes", CONFIG)}
    assert rows["mask2former_resnet50"] == {
        "Network": "mask2former_resnet50",
        "Backbone": "resnet50",
        "Images": "640,000",
        "Crop": "512 x 1024",
        "Mpx": "335,544",
        "Detections": "–",
        "Optimizer": "AdamW",
        "Rate": "0.0001 (backbone x 0.1)",
        "Decay": "0.05",
        "Clip": "0.01",
        "Warm-up": "0",
        "Batch": "16 in 8",
    }
    assert rows["solo_resnet50_fpn"]["Detections"] == "400"
    assert rows["unet"]["Backbone"] == "–" and rows["unet"]["Optimizer"] == "SGD 0.99"
    whole = recipe_rows("standard", "drive", CONFIG)[0]
    assert (whole["Crop"], whole["Mpx"]) == ("whole images", "–")
    demo = {row["Network"]: row for row in recipe_rows("demo", "street", CONFIG)}
    assert demo["mask2former_swin_tiny"]["Backbone"].endswith(", random")


def test_only_networks_that_learn_from_the_dataset_are_listed() -> None:
    names = {row["Network"] for row in recipe_rows("budget", "drive", CONFIG)}
    assert "unet" in names and "mask_rcnn_resnet50_fpn" not in names


def test_unknown_recipes_and_datasets_are_mistakes() -> None:
    with pytest.raises(SegbenchError, match="no network has a recipe 'standrad'"):
        recipe_rows("standrad", "drive", CONFIG)
    with pytest.raises(SegbenchError, match=r"drvie\.yaml; did you mean 'drive'"):
        recipe_rows("standard", "drvie", CONFIG)


def test_the_page_has_the_tables_that_the_entries_give() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert with_recipe_tables(text, CONFIG) == text, "run `segbench cards`"
    assert text.count("<!-- recipe ") == 3


def test_the_command_lists_one_network() -> None:
    command = [Path(sys.executable).with_name("segbench"), "models", "unet_mini", "--recipe", "budget"]
    done = subprocess.run(
        [*command, "--on", "drive", "--config", str(CONFIG)], capture_output=True, text=True, check=True
    )
    assert "3,200" in done.stdout and "unet_mini" in done.stdout and "fcn" not in done.stdout


def test_the_recipe_paper_is_listed_by_pair() -> None:
    rows = paper_rows(CONFIG)
    pairs = {(row["Network"], row["Dataset"]): row for row in rows}
    assert len(pairs) == len(rows)
    assert pairs["mask_rcnn_resnet50_fpn", "coco2017"]["Rate"] == "0.02"
    assert pairs["pspnet_resnet50", "ade20k"]["Crop"] == "473 x 473"
    assert [row["Dataset"] for row in recipe_rows("paper", "cityscapes", CONFIG)].count("cityscapes") > 0
    assert {row["Dataset"] for row in recipe_rows("paper", "cityscapes", CONFIG)} == {"cityscapes"}
