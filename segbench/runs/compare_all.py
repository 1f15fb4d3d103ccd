"""`segbench compare`: compare each run with the first, and print and write what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from segbench.errors import SegbenchError
from segbench.files import write_json, write_text
from segbench.runs.changes import changes
from segbench.runs.compare import compare
from segbench.runs.results import read_results
from segbench.runs.show import to_document, to_markdown


def compare_all(
    runs: Sequence[str],
    margin: float | None,
    *,
    every: bool = False,
    exact: bool = False,
    json: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Print how each run differs from the first one, and return the exit status.

    Args:
        runs: two runs or more, see `segbench.runs.results.read_results`.
        margin: a difference up to this does not matter. None: `report.equivalent` of the first run.
        every, exact: see `segbench.runs.compare.compare`.
        json: file for all that is found.
        csv: file for the differences of the scores, with the column `run`.

    Returns:
        1 if a score differs, 2 if something could not be compared, else 0.

    Raises:
        SegbenchError: a run cannot be read, or there is only one.
    """
    if len(runs) < 2:
        raise SegbenchError("needs two runs", where="segbench compare", remedy="name their folders")
    first, *others = [read_results(run) for run in runs]
    if margin is None:
        margin = 0.0 if exact else first.run.options.equivalent
    statuses, documents, frames = set(), [], []
    for other in others:
        found, changed = compare(first, other, margin, every=every, exact=exact), changes(first, other)
        print(to_markdown(found, changed))
        statuses.add(found.exit_status)
        documents.append(to_document(found, changed))
        frames.append(found.scores.assign(run=other.label))
    if json is not None:
        write_json(json, documents)
    if csv is not None:
        write_text(csv, pd.concat(frames, ignore_index=True).to_csv(index=False))
    return 1 if 1 in statuses else max(statuses)
