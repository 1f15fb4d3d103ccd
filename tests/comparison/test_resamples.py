"""Scores of networks on the same resamples: all metrics have an interval, and any of them may rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segbench.comparison.compare import compare
from segbench.comparison.contest import Contest
from segbench.comparison.resamples import resample
from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.run import RunDescription
from segbench.contract.view import BACKGROUND, Category
from segbench.evaluation.statistics import Metadata, Rows, TaskSettings, Writer

CELL = Category(id=1, name="cell", isthing=True, color=(9, 9, 9))
OPTIONS = EvaluationOptions(families=("boundary", "cldice"), bootstrap_samples=50)
BOUNDARY = {
    "boundary_truth": 100,
    "boundary_predicted": 100,
    "contour_truth": 20,
    "contour_predicted": 20,
    "contour_predicted_hit": 15,
}
COUNT = 12


def write(path: Path, shares: np.ndarray) -> None:
    """Write a file of images, in each of which this share of the class is found."""
    rows = Rows("semantic")
    for number, share in enumerate(shares, 1):
        hit = round(share * 100)
        skeleton = {"skeleton_truth": 50, "skeleton_truth_hit": hit // 2, "skeleton_predicted": 50}
        own = BOUNDARY | {"boundary_intersection": hit, "contour_truth_hit": hit // 5} | skeleton
        own |= {"skeleton_predicted_hit": hit // 2}
        none = dict.fromkeys(own, 0)
        rows.add(number, f"image{number}", 0, predicted=[0], pixels=[900], **none)
        rows.add(number, f"image{number}", 1, predicted=[1, 0], pixels=[hit, 100 - hit], **own)
    settings = {"semantic": TaskSettings((BACKGROUND, CELL))}
    with Writer(path, Metadata(OPTIONS, settings, tuple(range(1, len(shares) + 1)), None)) as writer:
        writer.add(rows.batch())


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    rng = np.random.default_rng(3)
    common = rng.normal(0.6, 0.1, COUNT)
    for name, shift in (("good", 0.15), ("bad", -0.15)):
        write(tmp_path / f"{name}.parquet", common + shift + rng.normal(0, 0.01, COUNT))
    files = {name: [[tmp_path / f"{name}.parquet"]] for name in ("good", "bad")}
    return Contest("d", "semantic", "miou", files)


def run_of(contest: Contest) -> RunDescription:
    return RunDescription.model_validate(
        {"name": "r", "cells": [], "datasets": {"d": {"root": "d", "title": "D"}}, "options": {}}
    )


def test_every_score_of_a_boundary_or_centreline_has_an_interval(contest: Contest) -> None:
    scores: Any = compare(run_of(contest), [contest], {}).scores.set_index(["model", "metric"])
    for metric in ("miou", "boundary_iou", "boundary_f1", "cldice"):
        for model in contest.files:
            row = scores.loc[(model, metric)]
            assert row["low"] < row["value"] < row["high"], metric
            assert row["units"] == COUNT


@pytest.mark.parametrize("metric", ["boundary_iou", "boundary_f1", "cldice"])
def test_any_of_them_may_rank(contest: Contest, metric: str) -> None:
    ranked = Contest("d", "semantic", metric, contest.files)
    pairs = compare(run_of(ranked), [ranked], {}).pairs
    assert (pairs["better"].item(), pairs["parted"].item()) == ("good", True)
    assert {model: own.shape for model, own in resample(ranked).draws.items()} == {
        "good": (1, 50),
        "bad": (1, 50),
    }
