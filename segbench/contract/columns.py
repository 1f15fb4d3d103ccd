"""Columns of a user's own CSV file by which scores are compared, such as the scanner of each image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Columns(BaseModel):
    """Columns of a CSV file with a row for each image or case."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    file: Path
    """The CSV file, relative to the dataset's `folder`. The first line has the names of the columns."""
    columns: Annotated[list[str], Field(min_length=1)]
    """Columns with categories, such as `[scanner, site]`."""
    image: str = "image"
    """Column with the image: its file name, or its path in the folder. The suffix may be omitted. For
    volumes, the name of the case."""
