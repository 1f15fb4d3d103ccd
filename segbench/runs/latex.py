"""Tables of a summary as LaTeX with the packages booktabs and graphicx."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.report.tables import best_of, header, interval, metrics_of, part_of

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{c: f"\\{c}" for c in "&%$#_{}"}, "†": r"\dag{}", "–": "--", "±": r"$\pm$",
}  # fmt: skip


SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"
"""Command of the package graphicx that shrinks a table that is wider than the text."""


def escaped(text: str) -> str:
    """Return text in which no character has a meaning for LaTeX."""
    return "".join(SPECIAL.get(character, character) for character in text)


def read_tables(summary: Path) -> dict[str, pd.DataFrame]:
    """Return the comparison tables of a summary by the name of their file."""
    text = {"model": str, "status": str, "reason": str, "letters": str}
    paths = sorted((summary / "tables").glob("*.csv"))
    return {path.stem: pd.read_csv(path, dtype=text).fillna(dict.fromkeys(text, "")) for path in paths}


def latex(run: RunDescription, name: str, table: pd.DataFrame, keys: Mapping[str, str]) -> str:
    """Return a comparison table as a LaTeX `table`.

    Args:
        run: titles of models and datasets.
        name: `<dataset>_<task>`.
        table: see `segbench.report.tables.compare`.
        keys: the key of the citation of each network.
    """
    dataset, _, task = name.rpartition("_")
    metrics = metrics_of(table)
    best = {m: set(best_of(table, m).index) if (~table["control"]).sum() > 1 else set() for m in metrics}
    rows = []
    for place, row in table.iterrows():
        title = escaped(run.title(row["model"])) + (r"\,\dag" if row["derived"] else "")
        if row["model"] in keys:
            title += f"~\\cite{{{keys[row['model']]}}}"
        title = f"\\emph{{{title}}}" if row["control"] else title
        title += f" ({escaped(part)})" if (part := part_of(row)) else ""
        scores = [_score(row, metric, place in best[metric]) for metric in metrics]
        if row["status"] != "ok":
            scores = [escaped(row["status"]), *[""] * (len(metrics) - 1)]
        rows.append([title, *scores, escaped(f"{row['seeds']}")])
    notes = ["Mean over the seeds; in brackets the interval of 95\\,\\%."]
    if table["derived"].any():
        notes.append(r"\dag: converted from the output for another task.")
    where = escaped(run.dataset_title(dataset))
    caption = f"{where}, {escaped(task)} segmentation. {' '.join(notes)}"
    heads = ["Model", *(escaped(header(metric)) for metric in metrics), "Seeds"]
    return _float(caption, f"tab:{name}", heads, rows, ruled=[int((~table["control"]).sum())])


def _score(row: pd.Series, metric: str, best: bool) -> str:
    value, sd = row[metric], row.get(f"{metric}_sd", math.nan)
    if math.isnan(value):
        return "--"
    text = f"{value:.3f}"
    text = f"\\textbf{{{text}}}" if best else text
    if not math.isnan(sd):
        text += rf" $\pm$ {sd:.3f}"
    bounds = interval(row.get(f"{metric}_low", math.nan), row.get(f"{metric}_high", math.nan))
    return f"{text} {{\\small {bounds}}}" if bounds else text


def _float(
    caption: str, label: str, heads: Sequence[str], rows: Sequence[Sequence[str]], ruled: Sequence[int]
) -> str:
    lines = []
    for number, row in enumerate(rows):
        if number in ruled and number:
            lines.append(r"\midrule")
        lines.append(" & ".join(row) + r" \\")
    body = "\n".join(lines)
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{{label}}}\n{SHRUNK}{{%\n"
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}\n\\toprule\n{' & '.join(heads)} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}}}\n\\end{{table}}\n"
    )


def overview(run: RunDescription, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the primary scores of all tables as one LaTeX `table`: models x datasets and tasks."""
    models = [*run.networks, *run.controls]
    columns, heads = [], ["Model"]
    for name, table in tables.items():
        dataset, _, _ = name.rpartition("_")
        metric = metrics_of(table)[0]
        best = set(best_of(table, metric)["model"]) if (~table["control"]).sum() > 1 else set()
        heads.append(escaped(f"{run.dataset_title(dataset)}, {header(metric)}"))
        found = {m: v for m, v in zip(table["model"], table[metric]) if not math.isnan(v)}
        shown = {m: rf"\textbf{{{v:.3f}}}" if m in best else f"{v:.3f}" for m, v in found.items()}
        parts = {row["model"]: escaped(part) for _, row in table.iterrows() if (part := part_of(row))}
        columns.append({m: f"{text} ({parts[m]})" if m in parts else text for m, text in shown.items()})
    rows = [[escaped(run.title(m)), *(column.get(m, "--") for column in columns)] for m in models]
    return _float("Primary scores.", "tab:overview", heads, rows, ruled=[len(run.networks)])


def document(names: Sequence[str]) -> str:
    """Return a document that shows all tables."""
    inputs = "\n".join(f"\\input{{{name}}}" for name in names)
    return (
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage[T1]{fontenc}\n"
        "\\usepackage{booktabs,graphicx,url}\n\\usepackage[margin=2cm,landscape]{geometry}\n\\begin{document}\n"
        f"{inputs}\n\\bibliographystyle{{plain}}\n\\bibliography{{../citations}}\n\\end{{document}}\n"
    )
