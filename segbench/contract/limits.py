"""Limits on the sizes of untrusted archives and images."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt

MAX_PIXELS = 178_956_970
"""Maximum number of pixels of an image, unless `allow_pixels` raises it; Pillow's default."""


class Limits(BaseModel):
    """Limits on the contents of one archive, including nested archives, and on the size of an image.

    The defaults are about ten times what COCO needs.
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
