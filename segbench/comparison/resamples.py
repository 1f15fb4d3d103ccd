"""Scores of all models of a contest on the same resamples of the images."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from segbench.comparison.contest import Contest
from segbench.errors import SegbenchError
from segbench.evaluation.bootstrap import image_draws, units
from segbench.evaluation.jackknife import left_out
from segbench.evaluation.joined import joined
from segbench.evaluation.resampled import occurrences, resampled
from segbench.evaluation.statistics import Metadata, Statistics

logger = logging.getLogger(__name__)


@dataclass
class Resamples:
    """Scores of models on all images, without blocks of images, and on draws of images."""

    models: list[str]
    """Those whose files could be read and are on the same images."""
    scores: dict[str, dict[str, np.ndarray]]
    """metric -> model -> S x (1 + M): of each seed, on all images and without each of M blocks."""
    draws: dict[str, np.ndarray]
    """model -> S x B: the metric that ranks, of each seed, on each draw. Controls have none."""
    units: int = 0
    """Number of images, or of groups of images."""
    grouped: bool = False
    occurrences: dict[str, int] = field(default_factory=dict)
    """In how many of the units the truth has each class."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Models that could not be compared, and why."""


def resample(contest: Contest) -> Resamples:
    """Read the per-image statistics of a contest and score all resamples.

    The number of draws and their seed are the options of the evaluation. With 0 draws there is no result.
    """
    result = Resamples([], {}, {})
    first: Metadata | None = None
    jack, boot = np.zeros((0, 0)), np.zeros((0, 0))
    for model, seeds in contest.files.items():
        missing = [path for paths in seeds for path in paths if not path.exists()]
        if missing:
            result.left_out[model] = f"{missing[0].parent.name}/{missing[0].name} is missing"
            continue
        try:
            opened = [joined(paths) if len(paths) > 1 else Statistics(paths[0]) for paths in seeds]
            reason = _unfit(contest, opened, first)
            if not reason and first is None:
                first = opened[0].metadata
                if not first.options.bootstrap_samples:
                    return Resamples(
                        [], {}, {}, left_out=dict.fromkeys(contest.files, "bootstrap_samples is 0")
                    )
                without = left_out(first)
                jack = np.concatenate([np.ones_like(without[:1]), without])
                boot = image_draws(first, first.options.bootstrap_samples, first.options.bootstrap_seed)
                result.units = int(units(first).max(initial=-1) + 1)
                result.grouped = first.groups is not None
                result.occurrences = occurrences(opened[0], contest.task)
            if not reason:
                _add(result, contest, model, opened, jack, boot)
        except (SegbenchError, OSError, KeyError, ValueError) as error:
            reason = str(error)
        if reason:
            logger.warning("%s on %s, %s is not compared: %s", model, contest.dataset, contest.task, reason)
            result.left_out[model] = reason
    return result


def _unfit(contest: Contest, opened: list[Statistics], first: Metadata | None) -> str:
    """Return why files cannot be compared with those of the first model; "" if they can."""
    for one in opened:
        if contest.task not in one.metadata.tasks:
            return f"{_name(one)} has no statistics of the task"
        own = one.metadata
        reference = first or opened[0].metadata
        if (own.image_ids, own.groups) != (reference.image_ids, reference.groups):
            return f"{_name(one)} is on other images"
        if own.tasks[contest.task].classes != reference.tasks[contest.task].classes:
            return f"{_name(one)} has other classes"
    return ""


def _name(statistics: Statistics) -> str:
    return f"{statistics.path.parent.name}/{statistics.path.name}"


def _add(
    result: Resamples,
    contest: Contest,
    model: str,
    opened: list[Statistics],
    jack: np.ndarray,
    boot: np.ndarray,
) -> None:
    ranks = model not in contest.controls
    weights = np.concatenate([jack, boot]) if ranks else jack
    by_seed = []
    for one in opened:
        found = resampled(one, contest.task, weights, contest.metric)
        by_seed.append(found | resampled(one, contest.task, jack, known=found))
    for metric in by_seed[0]:
        scores = np.array([values[metric] for values in by_seed])
        result.scores.setdefault(metric, {})[model] = scores[:, : len(jack)]
        if ranks and metric == contest.metric:
            result.draws[model] = scores[:, len(jack) :]
    result.models.append(model)
