"""Options of the evaluation. A change of an option repeats the scoring only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["boundary", "objects", "calibration", "tide", "cases", "cldice"]
FAMILIES: tuple[Family, ...] = ("boundary", "objects", "calibration", "tide", "cases")


class EvaluationOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    families: tuple[Family, ...] = FAMILIES
    """Metrics beyond those of class maps, AP and PQ, which are always scored. `cldice` is for thin structures
    such as vessels; the entry of a dataset can ask for it, too."""
    max_detections: Annotated[int, Field(ge=10)] | None = None
    """Last maxDets of AP. null: 100, or the next hundred that holds the dataset's most crowded image."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Predicted objects with a lower score are ignored by object F1, AJI and conversions. AP uses all
    objects."""
    boundary_width: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    """Boundary IoU: width of the band inside a contour, as a fraction of the image's diagonal."""
    contour_tolerance: Annotated[float, Field(gt=0, le=0.5)] = 0.0075
    """Boundary F1: distance at which contours still match, as a fraction of the image's diagonal."""
    surface_tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    """Surface Dice of volumes: distance in mm at which surfaces still match."""
    calibration_bins: Annotated[int, Field(ge=1)] = 10
    """Bins of the expected calibration error."""
    bootstrap_samples: Annotated[int, Field(ge=0)] = 1000
    """Draws of the images, from which the stability of ranks follows. 0: no draws, intervals and tests."""
    bootstrap_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the resamples."""
