"""Weighted sums and means over the images, such as those of a resample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from segbench.contract.view import Task
from segbench.evaluation.averages import ratio
from segbench.evaluation.statistics import Batch, Statistics, positions

Table = Callable[[Batch, Sequence[int]], np.ndarray]
"""From the rows of some images and the K category ids to an array, images x K or images x K x counts."""


def summed(
    statistics: Statistics, task: Task, counts: Table, columns: Sequence[str], weights: np.ndarray, width: int
) -> np.ndarray:
    """Return the weighted sums of the counts of all images, B x K x counts.

    Args:
        statistics: the file of a cell.
        task: one of its tasks.
        counts: counts of images, images x K x `width`.
        columns: columns of the file that `counts` reads.
        weights: B x images, how often each image is in each resample.
        width: number of counts.
    """
    ids = [c.id for c in statistics.metadata.tasks[task].classes]
    total = np.zeros((len(weights), len(ids), width))
    for batch in statistics.batches(task, columns):
        at = positions(batch.image_ids, statistics.metadata.image_ids)
        total += np.tensordot(weights[:, at].astype(float), counts(batch, ids).astype(float), 1)
    return total


def averaged(
    statistics: Statistics, task: Task, scores: Table, columns: Sequence[str], weights: np.ndarray
) -> np.ndarray:
    """Return the weighted mean of the scores of the images, B x K; NaN where no image has a score.

    Args:
        statistics, task, columns, weights: see `summed`.
        scores: scores of images, images x K; NaN where they are undefined.
    """

    def counts(batch: Batch, ids: Sequence[int]) -> np.ndarray:
        found = scores(batch, ids)
        return np.stack([np.nan_to_num(found), ~np.isnan(found)], -1)

    return ratio(*np.moveaxis(summed(statistics, task, counts, columns, weights, width=2), -1, 0))
