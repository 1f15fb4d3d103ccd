"""The report: an HTML file that opens offline and stands alone, and larger pictures in files beside it."""

from __future__ import annotations

import base64
import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from segbench.comparison.compare import Comparison, read_comparison
from segbench.contract.run import RunDescription
from segbench.contract.scores import CONTRACT_KEYS
from segbench.contract.view import TASKS, Task
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from segbench.files import atomic_folder, read_json, write_text
from segbench.report.by_column import column_tables, read_columns
from segbench.report.comparison_plots import comparison_figures
from segbench.report.condition_plots import condition_figures
from segbench.report.confusions import Confusions, confusions
from segbench.report.cost_plots import cost_figures
from segbench.report.costs import COSTS, best_under, fronts
from segbench.report.embedding import data_uri
from segbench.report.galleries import galleries as draw_galleries
from segbench.report.gallery import Gallery
from segbench.report.intervals import with_intervals
from segbench.report.made import made
from segbench.report.matrix import matrix
from segbench.report.order import across, best, order
from segbench.report.plots import Plot, draw, draw_figures
from segbench.report.published import published
from segbench.report.summarise import comparisons, read_conditions, read_gaps, read_pooled, read_summary
from segbench.report.tables import (
    DERIVED_NOTE,
    environment,
    header,
    main_scores,
    metrics_of,
    part_of,
    repetitions,
    to_html,
)

logger = logging.getLogger(__name__)

Tables = Mapping[tuple[str, Task], pd.DataFrame]
ABOVE = ["control_human", "control_truth"]
"""Controls that networks need not beat."""
CONTRACT_WORDS = {
    "pooling": "Pooling",
    "ignored": "Ignored",
    "absent": "Class without truth and prediction",
    "resolution": "At the resolution of",
    "match": "Match",
    "max_detections": "Maximum detections",
    "min_score": "Minimum score",
}


def report(run_json: Path, summary: Path, out: Path) -> None:
    """Write the report of a run to the folder `out`.

    index.html: the page, which stands alone. pictures/*.jpg: the large pictures that it links to.
    plots/*.{svg,png}: its plots as files.

    Args:
        run_json: The description of the run, next to its cells.
        summary: Folder that `summarise` wrote.
        out: Folder to write; replaced if it exists.
    """
    run = RunDescription.read(run_json)
    scores, cells = read_summary(summary)
    compared = read_comparison(summary / "comparison")
    tables = with_intervals(comparisons(run, scores, cells, read_pooled(summary)), compared)
    cells = cells.assign(repetition=repetitions(cells))
    with atomic_folder(out) as folder:
        plots = draw(run, scores, tables, folder / "plots")
        plots += draw_figures(run, cost_figures(run, tables, cells), folder / "plots")
        plots += draw_figures(run, comparison_figures(run, tables, compared), folder / "plots")
        found = read_conditions(summary)
        plots += draw_figures(run, condition_figures(run, tables, found), folder / "plots")
        by_column = read_columns(summary)
        galleries = draw_galleries(run, tables, summary, folder / "pictures")
        confused = confusions(run, tables, cells)
        script, digest = _script()
        page = environment().get_template("page.html.j2").render(
            run=run,
            title=run.options.title or f"Run {run.name}",
            datasets=[
                _dataset(run, d, tables, plots, galleries, confused.get(d), folder, compared, by_column)
                | {"made": made(run, cells, d, out)}
                for d in run.datasets
            ],
            anchors={name: f"dataset-{n}" for n, name in enumerate(run.datasets, 1)},
            matrix=matrix(run, tables),
            under=best_under(run, tables, cells),
            fronts=fronts(run, tables, cells),
            script=script,
            script_hash=digest,
            networks=_networks(run, cells),
            costs=list(COSTS.values()),
            published=published(run, scores),
            places=_places(cells),
            progress=_progress(run, cells),
            unscored=cells[~cells["status"].isin(["ok", "not-applicable"])].to_dict("records"),
            skipped=cells[cells["status"] == "not-applicable"].to_dict("records"),
            across=across(
                run, compared, {t: _embedded(run, plots, folder, "critical", "", t) for t in TASKS}
            ),
            gaps=_gaps(run, read_gaps(summary)),
            derived_note=DERIVED_NOTE,
            controls=_controls(run, tables),
            contracts=_contracts(run, scores, tables),
            contract_words=CONTRACT_WORDS,
            fits=_fits(run),
        )  # fmt: skip
        write_text(folder / "index.html", page)
    logger.info("report in %s", out / "index.html")


def _fits(run: RunDescription) -> list[dict[str, Any]]:
    """Return the values that rules have derived from the data, of the first seed and fold: a row for each."""
    rows, seen = [], set()
    for cell in run.cells:
        path = run.folder(cell) / "training.json"
        if (cell.dataset, cell.model) in seen or not path.exists():
            continue
        seen.add((cell.dataset, cell.model))
        try:
            rows += [{"cell": cell, **one} for one in read_json(path).get("fit", [])]
        except (SegbenchError, TypeError, AttributeError) as error:
            logger.warning("%s is skipped: %s", path, error)
    return rows


def _script() -> tuple[Markup, str]:
    """Return the script of the page, and its digest: browsers run no other script on the page."""
    environment_ = environment()
    assert environment_.loader is not None
    text = environment_.loader.get_source(environment_, "page.js")[0]
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(text), digest


def _embedded(
    run: RunDescription, plots: list[Plot], folder: Path, kind: str, dataset: str, task: Task | None
) -> list[dict[str, str]]:
    """Return the plots of a kind, of a dataset and task, as images within the page."""
    suffix = run.options.formats[0]
    return [
        {"uri": data_uri(folder / "plots" / f"{p.stem}.{suffix}"), "caption": p.caption, "kind": kind}
        for p in plots
        if (p.kind, p.dataset, p.task) == (kind, dataset, task)
    ]


def _dataset(
    run: RunDescription,
    name: str,
    tables: Tables,
    plots: list[Plot],
    galleries: Mapping[tuple[str, Task], Gallery],
    confused: Confusions | None,
    folder: Path,
    compared: Comparison,
    by_column: pd.DataFrame,
) -> dict[str, Any]:
    """Return everything that the page shows about one dataset."""
    try:
        info = Dataset(run.datasets[name].root).info
    except SegbenchError:
        info = None

    def embedded(kind: str, task: Task | None) -> list[dict[str, str]]:
        return _embedded(run, plots, folder, kind, name, task)

    return {
        "name": name,
        "title": run.dataset_title(name),
        "folds": run.datasets[name].folds,
        "info": info,
        "learning": embedded("learning", None),
        "tasks": [
            {
                "task": task,
                "best": best(run, compared, dataset, task, table),
                "order": order(run, compared, dataset, task, table),
                "metrics": embedded("metrics", task) + embedded("baseline", task),
                "table": Markup(to_html(run, table, f"{run.dataset_title(name)}, {task}")),  # escaped there
                "plots": embedded("scores", task) + embedded("cost", task),
                "classes": embedded("classes", task),
                "conditions": embedded("conditions", task),
                "columns": column_tables(run, by_column, dataset, task, table),
                "confusions": confused if task == "semantic" else None,
                "gallery": galleries.get((name, task)),
            }
            for (dataset, task), table in tables.items()
            if dataset == name
        ],
    }


def _networks(run: RunDescription, cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the card of each network, and the range of its costs over datasets and seeds."""
    rows = []
    for model in run.networks:
        own = cells[cells["model"] == model]
        entry = run.models.get(model)
        costs = {}
        for column, cost in COSTS.items():
            values = own[column].dropna().tolist() if column in own else []
            ends = (min(values), max(values)) if values else (math.nan,)
            costs[column] = " … ".join(dict.fromkeys(map(cost.show, ends)))
        rows.append({"title": run.title(model), "card": entry.card if entry else {}, "costs": costs})
    return rows


def _places(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the hardware and software versions of the trained cells, and the number of cells for each."""
    words = {
        "train_processor": "Processor",
        "train_gpu": "GPU",
        "train_processors": "Processors",
        "train_threads": "Threads",
        "train_precision": "Precision",
        "train_version_torch": "torch",
        "train_python": "Python",
        "train_git_commit": "Commit",
    }
    known = [c for c in words if c in cells and cells[c].notna().any()]
    trained = cells.dropna(subset=known, how="all")
    if trained.empty or not known:
        return []
    groups = (
        trained.fillna(dict.fromkeys(known, "")).astype(dict.fromkeys(known, str)).groupby(known, sort=False)
    )
    return [
        {"cells": len(rows), "facts": {words[c]: v for c, v in zip(known, values) if v}}
        for values, rows in groups
    ]


def _progress(run: RunDescription, cells: pd.DataFrame) -> dict[str, Any]:
    planned = cells[cells["status"] != "not-applicable"]
    trained = cells[~cells["model"].isin(run.externals)]
    return {
        "planned": len(planned),
        "ok": int((planned["status"] == "ok").sum()),
        "seeds": sorted({c.seed for c in run.cells if not c.control}),
        "train_seconds": float(trained["train_seconds"].sum()) if "train_seconds" in cells else 0.0,
    }


def _gaps(run: RunDescription, gaps: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the gaps between training and evaluation split by dataset and task, the largest first."""
    if gaps is None:
        return []
    return [
        {
            "name": dataset,
            "dataset": run.dataset_title(str(dataset)),
            "task": task,
            "metric": header(rows["metric"].iloc[0]),
            "derived": bool(rows["derived"].any()),
            "rows": rows.sort_values("gap", ascending=False, kind="stable").to_dict("records"),
        }
        for (dataset, task), rows in gaps.groupby(["dataset", "task"], sort=False)
    ]


def _controls(run: RunDescription, tables: Tables) -> list[dict[str, Any]]:
    """Return the primary score of each control, and the networks that do not beat the controls.

    A second person, and the copy of the truth, are not among the controls to beat.
    """
    found = []
    for (dataset, task), table in tables.items():
        metric = metrics_of(table)[0]
        controls = table[table["control"]].set_index("model")[metric]
        floor = controls.drop(ABOVE, errors="ignore").max()
        networks = table[~table["control"] & table[metric].notna()]
        beaten = networks[~(networks[metric] > floor)] if not math.isnan(floor) else networks[:0]
        found.append(
            {
                "name": dataset,
                "dataset": run.dataset_title(dataset),
                "task": task,
                "metric": header(metric),
                "scores": {m: controls.get(m, math.nan) for m in run.controls},
                "parts": {row["model"]: part_of(row) for _, row in table.iterrows()},
                "networks": len(networks),
                "not_better": [run.title(m) for m in beaten["model"]] if len(networks) else [],
            }
        )
    return found


def _contracts(run: RunDescription, scores: pd.DataFrame, tables: Tables) -> list[dict[str, Any]]:
    """Return each contract of the compared metrics once, with its metrics and datasets."""
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for dataset, task in tables:
        rows = main_scores(run, scores, dataset, task)
        rows = rows[["task", "metric", *CONTRACT_KEYS]].drop_duplicates()
        for values in rows.itertuples(index=False, name=None):
            entry = found.setdefault((values[0], *values[2:]), {"metrics": [], "datasets": []})
            for key, value in (("metrics", header(values[1])), ("datasets", run.dataset_title(dataset))):
                if value not in entry[key]:
                    entry[key].append(value)
    order = [str(task) for task in TASKS]
    return [
        {"task": key[0], **entry, "contract": dict(zip(CONTRACT_KEYS, key[1:]))}
        for key, entry in sorted(found.items(), key=lambda item: order.index(item[0][0]))
    ]
