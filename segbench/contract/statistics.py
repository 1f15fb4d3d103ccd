"""Statistics of the training images of a dataset and their truth, from which recipes are fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict


class Spread(BaseModel):
    """Quantiles of a quantity, with linear interpolation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: float
    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Spread | None:
        """Return the quantiles of values in any order; None without values."""
        if not len(values):
            return None
        found = np.quantile(np.asarray(values, np.float64), (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1))
        return cls(**dict(zip(cls.model_fields, found.round(4).tolist())))

    def __str__(self) -> str:
        return f"{self.p50:.4g} ({self.p5:.4g} to {self.p95:.4g})"


class ClassStatistics(BaseModel):
    """One class in the training images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int
    """Id of the category; 0 is the background."""
    pixels: float | None
    """Share of the labelled pixels; None without semantic maps. Classes may overlap."""
    images: float
    """Share of the images in which it occurs."""
    width: float | None
    """Mean width of its regions in pixels: twice their area by the length of their border. A long strip has
    its width, a disk half of its diameter. None if it has no border in any image."""
    objects: int
    """Number of objects, without crowds."""


class DatasetStatistics(BaseModel):
    """The training images. Sizes are in pixels, those of objects as annotated, without crowds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    """Number of images."""
    short_side: Spread
    """Shorter side of the images."""
    long_side: Spread
    """Longer side of the images."""
    aspect: Spread
    """Width of the images by their height."""
    objects_per_image: Spread
    """Number of objects of an image; zeros without annotated objects."""
    object_size: Spread | None
    """Square root of the area of an object."""
    object_side: Spread | None
    """Larger side of the box of an object."""
    object_size_relative: Spread | None
    """Square root of the area of an object, by that of the area of its image."""
    object_side_relative: Spread | None
    """Larger side of the box of an object, by the longer side of its image."""
    classes: list[ClassStatistics]
    """By id, the background first if there is one."""

    @property
    def side(self) -> float:
        """Side of a square with as many pixels as the median image."""
        return float((self.short_side.p50 * self.long_side.p50) ** 0.5)
