"""Find the categories of each image, such as its scanner, in a CSV file of the user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from segbench.contract.columns import Columns
from segbench.contract.image_table import Row, read_rows
from segbench.data.cases import read_slices
from segbench.data.dataset import Dataset
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES
from segbench.errors import SegbenchError

SHOWN = 5
"""Number of rows and images that a message lists."""
Image = tuple[str, str]
"""Split, and name without suffix."""


def values_of_images(dataset: Dataset, spec: Columns) -> dict[Image, list[str]]:
    """Return the values of the columns of each image of a dataset; "" where they are missing.

    A row names an image by its file name, or by its path, of which the last folders decide if several images
    have the name: folders are joined by `_` in the names of a dataset, and the folder of a split counts. All
    slices of a volume have the values of their case.

    Args:
        dataset: the dataset.
        spec: the file and its columns.

    Raises:
        SegbenchError: the file cannot be read, lacks columns, names images that the dataset does not have, or
            gives two values for an image. It lists all of them.
    """
    rows = read_rows(spec.file, spec.image, spec.columns, "metadata")
    by_name: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for place, row in enumerate(rows):
        for name, whole in _names_of(row.image).items():
            by_name[name].append((place, whole))
    used: set[int] = set()
    unlike: list[str] = []
    found: dict[Image, list[str]] = {}
    for image, names in _wanted(dataset):
        found_as = next((by_name[name] for name in names if name in by_name), [])
        chosen = [place for place, whole in found_as if whole] or [place for place, _ in found_as]
        used.update(chosen)
        values = {tuple(rows[place].values) for place in chosen}
        if len(values) > 1:
            lines = ", ".join(str(rows[place].line) for place in chosen[:SHOWN])
            unlike.append(f"{'/'.join(image)} (lines {lines})")
        found[image] = list(next(iter(values))) if values else [""] * len(spec.columns)
    unknown = [row for place, row in enumerate(rows) if place not in used]
    _raise(spec, unlike, unknown, found)
    return found


def _wanted(dataset: Dataset) -> list[tuple[Image, list[str]]]:
    """Return the images, and the names by which a row may call each, the surest first."""
    found = []
    for split in map(dataset.split, dataset.info.splits):
        slices = read_slices(split.root)
        for record in split:
            names = [f"{split.name}_{record.stem}", record.stem]
            if place := slices.get(record.stem):
                names.append(place.case)
            found.append(((split.name, record.stem), names))
    return found


def _names_of(image: str) -> dict[str, bool]:
    """Return the names by which a dataset may call an image, and whether each is its whole path.

    These are its last parts, joined by `_`.
    """
    parts = [part for part in image.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return {}
    last = Path(parts[-1])
    parts[-1] = last.stem if last.suffix.lower() in IMAGE_SUFFIXES else last.name
    return {"_".join(parts[start:]): start == 0 for start in range(len(parts))}


def _raise(
    spec: Columns, unlike: Sequence[str], unknown: Sequence[Row], found: Mapping[Image, Sequence[str]]
) -> None:
    faults = Faults()
    if unlike:
        what = f"has several rows with other values for {_some(unlike)}"
        remedy = "keep one row for each image, or write paths if images of several folders have one name"
        faults.add(SegbenchError(what, where=spec.file, remedy=remedy))
    if unknown:
        named = [f"{row.image or 'a row without name'} (line {row.line})" for row in unknown]
        example = next((stem for _, stem in found), "")
        remedy = f"correct or remove these rows; the column '{spec.image}' has names such as {example}"
        what = f"names images that the dataset does not have: {_some(named)}"
        faults.add(SegbenchError(what, where=spec.file, remedy=remedy))
    faults.raise_if_any()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
