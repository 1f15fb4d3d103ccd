"""Predictions are kept if they would be the same, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segbench.errors import SegbenchError
from segbench.files import write_json
from segbench.models.digest import model_digest
from segbench.models.saved import save
from segbench.prediction.runner.origin import is_made_from, origin, write_origin


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """Folder with a dataset, a model and predictions."""
    (tmp_path / "data").mkdir()
    write_json(tmp_path / "data/dataset.json", {"digest": "a"})
    write_json(tmp_path / "predictions/predictions.json", {})
    save(tmp_path / "model.pt", {"weights": {"w": torch.arange(5.0)}})
    return tmp_path


def made_from(cell: Path, code: str = "code", *arguments: str) -> dict[str, object]:
    return origin(cell / "data", cell / "model.pt", code, [*arguments])


def test_each_part_counts(cell: Path) -> None:
    predictions = cell / "predictions"
    assert not is_made_from(predictions, made_from(cell))  # nothing is recorded yet
    write_origin(predictions, made_from(cell))
    assert is_made_from(predictions, made_from(cell))
    assert not is_made_from(predictions, made_from(cell, "other code"))
    assert not is_made_from(predictions, made_from(cell, "code", "train"))
    save(cell / "model.pt", {"weights": {"w": torch.tensor([0.0, 1.0, 2.0, 3.0, 5.0])}})
    assert not is_made_from(predictions, made_from(cell))
    save(cell / "model.pt", {"weights": {"w": torch.arange(5.0)}})  # trained again, to the same weights
    assert is_made_from(predictions, made_from(cell))
    write_json(cell / "data/dataset.json", {"digest": "b"})
    assert not is_made_from(predictions, made_from(cell))


def test_a_record_without_predictions_is_none(cell: Path) -> None:
    write_origin(cell / "predictions", made_from(cell))
    (cell / "predictions/predictions.json").unlink()
    assert not is_made_from(cell / "predictions", made_from(cell))


def test_a_damaged_model(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"no zip file")
    with pytest.raises(SegbenchError, match=r"model\.pt: cannot be read"):
        model_digest(tmp_path / "model.pt")
