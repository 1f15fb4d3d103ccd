"""All controls of a dataset in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segbench.contract.cell import ControlSpec
from segbench.contract.evaluation import EvaluationOptions
from segbench.evaluation.runner.controls import predict_and_score
from segbench.prediction import controls

OPTIONS = EvaluationOptions(families=(), bootstrap_samples=0)


class Broken(controls.Control):
    def predict_image(self, record):
        raise ValueError("broken on purpose")


def cells(folder: Path, *paths: str) -> dict[Path, ControlSpec]:
    return {
        folder / path.partition(":")[2].lower(): ControlSpec(class_path=path, task="panoptic", seed=0)
        for path in paths
    }


def state(folder: Path) -> tuple[str, str]:
    found = json.loads((folder / "state.json").read_text())
    return found["step"], found["state"]


def test_a_failure_stops_only_its_cell(shapes: Path, tmp_path: Path) -> None:
    paths = (f"{__name__}:Broken", "segbench.prediction.controls:Constant")
    with pytest.raises(SystemExit) as stop:
        predict_and_score(shapes, cells(tmp_path, *paths), options=OPTIONS)
    assert stop.value.code == 1
    assert state(tmp_path / "broken") == ("predict", "failed")
    assert state(tmp_path / "constant") == ("evaluate", "ok")
    assert (tmp_path / "constant/scores.csv").exists() and not (tmp_path / "broken/scores.csv").exists()


def test_predictions_that_would_be_the_same_are_kept(shapes: Path, tmp_path: Path) -> None:
    (cell,) = found = cells(tmp_path, "segbench.prediction.controls:Truth")

    def run(code: str, options: EvaluationOptions = OPTIONS) -> tuple[int, int]:
        predict_and_score(shapes, found, options=options, code=code)
        files = (cell / "predictions/predictions.json", cell / "scores.csv")
        predictions, scores = (file.stat().st_mtime_ns for file in files)
        return predictions, scores

    first = run("a")
    second = run("a", EvaluationOptions(families=(), bootstrap_samples=0, min_score=0.4))
    assert second[0] == first[0] and second[1] > first[1]
    assert run("b")[0] > first[0]
    third = run("")  # by hand
    assert run("")[0] > third[0]
