"""What the predictions of a cell were made from, kept beside them.

Prediction and scores of a cell are one job. A job that is repeated for its scores alone keeps the
predictions, and needs no GPU. Both the workflow, for what the job requests, and the step ask here.
This module does not import torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from segbench.files import read_json, write_json
from segbench.models.digest import model_digest

RECORD = "made_from.json"


def origin(data: Path, model: Path | None, code: str, arguments: list[str]) -> dict[str, Any]:
    """Return all that decides predictions.

    Args:
        data: folder of the dataset; its `dataset.json` has a digest of all images.
        model: the trained model.pt; None for a control.
        code: fingerprint of the code that predicts.
        arguments: options of `segbench predict` that decide its results.

    Raises:
        OSError: a file is missing.
        SegbenchError: the model is damaged.
    """
    return {
        "data": hashlib.sha256((data / "dataset.json").read_bytes()).hexdigest(),
        "model": model and model_digest(model),
        "code": code,
        "arguments": arguments,
    }


def is_made_from(predictions: Path, wanted: dict[str, Any]) -> bool:
    """Return whether a folder has predictions that were made from `wanted`, the return value of `origin`."""
    record = predictions / RECORD
    if not record.exists() or not (predictions / "predictions.json").exists():
        return False
    return bool(read_json(record) == wanted)


def write_origin(predictions: Path, made_from: dict[str, Any]) -> None:
    """Record what the predictions in a folder were made from, once the step has ended."""
    write_json(predictions / RECORD, made_from)
