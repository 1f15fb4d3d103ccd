"""Run the evaluate step in several processes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from segbench.contract.evaluation import EvaluationOptions
from segbench.evaluation import evaluate as core
from segbench.evaluation.runner.workers import in_chunks


def evaluate(
    dataset_root: Path, predictions: Path, out: Path, *, options: EvaluationOptions, processes: int = 1
) -> None:
    """Score a folder of predictions in `processes` processes: see `segbench.evaluation.evaluate.evaluate`."""
    core.evaluate(
        dataset_root, predictions, out, options=options, spread=partial(in_chunks, processes=processes)
    )
