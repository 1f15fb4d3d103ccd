"""Per-image statistics of several folds, read as those of one set of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from segbench.contract.view import Task
from segbench.errors import SegbenchError
from segbench.evaluation.statistics import Batch, Statistics


def joined(paths: Sequence[Path]) -> JoinedStatistics:
    """Open the statistics files of all folds of a cross-validation.

    Raises:
        SegbenchError: a file cannot be read, or the files were not scored in the same way.
    """
    parts = [Statistics(path) for path in paths]
    first = parts[0]
    for part in parts[1:]:
        if (part.metadata.options, part.metadata.tasks) != (first.metadata.options, first.metadata.tasks):
            raise SegbenchError(
                f"was scored with other options or classes than {first.path}",
                where=part.path,
                remedy="evaluate all folds again",
            )
    return JoinedStatistics(parts)


class JoinedStatistics(Statistics):
    """Statistics of several files. The ids of their images are made unique."""

    def __init__(self, parts: Sequence[Statistics]) -> None:
        self.path, self._parts = parts[0].path, parts
        own = [part.metadata for part in parts]
        # ids count from 1 in each file
        self._starts = list(accumulate((max(m.image_ids, default=0) for m in own), initial=0))[:-1]
        groups = [group for m in own for group in m.groups or [None] * len(m.image_ids)]
        self.metadata = replace(
            own[0],
            image_ids=tuple(start + i for start, m in zip(self._starts, own) for i in m.image_ids),
            groups=tuple(groups) if any(m.groups for m in own) else None,
        )

    def batches(self, task: Task, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows of `task`, file by file; see `Statistics.batches`."""
        for start, part in zip(self._starts, self._parts):
            for batch in part.batches(task, columns):
                batch.image_ids = batch.image_ids + start
                yield batch
