"""Compute all tables of a run again from its files of per-image statistics, in a folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.scores import SCORE_COLUMNS
from segbench.errors import SegbenchError
from segbench.evaluation.joined import joined
from segbench.evaluation.pooling import document, pool
from segbench.evaluation.statistics import Statistics
from segbench.files import read_json, write_json
from segbench.report.cell_status import cell_status
from segbench.report.summarise import read_scores, summarise

KEPT = ("state.json", "training.json", "efficiency.json")
"""Files of a cell that the summary reads and that do not follow from per-image statistics."""
KEY = ["task", "metric", "class"]


@dataclass
class Recomputed:
    """What was computed again, and what could not be."""

    cells: list[str] = field(default_factory=list)
    """Folders below `cells/` whose scores were computed again."""
    missing: list[str] = field(default_factory=list)
    """What could not be computed again, and why."""
    carried: set[str] = field(default_factory=set)
    """Metrics that do not follow from per-image statistics. Their recorded values were used."""


def recompute(run: RunDescription, out: Path) -> Recomputed:
    """Write run.json, cells/ and summary/ of a run into the folder `out`, from its per-image statistics."""
    found = Recomputed()
    out.mkdir(parents=True, exist_ok=True)
    described = read_json(run.root / "run.json")
    for dataset in described["datasets"].values():
        dataset.pop("columns", None)  # the user's file may be elsewhere
    write_json(out / "run.json", described)
    for folder, parts in _folders(run):
        target = out / "cells" / folder
        target.mkdir(parents=True, exist_ok=True)
        own = run.root / "cells" / folder
        for name in KEPT:
            if (own / name).exists():
                shutil.copyfile(own / name, target / name)
        if not (own / "scores.csv").exists():
            continue
        lacking = [path for path in parts if not path.exists()]
        if lacking:
            found.missing.append(f"{folder}: {lacking[0].name} is missing")
            continue
        try:
            statistics = joined(parts) if len(parts) > 1 else Statistics(parts[0])
            recorded = read_scores(own / "scores.csv")
            path = own / "scores.json"
            found.carried |= _write(statistics, recorded, read_json(path) if path.exists() else {}, target)
        except (SegbenchError, OSError, KeyError, ValueError) as error:
            found.missing.append(f"{folder}: {str(error).splitlines()[0]}")
            continue
        if len(parts) == 1:  # the comparison of the networks reads it
            (target / "per_image.parquet").symlink_to(parts[0].resolve())
        found.cells.append(folder)
    if found.cells:
        summarise(out / "run.json", out / "summary")
    return found


def _folders(run: RunDescription) -> Iterator[tuple[str, list[Path]]]:
    """Yield each folder with scores below `cells/`, and the statistics that they follow from."""
    by_seed: dict[str, list[Path]] = {}
    for cell in run.cells:
        yield cell.name, [run.folder(cell) / "per_image.parquet"]
        if "train" in run.score_splits and not cell.control:
            yield f"{cell.name}/train", [run.folder(cell, "train") / "per_image.parquet"]
        if cell.fold is not None and cell_status(run, cell).status == "ok":
            pooled = run.pooled(cell).relative_to(run.root / "cells")
            by_seed.setdefault(str(pooled), []).append(run.folder(cell) / "per_image.parquet")
    yield from by_seed.items()


def _write(statistics: Statistics, recorded: pd.DataFrame, old: dict[str, Any], out: Path) -> set[str]:
    """Write scores.csv and scores.json; returns the metrics that were taken from those recorded."""
    scores = pool(statistics)
    frame = pd.DataFrame([score.row() for score in scores], columns=list(SCORE_COLUMNS))
    known = set(map(tuple, frame[KEY].astype(str).to_numpy()))
    further = recorded[[row not in known for row in map(tuple, recorded[KEY].to_numpy())]]
    by_case = further[further["metric"].str.startswith("case_")][list(SCORE_COLUMNS)]
    pd.concat([frame, by_case] if len(by_case) else [frame]).to_csv(out / "scores.csv", index=False)
    kept = ("not_applicable", "of_images", "cases", "case_images")
    apart = {key: old[key] for key in kept if key in old}
    write_json(out / "scores.json", document(statistics, scores, **apart))
    return set(by_case["metric"])
