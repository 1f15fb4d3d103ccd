"""Which classes the networks of a dataset take for another one: a heat map for each network, or a table."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.errors import SegbenchError
from segbench.files import read_json
from segbench.report.image_scores import scored_cells
from segbench.report.tables import DERIVED

logger = logging.getLogger(__name__)

Tables = Mapping[tuple[str, Task], pd.DataFrame]
HEAT_MAPS = 20
"""Most classes of a heat map. Datasets with more have a table of `LARGEST` confusions."""
LARGEST = 20
LEVELS = 6
"""Colours of a heat map beside that of an empty cell."""


@dataclass(frozen=True)
class Cell:
    text: str
    """Share of the pixels of the row, in percent; empty for no pixel."""
    level: int
    """Colour, 0 to `LEVELS`."""


@dataclass(frozen=True)
class HeatMap:
    """The confusion matrix of a network: a row for each true class, a column for each predicted class."""

    title: str
    rows: list[list[Cell]]
    unlabelled: bool
    """Whether a last column counts pixels without a predicted class."""


@dataclass(frozen=True)
class Pair:
    """A true class that is taken for another one."""

    true: str
    predicted: str
    shares: list[float]
    """Share of the pixels of the true class that each network takes for the other one, 0 to 1; NaN without
    pixels of the class."""


@dataclass(frozen=True)
class Confusions:
    classes: list[str]
    networks: list[str]
    heat_maps: list[HeatMap]
    """One for each network, if there are few classes."""
    pairs: list[Pair]
    """The largest confusions by their pixels, as a mean over the networks, if there are many classes."""


def confusions(run: RunDescription, tables: Tables, cells: pd.DataFrame) -> dict[str, Confusions]:
    """Return the confusions on each dataset with class maps, by dataset.

    The matrices of the seeds and folds of a network are summed. Void pixels are excluded. A matrix
    that cannot be read is skipped, with a warning.
    """
    found = {}
    for (dataset, task), table in tables.items():
        if task != "semantic":
            continue
        networks = table[~table["control"] & (table["status"] == "ok")]
        known: list[tuple[str, np.ndarray]] = []
        classes: list[str] = []
        for model, derived in zip(networks["model"], networks["derived"]):
            paths = [run.folder(c) / "scores.json" for c in scored_cells(run, cells, dataset, model)]
            try:
                listed, matrix = read_matrix([path for path in paths if path.exists()], classes)
            except SegbenchError as error:
                logger.warning("no confusion matrix of %s on %s: %s", model, dataset, error)
                continue
            if listed:
                classes = listed
                known.append((f"{run.title(model)}{f' {DERIVED}' if derived else ''}", matrix))
        if len(classes) > 1:
            found[dataset] = _of(classes, known)
    return found


def read_matrix(paths: list[Path], expected: list[str] | None = None) -> tuple[list[str], np.ndarray]:
    """Return the names of the K classes, and the sum of the confusion matrices of some scores.json.

    Files without a matrix, such as those of classes that overlap, are skipped.

    Args:
        paths: the files.
        expected: names that the classes must have; none or None: any.

    Returns:
        K names (none if no file has a matrix), and K x (K + 1) pixels: true class, predicted class; the last
        column counts pixels without a predicted class.

    Raises:
        SegbenchError: a matrix is broken, or has other classes.
    """
    classes: list[str] = []
    total = np.zeros((0, 1), np.int64)
    for path in paths:
        content = read_json(path)
        found = content.get("confusion") if isinstance(content, dict) else None
        if found is None:
            continue
        try:
            names, matrix = list(map(str, found["classes"])), np.array(found["pixels"], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise SegbenchError(f"its confusion matrix is broken ({error})", where=path) from error
        if matrix.shape != (len(names), len(names) + 1) or names != (classes or expected or names):
            raise SegbenchError("its confusion matrix has other classes than the others", where=path)
        total = matrix if not classes else total + matrix
        classes = names
    return classes, total


def shares(matrix: np.ndarray) -> np.ndarray:
    """Divide each row of a K x (K + 1) matrix of pixels by its sum; NaN for a class without truth."""
    true = matrix.sum(1, keepdims=True)
    return np.divide(matrix, true, out=np.full(matrix.shape, np.nan), where=true > 0)


def largest(matrices: list[np.ndarray], count: int) -> list[tuple[int, int]]:
    """Return the pairs (true class, predicted class) with most pixels, as a mean over K x (K + 1) matrices.

    Each matrix has the same weight, however many cells it sums. Pixels without a predicted class (index K)
    count. Pairs without pixels are skipped.
    """
    mean = sum(matrix / max(1, matrix.sum()) for matrix in matrices) / len(matrices)
    wrong = np.array(mean)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = zip(*(axis.tolist() for axis in np.unravel_index(order, wrong.shape)))
    return [(true, guess) for true, guess in pairs if wrong[true, guess] > 0]


def _of(classes: list[str], known: list[tuple[str, np.ndarray]]) -> Confusions:
    names = [*classes, "(no class)"]
    titles, matrices = [title for title, _ in known], [matrix for _, matrix in known]
    if len(classes) <= HEAT_MAPS:
        return Confusions(names, titles, [_heat_map(*one) for one in known], [])
    by_network = [shares(matrix) for matrix in matrices]
    pairs = [
        Pair(names[true], names[guess], [float(share[true, guess]) for share in by_network])
        for true, guess in largest(matrices, LARGEST)
    ]
    return Confusions(names, titles, [], pairs)


def _heat_map(title: str, matrix: np.ndarray) -> HeatMap:
    unlabelled = bool(matrix[:, -1].any())
    shown = shares(matrix)[:, : None if unlabelled else -1]
    return HeatMap(title, [[_cell(share) for share in row] for row in shown.tolist()], unlabelled)


def _cell(share: float) -> Cell:
    """Return a cell of a heat map. Colours follow the root: a tenth, a large confusion, must be seen."""
    if math.isnan(share) or share == 0:
        return Cell("–" if math.isnan(share) else "", 0)
    return Cell(f"{100 * share:.0f}" if share > 0.005 else "<1", math.ceil(LEVELS * math.sqrt(share)))
