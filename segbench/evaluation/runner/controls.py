"""Predict and score the controls of a dataset in one process: each alone takes less time than its start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from segbench.contract.cell import ControlSpec
from segbench.contract.evaluation import EvaluationOptions
from segbench.evaluation.runner.evaluate import evaluate
from segbench.jobs.state import recorded
from segbench.prediction.controls import run_control
from segbench.prediction.runner.origin import is_made_from, origin, write_origin

log = logging.getLogger(__name__)


def predict_and_score(
    data: Path,
    cells: Mapping[Path, ControlSpec],
    *,
    options: EvaluationOptions,
    processes: int = 1,
    code: str = "",
    log_file: Path | None = None,
) -> None:
    """Predict the evaluation split of a dataset with controls, and score them; a failure stops only its cell.

    Args:
        data: folder of the dataset.
        cells: folder of each cell, and its control.
        options: options of the evaluation.
        processes: number of processes that score.
        code: fingerprint of the code that predicts; "": predictions that are there are not kept.
        log_file: log file of the step, named in the state of each cell.

    Raises:
        SystemExit: a cell failed (status 1), or the step was stopped.
    """
    failed = False
    for folder, spec in cells.items():
        try:
            with recorded("predict", folder, log_file):
                _predict(data, spec, folder / "predictions", code)
            with recorded("evaluate", folder, log_file):
                evaluate(data, folder / "predictions", folder, options=options, processes=processes)
        except SystemExit as stop:
            if stop.code != 1:
                raise
            failed = True
    if failed:
        raise SystemExit(1)


def _predict(data: Path, spec: ControlSpec, out: Path, code: str) -> None:
    made_from = origin(data, None, code, [spec.model_dump_json()])
    if code and is_made_from(out, made_from):
        log.info("%s: data, settings and code are the same; kept", out)
        return
    run_control(spec.class_path, data, spec.task, spec.seed, out)
    write_origin(out, made_from)
