"""How long a training waits for its loader."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
Batch = TypeVar("Batch")
NOTABLE = 0.1
"""Smallest share of the time that is logged."""
SECONDS = 60.0
"""Time that is watched before the first line."""


class Waiting(Generic[Batch], Iterator[Batch]):
    """Pass on batches, and log once how much of the time was spent waiting for them.

    The first batch is not counted: the loader processes start then.

    Args:
        batches: the batches of a training.
        workers: number of loader processes; 0: the batches are loaded in this process.
        clock: returns the time in seconds.
    """

    def __init__(
        self, batches: Iterator[Batch], workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._batches, self._workers, self._clock = batches, workers, clock
        self._began: float | None = None
        self._waited = 0.0
        self._logged = False

    def __next__(self) -> Batch:
        asked = self._clock()
        batch = next(self._batches)
        now = self._clock()
        if self._began is None:
            self._began = now
            return batch
        self._waited += now - asked
        if now - self._began >= SECONDS and not self._logged:
            self.report()
        return batch

    def report(self) -> None:
        """Log the share of the time so far if it is notable. It is called once."""
        self._logged = True
        total = self._clock() - self._began if self._began is not None else 0.0
        if not total or self._waited < NOTABLE * total:
            return
        share = f"waiting for data {100 * self._waited / total:.0f} % of the time"
        wanted, processors = (
            workers_to_keep_up(self._workers, self._waited, total),
            len(os.sched_getaffinity(0)),
        )
        if wanted <= processors:
            log.warning("%s; workers: %d would help (now %d)", share, wanted, self._workers)
        else:
            log.warning(
                "%s; %d workers would be needed (now %d), but there are %d processors: use smaller images",
                *(share, wanted, self._workers, processors),
            )


def workers_to_keep_up(workers: int, waited: float, total: float) -> int:
    """Return the number of loader processes that feed as fast as the network computes.

    Without loader processes, loading takes the time that is waited. Processes load all the time, so
    their rate must rise by the ratio of the whole time to that of computing.

    Args:
        workers: number of loader processes now.
        waited: seconds spent waiting for batches.
        total: seconds in all, more than `waited`.
    """
    computing = max(total - waited, 1e-9)
    return max(workers + 1, math.ceil(workers * total / computing if workers else waited / computing))
