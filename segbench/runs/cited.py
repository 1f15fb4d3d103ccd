"""What a run is built on and must cite: its datasets, networks and weights, from their entries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segbench.config.problems import Problem
from segbench.config.registry import read_entries
from segbench.config.schema import DatasetEntry, ModelEntry
from segbench.contract.card import Card, Paper
from segbench.contract.run import RunDescription
from segbench.contract.sources import WeightsEntry
from segbench.runs.reading import configuration, mapping, read_mapping


@dataclass(frozen=True)
class Cited:
    """A dataset, a network or weights."""

    kind: Literal["dataset", "network", "weights"]
    name: str
    title: str
    licence: str
    citation: str
    """How to cite it, as free text; "" if `paper` says it."""
    address: str = ""
    paper: Paper | None = None
    non_commercial: bool = False


def cited(run: RunDescription, registry: Path) -> tuple[list[Cited], list[str]]:
    """Return what a run is built on, and what is not known of it.

    Args:
        run: the run.
        registry: folder of the entries. A dataset without an entry is described by its `dataset.json`, a
            network by the card in `run.json`.
    """
    datasets, networks, weights = list(run.datasets), run.networks, _weights(run)
    problems: list[Problem] = []
    found = [
        *_datasets(run, read_entries(DatasetEntry, registry / "datasets", datasets, "run", problems)),
        *_networks(run, read_entries(ModelEntry, registry / "models", networks, "run", problems)),
        *_of_weights(read_entries(WeightsEntry, registry / "weights", weights, "run", problems)),
    ]
    known = {(one.kind, one.name) for one in found}
    wanted = [("dataset", n) for n in datasets] + [("network", n) for n in networks]
    wanted += [("weights", n) for n in weights]
    return found, [
        f"licence and citation of the {kind} {name}" for kind, name in wanted if (kind, name) not in known
    ]


def _datasets(run: RunDescription, entries: dict[str, DatasetEntry]) -> list[Cited]:
    found = []
    for name, one in run.datasets.items():
        if entry := entries.get(name):
            address = entry.address or ""
            found.append(Cited("dataset", name, entry.title, entry.licence, entry.citation, address))
        elif info := read_mapping(one.root / "dataset.json"):
            title, licence, citation = (str(info.get(key, "")) for key in ("title", "licence", "citation"))
            found.append(Cited("dataset", name, title, licence, citation))
    return found


def _networks(run: RunDescription, entries: dict[str, ModelEntry]) -> list[Cited]:
    found = []
    for name in run.networks:
        entry = entries.get(name)
        if entry is None:
            card = run.models[name].card if name in run.models else {}
            if text := str(card.get("Paper", "")):
                found.append(Cited("network", name, run.title(name), "", text))
        elif isinstance(entry.card, Card):
            paper = entry.card.paper
            found.append(Cited("network", name, entry.title, "", "", paper.url, paper))
        else:
            found.append(Cited("network", name, entry.title, "", entry.card))
    return found


def _of_weights(entries: dict[str, WeightsEntry]) -> list[Cited]:
    return [
        Cited(
            "weights", name, name, one.licence, one.citation, one.url or "", non_commercial=one.non_commercial
        )
        for name, one in entries.items()
    ]


def _weights(run: RunDescription) -> list[str]:
    """Return the names of all weights that trainings start from."""
    recipes: dict[str, Any] = mapping(configuration(run).get("recipes"))
    own = [mapping(recipe) for by_dataset in recipes.values() for recipe in mapping(by_dataset).values()]
    names = [recipe.get(key) for recipe in own for key in ("weights", "pretrained")]
    return sorted({str(name) for name in names if name})
