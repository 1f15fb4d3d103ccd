"""How scores depend on the size and number of objects, the frequency of classes, and properties of images.

Images, objects and classes are divided into bins of about the same number by the quantiles of each property.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from segbench.contract.run import CellDescription, RunDescription
from segbench.contract.view import Task
from segbench.data.dataset import Dataset
from segbench.data.properties import FILE, Properties, read_properties
from segbench.errors import SegbenchError
from segbench.evaluation.averages import ratio
from segbench.evaluation.joined import joined
from segbench.evaluation.resampled import occurrences
from segbench.evaluation.statistics import Statistics
from segbench.report.image_scores import scored_cells

logger = logging.getLogger(__name__)

BINS, LEAST = 5, 5
"""Most bins, and fewest images, objects or classes in a bin on average."""
MATCH = 0.5
"""IoU above which an object counts as found."""
COLUMNS = ["dataset", "task", "condition", "bin", "low", "high", "count", "model", "score"]


class Condition(NamedTuple):
    title: str
    score: str
    """What is averaged in a bin."""
    counted: str
    """What the bins divide."""


CONDITIONS = {
    "size": Condition("Size of objects (root of the area, in pixels)", "Recall at IoU > .5", "objects"),
    "objects": Condition("Objects in the image", "Score of the image", "images"),
    "frequency": Condition("Images with the class", "Score of the class", "classes"),
    "brightness": Condition("Brightness", "Score of the image", "images"),
    "sharpness": Condition("Sharpness (variance of the Laplacian)", "Score of the image", "images"),
}


def edges(values: np.ndarray) -> np.ndarray | None:
    """Return the edges of at most `BINS` bins with about as many values each; None for fewer than two bins.

    Equal values share a bin, so there may be fewer.
    """
    values = values[np.isfinite(values)]
    count = min(BINS, len(values) // LEAST)
    if count < 2:
        return None
    found = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    return found if len(found) > 2 else None


def bin_of(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the bin of each value, from 0; a bin has its lower edge, the last one both."""
    return np.clip(np.searchsorted(limits, values, side="right") - 1, 0, len(limits) - 2)


def conditions(
    run: RunDescription,
    cells: pd.DataFrame,
    dataset: str,
    task: Task,
    *,
    images: pd.DataFrame,
    classes: pd.DataFrame,
) -> pd.DataFrame:
    """Return the mean score of each network in each bin of each property that is known.

    Args:
        run: the run.
        cells: see `segbench.report.summarise.collect`.
        dataset: the dataset.
        task: one of its tasks.
        images: columns image, model, score: scores of images.
        classes: columns class, model, value: scores of classes by the metric that ranks the networks.

    Returns:
        The columns `COLUMNS`. `low` and `high` are the smallest and largest value in the bin, `count` the
        number of images, objects or classes in it.
    """
    models = list(dict.fromkeys(images["model"]))
    makers: dict[str, Callable[[], pd.DataFrame | None]] = {
        "size": lambda: _by_size(run, cells, dataset, task, models),
        "objects": lambda: _by_image(images, _object_counts(run, cells, dataset, models)),
        "frequency": lambda: _by_class(run, cells, dataset, task, classes),
    }
    known: dict[str, Properties] = {}
    try:
        known = _properties(run, dataset)
    except SegbenchError as error:
        logger.warning("no properties of the images of %s: %s", dataset, error)
    for k, name in enumerate(Properties._fields):
        makers[name] = partial(_by_image, images, {i: one[k] for i, one in known.items()})
    parts = []
    for name, make in makers.items():
        try:
            found = make()
        except (SegbenchError, KeyError, OSError) as error:
            logger.warning("%s, %s: no scores by %s: %s", dataset, task, name, error)
            continue
        if found is not None:
            parts.append(found.assign(dataset=dataset, task=task, condition=name))
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _binned(values: pd.Series, scores: pd.DataFrame) -> pd.DataFrame | None:
    """Average scores in bins of `values`.

    Args:
        values: the property by name of an image or class.
        scores: columns name, model, score.
    """
    values = values[values.index.isin(scores["name"].unique())].dropna()
    limits = edges(values.to_numpy(float))
    if limits is None:
        return None
    places = pd.Series(bin_of(values.to_numpy(float), limits), index=values.index)
    spread = values.groupby(places).agg(["min", "max", "count"])
    spread.columns = ["low", "high", "count"]
    rows = scores.assign(bin=scores["name"].map(places)).dropna(subset=["bin"])
    found = rows.groupby(["bin", "model"], sort=False)["score"].mean().reset_index()
    return found.astype({"bin": int}).join(spread, on="bin").sort_values("bin", kind="stable")


def _by_image(images: pd.DataFrame, values: Mapping[str, float]) -> pd.DataFrame | None:
    return _binned(pd.Series(values, dtype=float), images.rename(columns={"image": "name"}))


def _by_class(
    run: RunDescription, cells: pd.DataFrame, dataset: str, task: Task, classes: pd.DataFrame
) -> pd.DataFrame | None:
    if classes.empty or classes["class"].nunique() < 2 * LEAST:
        return None
    files = _files(run, scored_cells(run, cells, dataset, classes["model"].iloc[0], seeds=1))
    counts = occurrences(joined(files), task) if files else {}
    scores = classes.groupby(["class", "model"], sort=False)["value"].mean().reset_index()
    scores = scores.dropna(subset=["value"]).rename(columns={"class": "name", "value": "score"})
    return _binned(pd.Series(counts, dtype=float), scores)


def _by_size(
    run: RunDescription, cells: pd.DataFrame, dataset: str, task: Task, models: Sequence[str]
) -> pd.DataFrame | None:
    """Return the recall of objects by their size. Crowds are excluded."""
    if task != "instance" or not models:
        return None
    files = _files(run, scored_cells(run, cells, dataset, models[0], seeds=1))
    sizes = np.concatenate([np.zeros(0), *(own for own, _ in _objects(files))])
    limits = edges(sizes)
    if limits is None:
        return None
    places = bin_of(sizes, limits)
    spread = pd.Series(sizes).groupby(places).agg(["min", "max", "count"])
    spread.columns = ["low", "high", "count"]
    rows = []
    for model in models:
        totals = np.zeros((2, len(limits) - 1))
        for own, partners in _objects(_files(run, scored_cells(run, cells, dataset, model))):
            at = bin_of(own, limits)
            totals += [np.bincount(at, w, len(limits) - 1) for w in (partners > MATCH, np.ones_like(own))]
        rows += [{"bin": k, "model": model, "score": score} for k, score in enumerate(ratio(*totals))]
    found = pd.DataFrame(rows).dropna(subset=["score"]).join(spread, on="bin")
    return found.sort_values("bin", kind="stable")


def _objects(files: Sequence[Path]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the sizes of true objects, and the IoUs of their partners, some images at a time."""
    for path in files:
        statistics = Statistics(path)
        settings = statistics.metadata.tasks.get("instance")
        if settings and "mask" in settings.kinds and "objects" in statistics.metadata.options.families:
            for batch in statistics.batches("instance", ("object_areas", "object_partners")):
                yield np.sqrt(batch.lists("object_areas")[0]), batch.lists("object_partners")[0]


def _object_counts(
    run: RunDescription, cells: pd.DataFrame, dataset: str, models: Sequence[str]
) -> dict[str, float]:
    """Return the number of true objects, without crowds, of each image with a truth or detections."""
    counts: dict[str, float] = {}
    for path in _files(run, scored_cells(run, cells, dataset, models[0], seeds=1)) if models else []:
        statistics = Statistics(path)
        task: Task | None = next(
            (t for t in ("instance", "detection") if t in statistics.metadata.tasks), None
        )
        if task is None:
            continue
        for batch in statistics.batches(task, ("truths",)):
            truths = batch.lists("truths")[0].reshape(len(batch), -1)[:, 0]
            number = np.bincount(batch.image, truths, len(batch.image_ids))
            counts |= zip(batch.names(), number.tolist())
    return counts


def _files(run: RunDescription, cells: Sequence[CellDescription]) -> list[Path]:
    paths = (run.folder(cell) / "per_image.parquet" for cell in cells)
    return [path for path in paths if path.exists()]


def _properties(run: RunDescription, dataset: str) -> dict[str, Properties]:
    """Return the properties of the images that are scored, by name; none if they were not measured.

    In a cross-validation, these are images of several splits. A fold has their names, with that of the split
    before it if two splits share a name.
    """
    root = run.datasets[dataset].root
    if not (root / FILE).exists():
        return {}
    found = read_properties(root / FILE)
    if run.datasets[dataset].folds:
        return {f"{split}_{name}": one for (split, name), one in found.items()} | {
            name: one for (_, name), one in found.items()
        }
    split = Dataset(root).info.evaluation_split
    return {name: one for (own, name), one in found.items() if own == split}
