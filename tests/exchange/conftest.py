"""Fixtures for predictions of other programs, and for exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outlined import Scored

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.external import ExternalSpec
from segbench.data.dataset import Converted, Dataset
from segbench.data.writing.writer import write_dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.exchange.predictions.read import read_predictions
from segbench.report.summarise import read_scores


@pytest.fixture
def scored(tmp_path: Path) -> Scored:
    """Read predictions of another program as those of a cell, and return its scores over all classes."""

    def run(data: Path, path: Path, format: str, task: str, **more: Any) -> dict[tuple[str, str], float]:
        spec = ExternalSpec.model_validate({"path": path, "format": format, "task": task, **more})
        cell = tmp_path / "cell"
        read_predictions(data, spec, cell / "predictions")
        evaluate(data, cell / "predictions", cell, options=EvaluationOptions(bootstrap_samples=0))
        found = read_scores(cell / "scores.csv")
        found = found[found["class"] == ""]
        return dict(zip(zip(found["task"], found["metric"]), found["value"]))

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Dataset]:
    """Write the result of a converter as a dataset, and open it."""

    def run(converted: Converted, channels: int = 3, name: str = "toy") -> Dataset:
        root = tmp_path / "datasets" / name
        texts = {"title": name, "licence": "none", "citation": "none"}
        write_dataset(converted, root, name=name, archives={}, channels=channels, **texts)
        return Dataset(root)

    return run
