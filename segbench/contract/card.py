"""What a reader should know of a network: paper, notes, size, and what others have measured."""

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
        first, *others = self.authors.split(", ")
        who = f"{first} et al." if len(others) > 1 else " and ".join([first, *others])
        return f"{who}, {self.venue} {self.year}"

    def __str__(self) -> str:
        return f"{self.authors}: {self.title}. {self.venue} {self.year}, {self.url}"


class Card(Strict):
    """In a few words of our own."""

    paper: Paper
    """The paper that describes the network."""
    good: str
    """What it is good at, in a few words."""
    bad: str
    """What it is bad at, in a few words."""
    licence: str
    """Licence of the public weights."""


class Size(Strict):
    """Of the network with the `options` of its entry, as `segbench cards` measures it."""

    parameters: PositiveInt
    """Number of parameters."""
    flops: PositiveInt
    """FLOPs of one `forward` of one image, untrained; 2 for a multiply-add."""
    image: tuple[PositiveInt, PositiveInt]
    """Height and width of that image; three channels."""
    classes: PositiveInt
    """Number of classes, including the background where it is a class of the network."""


def _known_metric(name: str) -> str:
    known = [metric for metrics in METRICS.values() for metric in metrics]
    if name not in known:
        hint = nearest(name, known)
        raise ValueError(f"no metric '{name}'" + (f"; did you mean '{hint}'?" if hint else ""))
    return name


class Published(Strict):
    """A score from elsewhere. Shown beside ours, never among them: it was measured in another way."""

    dataset: str | None = None
    """Entry of `config/datasets/` with the same images and classes, if there is one."""
    data: str = ""
    """What it was measured on, if that is no entry; or how it differs from the entry."""
    split: str
    """Split that it was measured on."""
    metric: Annotated[str, AfterValidator(_known_metric)]
    """Name of the metric in `scores.csv`."""
    value: Fraction
    """The score, from 0 to 1."""
    tolerance: Fraction
    """How far below the score a training by the `paper` recipe may end and still count as reproduced."""
    source: str
    """Where the score is stated."""

    @property
    def where(self) -> str:
        return f"{self.dataset} ({self.data})" if self.dataset and self.data else self.dataset or self.data

    @model_validator(mode="after")
    def _is_of_data(self) -> Published:
        if not self.dataset and not self.data:
            raise ValueError("give `dataset`, or say in `data` what it was measured on")
        return self
