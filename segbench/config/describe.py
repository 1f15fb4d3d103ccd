"""Describe a resolved run for the report."""

from __future__ import annotations

from pathlib import Path

from segbench.config.resolved_run import ResolvedRun
from segbench.contract.run import CellDescription, DatasetDescription, ModelDescription, RunDescription


def describe(run: ResolvedRun) -> RunDescription:
    """Return what the report needs to know of a run: the contents of `run.json`."""
    config = run.config
    return RunDescription(
        name=config.run,
        recipe=config.recipe,
        cells=[
            CellDescription(
                dataset=c.dataset,
                model=c.model,
                seed=c.seed,
                fold=c.fold,
                task=c.task,
                # a method without training among the networks is ranked like one
                control=c.model in config.controls,
                external=c.external is not None,
                start="/".join(c.earlier) if c.earlier else None,
                trained=c.recipe is not None,
            )
            for c in run.cells
        ],
        skipped=run.skipped,
        missing=run.missing,
        datasets={
            name: DatasetDescription(
                root=Path(config.data, name),
                title=entry.title,
                folds=config.folds_of(name),
                images=entry.images,
                state=Path(config.results, config.run, "datasets", name),
                columns=entry.columns,
            )
            for name, entry in run.datasets.items()
        },
        models={
            name: ModelDescription(
                title=entry.title,
                card=entry.notes,
                published=entry.published,
                costs=entry.external.costs.columns if entry.external else {},
                fits=entry.fits,
            )
            for name, entry in run.models.items()
        },
        score_splits=[*config.score_splits],
        config_yaml=run.as_yaml(),
        options=config.report,
    )
