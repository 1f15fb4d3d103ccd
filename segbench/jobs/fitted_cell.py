"""The recipe of a cell after it has been fitted to its dataset."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from segbench.config.resolved_run import PlannedCell
from segbench.contract.cell import CellSpec
from segbench.contract.statistics import DatasetStatistics
from segbench.contract.view import Category
from segbench.fitting.fit import Fitted, fitted

_CATEGORIES = TypeAdapter(list[Category])


def fitted_cell(cell: PlannedCell, dataset_json: Path) -> Fitted:
    """Return what `segbench train` makes of the recipe of a cell.

    Args:
        cell: the cell of a network.
        dataset_json: description of its converted dataset.

    Raises:
        FileNotFoundError: the dataset is not converted yet.
        KeyError, pydantic.ValidationError: an earlier version has converted it.
    """
    info = json.loads(Path(dataset_json).read_text(encoding="utf-8"))
    categories = _CATEGORIES.validate_python(info["categories"])
    statistics = DatasetStatistics.model_validate(info["statistics"])
    return fitted(CellSpec.model_validate_json(cell.spec), categories, statistics)
