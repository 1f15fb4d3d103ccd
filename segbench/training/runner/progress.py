"""Progress of a training: a bar on a terminal, or a log line every few seconds."""

from __future__ import annotations

import logging
import sys
import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
LOG_SECONDS = 5.0


class TrainingProgress:
    """Show the progress from iteration `start` to iteration `total`."""

    def __init__(self, start: int, total: int) -> None:
        self._start, self._total = start, total
        self._began = self._logged = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task("", total=total, completed=start, text="")

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, iteration: int, loss: float, images_per_second: float) -> None:
        """Show that `iteration` iterations are done."""
        text = f"loss {loss:.4g}, {images_per_second:.3g} images/s"
        if self._bar:
            self._bar.start()
            self._bar.update(self._task, completed=iteration, text=text)
            return
        now = time.monotonic()
        if now - self._logged >= LOG_SECONDS or iteration == self._total:
            self._logged = now
            left = (now - self._began) / max(1, iteration - self._start) * (self._total - iteration)
            text = f"{text}, {timedelta(seconds=round(left))} left"
            log.info("iteration %d/%d: %s", iteration, self._total, text)
