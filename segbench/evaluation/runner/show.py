"""Print scores on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from segbench.contract.scores import Score, join

_CLASS_COLUMNS = (
    "miou",
    "dice",
    "precision",
    "recall",
    "ap",
    "ap50",
    "box_ap",
    "box_ap50",
    "object_f1",
    "pq",
    "sq",
    "rq",
)


def show(scores: Sequence[Score], images: int) -> None:
    """Print the means with their contracts, then the main scores of each class."""
    join(score.row() for score in scores)
    console = Console()
    means = Table("metric", "value", "pooled over", "match", "ignored", title=f"{images} images")
    for score in scores:
        if not score.name:
            made = score.contract
            match = made.match + (f", at most {made.max_detections}" if made.max_detections else "")
            match += f", score from {made.min_score:g}" if made.min_score is not None else ""
            means.add_row(score.metric, _number(score.value), made.pooling, match, made.ignored)
    console.print(means)
    values = {(s.name, s.metric): s.value for s in scores if s.name}
    metrics = [m for m in _CLASS_COLUMNS if any(metric == m for _, metric in values)]
    classes = Table("class", *metrics)
    for name in dict.fromkeys(name for name, _ in values):
        classes.add_row(Text(name), *(_number(values[name, m]) for m in metrics))
    console.print(classes)


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
