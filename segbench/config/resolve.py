"""Resolve a run configuration: read the entries that it names, work out its cells, and check everything.

All mistakes are reported at once, each with the file, the key, the value and the nearest valid name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segbench.config import checks, starts
from segbench.config.every import has_all, published_papers, with_names
from segbench.config.fit_start import fitted_recipe
from segbench.config.problems import Problem, did_you_mean, error_of, validate
from segbench.config.registry import CONFIG, overlay, read_entries, read_protocol
from segbench.config.resolved_run import PlannedCell, ResolvedRun
from segbench.config.schema import PAPER, DatasetEntry, ModelEntry, RunConfig
from segbench.contract.external import ExternalSpec
from segbench.contract.recipe import Recipe
from segbench.contract.run import SkippedPair
from segbench.contract.sources import WeightsEntry
from segbench.contract.view import TASKS, Task, offered


def resolve(
    raw: Mapping[str, Any],
    registry: Path = CONFIG,
    source: str = "the configuration",
    *,
    check_code: bool = True,
) -> ResolvedRun:
    """Check a run configuration and work out its cells.

    Args:
        raw: The configuration as Snakemake read it.
        registry: Folder with `datasets`, `models`, `recipes` and `weights`.
        source: Files of the configuration, for the messages.
        check_code: Whether to check that networks, converters and loaders exist and accept their options.

    Raises:
        SegbenchError: Lists every mistake.
    """
    problems: list[Problem] = []
    open_pairs = has_all(raw)
    raw = with_names(raw, registry)
    config = validate(RunConfig, dict(raw), source, problems) or _without_mistakes(raw, source)
    # entries are read, and their mistakes reported, also if nothing of the configuration can be used
    wanted = config or RunConfig.model_construct(
        datasets=_strings(raw.get("datasets")), models=_strings(raw.get("models"))
    )
    datasets = read_entries(DatasetEntry, registry / "datasets", wanted.datasets, source, problems)
    names = [*wanted.models, *wanted.controls]
    models = read_entries(ModelEntry, registry / "models", names, source, problems)
    if config is None:
        raise error_of(problems)
    problems += checks.unknown_names(config, registry, source)
    problems += checks.absent_baseline(config, source)
    problems += checks.repeated_names(config, source)
    datasets = {name: _with_options(config, name, entry) for name, entry in datasets.items()}
    problems += checks.conflicting_archives(datasets, registry)
    problems += checks.unknown_published(models, registry)
    problems += checks.unknown_papers(models, registry)
    problems += checks.overrides_without_effect(config, models, source)
    problems += checks.unknown_protocols(datasets, registry)
    protocol = read_protocol(registry / "recipes", config.recipe, problems)
    cells, skipped = _cells_and_skipped(
        config, protocol, datasets, models, registry, problems, open_pairs=open_pairs
    )
    needed = dict.fromkeys(name for c in cells if (name := c.weights))
    weights = read_entries(WeightsEntry, registry / "weights", needed, f"{registry}/models: recipe", problems)
    problems += checks.unfit_weights(cells, weights, config, registry)
    problems += starts.impossible_starts(cells, config)
    problems += checks.unfit_changes(cells)
    if check_code:
        problems += checks.missing_code(datasets, models, weights, registry)
        problems += checks.unreadable_columns(datasets, registry)
        problems += checks.missing_packages(config, datasets, models, registry)
        problems += checks.missing_predictions(cells, registry)
        problems += checks.exclusive_classes(cells, datasets)
        problems += checks.unfit_inference(cells)
        problems += checks.unfit_compiling(cells)
        problems += checks.unfit_weights_of_pixels(cells, datasets)
        problems += starts.unfit_starts(cells, config)
        problems += checks.wrong_options(config, datasets, cells, registry, source)
    if problems:
        raise error_of(problems)
    return ResolvedRun(config, datasets, models, weights, cells, skipped)


def _without_mistakes(raw: Mapping[str, Any], source: str) -> RunConfig | None:
    """Return the configuration without the keys that have mistakes, so that the others are checked, too."""
    sound = {}
    for key, value in raw.items():
        found: list[Problem] = []
        validate(RunConfig, {"datasets": [], "models": [], key: value}, source, found)
        if not found:
            sound[key] = value
    return validate(RunConfig, sound, source, [])


def _strings(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _with_options(config: RunConfig, name: str, entry: DatasetEntry) -> DatasetEntry:
    """Return the entry with the options of the run merged in, and `~` in its folder expanded."""
    options = overlay(entry.options, config.dataset_options.get(name, {}))
    if isinstance(folder := options.get("folder"), str):
        options["folder"] = str(Path(folder).expanduser())
    return entry.model_copy(update={"options": options})


def _cells_and_skipped(
    config: RunConfig,
    protocol: Mapping[str, Any],
    datasets: Mapping[str, DatasetEntry],
    models: Mapping[str, ModelEntry],
    registry: Path,
    problems: list[Problem],
    *,
    open_pairs: bool,
) -> tuple[list[PlannedCell], list[SkippedPair]]:
    """Pair every dataset with every model. A cell trains on the richest task that both support.

    With `open_pairs`, the configuration names not every pair that it asks for: those that the recipe `paper`
    is not for are left out.
    """
    cells: list[PlannedCell] = []
    skipped: list[SkippedPair] = []
    excluded = {(e.dataset, e.model) for e in config.exclude}
    for dataset, model in ((d, m) for d in datasets for m in models):
        compared = not models[model].trained or dataset in published_papers(models[model])
        if open_pairs and config.recipe == PAPER and not compared:
            continue
        if models[model].second and not datasets[dataset].second:  # most datasets
            continue
        has, needs = offered(datasets[dataset].tasks), models[model].tasks
        shared = [task for task in reversed(TASKS) if task in has and task in needs]
        if (dataset, model) in excluded:
            reason = "excluded by the configuration"
        elif not shared:
            reason = f"needs {', '.join(needs)} truth; the dataset has {', '.join(has)}"
        elif models[model].second and config.folds_of(dataset):
            reason = "the annotation of a second person is not scored in a cross-validation"
        else:
            entries = datasets[dataset], models[model]
            cells += _cells(config, protocol, dataset, model, *entries, shared[0], registry, problems)
            continue
        skipped.append(SkippedPair(dataset=dataset, model=model, reason=reason))
    return cells, skipped


def _cells(
    config: RunConfig,
    protocol: Mapping[str, Any],
    dataset: str,
    model: str,
    data: DatasetEntry,
    entry: ModelEntry,
    task: Task,
    registry: Path,
    problems: list[Problem],
) -> list[PlannedCell]:
    """Return the cells of a dataset and model: one for each seed and fold, none if the recipe is wrong."""
    recipe = None
    overrides = [o for o in config.overrides if o.applies(dataset, model)]
    threads = next((o.threads for o in reversed(overrides) if o.threads), config.threads)
    if entry.trained:
        if config.recipe not in entry.recipes:
            what = f"has no recipe '{config.recipe}' (has: {', '.join(entry.recipes)})"
            hint = did_you_mean(config.recipe, entry.recipes)
            problems.append(Problem(f"{registry}/models/{model}.yaml", what + hint))
            return []
        if config.recipe == PAPER and dataset not in entry.papers:
            problems.append(checks.no_paper(dataset, model, entry, registry))
            return []
        pair = entry.papers[dataset] if config.recipe == PAPER else {}
        shares = data.recipes.get(config.recipe, {}), data.recipe, pair
        stated: dict[str, Any] = {}
        for layer in (*shares, *(o.recipe for o in overrides)):
            stated = overlay(stated, layer)
        base = overlay(protocol, entry.recipes[config.recipe])
        merged = fitted_recipe(base, stated, equal_iterations="iterations" in protocol)
        shared = f" (with {registry}/recipes/{config.recipe}.yaml)" if protocol else ""
        recipe = validate(Recipe, merged, f"recipe of {model} on {dataset}{shared}", problems)
        if recipe is None:
            return []
    options = {**entry.options, **(recipe.options if recipe else {})}
    folds = config.folds_of(dataset)
    several = entry.external.has("seed") if entry.external else entry.trained
    return [
        PlannedCell(
            dataset,
            model,
            seed,
            task,
            entry.is_control,
            entry.class_,
            options,
            recipe,
            threads,
            entry.fits,
            fold,
            ExternalSpec.of(entry.external, task, dataset, seed, fold) if entry.external else None,
            starts.earlier_cell(config, recipe, dataset, model, seed, fold),
        )
        for seed in (config.seeds if several else config.seeds[:1])
        for fold in (range(folds) if folds else [None])
    ]
