"""Images that are slices of a volume, and the file that lists them: `<split>/cases.json`.

The file exists only where images are slices. It has an entry for each case, by name:

    {"case_1": {"slices": 22, "spacing": [5.0, 0.9, 0.9], "images": {"case_1_000": 0, "case_1_001": 1}}}

`slices` is the number of slices of the volume, `spacing` the distance in mm between slices, rows and columns,
and `images` has the index, from 0, of each image by its name without suffix.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError

from segbench.errors import SegbenchError, first_fault
from segbench.files import read_json, write_json

FILE = "cases.json"
Millimetres = Annotated[FiniteFloat, Field(gt=0)]


class Slice(BaseModel):
    """The place of an image in a volume."""

    model_config = ConfigDict(frozen=True)

    case: str
    """Name of the volume."""
    index: NonNegativeInt
    """Number of the slice, from 0."""
    slices: PositiveInt
    """Number of slices of the volume."""
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    """Distance between slices, rows and columns in mm."""


class Case(BaseModel):
    """An entry of the file."""

    slices: PositiveInt
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    images: dict[str, NonNegativeInt]


def write_cases(folder: Path, images: Iterable[tuple[str, Slice]]) -> None:
    """Write `cases.json` into the folder of a split. `images`: names without suffix, and their places."""
    cases: dict[str, Case] = {}
    for stem, place in images:
        new = Case(slices=place.slices, spacing=place.spacing, images={})
        case = cases.setdefault(place.case, new)
        if (case.slices, case.spacing) != (new.slices, new.spacing):
            raise ValueError(f"slices of {place.case} differ in spacing or number")
        if place.index >= place.slices or place.index in case.images.values():
            raise ValueError(f"slice {place.index} of {place.case} occurs twice, or is beyond the last")
        case.images[stem] = place.index
    write_json(folder / FILE, {name: case.model_dump() for name, case in sorted(cases.items())})


def read_slices(folder: Path) -> dict[str, Slice]:
    """Return the place of each image of a split, by its name without suffix; empty if they are no slices.

    Args:
        folder: folder of the split.

    Raises:
        SegbenchError: `cases.json` is not valid.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    found = read_json(path)
    try:
        cases = {name: Case.model_validate(case) for name, case in found.items()}
    except (ValidationError, AttributeError) as error:
        why = first_fault(error) if isinstance(error, ValidationError) else error
        raise SegbenchError(
            f"is not a list of cases ({why})", where=path, remedy="convert the dataset again"
        ) from error
    return {
        stem: Slice(case=name, index=index, slices=case.slices, spacing=case.spacing)
        for name, case in cases.items()
        for stem, index in case.images.items()
    }
