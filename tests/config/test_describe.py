from __future__ import annotations

import json
from pathlib import Path

import yaml
from small_registry import PAPER, config, model

from segbench.config.describe import describe
from segbench.config.resolve import resolve
from segbench.contract.run import RunDescription
from segbench.files import write_json

PUBLISHED = {
    "data": "d",
    "split": "val",
    "metric": "miou",
    "value": 0.5,
    "tolerance": 0.25,
    "source": "s",
}
OPTIONS = {
    "run": "r",
    "results": "out",
    "data": "d/e",
    "datasets": ["vessels"],
    "models": ["unet", "mask_rcnn"],
}
SKIPPED = {
    "dataset": "vessels",
    "model": "mask_rcnn",
    "reason": "needs instance truth; the dataset has semantic",
}


def test_the_description_has_what_the_report_reads(registry: Path) -> None:
    (registry / "models/unet.yaml").write_text(yaml.safe_dump(model(["semantic"], published=[PUBLISHED])))
    run = resolve(
        config(seeds=[3], report={"title": "T", "primary": {"semantic": "dice"}}, **OPTIONS), registry
    )
    found = describe(run).model_dump(mode="json")
    card = {
        "Paper": f"A: t. v 2015, {PAPER['url']}",
        "Good at": "g",
        "Bad at": "b",
        "Public weights": "l",
    }
    cell = {"dataset": "vessels", "seed": 3, "task": "semantic"}
    assert found == {
        "name": "r",
        "recipe": "demo",
        "cells": [
            {**cell, "model": "unet", "control": False},
            {**cell, "model": "control_truth", "control": True, "trained": False},
        ],
        "skipped": [SKIPPED],
        "datasets": {"vessels": {"root": "d/e/vessels", "title": "t", "state": "out/r/datasets/vessels"}},
        "models": {
            "unet": {"title": "t", "card": card, "published": [{"dataset": None, **PUBLISHED}]},
            "mask_rcnn": {"title": "t", "card": card, "published": []},
            "control_truth": {"title": "t", "card": card, "published": []},
        },
        "config_yaml": run.as_yaml(),
        "options": {
            "title": "T",
            "formats": ["svg"],
            "gallery_images": 3,
            "gallery_worst": 1,
            "gallery_disagreement": 1,
            "instance_score": 0.5,
            "gallery_channels": {},
            "primary": {"semantic": "dice"},
            "equivalent": 0.005,
            "baseline": None,
        },
    }


def test_a_description_is_the_same_after_writing_and_reading(registry: Path, tmp_path: Path) -> None:
    first = describe(resolve(config(**OPTIONS), registry))
    write_json(tmp_path / "run.json", first.model_dump(mode="json"))
    read = RunDescription.read(tmp_path / "run.json")
    assert read.root == tmp_path
    assert read.model_dump_json() == first.model_dump_json()
    assert json.loads((tmp_path / "run.json").read_text()).keys() == first.model_dump().keys()


def test_a_method_without_training_among_the_networks_is_no_control(registry: Path) -> None:
    run = resolve(config(models=["unet", "control_truth"], controls=[]), registry)
    assert [cell.control for cell in run.cells if cell.dataset == "vessels"] == [False, True]  # as it is run
    found = describe(run)
    assert found.networks == ["unet", "control_truth"] and not found.controls  # as it is ranked
    assert [cell.trained for cell in found.cells if cell.dataset == "vessels"] == [True, False]


def test_names_and_titles(registry: Path) -> None:
    found = describe(resolve(config(), registry))
    assert found.networks == ["unet", "mask2former", "mask_rcnn"] and found.controls == ["control_truth"]
    assert str(found.skipped[0]) == "mask_rcnn on vessels: needs instance truth; the dataset has semantic"
