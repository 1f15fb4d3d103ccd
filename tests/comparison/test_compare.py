from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from counted import write_counts, write_run

from segbench.comparison.compare import Comparison, compare, read_comparison
from segbench.comparison.contest import Contest
from segbench.contract.run import RunDescription
from segbench.report.page import report
from segbench.report.summarise import summarise

SHIFTS = {"best": 0.12, "twin": 0.119, "worst": -0.1}


def shares(seed: int, shift: float, images: int = 24) -> np.ndarray:
    common = np.random.default_rng(9).normal(0.6, 0.1, images)
    return common + shift + np.random.default_rng(seed).normal(0, 0.02, images)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = {
        (f"d{d}", model, seed): shares(100 * d + 10 * n + seed, shift)
        for d in range(6)
        for n, (model, shift) in enumerate({**SHIFTS, "control_constant": -0.6}.items())
        for seed in range(1 if model == "control_constant" else 3)
    }
    path = write_run(tmp_path_factory.mktemp("run"), cells, baseline="worst")
    summarise(path, path.parent / "summary")
    return path


@pytest.fixture(scope="module")
def compared(finished: Path) -> Comparison:
    return read_comparison(finished.parent / "summary/comparison")


def test_ties_share_a_rank_and_a_letter(compared: Comparison) -> None:
    for _, own in compared.places.groupby("dataset"):
        places = own.set_index("model")
        assert places["rank"].to_dict() == {"best": 1, "twin": 1, "worst": 3}
        assert places["letters"].to_dict() == {"best": "a", "twin": "a", "worst": "b"}
        assert places["first"].sum() == pytest.approx(1) and places.loc["worst", "first"] == 0


def test_every_score_has_an_interval(compared: Comparison) -> None:
    scores = compared.scores
    assert set(scores["metric"]) >= {"miou", "dice", "pixel_accuracy", "miou_no_background"}
    assert set(scores["model"]) == {*SHIFTS, "control_constant"}
    assert (scores["low"] <= scores["value"]).all() and (scores["value"] <= scores["high"]).all()
    assert (scores.loc[scores["model"] != "control_constant", "seeds"] == 3).all()


def test_over_the_datasets(compared: Comparison) -> None:
    test = compared.tests.iloc[0]
    assert test["test"] == "Friedman" and test["p"] < 0.05 and test["missing"] == 0
    networks = compared.networks.set_index("model")
    assert networks.loc["worst", "mean_rank"] == 3 and networks.loc["worst", "tested_rank"] == 3
    assert networks["first"].sum() == pytest.approx(1)
    row = compared.matrix.set_index(["a", "b"]).loc[("best", "worst")]
    assert (row["wins"], row["ties"], row["losses"]) == (6, 0, 0)
    assert (row["improvement"], row["low"]) == pytest.approx((1, 1))
    back = compared.matrix.set_index(["a", "b"]).loc[("worst", "best")]
    assert (back["losses"], back["improvement"]) == pytest.approx((6, 0))


def test_words_can_be_pasted(compared: Comparison) -> None:
    words = compared.words
    one = words.loc[words["dataset"] == "d0", "text"].item()
    for part in (
        "3 networks (3 seeds or more each)",
        "24 test images of D0",
        "Holm's correction over 3 pairs",
    ):
        assert part in one
    assert "It cannot be told from" in one and "not repeated" not in one
    task = words.loc[words["dataset"] == "", "text"].item()
    assert "Friedman's test: p" in task and "Kendall's W" in task and "better than" in task


def test_the_page_says_it_all(finished: Path) -> None:
    report(finished, finished.parent / "summary", finished.parent / "report")
    page = (finished.parent / "report/index.html").read_text()
    for part in (
        "Tied",
        "Is the order real?",
        "Ranks in the draws",
        "Differences from worst",
        "6–0–0",
        "1 a",
    ):
        assert part in page, part
    plots = {path.name for path in (finished.parent / "report/plots").iterdir()}
    assert {"critical_semantic.svg", "baseline_d0_semantic.svg"} <= plots


def test_tables_show_ranks_and_intervals(finished: Path) -> None:
    table = pd.read_csv(finished.parent / "summary/tables/d0_semantic.csv")
    assert {"miou_low", "miou_high", "rank", "letters"} <= set(table)
    text = (finished.parent / "summary/tables/d0_semantic.md").read_text()
    assert "| Rank |" in text and "1 a" in text and "±" in text and " [0." in text


def run_of(*datasets: str) -> RunDescription:
    places = {name: {"root": "data"} for name in datasets}
    return RunDescription.model_validate({"name": "r", "cells": [], "datasets": places})


def one(tmp_path: Path, **files: list[list[Path]]) -> Comparison:
    contest = Contest("d", "semantic", "miou", files)
    return compare(run_of("d"), [contest], {})


def written(folder: Path, *seeds: np.ndarray, **options: object) -> list[list[Path]]:
    found = []
    for n, own in enumerate(seeds):
        write_counts(folder / f"seed{n}", own, **options)  # type: ignore[arg-type]
        found.append([folder / f"seed{n}/per_image.parquet"])
    return found


def test_files_that_do_not_fit_are_left_out_with_the_reason(tmp_path: Path) -> None:
    a, b = (written(tmp_path / name, shares(n, 0)) for n, name in enumerate("ab"))
    fewer = written(tmp_path / "fewer", shares(2, 0)[:10])
    broken = written(tmp_path / "broken", shares(3, 0))
    broken[0][0].write_bytes(b"")
    gone = [[tmp_path / "gone/seed0/per_image.parquet"]]
    found = one(tmp_path, a=a, b=b, fewer=fewer, broken=broken, gone=gone)
    reasons = dict(zip(found.left_out["model"], found.left_out["reason"]))
    assert reasons["fewer"] == "seed0/per_image.parquet is on other images"
    assert reasons["gone"] == "seed0/per_image.parquet is missing" and "broken" in reasons
    assert set(found.places["model"]) == {"a", "b"}


def test_a_single_network_has_intervals_and_no_test(tmp_path: Path) -> None:
    found = one(tmp_path, a=written(tmp_path / "a", shares(0, 0)))
    assert len(found.scores) and found.pairs.empty and found.places.empty and found.words.empty
    found.write(tmp_path / "out")
    again = read_comparison(tmp_path / "out")
    assert len(again.scores) == len(found.scores) and again.pairs.empty


def test_no_samples_no_intervals(tmp_path: Path) -> None:
    files = {name: written(tmp_path / name, shares(n, 0), samples=0) for n, name in enumerate("ab")}
    found = one(tmp_path, **files)
    assert found.scores.empty and set(found.left_out["reason"]) == {"bootstrap_samples is 0"}


def test_folds_are_one_set_of_images(tmp_path: Path) -> None:
    """Two folds of twelve images are as good as one split of 24."""
    whole = {name: written(tmp_path / name, shares(n, 0)) for n, name in enumerate("ab")}
    folds = {}
    for n, name in enumerate("ab"):
        halves = [written(tmp_path / f"{name}{k}", shares(n, 0)[12 * k : 12 * k + 12])[0][0] for k in (0, 1)]
        folds[name] = [halves]
    frames = [one(tmp_path, **files).pairs for files in (whole, folds)]
    pd.testing.assert_frame_equal(*frames)


def test_groups_count_as_one_image(tmp_path: Path) -> None:
    groups = [f"patient{n // 6}" for n in range(24)]
    files = {name: written(tmp_path / name, shares(n, 0), groups=groups) for n, name in enumerate("ab")}
    found = one(tmp_path, **files)
    assert (found.pairs["units"] == 4).all() and (found.pairs["p"] >= 2**-3).all()
    text = found.words["text"].item()
    assert "On 4 groups of test images no difference can be shown" in text and "6 are needed, 2 more" in text


def test_too_few_images_and_rare_classes_are_named(tmp_path: Path) -> None:
    files = {name: written(tmp_path / name, shares(n, 0, 8)) for n, name in enumerate("ab")}
    assert "With fewer than 10 test images" in one(tmp_path, **files).words["text"].item()
    few = [write_counts(tmp_path / f"few{n}", shares(n, 0), truth=np.arange(24) < 6) for n in range(2)]
    files = {str(n): [[found.path]] for n, found in enumerate(few)}
    assert "cell occurs in fewer than 10 test images" in one(tmp_path, **files).words["text"].item()
