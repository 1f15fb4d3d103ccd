"""The history of a training: a CSV file with one row per iteration, continued from a checkpoint."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from segbench.files import write_text


class History:
    """Append rows to a CSV file and flush each one.

    Args:
        path: the file.
        start: iteration of the checkpoint that the training continues from; later rows are removed.
    """

    def __init__(self, path: Path, start: int) -> None:
        kept = _rows_until(path, start) if start and path.exists() else []
        write_text(path, "".join(kept))
        self._file = path.open("a", encoding="utf-8", newline="")
        self._writer: csv.DictWriter[str] | None = None
        if kept:
            self._writer = csv.DictWriter(self._file, next(csv.reader(kept[:1])), lineterminator="\n")

    def append(self, row: dict[str, Any]) -> None:
        """Write one row. The keys of the first row become the header."""
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(row), lineterminator="\n")
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _rows_until(path: Path, iteration: int) -> list[str]:
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    return [header, *(row for row in rows if row.endswith("\n") and int(row.split(",", 1)[0]) <= iteration)]
