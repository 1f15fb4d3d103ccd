"""Names of classes from text files, and of groups from the names of images."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_LISTS = ("classes.txt", "class_names.txt", "labels.txt", "names.txt", "codes.txt", "label_names.txt")
_COLORS = re.compile(r"class|label|colou?r", re.IGNORECASE)
_LARGEST = 1_000_000


def class_list(files: Mapping[str, Path]) -> tuple[str, list[str]] | None:
    """Return the path and the lines of a text file that lists the classes; None if there is none."""
    for path, file in files.items():
        if path.rsplit("/", 1)[-1].lower() in _LISTS and file.stat().st_size < _LARGEST:
            lines = [line.strip() for line in file.read_text("utf-8", "replace").splitlines()]
            lines = [line for line in lines if line]
            if lines and all(len(line) < 80 for line in lines) and len(set(lines)) == len(lines):
                return path, lines
    return None


def color_names(files: Mapping[str, Path]) -> tuple[str, dict[str, str]] | None:
    """Return path and classes by colour of a table of colours, such as class_dict.csv (name, r, g, b).

    The columns of red, green and blue are found by their names, or are the only three numbers of a line.
    """
    for path, file in files.items():
        last = path.rsplit("/", 1)[-1].lower()
        if not last.endswith((".csv", ".txt")) or not _COLORS.search(last) or file.stat().st_size > _LARGEST:
            continue
        found = {}
        text = file.read_text("utf-8", "replace")
        rows = (
            csv.reader(text.splitlines()) if last.endswith(".csv") else (r.split() for r in text.splitlines())
        )
        for row in rows:
            cells = [cell.strip() for cell in row if cell.strip()]
            numbers = [int(c) for c in cells if c.isdigit()]
            names = [c for c in cells if not c.isdigit()]
            if len(numbers) == 3 and len(names) == 1 and max(numbers) < 256:
                found["#{:02x}{:02x}{:02x}".format(*numbers)] = names[0]
        if len(found) > 1:
            return path, found
    return None


def group_pattern(names: Sequence[str]) -> str | None:
    """Return a regular expression for the group that names seem to have, such as patient or video.

    It is the text up to the first number, where more follows: `video3_frame12` -> `video3`. Each group must
    have two images on average, and there must be three or more.
    """
    pattern = r"^([^\d]*\d+)(?=[^\d].*\d)"
    found = [re.search(pattern, name) for name in names]
    if not names or not all(found):
        return None
    groups = {match[1] for match in found if match}
    return pattern if 3 <= len(groups) <= len(names) / 2 else None
