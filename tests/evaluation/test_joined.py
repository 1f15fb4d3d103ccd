from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from fold_files import OPTIONS, write_maps
from typer.testing import CliRunner

from segbench.cli import app
from segbench.errors import SegbenchError
from segbench.evaluation.instance import ap
from segbench.evaluation.joined import joined
from segbench.evaluation.pooling import pool

FIRST = [([[1, 1, 0]], [[1, 0, 0]]), ([[0, 0, 0]], [[0, 0, 1]])]
SECOND = [([[1, 1, 1]], [[1, 1, 0]])]


def values(statistics) -> dict[tuple[str, str], float]:
    return {(s.metric, s.name): s.value for s in pool(statistics)}


def test_the_pooled_score_is_that_of_the_joined_predictions(tmp_path: Path) -> None:
    """By hand: cell 3 of 6 true or predicted pixels, background 3 of 6; the mean of the folds is another."""
    write_maps(tmp_path / "0.parquet", FIRST)
    write_maps(tmp_path / "1.parquet", SECOND)
    whole = write_maps(tmp_path / "whole.parquet", FIRST + SECOND)
    both = joined([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert values(both)["miou", "cell"] == 3 / 6 and values(both)["miou", "background"] == 3 / 6
    assert values(both) == pytest.approx(values(whole), nan_ok=True)
    assert both.metadata.image_ids == (1, 2, 3)


def test_groups_of_all_folds_are_joined(tmp_path: Path) -> None:
    write_maps(tmp_path / "0.parquet", FIRST, ["a", None])
    write_maps(tmp_path / "1.parquet", SECOND)
    both = joined([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert both.metadata.groups == ("a", None, None)


def test_the_table_of_images_has_the_group(tmp_path: Path) -> None:
    write_maps(tmp_path / "0.parquet", FIRST, ["a", None])
    write_maps(tmp_path / "1.parquet", FIRST)
    table = pd.read_parquet(tmp_path / "0.parquet")
    found = dict(zip(table["image"], table["group"]))
    assert found["image1"] == "a" and pd.isna(found["image2"])
    assert "group" not in pd.read_parquet(tmp_path / "1.parquet")


def test_folds_that_were_scored_in_other_ways(tmp_path: Path) -> None:
    write_maps(tmp_path / "0.parquet", FIRST)
    write_maps(tmp_path / "1.parquet", SECOND, options=OPTIONS.model_copy(update={"bootstrap_seed": 1}))
    with pytest.raises(SegbenchError, match="scored with other options") as found:
        joined([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert found.value.where == tmp_path / "1.parquet" and found.value.remedy == "evaluate all folds again"


def test_average_precision_ranks_the_detections_of_all_folds(instance_scores, tmp_path: Path) -> None:
    """A false detection of one fold, scored between the true ones of both, costs as in one set."""

    def square(image: int, number: int, x: int, **more) -> dict:
        box = [x, 0, 4, 4]
        outline = [[x, 0, x + 4, 0, x + 4, 4, x, 4]]
        shape = {"bbox": box, "segmentation": outline, "area": 16, "iscrowd": 0}
        return {"id": number, "image_id": image, "category_id": 1, **shape, **more}

    def truth(images: list[int], annotations: list[dict]) -> dict:
        listed = [{"id": i, "file_name": f"{i}.png", "height": 10, "width": 30} for i in images]
        return {"images": listed, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}

    first = [square(1, 1, 0, score=0.9), square(1, 2, 20, score=0.7)]  # the second is false
    second = [square(2, 1, 0, score=0.5)]
    instance_scores(truth([1], [square(1, 1, 0)]), first).path.rename(tmp_path / "0.parquet")
    moved = [{**one, "image_id": 1} for one in second]
    instance_scores(truth([1], [square(1, 1, 0)]), moved).path.rename(tmp_path / "1.parquet")
    whole = instance_scores(truth([1, 2], [square(1, 1, 0), square(2, 2, 0)]), first + second)
    both = joined([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert {(s.metric, s.name): s.value for s in ap.pooled(both, "instance")} == pytest.approx(
        {(s.metric, s.name): s.value for s in whole.all}, nan_ok=True
    )
    # precision 1 up to recall 1/2 (51 of 101 levels), then 2/3
    assert values(both)["ap", ""] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_command_writes_scores_and_intervals(tmp_path: Path) -> None:
    write_maps(tmp_path / "0.parquet", FIRST, ["a", "a"])
    write_maps(tmp_path / "1.parquet", SECOND, ["b"])
    files = [str(tmp_path / "0.parquet"), str(tmp_path / "1.parquet")]
    result = CliRunner().invoke(app, ["pool", *files, "--out", str(tmp_path / "pooled")])
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "pooled" / "scores.json").read_text())
    assert (document["images"], document["groups"]) == (3, 2)
    low, high = document["intervals"]["semantic"]["miou"]
    assert low <= 0.5 <= high
