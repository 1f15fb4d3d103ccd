"""Compare all networks of a run: intervals, tests, ranks and what may be concluded."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segbench.comparison import stability
from segbench.comparison.across import MATRIX, NETWORKS, Drawn, across
from segbench.comparison.baseline import COLUMNS as BASELINE
from segbench.comparison.baseline import over_baseline
from segbench.comparison.contest import Contest
from segbench.comparison.estimates import estimates
from segbench.comparison.orders import agreement
from segbench.comparison.pairs import COLUMNS as PAIRS
from segbench.comparison.pairs import pairs
from segbench.comparison.places import COLUMNS as PLACES
from segbench.comparison.places import places
from segbench.comparison.rank_tests import against
from segbench.comparison.resamples import Resamples, resample
from segbench.comparison.words import FEW, about_contest, about_task
from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS, Task
from segbench.errors import SegbenchError
from segbench.evaluation.intervals import of_score

KEY = ["dataset", "task"]
_COLUMNS = {
    "scores": [*KEY, "model", "metric", "value", "error", "low", "high", "units", "grouped", "seeds"],
    "pairs": [*KEY, *PAIRS],
    "places": [*KEY, *PLACES],
    "baseline": [*KEY, *BASELINE],
    "networks": NETWORKS,
    "matrix": MATRIX,
    "tests": ["task", "test", "datasets", "networks", "p", "effect", "magnitude", "missing", "critical"],
    "orders": ["task", "ways", "tau"],
    "words": [*KEY, "text"],
    "left_out": [*KEY, "model", "reason"],
}
_TEXT = (
    "dataset",
    "task",
    "model",
    "a",
    "b",
    "better",
    "worse",
    "letters",
    "magnitude",
    "test",
    "text",
    "reason",
)


@dataclass
class Comparison:
    """All results, a data frame each, with the names of the files. docs/statistics.md describes them."""

    scores: pd.DataFrame
    pairs: pd.DataFrame
    places: pd.DataFrame
    baseline: pd.DataFrame
    networks: pd.DataFrame
    matrix: pd.DataFrame
    tests: pd.DataFrame
    orders: pd.DataFrame
    words: pd.DataFrame
    """A paragraph for each dataset and task, and for each task over all datasets ("" as dataset)."""
    left_out: pd.DataFrame
    """Models that are not compared, and why."""

    def write(self, folder: Path) -> None:
        """Write one CSV file for each data frame."""
        folder.mkdir()
        for one in fields(self):
            getattr(self, one.name).to_csv(folder / f"{one.name}.csv", index=False)


def read_comparison(folder: Path) -> Comparison:
    """Read what `Comparison.write` wrote to a folder.

    Raises:
        SegbenchError: the folder does not exist.
    """
    if not folder.is_dir():
        raise SegbenchError("no such folder of a summary", where=folder, remedy="call segbench summarise")
    found = {}
    for name in _COLUMNS:
        frame = pd.read_csv(folder / f"{name}.csv", dtype=dict.fromkeys(_TEXT, str))
        own = [column for column in _TEXT if column in frame]
        found[name] = frame.fillna(dict.fromkeys(own, ""))
    return Comparison(**found)


def compare(run: RunDescription, contests: list[Contest], scores: Mapping[Task, pd.DataFrame]) -> Comparison:
    """Compare the networks of a run.

    Args:
        run: names, titles and options.
        contests: one for each dataset and task with scores.
        scores: by task, the scores by the metrics that rank: datasets x networks, NaN where there is none.
    """
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in _COLUMNS}
    drawn: dict[Task, dict[str, Drawn]] = {task: {} for task in TASKS}
    own_places: dict[Task, dict[str, pd.DataFrame]] = {task: {} for task in TASKS}
    own_pairs: dict[Task, dict[str, pd.DataFrame]] = {task: {} for task in TASKS}
    options = run.options
    for contest in contests:
        key = {"dataset": contest.dataset, "task": contest.task}
        resamples = resample(contest)
        found = {"scores": _intervals(resamples)}
        found["left_out"] = pd.DataFrame(list(resamples.left_out.items()), columns=["model", "reason"])
        if len(resamples.draws) > 1:
            models, values = _by_score(contest, resamples)
            own = own_pairs[contest.task][contest.dataset] = pairs(
                resamples, models, contest.metric, options.equivalent
            )
            of = _drawn(contest, resamples, models)
            drawn[contest.task][contest.dataset] = of
            ranked = own_places[contest.task][contest.dataset] = places(models, values, own, of.means)
            rare = [name for name, n in resamples.occurrences.items() if n < FEW]
            text = about_contest(
                run, contest, ranked, own, found["scores"], rare, options.equivalent, resamples.grouped
            )
            found |= {"pairs": own, "places": ranked, "words": pd.DataFrame([{"text": text}])}
            found["baseline"] = over_baseline(own, options.baseline)
        for name, frame in found.items():
            rows[name].append(frame.assign(**key))
    for task, wide in scores.items():
        if len(wide) < 2 or wide.shape[1] < 2:
            continue
        networks, matrix, test = across(task, wide, own_places[task], own_pairs[task], drawn[task])
        ranked = networks[networks["ranked"]]
        facts: dict[str, Any] = {
            "test": test.name,
            "datasets": len(wide),
            "networks": len(ranked),
            "p": test.p,
            "effect": test.effect,
            "magnitude": test.magnitude,
            "missing": test.missing,
            "critical": test.critical,
        }
        whole = wide.dropna(axis="columns")
        chosen = options.baseline
        baseline = against(whole, chosen) if chosen is not None and chosen in whole else None
        taus = agreement(ranked.set_index("model"))
        text = about_task(run, task, networks, matrix, test, taus, baseline)
        rows["networks"].append(networks)
        rows["matrix"].append(matrix)
        rows["tests"].append(pd.DataFrame([{"task": task, **facts}]))
        rows["orders"].append(pd.DataFrame([{"task": task, "ways": w, "tau": t} for w, t in taus.items()]))
        rows["words"].append(pd.DataFrame([{"dataset": "", "task": task, "text": text}]))
    return Comparison(**{name: _joined(frames, _COLUMNS[name]) for name, frames in rows.items()})


def _joined(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True)[columns] if filled else pd.DataFrame(columns=columns)


def _intervals(resamples: Resamples) -> pd.DataFrame:
    """Return every score of every model with its interval."""
    rows = []
    for metric, by_model in resamples.scores.items():
        found = estimates(list(by_model.values()))
        errors, freedoms = found.of_scores()
        for n, model in enumerate(by_model):
            low, high = of_score(found.values[n], errors[n], freedoms[n]) or (np.nan, np.nan)
            rows.append(
                {
                    "model": model,
                    "metric": metric,
                    "value": found.values[n],
                    "error": errors[n],
                    "low": low,
                    "high": high,
                    "units": resamples.units,
                    "grouped": resamples.grouped,
                    "seeds": int(found.repetitions[n]),
                }
            )
    return pd.DataFrame(rows)


def _by_score(contest: Contest, resamples: Resamples) -> tuple[list[str], np.ndarray]:
    """Return the networks and their scores, the best first."""
    scores = {m: resamples.scores[contest.metric][m][:, 0].mean() for m in resamples.draws}
    models = sorted(scores, key=lambda m: -scores[m])
    return models, np.array([scores[m] for m in models])


def _drawn(contest: Contest, resamples: Resamples, models: list[str]) -> Drawn:
    draws = [resamples.draws[model] for model in models]
    seed = zlib.crc32(f"{contest.dataset} {contest.task}".encode())
    weights = stability.seed_weights([len(d) for d in draws], draws[0].shape[1], seed)
    return Drawn(models, draws, weights, stability.mean_scores(draws, weights))
