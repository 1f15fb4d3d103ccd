"""The primary metric at each validation of a training."""

from __future__ import annotations

import csv
import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny_networks import make_spec

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.recipe import Inference
from segbench.data.dataset import Dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.validation import PrimaryMetric
from segbench.jobs.fingerprint import covered
from segbench.jobs.state import Stopped
from segbench.jobs.training_code import training_code
from segbench.prediction.runner.predict import predict
from segbench.training import parallel
from segbench.training.precision import Precision
from segbench.training.runner.train import train
from segbench.training.runner.validation import ValidationScore

CPU = torch.device("cpu")


def scores_in(folder: Path) -> list[float]:
    with (folder / "history.csv").open() as file:
        return [float(row["validation_score"]) for row in csv.DictReader(file) if row["validation_score"]]


class Told:
    """A measure that returns given values."""

    def __init__(self, values: list[float], stop_at: int | None = None) -> None:
        self.values, self.stop_at, self.calls = values, stop_at, 0

    def pictures(self, split: Any, out: Path, task: str) -> dict[str, Any]:
        return {}

    def count(self, model: Any, split: Any, out: Path, *_: Any) -> Path:
        self.split = split
        return out

    def value(self, paths: Any, task: str) -> tuple[str, float]:
        self.calls += 1
        return "miou", self.values[self.calls - 1]


@pytest.mark.parametrize(
    ("network", "task", "metric"), [("Normalised", "semantic", "miou"), ("Segments", "panoptic", "pq")]
)
def test_it_is_the_score_of_the_steps_after_the_training(
    run, shapes: Path, tmp_path: Path, network: str, task: str, metric: str
) -> None:
    spec = make_spec(network, task=task, validate_every=4, ema=0.9)
    result = run("a", spec, measure=PrimaryMetric())
    predict(shapes, tmp_path / "a" / "model.pt", tmp_path / "predictions", split="val", threads=1)
    evaluate(shapes, tmp_path / "predictions", tmp_path, options=EvaluationOptions(bootstrap_samples=0))
    with (tmp_path / "scores.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if (r["task"], r["metric"], r["class"]) == (task, metric, "")]
    found = scores_in(tmp_path / "a")
    assert len(found) == 2 and found[-1] == float(rows[0]["value"])
    assert result["validation"] == {"metric": metric, "split": "val", "images": 3, "of": 3}
    assert not (tmp_path / "a" / ".unfinished").exists()


def test_it_does_not_disturb_the_training(run) -> None:
    recipe = {"options": {"dropout": 0.3}, "validate_every": 2, "validation_images": 2}
    plain = run("a", make_spec(**recipe))
    scored = run("b", make_spec(**recipe), measure=PrimaryMetric())
    assert plain["weights_digest"] == scored["weights_digest"] and plain["validation"] is None
    assert scored["validation"]["images"] == 2


@pytest.mark.parametrize(
    ("by", "values", "selected"),
    [("metric", [0.2, 0.6, 0.4], 8), ("metric", [math.nan, 0.1, math.nan], 8), ("loss", [0.9, 0.6, 0.1], 12)],
)
def test_the_best_weights_by_the_metric(run, by: str, values: list[float], selected: int) -> None:
    spec = make_spec(iterations=12, validate_every=4, select="best", select_by=by)
    result = run("a", spec, measure=Told(values))
    assert result["selected_iteration"] == selected


def test_patience_goes_by_the_metric(run) -> None:
    spec = make_spec(iterations=16, validate_every=2, patience=2, select_by="metric")
    assert run("a", spec, measure=Told([0.1, 0.3, 0.3, 0.2, 0.9]))["iterations"] == 8


def test_a_validation_that_is_told_to_stop_is_made_again(shapes: Path, tmp_path: Path, monkeypatch) -> None:
    spec = make_spec(validate_every=4)
    train(shapes, spec, tmp_path / "whole", threads=1, measure=PrimaryMetric())
    count = PrimaryMetric.count

    def told(self: Any, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return count(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PrimaryMetric, "count", told)
        with pytest.raises(Stopped):
            train(shapes, spec, tmp_path / "cut", threads=1, measure=PrimaryMetric())
    assert not (tmp_path / "cut" / ".unfinished").exists()
    train(shapes, spec, tmp_path / "cut", threads=1, measure=PrimaryMetric())
    assert scores_in(tmp_path / "cut") == scores_in(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_find_the_score_of_one(run, tmp_path: Path) -> None:
    """One of them has two of the three images."""
    recipe = {"iterations": 2, "validate_every": 2, "precision": "fp32"}
    for gpus in (1, 2):
        spec = make_spec(gpus=gpus, optimizer={"name": "sgd", "lr": 1e-6}, **recipe)
        run(f"{gpus}", spec, measure=PrimaryMetric())
    one, two = (scores_in(tmp_path / folder) for folder in "12")
    assert one == pytest.approx(two, abs=1e-3) and len(one) == 1


def test_a_process_without_an_image_only_waits(shapes: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parallel, "rank", lambda: 1)
    monkeypatch.setattr(parallel, "size", lambda: 2)
    monkeypatch.setattr(parallel, "gathered", lambda value: [])
    measure, split = Told([]), Dataset(shapes).split("val")
    score = ValidationScore(measure, split, 1, Inference(), Precision.of("fp32", CPU), tmp_path)
    assert score(Any, lambda: False) == 0.0  # its share of the sum over the processes
    assert score(Any, lambda: True) is None
    assert measure.calls == 0 and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("recipe", [{}, {"validate_every": 2, "validation_images": 0}])
def test_the_metric_selects_only_if_it_is_computed(recipe: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="select_by: metric needs validate_every"):
        make_spec(select_by="metric", **recipe)


def test_the_evaluation_is_code_of_a_training_only_if_it_selects() -> None:
    recipe = make_spec(validate_every=2).recipe
    assert "segbench.evaluation.validation" not in covered(*training_code(recipe))
    selecting = recipe.model_copy(update={"select_by": "metric"})
    assert "segbench.evaluation.semantic.confusion" in covered(*training_code(selecting))


def test_what_rules_derived_stays_where_nothing_is_stated() -> None:
    derived = Inference(short_side=320, batch_size=2)
    assert derived.stated_over(Inference(batch_size=1)) == Inference(short_side=320, batch_size=1)
    assert derived.stated_over(None) == derived


def test_part_of_a_split_keeps_its_ids(shapes: Path) -> None:
    split = Dataset(shapes).split("test")
    part = split.part(split.images[1::2])
    assert [record.id for record in part] == [2, 4] and len(part) == 2 and len(split) == 5
    assert json.loads(part.instances_json.read_text())["images"]
