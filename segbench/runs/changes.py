"""What changed between two runs: configuration, code, data, weights, packages and machines."""

from __future__ import annotations

import pandas as pd

from segbench.contract.run import CellDescription, RunDescription
from segbench.runs.facts import facts, flat
from segbench.runs.reading import configuration
from segbench.runs.results import Results

COLUMNS = ["kind", "key", "a", "b", "cells"]
NAMES = {"run.run", "run.results", "run.storage"}
"""Keys that say where the results are."""


def changes(a: Results, b: Results) -> pd.DataFrame:
    """Return a row for each change, with the columns `COLUMNS`.

    `a` and `b` are the values, "" where there is none. `cells`: names of the cells of `b` that it is about,
    or "" for the configuration. Cells of equal dataset, model, seed and fold are compared; if two runs
    have no seed in common, those at the same place.
    """
    rows = [("configuration", *row, "") for row in _differing(_config(a.run), _config(b.run))]
    by_cell: dict[tuple[str, str, str, str], list[str]] = {}
    for own, other in _pairs(a, b):
        one, two = facts(a.run, own), facts(b.run, other)
        for key in dict.fromkeys([*one, *two]):
            values = one.get(key, ""), two.get(key, "")
            if values[0] != values[1]:
                by_cell.setdefault((*key, *values), []).append(other.name)
    rows += [(*key, ", ".join(cells)) for key, cells in by_cell.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _pairs(a: Results, b: Results) -> list[tuple[CellDescription, CellDescription]]:
    found = []
    for dataset, model in dict.fromkeys((c.dataset, c.model) for c in a.cells):
        own, other = a.of(dataset, model), b.of(dataset, model)
        at = {(c.seed, c.fold): c for c in other}
        common = [(c, at[c.seed, c.fold]) for c in own if (c.seed, c.fold) in at]
        found += common or list(zip(own, other))
    return found


def _config(run: RunDescription) -> dict[str, str]:
    return {key: value for key, value in flat(configuration(run)) if key not in NAMES}


def _differing(a: dict[str, str], b: dict[str, str]) -> list[tuple[str, str, str]]:
    keys = dict.fromkeys([*a, *b])
    return [(key, a.get(key, ""), b.get(key, "")) for key in keys if a.get(key) != b.get(key)]
