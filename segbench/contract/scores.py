"""Scores, and the contracts that say how they were computed. A column never mixes contracts."""

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
        "cldice": "clDice",
        "case_dice": "Dice (cases)",
        "case_nsd": "NSD (cases)",
        "case_hd95": "HD95 in mm (cases)",
    },
    "detection": {"box_ap": "Box AP", "box_ap50": "Box AP50", "box_ap75": "Box AP75"},
    "instance": {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "box_ap": "Box AP"},
    "panoptic": {"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_things": "PQ things", "pq_stuff": "PQ stuff"},
}
"""Metrics of the comparison tables and their column headers, by task."""
LOWER_IS_BETTER = frozenset({"case_hd95"})
"""Of these metrics, lower values are better; of all others in `METRICS`, higher ones are."""
PRIMARY: dict[Task, str] = {"semantic": "miou", "detection": "box_ap", "instance": "ap", "panoptic": "pq"}
"""The metric that ranks networks, by task: its mean over the classes."""
PRIMARY_BINARY = "dice_no_background"
"""Quoted next to the primary metric if the dataset has one class and background."""


@dataclass(frozen=True)
class Contract:
    """How a score was computed. Fields that do not apply to a metric are empty."""

    pooling: Literal["dataset", "image", "case"]
    """dataset: counts of all images are summed first. image: scores of the images are averaged. case: scores
    of the volumes are averaged."""
    ignored: str
    """Truth that is excluded before counting, together with the predictions on it."""
    absent: str
    """How a class without truth and prediction counts in the mean."""
    resolution: str = "truth"
    """Size at which maps are compared. truth: the size of the annotation."""
    match: str = ""
    """When a prediction matches the truth."""
    max_detections: int | None = None
    """Maximum number of detections per class and image."""
    min_score: float | None = None
    """Predictions with a lower score are excluded."""


CONTRACT_KEYS = tuple(f.name for f in fields(Contract))


@dataclass(frozen=True)
class Score:
    """One value of a metric.

    `name` is a class, or "" for the mean over the classes. `value` is NaN where the metric is undefined.
    """

    task: Task
    metric: str
    name: str
    value: float
    contract: Contract
    derived: bool = False
    """Whether the prediction was converted from one for another task."""

    def row(self) -> dict[str, Any]:
        """Return the score as a row of scores.csv, with the keys `SCORE_COLUMNS`."""
        row = {"task": self.task, "metric": self.metric, "class": self.name, "value": self.value}
        return row | {"derived": self.derived} | asdict(self.contract)


@dataclass
class ScoreTable:
    """Collects the scores of one task of one cell in `rows`."""

    task: Task
    classes: Sequence[str]
    derived: bool
    rows: list[Score] = field(default_factory=list)

    def add(self, metric: str, mean: Any, values: Iterable[float], contract: Contract) -> None:
        """Add `mean` and the value of each class, in the order of `classes`."""
        self.add_one(metric, mean, contract)
        self.rows.extend(
            Score(self.task, metric, name, float(value), contract, self.derived)
            for name, value in zip(self.classes, values, strict=True)
        )

    def add_one(self, metric: str, value: Any, contract: Contract) -> None:
        """Add a score that has no values by class."""
        self.rows.append(Score(self.task, metric, "", float(value), contract, self.derived))


SCORE_COLUMNS = ("task", "metric", "class", "value", "derived", *CONTRACT_KEYS)


class UnlikeContracts(ValueError):
    """Scores of one column were computed in different ways."""


def join(
    rows: Iterable[Mapping[str, Any]], column: tuple[str, ...] = ("task", "metric")
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Group rows of scores by the values of the keys `column`.

    Raises:
        UnlikeContracts: rows of one column differ in contract.
    """
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
    return a == b or (a != a and b != b)  # data frames have NaN for an empty field
