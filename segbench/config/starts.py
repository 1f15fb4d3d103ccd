"""Trainings that start from a trained network (`init_from`): which cell or file, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from segbench.config.checks import fault_of_path
from segbench.config.model_file import trained_class
from segbench.config.problems import Problem, did_you_mean
from segbench.config.resolved_run import CellKey, PlannedCell
from segbench.config.schema import RunConfig
from segbench.config.signature import is_subclass
from segbench.contract.recipe import Recipe
from segbench.contract.run import repetition
from segbench.errors import SegbenchError


def earlier_cell(
    config: RunConfig, recipe: Recipe | None, dataset: str, model: str, seed: int, fold: int | None
) -> CellKey | None:
    """Return the key of the cell that a training starts from; None if it starts from none.

    It has the same seed and the same fold. A dataset without folds has one cell for all folds.
    """
    start = recipe.init_from if recipe else None
    if start is None or start.path:
        return None
    source = start.dataset or dataset
    return source, start.model or model, repetition(seed, fold if config.folds_of(source) else None)


def impossible_starts(cells: Iterable[PlannedCell], config: RunConfig) -> Iterator[Problem]:
    """Find trainings that start from a cell that the run does not train, or from each other."""
    by_key = {cell.key: cell for cell in cells}
    for cell in by_key.values():
        if cell.earlier is None:
            continue
        if absent := _absent(cell, cell.earlier, by_key, config):
            yield Problem(_where(cell), absent)
            continue
        way = [cell.key]
        following = cell.earlier
        while following in by_key and following not in way:
            way.append(following)
            after = by_key[following].earlier
            if after is None:
                break
            following = after
        else:
            if following == cell.key == cell.earlier:
                yield Problem(
                    _where(cell),
                    "starts from itself; name another cell, or limit the override with `datasets`",
                )
            elif following == cell.key:
                names = " <- ".join("/".join(key) for key in [*way, following])
                yield Problem(_where(cell), f"the trainings start from each other: {names}")


def _absent(
    cell: PlannedCell, earlier: CellKey, by_key: Mapping[CellKey, PlannedCell], config: RunConfig
) -> str:
    """Return why there is no trained cell `earlier`; empty if there is one."""
    dataset, model, _ = earlier
    folds, own = config.folds_of(dataset), config.folds_of(cell.dataset)
    if dataset not in config.datasets:
        return (
            f"the run has no dataset '{dataset}'{did_you_mean(dataset, config.datasets)}; add it to datasets"
        )
    if folds is not None and folds != own:
        return (
            f"{dataset} has {folds} folds and {cell.dataset} has {own or 'none'}; give both the same number "
            f"(`folds`), or none to {dataset}"
        )
    if earlier in by_key and by_key[earlier].recipe:
        return ""
    trained = [m for d, m, _ in by_key if d == dataset]
    return f"the run trains no '{model}' on {dataset}{did_you_mean(model, trained)}; add it to models"


def unfit_starts(cells: Iterable[PlannedCell], config: RunConfig) -> Iterator[Problem]:
    """Find networks that start from a network of another class, and files that are no trained network."""
    by_key = {cell.key: cell for cell in cells}
    for cell in by_key.values():
        if cell.given:
            yield from _unfit_file(cell, cell.given, Path(config.results, config.run))
        elif cell.earlier in by_key:
            first = by_key[cell.earlier]
            if not _related(cell.class_path, first.class_path):
                yield Problem(_where(cell), _unrelated(cell, f"'{first.model}'", first.class_path))


def _unfit_file(cell: PlannedCell, path: Path, own: Path) -> Iterator[Problem]:
    if path.resolve().is_relative_to((own / "cells").resolve()):
        yield Problem(_where(cell), f"{path} belongs to this run; name its `dataset` and `model` instead")
        return
    try:
        found = trained_class(path)
    except SegbenchError as error:
        yield Problem(_where(cell), f"{path} {error.what}; {error.remedy}")
        return
    if not _related(cell.class_path, found):
        yield Problem(_where(cell), _unrelated(cell, str(path), found))


def _related(one: str, other: str) -> bool:
    """Return whether one class is or descends from the other, as far as their sources say."""
    if one == other or fault_of_path(one) or fault_of_path(other):
        return True  # missing code is another mistake
    return is_subclass(one, other) is not False or is_subclass(other, one) is not False


def _unrelated(cell: PlannedCell, source: str, found: str) -> str:
    return (
        f"{source} is a {found}, and {cell.model} a {cell.class_path}; start from a network of the same class"
    )


def _where(cell: PlannedCell) -> str:
    return f"recipe of {cell.model} on {cell.dataset}: init_from"
