"""Facts about a network for readers: paper, notes, size, and published scores."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from segbench.contract.recipe import Fraction, Strict
from segbench.contract.scores import METRICS
from segbench.contract.sources import Address
from segbench.errors import nearest


class Paper(Strict):
    authors: str
    """Family names, separated by commas."""
    title: str
    """Title of the paper."""
    venue: str
    """Conference or journal."""
    year: Annotated[int, Field(ge=1950)]
    """Year of publication."""
    url: Address
    """Address of the paper."""

    @property
    def short(self) -> str:
        """Authors, venue and year, such as `Long et al., CVPR 2015`."""
        first, *others = self.authors.split(", ")
        who = f"{first} et al." if len(others) > 1 else " and ".join([first, *others])
        return f"{who}, {self.venue} {self.year}"

    def __str__(self) -> str:
        return f"{self.authors}: {self.title}. {self.venue} {self.year}, {self.url}"


class Card(Strict):
    """Paper, strengths and weaknesses of a network."""

    paper: Paper
    """The paper that describes the network."""
    good: str
    """Strengths of the network, in a few words."""
    bad: str
    """Weaknesses of the network, in a few words."""
    licence: str
    """Licence of the public weights."""
    differs: list[str] = []
    """What still differs between the recipe `paper` and what the authors did, one sentence each."""


class Size(Strict):
    """Size of the network with the `options` of its entry, measured by `segbench cards`."""

    parameters: PositiveInt
    """Number of parameters."""
    flops: PositiveInt
    """FLOPs of a forward pass of one image through the untrained network. A multiply-add counts 2."""
    image: tuple[PositiveInt, PositiveInt]
    """Height and width of that image, which has three channels."""
    classes: PositiveInt
    """Number of classes, including the background if the network predicts it as a class."""


def _known_metric(name: str) -> str:
    known = [metric for metrics in METRICS.values() for metric in metrics]
    if name not in known:
        hint = nearest(name, known)
        raise ValueError(f"no metric '{name}'" + (f"; did you mean '{hint}'?" if hint else ""))
    return name


class Published(Strict):
    """A published score. The report shows it in a separate table, because it was measured in another way."""

    dataset: str | None = None
    """Entry of `config/datasets/` with the same dataset and classes, if one exists."""
    data: str = ""
    """Dataset that it was measured on, if it has no entry, or how it differs from the entry."""
    split: str
    """Split that the score was measured on."""
    metric: Annotated[str, AfterValidator(_known_metric)]
    """Name of the metric in `scores.csv`."""
    value: Fraction
    """The score, from 0 to 1."""
    tolerance: Fraction
    """A training with the `paper` recipe reproduces the score if its own is at most this much lower."""
    source: str
    """Where the score is published."""

    @property
    def where(self) -> str:
        """Dataset that the score was measured on, in words."""
        return f"{self.dataset} ({self.data})" if self.dataset and self.data else self.dataset or self.data

    @model_validator(mode="after")
    def _is_of_data(self) -> Published:
        if not self.dataset and not self.data:
            raise ValueError("give `dataset`, or describe the dataset in `data`")
        return self
