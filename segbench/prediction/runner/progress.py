"""Progress of a prediction of files: a bar on a terminal, or a log line every few seconds."""

from __future__ import annotations

import logging
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
LOG_SECONDS = 5.0


class FileProgress:
    """Show how many of `total` files are done, and how fast; use it in a `with` block."""

    def __init__(self, total: int) -> None:
        self._total, self._files, self._frames = total, 0, 0
        self._began = self._logged = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (
                TextColumn("predicting"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task("", total=total, text="")

    def __enter__(self) -> FileProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def frame(self) -> None:
        """Count an image, or a frame of a video."""
        self._frames += 1
        self._show()

    def file(self) -> None:
        """Count a file."""
        self._files += 1
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        text = f"{self._frames / max(now - self._began, 1e-9):.3g} images/s"
        if self._bar:
            self._bar.update(self._task, completed=self._files, text=text)
        elif now - self._logged >= LOG_SECONDS:
            self._logged = now
            log.info("%d/%d files, %d images and frames, %s", self._files, self._total, self._frames, text)
