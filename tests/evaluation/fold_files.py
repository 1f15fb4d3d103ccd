"""Files of per-image statistics of small class maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import BACKGROUND, Category
from segbench.evaluation.semantic import boundary
from segbench.evaluation.semantic.confusion import ClassIndex, add_image
from segbench.evaluation.statistics import Metadata, Rows, Statistics, TaskSettings, Writer, rows_of

CLASSES = (BACKGROUND, Category(id=1, name="cell", isthing=True, color=(9, 9, 9)))
OPTIONS = EvaluationOptions(bootstrap_samples=200)
Map = list[list[int]]


def write_maps(
    path: Path,
    maps: list[tuple[Map, Map]],
    groups: list[str | None] | None = None,
    options: EvaluationOptions = OPTIONS,
) -> Statistics:
    """Write the statistics of pairs of true and predicted maps, with ids from 1."""
    index = ClassIndex([c.id for c in CLASSES], 255)
    bounds = boundary.settings(options)

    def add(rows: Rows, number: int) -> None:
        true, guess = (np.array(ids, np.int32) for ids in maps[number - 1])
        true, guess = index.truth(true, path), index.prediction(guess, path)
        add_image(rows, number, f"image{number}", true, guess, index, bounds)

    numbers = range(1, len(maps) + 1)
    tasks = {"semantic": TaskSettings(CLASSES)}
    metadata = Metadata(options, tasks, tuple(numbers), None if groups is None else tuple(groups))
    with Writer(path, metadata) as writer:
        writer.add(rows_of("semantic", add, numbers))
    return Statistics(path)
