"""Paragraphs that can be pasted: what was compared, by which test, what it found, and what it leaves open.

The form is that of autorank (Herbold, JOSS 5, 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from segbench.comparison.contest import Contest
from segbench.comparison.orders import WAYS
from segbench.comparison.pairs import ALPHA, least_units
from segbench.comparison.rank_tests import RankTest
from segbench.contract.run import RunDescription
from segbench.contract.scores import METRICS
from segbench.contract.view import Task

FEW = 10
"""A class that the truth of fewer images, or groups, has makes intervals too short; see docs/metrics.md."""
SEED = "The training was not repeated with other seeds: how much the score varies with the seed is left out."


def p_text(p: float) -> str:
    """Return `p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(names: list[str], most: int = 6) -> str:
    """Return `A, B and C`; of many names, the first ones and the number of the others."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def about_contest(
    run: RunDescription,
    contest: Contest,
    places: pd.DataFrame,
    pairs: pd.DataFrame,
    scores: pd.DataFrame,
    rare: list[str],
    margin: float,
    grouped: bool,
) -> str:
    """Return the paragraph about one dataset and task.

    Args:
        run: titles of networks and datasets.
        contest: what was compared.
        places, pairs: see `segbench.comparison`.
        scores: every score with its interval.
        rare: classes that occur in too few images.
        margin: largest difference that does not matter in practice.
        grouped: whether images were drawn by group.
    """
    metric = METRICS[contest.task].get(contest.metric, contest.metric)
    first, second = places["model"].iloc[:2]
    own = scores[scores["metric"] == contest.metric].set_index("model").loc[first]
    units, seeds = int(own["units"]), int(pairs["seeds"].min())
    what = "groups of test images" if grouped else "test images"
    trained = "one seed" if seeds == 1 else f"{seeds} seeds or more each"
    parts = [
        f"{len(places)} networks ({trained}) were compared by {metric} on {units} {what} of "
        f"{run.dataset_title(contest.dataset)} ({contest.task}).",
        "Intervals are 95 % (jackknife over the images"
        + ("" if seeds == 1 else ", with the variance over the seeds")
        + ", Student's t on the log odds).",
        "Each pair was tested by a two-sided paired t-test of the difference, with the jackknife's standard "
        "error"
        f" (alpha = {ALPHA}, Holm's correction over {len(pairs)} pair{'s' if len(pairs) != 1 else ''}); it "
        f"assumes that the {what} are independent and that no few of them decide the score.",
    ]
    interval = "" if math.isnan(own["low"]) else f" [{own['low']:.3f}, {own['high']:.3f}]"
    parts.append(f"{run.title(first)} has the highest score, {own['value']:.3f}{interval}.")
    of_first = pairs[pairs["better"] == first]
    tied = of_first[~of_first["parted"]]
    if tied.empty:
        parts.append(f"It is better than every other network ({p_text(of_first['p_holm'].max())} or less).")
    else:
        names = listed([run.title(model) for model in tied["worse"]])
        parts.append(f"It cannot be told from {names} ({p_text(tied['p_holm'].min())} or more).")
    parts.append(_next(run, of_first[of_first["worse"] == second].iloc[0], margin))
    needed = least_units(len(pairs))
    if units < needed:
        parts.append(
            f"On {units} {what} no difference can be shown after correction for so many pairs: "
            f"{needed} are needed, {needed - units} more."
        )
    apart = int(pairs["parted"].sum())
    parts.append(f"Of all {len(pairs)} pairs, {apart} {'is' if apart == 1 else 'are'} told apart.")
    if seeds == 1:
        parts.append(SEED)
    if units < FEW:
        parts.append(f"With fewer than {FEW} {what}, intervals may be too short.")
    elif rare:
        parts.append(
            f"{listed(rare)} occur{'s' if len(rare) == 1 else ''} in fewer than {FEW} {what}: "
            "intervals may be too short."
        )
    return " ".join(parts)


def _next(run: RunDescription, pair: pd.Series, margin: float) -> str:
    """Return what is known about the difference between the first two networks."""
    text = f"It is ahead of {run.title(pair['worse'])} by {pair['difference']:.3f}"
    if not math.isnan(pair["low"]):
        text += f" [{pair['low']:.3f}, {pair['high']:.3f}], {p_text(pair['p_holm'])} after correction"
    if pair["magnitude"]:
        text += f", {abs(pair['effect']):.2f} standard deviations over the images ({pair['magnitude']})"
    if pair["equivalent"]:
        return text + f"; the interval is within ±{margin:g}, so both are equivalent in practice."
    if pair["parted"] and pair["difference"] < margin:
        return text + f"; that is real, but less than the {margin:g} that matters in practice."
    if pair["parted"]:
        return text + "; that is more than the choice of the images explains."
    return text + "; neither a difference nor equivalence is shown."


def about_task(
    run: RunDescription,
    task: Task,
    networks: pd.DataFrame,
    matrix: pd.DataFrame,
    test: RankTest,
    taus: Mapping[str, float],
    baseline: pd.DataFrame | None,
) -> str:
    """Return the paragraph about one task over all datasets.

    Args:
        run: titles of the networks.
        task: the task.
        networks, matrix, test: see `segbench.comparison.across.across`.
        taus: see `segbench.comparison.orders.agreement`.
        baseline: see `segbench.comparison.rank_tests.against`; None without a baseline.
    """
    ranked = networks[networks["ranked"]]
    count = int(networks["datasets"].max())
    if len(ranked) < 2:
        return f"{task.capitalize()}: fewer than two networks have a score on each of {count} datasets."
    first = ranked.iloc[0]
    parts = [
        f"{len(ranked)} networks were ranked by their scores on {count} datasets ({task}). "
        f"{run.title(first['model'])} has the lowest mean rank, {first['mean_rank']:.2f}."
    ]
    if not math.isnan(first["first"]):
        parts.append(f"It has it in {first['first']:.0%} of the draws of images and seeds.")
    if not test.name:
        parts.append(
            f"Not tested: the test needs {count + test.missing} datasets, {test.missing} more than there are."
            if test.missing
            else "Not tested."
        )
    else:
        parts.append(_tested(run, ranked, test))
    if taus:
        agree = min(taus.values())
        survives = ranked[[f"{way}_order" for way in WAYS]].iloc[0].dropna().eq(1).all()
        parts.append(
            f"The order by mean score, by mean rank and by tests agree{'s' if len(taus) == 1 else ''} with "
            f"Kendall's tau of at least {agree:.2f}, and the first network is "
            f"{'the same' if survives else 'not the same'} in all of them."
        )
    if baseline is not None:
        parts.append(_baseline(run, baseline))
    return " ".join(parts)


def _tested(run: RunDescription, ranked: pd.DataFrame, test: RankTest) -> str:
    first = ranked["model"].iloc[0]
    if test.name == "Wilcoxon":
        found = "differ" if test.p < ALPHA else "are not told apart"
        return (
            f"Wilcoxon's signed-rank test over the datasets: {p_text(test.p)}, rank-biserial correlation "
            f"{test.effect:.2f} ({test.magnitude}): the two networks {found}."
        )
    text = f"Friedman's test: {p_text(test.p)}, Kendall's W = {test.effect:.2f} ({test.magnitude}). "
    if test.p >= ALPHA:
        return text + "No difference between the networks is shown."
    worse = [m for m in ranked["model"] if test.pairs.loc[first, m] < ALPHA and m != first]
    text += f"By Nemenyi's test (critical difference {test.critical:.2f} ranks) it is "
    if not worse:
        return text + "not told from any single other network."
    rest = len(ranked) - 1 - len(worse)
    text += f"better than {listed([run.title(m) for m in worse])}"
    return text + (f", and not told from the other {rest}." if rest else ".")


def _baseline(run: RunDescription, baseline: pd.DataFrame) -> str:
    if baseline["p"].isna().all():
        return (
            "Against the baseline, nothing is tested: with so many networks, Wilcoxon's test with Holm's "
            f"correction needs more datasets ({baseline['missing'].iloc[0]})."
        )
    better = baseline[(baseline["p"] < ALPHA) & (baseline["difference"] > 0)]
    names = listed([run.title(m) for m in better["model"]]) if len(better) else "no network"
    return (
        f"By Wilcoxon's test with Holm's correction, {names} {'is' if len(better) < 2 else 'are'} better "
        "than the baseline."
    )
