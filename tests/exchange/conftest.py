"""Fixtures for predictions of other programs, and for exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outlined import Scored

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.external import ExternalSpec
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
