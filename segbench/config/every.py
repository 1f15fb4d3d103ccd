"""`datasets: all` and `models: all` of a run, as lists of names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segbench.config.registry import entry_names, read_entries
from segbench.config.schema import PAPER, DatasetEntry, ModelEntry

ALL = "all"


def has_all(raw: Mapping[str, Any]) -> bool:
    """Return whether a run asks for all datasets or all networks."""
    return ALL in (raw.get("datasets"), raw.get("models"))


def with_names(raw: Mapping[str, Any], registry: Path) -> dict[str, Any]:
    """Return a run configuration with `all` replaced by names.

    All datasets are those with archives: neither generated images nor folders of a user's own. All networks
    are those with the run's recipe. With the recipe `paper`, both are those of `published_papers`. Entries
    with mistakes are named, too, so that their mistakes are reported.
    """
    result, recipe = dict(raw), str(raw.get("recipe", "demo"))
    if not has_all(raw):
        return result
    models: dict[str, ModelEntry | None] = dict.fromkeys(entry_names(registry / "models"))
    models |= read_entries(ModelEntry, registry / "models", models, "", [])
    datasets: dict[str, DatasetEntry | None] = dict.fromkeys(entry_names(registry / "datasets"))
    datasets |= read_entries(DatasetEntry, registry / "datasets", datasets, "", [])
    pairs = {(d, name) for name, entry in models.items() if entry for d in published_papers(entry)}
    if raw.get("models") == ALL:
        among = datasets if raw.get("datasets") == ALL else _names(raw.get("datasets"))
        result["models"] = [
            name
            for name, entry in models.items()
            if entry is None
            or (
                entry.trained
                and recipe in entry.recipes
                and (recipe != PAPER or any((dataset, name) in pairs for dataset in among))
            )
        ]
    if raw.get("datasets") == ALL:
        result["datasets"] = [
            name
            for name, entry in datasets.items()
            if entry is None
            or (
                entry.archives
                and (recipe != PAPER or any((name, model) in pairs for model in _names(result.get("models"))))
            )
        ]
    return result


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def published_papers(entry: ModelEntry) -> list[str]:
    """Return the datasets of `papers` of a network for which it has a published score, too."""
    scored = {one.dataset for one in entry.published}
    return [dataset for dataset in entry.papers if dataset in scored]
