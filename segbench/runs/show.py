"""A comparison of two runs as Markdown for a terminal, and as values for JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from segbench.report.tables import header
from segbench.runs.compare import Compared
from segbench.units import NOTHING, markdown_text

LONGEST = 48
"""Longer values are cut in the table of changes."""


def to_markdown(found: Compared, changes: pd.DataFrame) -> str:
    """Return the differences, the cells that are not compared, and the changes."""
    a, b = (markdown_text(side.label) for side in (found.a, found.b))
    lines = [f"A: {a}", f"B: {b}", ""]
    lines += _table(
        ["Dataset", "Task", "Model", "Metric", "A", "B", "B - A", "Interval of 95 %", "p (Holm)", "Seeds",
         "Paired by", ""],
        [_score_row(row) for row in found.scores.to_dict("records")],
    )  # fmt: skip
    counts = found.scores["verdict"].value_counts()
    shown = ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) or "nothing could be compared"
    lines += ["", f"{shown}; margin {found.margin:g}."]
    if found.only:
        lines += ["", "Only in one run:", ""]
        lines += [f"- {markdown_text(name)}: in {markdown_text(where)}" for name, where in found.only]
    if found.failed:
        lines += ["", "Not compared:", ""]
        lines += [f"- {markdown_text(name)}: {markdown_text(reason)}" for name, reason in found.failed]
    lines += ["", "What changed:" if len(changes) else "No change is recorded.", ""]
    rows = [
        [row["kind"], row["key"], _cut(row["a"]), _cut(row["b"]), _cells(row["cells"])]
        for row in changes.to_dict("records")
    ]
    lines += _table(["Kind", "Key", "A", "B", "Cells"], rows) if rows else []
    return "\n".join(lines).rstrip() + "\n"


def to_document(found: Compared, changes: pd.DataFrame) -> dict[str, Any]:
    """Return a comparison as values for JSON; undefined numbers are None."""
    return {
        "a": found.a.label,
        "b": found.b.label,
        "margin": found.margin,
        "exit_status": found.exit_status,
        "scores": _records(found.scores),
        "only": [{"cell": name, "run": where} for name, where in found.only],
        "not_compared": [{"what": name, "reason": reason} for name, reason in found.failed],
        "changes": _records(changes),
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return records


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *([markdown_text(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _score_row(row: Mapping[Any, Any]) -> list[str]:
    bounds = f"{row['low']:+.4f} to {row['high']:+.4f}" if not math.isnan(row["low"]) else NOTHING
    return [
        row["dataset"],
        row["task"],
        row["model"],
        header(row["metric"]),
        *(_number(row[side], "{:.4f}") for side in ("a", "b")),
        _number(row["difference"], "{:+.4f}"),
        bounds,
        _number(row["p_holm"], "{:.3g}"),
        row["seeds"],
        row["paired"] or NOTHING,
        row["verdict"],
    ]


def _number(value: float, form: str) -> str:
    return NOTHING if np.isnan(value) else form.format(value)


def _cut(text: str) -> str:
    if re.fullmatch("[0-9a-f]{40,64}(-dirty)?", text):
        return f"{text[:12]}…"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _cells(names: str) -> str:
    count = names.count(", ") + 1
    return names if count == 1 else f"{count} cells"
