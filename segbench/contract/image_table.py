"""A user's CSV file with a row for each image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segbench.errors import SegbenchError, nearest

DELIMITERS = ",;\t"


class Row(NamedTuple):
    """A row of the file."""

    line: int
    image: str
    values: list[str]
    """Text of each wanted column, without blanks at its ends; "" if there is none."""


def read_header(file: Path, columns: Sequence[str], option: str) -> None:
    """Check that a file can be read and has some columns.

    Raises:
        SegbenchError: it cannot be read, or lacks columns. It lists all of them.
    """
    _read(file, columns, option, rows=False)


def read_rows(file: Path, image: str, columns: Sequence[str], option: str) -> list[Row]:
    """Read a CSV file in UTF-8. The first line has the names of the columns, between `,`, `;` or tabs.

    Args:
        file: the file.
        image: column with the image.
        columns: columns to read.
        option: option that names the file, for messages.

    Raises:
        SegbenchError: the file cannot be read, or lacks columns. It lists all of them.
    """
    found = _read(file, [image, *columns], option, rows=True)
    return [Row(line, name, values) for line, (name, *values) in found]


def _read(file: Path, columns: Sequence[str], option: str, *, rows: bool) -> list[tuple[int, list[str]]]:
    try:
        with file.expanduser().open(encoding="utf-8-sig", newline="") as opened:
            head = opened.readline()
            opened.seek(0)
            reader = csv.DictReader(opened, delimiter=max(DELIMITERS, key=head.count))
            known = reader.fieldnames or []
            if missing := [column for column in dict.fromkeys(columns) if column not in known]:
                hints = [hint for column in missing if (hint := nearest(column, known))]
                raise SegbenchError(
                    f"has no column {', '.join(map(repr, missing))} (has: {', '.join(known)})",
                    where=file,
                    remedy=f"did you mean {', '.join(map(repr, dict.fromkeys(hints)))}?"
                    if hints
                    else f"check `{option}` in the dataset's options",
                )
            if not rows:
                return []
            return [(reader.line_num, [(row[c] or "").strip() for c in columns]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SegbenchError(
            f"cannot be read ({why})", where=file, remedy="save it as CSV in UTF-8"
        ) from error
