"""Limits on what untrusted archives and images may become."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt

MAX_PIXELS = 178_956_970
"""Largest image that is opened unless `allow_pixels` says more: as Pillow has it."""


class Limits(BaseModel):
    """How much one archive, with the archives inside it, may become, and how large an image may be.

    The defaults fit COCO ten times over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_bytes: PositiveInt = 200 * 2**30
    """Sum of all extracted files, in bytes (COCO train2017: 20 GB)."""
    max_files: PositiveInt = 2_000_000
    """Number of files and folders (COCO train2017: 118 thousand)."""
    max_ratio: PositiveFloat = 200.0
    """Extracted bytes per byte of the archive; counts only beyond the first 100 MiB."""
    max_depth: NonNegativeInt = 2
    """How deep zip files may be nested; 0 refuses any zip file in an archive."""
    max_pixels: PositiveInt = MAX_PIXELS
    """Width times height of an image."""
