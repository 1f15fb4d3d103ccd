"""Hours, energy, money and jobs of a run, by network and by dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segbench.jobs.cost.estimate import Seconds
from segbench.jobs.segments import START_MINUTES, jobs_needed


@dataclass(frozen=True)
class Item:
    """What is still to be done of a cell."""

    dataset: str
    model: str
    seconds: Seconds
    trains: bool
    """Whether it is trained. It is predicted in any case."""
    gpus: int
    """Devices of the training."""

    @property
    def training(self) -> float:
        """Device-hours of the training."""
        return self.seconds.training * self.gpus / 3600 if self.trains else 0.0

    @property
    def prediction(self) -> float:
        """Device-hours of the prediction."""
        return self.seconds.prediction / 3600

    @property
    def hours(self) -> float:
        """Device-hours of both."""
        return self.training + self.prediction

    @property
    def wall(self) -> float:
        """Hours of both, one after the other."""
        return self.training / self.gpus + self.prediction

    def jobs(self, limit: float) -> int:
        """Return the number of jobs of at most `limit` minutes in which it is done."""
        trainings = jobs_needed(self.seconds.training / 60, limit) if self.trains else 0
        return trainings + jobs_needed(self.seconds.prediction / 60, limit)


@dataclass(frozen=True)
class Terms:
    """What a bill is computed with."""

    limit: float
    """Longest job in minutes."""
    watts: float | None
    """Power of a device; None: unknown."""
    price: float | None
    """Money for a device-hour; None: not asked for."""


def lines(items: list[Item], terms: Terms) -> Iterator[str]:
    """Yield a table by network, one by dataset, and the totals."""
    for what, names in (("network", [i.model for i in items]), ("dataset", [i.dataset for i in items])):
        rows = [("cost by " + what, "cells", *_heads(terms), "source")]
        for name in dict.fromkeys(names):
            own = [item for item, one in zip(items, names) if one == name]
            rows.append((name, str(len(own)), *_values(own, terms), _sources(own)))
        if what == "dataset":
            rows.append(("total", str(len(items)), *_values(items, terms), _sources(items)))
        yield from table(rows)
    if terms.watts:
        yield f"energy: a bound, at {terms.watts:g} W a device (its TDP); hosts and cooling not included"
    yield (
        f"jobs: of at most {terms.limit / 60:.3g} h, each with {START_MINUTES:g} minute to start;"
        " one job trains a cell until its limit, the next one goes on"
    )


def table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield aligned rows: the first and the last column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        first, *middle, last = row
        cells = [f"{text:>{width}}" for text, width in zip(middle, widths[1:-1])]
        yield "  " + "  ".join([f"{first:{widths[0]}}", *cells, last]).rstrip()


def _heads(terms: Terms) -> list[str]:
    return [
        "train h",
        "predict h",
        "device-h",
        "longest h",
        *(["kWh"] if terms.watts else []),
        "jobs",
        *(["price"] if terms.price is not None else []),
    ]


def _values(items: list[Item], terms: Terms) -> list[str]:
    hours = sum(item.hours for item in items)
    return [
        number(sum(item.training for item in items)),
        number(sum(item.prediction for item in items)),
        number(hours),
        number(max((item.wall for item in items), default=0.0)),
        *([number(hours * terms.watts / 1000)] if terms.watts else []),
        str(sum(item.jobs(terms.limit) for item in items)),
        *([f"{hours * terms.price:.2f}"] if terms.price is not None else []),
    ]


def _sources(items: list[Item]) -> str:
    return ", ".join(dict.fromkeys(item.seconds.source for item in items))


def number(value: float) -> str:
    """Format a number with three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else f"{value:.4f}"
