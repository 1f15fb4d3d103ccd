"""What is compared: the networks on one dataset in one task, by their files of per-image statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segbench.contract.view import Task


@dataclass(frozen=True)
class Contest:
    """The models on one dataset in one task."""

    dataset: str
    task: Task
    metric: str
    """The metric that ranks the networks."""
    files: dict[str, list[list[Path]]]
    """For each model and seed, the files of per-image statistics: one, or one for each fold."""
    controls: frozenset[str] = frozenset()
    """Models that are not ranked."""
