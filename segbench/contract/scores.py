"""A score and the contract that it was made under. Scores under unlike contracts never share a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from segbench.contract.view import Task

METRICS: dict[Task, dict[str, str]] = {
    "semantic": {
        "miou": "mIoU",
        "miou_no_background": "mIoU w/o background",
        "pixel_accuracy": "Pixel accuracy",
        "dice_no_background": "Dice of objects",
        "dice": "Dice",
    },
    "instance": {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "box_ap": "Box AP"},
    "panoptic": {"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_things": "PQ things", "pq_stuff": "PQ stuff"},
}
"""Metrics that are compared, and their headers; all are better when higher."""
PRIMARY: dict[Task, str] = {"semantic": "miou", "instance": "ap", "panoptic": "pq"}
"""The metric that ranks networks, by task; its row without a class."""
PRIMARY_BINARY = "dice_no_background"
"""What is quoted beside it where there is one class and background."""


@dataclass(frozen=True)
class Contract:
    """How a score was made. An empty field means that the matter does not arise."""

    pooling: Literal["dataset", "image"]
    """dataset: counts of all images are summed first. image: scores of images are averaged."""
    ignored: str
    """Which truth is left out before counting, on both sides."""
    absent: str
    """What a class counts that has neither truth nor prediction."""
    resolution: str = "truth"
    """Size at which maps are compared; truth: the annotation's own."""
    match: str = ""
    """When a predicted object matches a true one."""
    max_detections: int | None = None
    """Most detections that one class may have in one image."""
    min_score: float | None = None
    """Predictions below this score are left out."""


CONTRACT_KEYS = tuple(f.name for f in fields(Contract))


@dataclass(frozen=True)
class Score:
    """One figure. `name` is a class, or "" for the mean over the classes; an undefined value is NaN."""

    task: Task
    metric: str
    name: str
    value: float
    contract: Contract
    derived: bool = False
    """Whether the prediction was converted from one for another task."""

    def row(self) -> dict[str, Any]:
        row = {"task": self.task, "metric": self.metric, "class": self.name, "value": self.value}
        return row | {"derived": self.derived} | asdict(self.contract)


@dataclass
class ScoreTable:
    """The scores of one task of one cell, as they are added."""

    task: Task
    classes: Sequence[str]
    derived: bool
    rows: list[Score] = field(default_factory=list)

    def add(self, metric: str, mean: Any, values: Iterable[float], contract: Contract) -> None:
        """A score of each class, and their mean."""
        self.add_one(metric, mean, contract)
        self.rows.extend(
            Score(self.task, metric, name, float(value), contract, self.derived)
            for name, value in zip(self.classes, values, strict=True)
        )

    def add_one(self, metric: str, value: Any, contract: Contract) -> None:
        self.rows.append(Score(self.task, metric, "", float(value), contract, self.derived))


SCORE_COLUMNS = ("task", "metric", "class", "value", "derived", *CONTRACT_KEYS)


class UnlikeContracts(ValueError):
    """Scores that were made in different ways were about to share a column."""


def join(
    rows: Iterable[Mapping[str, Any]], column: tuple[str, ...] = ("task", "metric")
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Rows of scores by column. Raises `UnlikeContracts` where the rows of one column differ in contract."""
    columns: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        members = columns.setdefault(tuple(row[key] for key in column), [])
        members.append(row)
        unlike = [k for k in CONTRACT_KEYS if not _same(row.get(k), members[0].get(k))]
        if unlike:
            differ = ", ".join(f"{k} {members[0].get(k)!r} and {row.get(k)!r}" for k in unlike)
            raise UnlikeContracts(f"{' '.join(map(str, (row[k] for k in column)))}: {differ}")
    return columns


def _same(a: Any, b: Any) -> bool:
    return a == b or (a != a and b != b)  # NaN stands for an empty field in a data frame
