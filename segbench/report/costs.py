"""What networks cost against what they score: Pareto fronts, and the best network under a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import TASKS, Task
from segbench.report.tables import DERIVED, header, metrics_of, score
from segbench.units import count, duration, energy, memory

Tables = Mapping[tuple[str, Task], pd.DataFrame]


@dataclass(frozen=True)
class Cost:
    """A cost of a network. Lower is better."""

    title: str
    show: Callable[[float], str]
    limits: tuple[float, ...]
    """Round limits that people ask for."""


COSTS = {
    "train_parameters": Cost("Parameters", count, (1e6, 5e6, 30e6, 100e6)),
    "predict_flops": Cost("FLOPs per image", count, (1e9, 10e9, 100e9, 1e12)),
    "predict_latency_median": Cost("Latency per image", duration, (0.01, 0.1, 1, 10)),
    "train_seconds": Cost("Training", duration, (60, 600, 3600, 8 * 3600, 86400, 7 * 86400)),
    "train_energy_wh": Cost("Energy of the training", energy, (1, 10, 100, 1000, 10_000, 100_000)),
    "train_peak_memory": Cost("Peak memory", memory, tuple(2**30 * n for n in (2, 4, 8, 16, 24, 48))),
}
"""By their columns in cells.csv."""
LIMITS = 2
"""Largest number of limits of each cost."""


def costs_of(cells: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the mean costs over the cells of a dataset that are ok: networks x known costs."""
    own = cells[(cells["dataset"] == dataset) & (cells["status"] == "ok") & ~cells["control"].astype(bool)]
    numbers = {c: pd.to_numeric(own[c], errors="coerce") for c in COSTS if c in own}
    frame = pd.DataFrame({"model": own["model"], **numbers}).groupby("model", sort=False).mean()
    return frame.dropna(axis="columns", how="all")


def front(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return which points are on the Pareto front: no other one scores as high and costs as little.

    Points with NaN are not on it. Equal points are on it together.
    """
    known = ~(np.isnan(scores) | np.isnan(costs))
    as_good = (scores[:, None] >= scores) & (costs[:, None] <= costs)
    better = as_good & ((scores[:, None] > scores) | (costs[:, None] < costs))
    return known & ~(better & known[:, None]).any(axis=0)


def networks_of(table: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Return the networks of a table that have a score: model, derived, value, and their costs."""
    metric = metrics_of(table)[0]
    rows = table[~table["control"] & table[metric].notna()]
    return rows[["model", "derived"]].assign(value=rows[metric]).join(costs, on="model")


def best_under(run: RunDescription, tables: Tables, cells: pd.DataFrame) -> dict[str, Any]:
    """Return, for each dataset and task, the best network under each limit of a cost.

    Limits are those that part the networks of the run: some are under it and some are not. Of each cost, at
    most `LIMITS` are chosen, those that part them most evenly.
    """
    found = {key: networks_of(table, costs_of(cells, key[0])) for key, table in tables.items()}
    limits = _limits(pd.concat(found.values(), ignore_index=True)) if found else []
    rows = []
    for (dataset, task), own in found.items():
        if not own.empty:
            best = [
                own if cost is None else own[own[cost] <= limit] for cost, limit in [(None, 0.0), *limits]
            ]
            rows.append(
                {
                    "dataset": dataset,
                    "title": run.dataset_title(dataset),
                    "task": task,
                    "metric": header(metrics_of(tables[dataset, task])[0]),
                    "best": [_first(run, under) for under in best],
                }
            )
    heads = [f"{COSTS[cost].title} ≤ {COSTS[cost].show(limit).replace('.0 ', ' ')}" for cost, limit in limits]
    return {"heads": ["Any cost", *heads], "rows": rows if limits else []}


def _limits(networks: pd.DataFrame) -> list[tuple[str, float]]:
    limits = []
    for name, cost in COSTS.items():
        if name in networks:
            means = networks.groupby("model")[name].mean().dropna()
            under = {limit: (means <= limit).mean() for limit in cost.limits}
            parting = sorted((abs(share - 0.5), limit) for limit, share in under.items() if 0 < share < 1)
            limits += [(name, limit) for limit in sorted(limit for _, limit in parting[:LIMITS])]
    return limits


def _first(run: RunDescription, networks: pd.DataFrame) -> dict[str, str] | None:
    if networks.empty:
        return None
    row = networks.iloc[int(networks["value"].to_numpy(float).argmax())]
    return {
        "title": run.title(row["model"]) + (f" {DERIVED}" if row["derived"] else ""),
        "score": score(row["value"]),
    }


def fronts(run: RunDescription, tables: Tables, cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each task, on how many datasets a network is on the front of the score and a cost."""
    found = []
    for task in TASKS:
        own = [networks_of(table, costs_of(cells, d)) for (d, t), table in tables.items() if t == task]
        own = [networks for networks in own if len(networks) > 1]
        known = [name for name in COSTS if any(name in networks for networks in own)]
        if not known:
            continue
        scored = Counter(model for networks in own for model in networks["model"])
        best = [Counter(model for networks in own for model in _on_front(networks, name)) for name in known]
        rows: list[dict[str, Any]] = [
            {"title": run.title(m), "datasets": scored[m], "on": [one[m] for one in best]}
            for m in run.networks
            if scored[m]
        ]
        rows.sort(key=lambda row: -sum(row["on"]))
        found.append({"task": task, "costs": [COSTS[name].title for name in known], "rows": rows})
    return found


def _on_front(networks: pd.DataFrame, cost: str) -> list[str]:
    if cost not in networks:
        return []
    on = front(networks["value"].to_numpy(float), networks[cost].to_numpy(float))
    return networks["model"].to_numpy()[on].tolist()
