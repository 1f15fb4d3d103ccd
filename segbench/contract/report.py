"""Options of the report. A change repeats only the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segbench.contract.channels import ShownChannels
from segbench.contract.scores import LOWER_IS_BETTER
from segbench.contract.view import Task


def _ranking(metric: str) -> str:
    if metric in LOWER_IS_BETTER:
        raise ValueError("lower values of this metric are better; networks are ranked by the highest value")
    return metric


class ReportOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    title: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """Heading of the page. null: the name of the run."""
    formats: Annotated[tuple[Literal["svg", "png"], ...], Field(min_length=1)] = ("svg",)
    """File types of the plots. The page embeds the first."""
    gallery_images: Annotated[int, Field(ge=0, le=50)] = 3
    """Images in each gallery, spread evenly over the evaluation split. 0: no gallery."""
    gallery_worst: Annotated[int, Field(ge=0, le=50)] = 1
    """Images added to each gallery on which the best score of all networks is lowest."""
    gallery_disagreement: Annotated[int, Field(ge=0, le=50)] = 1
    """Images added to each gallery on which the scores of the networks differ most."""
    instance_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Predicted objects with a lower score are not drawn. This does not change the evaluation."""
    gallery_channels: dict[str, ShownChannels] = {}
    """By dataset: the channels that galleries show, one as grey or three as red, green and blue, such as
    `[4, 3, 2]`; they count from 1. Default: three channels as RGB, else the first as grey."""
    primary: dict[Task, Annotated[str, AfterValidator(_ranking)]] = {}
    """By task: the metric that ranks the networks. Default: miou, box_ap, ap and pq."""
    equivalent: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Largest difference of primary scores that does not matter in practice. Two networks are equivalent if
    the interval of their difference is within it."""
    baseline: str | None = None
    """Network that every other one is compared with. null: none."""
