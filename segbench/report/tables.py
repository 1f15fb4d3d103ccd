"""Tables that compare the models on one dataset and task, as data frame, HTML and Markdown."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segbench.contract.run import RunDescription
from segbench.contract.scores import CONTRACT_KEYS, LOWER_IS_BETTER, METRICS
from segbench.contract.view import Task
from segbench.units import NOTHING, count, duration, markdown_text

COSTS = {"train_parameters": "Parameters", "train_seconds": "Training", "predict_latency_median": "Latency"}
PRECISIONS = ("train_precision", "predict_precision")
DERIVED = "†"
FOLDS_NOTE = (
    "Cross-validation: mean ± sample standard deviation over the folds and seeds. Pooled: the images of all "
    "folds scored as one set, each by the network that was not trained on it."
)
RANK_NOTE = (
    "Rank: 1 + the number of networks that are significantly better (paired test, Holm's correction, "
    "p < .05). Networks with a letter in common are not told apart."
)
INTERVAL_NOTE = "In brackets: the interval of 95 % over the test images{}."
DERIVED_NOTE = f"{DERIVED} derived: converted from the network's output for another task."
PART_NOTE = (
    "Scored on a part of the images, since a second person has not annotated the others: {}. "
    "Do not compare it with scores on all images."
)
EXTERNAL_NOTE = "External: predictions of another program, scored alike; their costs are as stated."


def main_scores(run: RunDescription, scores: pd.DataFrame, dataset: str, task: Task) -> pd.DataFrame:
    """Return the scores over all classes of the compared metrics, and the `column` of each in the table.

    A metric that was measured under several contracts gets a column for each, named by the differing keys.
    """
    order = {m: i for i, m in enumerate(dict.fromkeys([run.primary(task), *METRICS[task]]))}
    of_task = (scores["dataset"] == dataset) & (scores["task"] == task)
    rows = scores[of_task & scores["metric"].isin(list(order)) & (scores["class"] == "")].copy()
    if "dice_no_background" in set(rows["metric"]):
        rows = rows[rows["metric"] != "dice"]
    rows["column"] = rows["metric"]
    for _, same in rows.groupby("metric"):
        unlike = [c for c in CONTRACT_KEYS if same[c].nunique(dropna=False) > 1]
        if unlike:
            named = same[unlike].apply(lambda row: ", ".join(f"{k}={v}" for k, v in row.items()), axis=1)
            rows.loc[same.index, "column"] = same["metric"] + " [" + named + "]"
    return rows.sort_values("metric", key=lambda metric: metric.map(order), kind="stable")


def repetitions(rows: pd.DataFrame) -> pd.Series:
    """Return the seed of each row as text, with the fold if there is one: `0`, or `0 fold 2`."""
    seeds = rows["seed"].astype(str)
    if "fold" not in rows:
        return seeds
    return seeds.where(rows["fold"].isna(), seeds + " fold " + rows["fold"].astype(str))


def compare(
    run: RunDescription,
    scores: pd.DataFrame,
    cells: pd.DataFrame,
    dataset: str,
    task: Task,
    pooled: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return one row for each model: networks by their primary score, then controls.

    Columns: model, control, derived, status ("ok" if any seed has a score), seeds (number with a score),
    planned (number of seeds), for each metric its mean and `<metric>_sd` (sample standard deviation over the
    seeds), means of `COSTS`, precision (bf16, fp32 or both), reason; `part` if a control of the run was
    scored on a part of the images only, such as `12 of 20 images`.

    With cross-validation, each fold of a seed counts like a seed, and each metric also has `<metric>_pooled`,
    the mean over the seeds of its score over all folds.

    Args:
        pooled: See `segbench.report.summarise.collect_pooled`.
    """
    rows = main_scores(run, scores, dataset, task)
    columns = list(dict.fromkeys(rows["column"])) or [run.primary(task)]
    planned = cells[(cells["dataset"] == dataset) & (cells["status"] != "not-applicable")]
    needed = {"model", "seed", "fold", "control", "status", "reason", "part", *COSTS, *PRECISIONS}
    planned = planned[[column for column in planned if column in needed]]  # a table may have fifty
    rows, planned = (frame.assign(repetition=repetitions(frame)) for frame in (rows, planned))
    over_folds = None
    if pooled is not None and run.datasets[dataset].folds:
        over_folds = main_scores(run, pooled, dataset, task)
    table = []
    rows_of, none = dict(iter(rows.groupby("model"))), rows[:0]
    values = dict(iter(rows.groupby(["model", "column"])["value"]))
    for model, seeds in planned.groupby("model", sort=False):
        own = rows_of.get(model, none)
        if own.empty and (seeds["status"] == "ok").all():
            continue  # the model has no scores in this task
        bad = seeds[seeds["status"] != "ok"]
        # the reason of a cell with scores says why it has no score by the first metric
        ranked = seeds["repetition"].isin(own.loc[own["column"] == columns[0], "repetition"])
        noted = seeds[(seeds["status"] != "ok") | ((seeds["reason"] != "") & ~ranked)]
        ok = seeds[seeds["repetition"].isin(own["repetition"])]
        row: dict[str, Any] = {
            "model": model,
            "control": bool(seeds["control"].iloc[0]),
            "derived": bool(own["derived"].any()),
            "status": "ok" if len(own) else bad["status"].iloc[0],
            "seeds": own["repetition"].nunique(),
            "planned": len(seeds),
        }
        for column in columns:
            found = values.get((model, column), none["value"]).to_numpy(float)
            found = found[~np.isnan(found)]
            row[column] = found.mean() if len(found) else math.nan
            row[f"{column}_sd"] = found.std(ddof=1) if len(found) > 1 else math.nan
            if over_folds is not None:
                same = (over_folds["model"] == model) & (over_folds["column"] == column)
                row[f"{column}_pooled"] = over_folds.loc[same, "value"].mean()
        row |= {k: pd.to_numeric(ok[k], errors="coerce").mean() if k in ok else math.nan for k in COSTS}
        row["precision"] = _precisions(ok)
        row["reason"] = "; ".join(
            f"seed {', '.join(same['repetition'])}: {reason or status}"
            for (status, reason), same in noted.groupby(["status", "reason"], sort=False)
        )
        if "part" in seeds:
            row["part"] = next(iter(seeds["part"].dropna()), "")
        table.append(row)
    names = ["model", "control", "derived", "status", "seeds", "planned"]
    suffixes = ("", "_sd") if over_folds is None else ("", "_sd", "_pooled")
    names += [c + suffix for c in columns for suffix in suffixes]
    last = ["precision", "reason", *(["part"] if "part" in planned else [])]
    frame = pd.DataFrame(table, columns=[*names, *COSTS, *last])
    return frame.sort_values(
        ["control", columns[0]],
        ascending=[True, False],
        key=lambda c: c.where(~frame["control"], 0) if c.name == columns[0] else c,
        kind="stable",
        ignore_index=True,
    )


def _precisions(cells: pd.DataFrame) -> str:
    """Return the number formats of training and prediction of these cells; empty for controls."""
    known = [cells[c].dropna() for c in PRECISIONS if c in cells]
    return ", ".join(sorted({str(value) for values in known for value in values if value}))


def precision_note(run: RunDescription, table: pd.DataFrame) -> str:
    """Return which networks used which number format; empty if all used the same."""
    formats = table.loc[table["precision"] != ""].groupby("precision", sort=True)["model"]
    if formats.ngroups < 2 and not table["precision"].str.contains(",").any():
        return ""
    named = (f"{name}: {', '.join(run.title(model) for model in models)}" for name, models in formats)
    return f"Precision differs: {'; '.join(named)}. Compare scores and times only within one precision."


def external_note(run: RunDescription, table: pd.DataFrame) -> str:
    """Return what external rows are; empty without any."""
    return EXTERNAL_NOTE if run.externals.intersection(table["model"]) else ""


def part_of(row: pd.Series) -> str:
    """Return on how many images a model was scored, such as `12 of 20 images`; empty if on all."""
    part = row.get("part")
    return part if isinstance(part, str) else ""


def part_note(run: RunDescription, table: pd.DataFrame) -> str:
    """Return which rows are scores of a part of the images; empty without any."""
    named = [f"{run.title(row['model'])}: {part}" for _, row in table.iterrows() if (part := part_of(row))]
    return PART_NOTE.format("; ".join(named)) if named else ""


def metrics_of(table: pd.DataFrame) -> list[str]:
    """Return the metric columns of a comparison, first the one that ranks the networks."""
    return [c for c in table.columns if f"{c}_sd" in table]


def pooled_of(table: pd.DataFrame) -> str | None:
    """Return the column of the primary metric over all folds, or None without cross-validation."""
    column = f"{metrics_of(table)[0]}_pooled"
    return column if column in table else None


def best_of(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of the networks with the best score, rounded to the three digits that are shown."""
    values = table.loc[~table["control"], metric].round(3)
    lower = metric.partition(" [")[0] in LOWER_IS_BETTER
    return table.loc[values.index[values == (values.min() if lower else values.max())]]


def header(metric: str) -> str:
    """Return the heading of a metric column."""
    name, bracket, rest = metric.partition(" [")
    return {k: v for m in METRICS.values() for k, v in m.items()}.get(name, name) + bracket + rest


def score(value: float, sd: float = math.nan) -> str:
    """Format a score with its standard deviation; NaN becomes a dash."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.3f}" if math.isnan(sd) else f"{value:.3f} ± {sd:.3f}"


def interval(low: float, high: float) -> str:
    """Format an interval; empty if it is undefined."""
    return "" if math.isnan(low) or math.isnan(high) else f"[{low:.3f}, {high:.3f}]"


def ranked(table: pd.DataFrame) -> bool:
    """Return whether networks of a table were compared by a test."""
    return "letters" in table and bool((table["letters"] != "").any())


def rank(row: pd.Series) -> str:
    """Format rank and letters of a row; empty if it was not compared."""
    return f"{row['rank']:.0f} {row['letters']}" if row.get("letters") else ""


def interval_note(table: pd.DataFrame) -> str:
    """Return what the intervals of a table are over; empty without any."""
    known = [c for c in table.columns if str(c).endswith("_low") and table[c].notna().any()]
    if not known:
        return ""
    several = (table.loc[~table["control"], "seeds"] > 1).any()
    left_out = ". The seed was not varied: what it changes is left out" if not several else " and the seeds"
    if pooled_of(table):
        left_out += "; of the score over all folds"
    return INTERVAL_NOTE.format(left_out)


def cost_cell(value: float, text: str) -> Markup:
    """Return an HTML cell of a number that is shown as text with a unit; it is sorted by the number."""
    if math.isnan(value):
        return Markup('<td class="n">{}</td>').format(NOTHING)
    return Markup('<td class="n" data-v="{}">{}</td>').format(f"{value:.4g}", text)


@cache
def environment() -> Environment:
    """Return the Jinja environment of the templates. Text is escaped."""
    env = Environment(
        loader=PackageLoader("segbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"score": score, "count": count, "duration": duration, "header": header}
    env.globals["cost"] = cost_cell
    return env


def _shown(run: RunDescription, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the contents of the table for both Markdown and HTML."""
    metrics, pooled = metrics_of(table), pooled_of(table)
    best = {m: set(best_of(table, m).index) if (~table["control"]).sum() > 1 else set() for m in metrics}

    def bounds(row: pd.Series, metric: str) -> str:
        return interval(row.get(f"{metric}_low", math.nan), row.get(f"{metric}_high", math.nan))

    return [
        {
            "title": run.title(row["model"]),
            "part": part_of(row),
            "row": row,
            "mark": DERIVED if row["derived"] else "",
            "rank": rank(row),
            "scores": [
                (row[m], row[f"{m}_sd"], "" if pooled else bounds(row, m), i in best[m]) for m in metrics
            ],
            "pooled": f"{score(row[pooled])} {bounds(row, metrics[0])}".strip() if pooled else "",
            "seeds": str(row["seeds"]) + (f" of {row['planned']}" if row["seeds"] < row["planned"] else ""),
            "costs": [count(row[k]) if k == "train_parameters" else duration(row[k]) for k in COSTS],
        }
        for i, row in table.iterrows()
    ]


def to_html(run: RunDescription, table: pd.DataFrame, caption: str = "Scores of all models") -> str:
    """Return a comparison as an HTML `<table>`, with its notes below."""
    template = environment().get_template("table.html.j2")
    return template.render(
        rows=_shown(run, table),
        metrics=metrics_of(table),
        costs=COSTS,
        folds=pooled_of(table) is not None,
        note=DERIVED_NOTE,
        ranked=ranked(table),
        caption=caption,
        notes=notes(run, table),
    )


def notes(run: RunDescription, table: pd.DataFrame) -> list[str]:
    """Return the notes below the HTML table, also why models have no score."""
    found = [
        FOLDS_NOTE if pooled_of(table) else "",
        RANK_NOTE if ranked(table) else "",
        interval_note(table),
        DERIVED_NOTE if table["derived"].any() else "",
        precision_note(run, table),
        external_note(run, table),
        part_note(run, table),
    ]
    reasons = [f"{run.title(m)}: {reason}" for m, reason in zip(table["model"], table["reason"]) if reason]
    return [note for note in [*found, *reasons] if note]


def to_markdown(run: RunDescription, table: pd.DataFrame) -> str:
    """Return a comparison as a Markdown table with its notes."""
    metrics, folds = metrics_of(table), pooled_of(table) is not None
    pooled = [f"{header(metrics[0])} pooled"] if folds else []
    tested = ranked(table)
    heads = [
        "Model",
        *(["Rank"] if tested else []),
        *map(header, metrics),
        *pooled,
        "Cells" if folds else "Seeds",
        *COSTS.values(),
    ]
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for shown in _shown(run, table):
        row = shown["row"]
        name = markdown_text(shown["title"]) + (f" {DERIVED}" if row["derived"] else "")
        name = f"*{name}* (control{shown['part'] and ', ' + shown['part']})" if row["control"] else name
        if row["status"] != "ok":
            scores = [f"{row['status']}: {markdown_text(row['reason'])}", *[""] * (len(metrics) - 1)]
        else:
            scores = [
                f"{f'**{score(mean, sd)}**' if best else score(mean, sd)} {bounds}".strip()
                for mean, sd, bounds, best in shown["scores"]
            ]
        last = [shown["pooled"]] if folds else []
        lines.append(
            [name, *([shown["rank"]] if tested else []), *scores, *last, shown["seeds"], *shown["costs"]]
        )
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    text += f"\n{FOLDS_NOTE}\n" if folds else ""
    text += f"\n{DERIVED_NOTE}\n" if table["derived"].any() else ""
    text += f"\n{RANK_NOTE}\n" if tested else ""
    if note := interval_note(table):
        text += f"\n{note}\n"
    further = precision_note(run, table), external_note(run, table), part_note(run, table)
    for note in filter(None, further):
        text += f"\n{markdown_text(note)}\n"
    noted = table[(table["status"] == "ok") & (table["reason"] != "")]
    return text + "".join(
        f"\n{markdown_text(run.title(m))}: {markdown_text(r)}\n"
        for m, r in zip(noted["model"], noted["reason"])
    )
