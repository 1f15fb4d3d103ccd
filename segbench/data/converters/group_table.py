"""Groups of images from a column of a CSV file, such as the patient of each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from segbench.contract.image_table import read_rows
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES
from segbench.errors import SegbenchError


class GroupColumn(BaseModel):
    """A column of a CSV file."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    file: Path
    """The CSV file, relative to the dataset's `folder`. The first line has the names of the columns."""
    column: str
    """Column with the group."""
    image: str = "image"
    """Column with the image: its file name, or its path in the folder. The suffix may be omitted."""


def group_of_each(names: Sequence[str], options: GroupColumn) -> dict[str, str]:
    """Return the group of each image name.

    Args:
        names: names of images without suffix; folders are joined by `_`.
        options: file and columns.

    Raises:
        SegbenchError: the file cannot be read, a column is missing, images have no group or two, or names are
            not in the file. It lists all of them.
    """
    groups: dict[str, str] = {}
    unlike: dict[str, None] = {}
    empty: list[str] = []
    for line, image, (group,) in read_rows(options.file, options.image, [options.column], "group"):
        if not group:
            empty.append(f"line {line} ({image})")
        for name in _names_of(image) if group else ():
            if groups.setdefault(name, group) != group:
                unlike[name] = None
    wanted = set(names)
    faults = Faults()

    def add(what: str, found: Sequence[str], remedy: str) -> None:
        if found:
            shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
            faults.add(SegbenchError(f"{what} {shown}", where=options.file, remedy=remedy))

    add(f"has no {options.column} in", empty, "write the group of each image, or remove the rows")
    add("has two groups for", [name for name in unlike if name in wanted], "keep one row for each image")
    lacking = [name for name in names if name not in groups]
    add(
        "has no row for",
        [] if empty else lacking,
        f"add a row for each image; the column '{options.image}' has its file name",
    )
    faults.raise_if_any()
    return {name: groups[name] for name in names}


def _names_of(image: str) -> set[str]:
    """Return the names by which converters may call an image: with its folders, or without."""
    parts = [part for part in image.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return set()
    last = Path(parts[-1])
    parts[-1] = last.stem if last.suffix.lower() in IMAGE_SUFFIXES else last.name
    return {"_".join(parts), parts[-1]}
