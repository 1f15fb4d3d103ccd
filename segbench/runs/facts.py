"""What a cell was made with: code, data, weights, packages and machine, as its files record it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from segbench.contract.run import CellDescription, RunDescription
from segbench.runs.reading import mapping, read_mapping

MACHINE = (
    "processor", "processors", "threads", "device", "gpu", "gpus", "driver", "cuda", "node", "precision",
)  # fmt: skip


def facts(run: RunDescription, cell: CellDescription) -> dict[tuple[str, str], str]:
    """Return what is known of a cell, by kind (code, data, weights, versions, machine) and key."""
    folder = run.folder(cell)
    training, efficiency = read_mapping(folder / "training.json"), read_mapping(folder / "efficiency.json")
    made = read_mapping(folder / "predictions" / "made_from.json")
    sources = mapping(training.get("sources"))
    found: dict[tuple[str, str], Any] = {
        ("code", "training"): sources.get("code"),
        ("code", "prediction"): made.get("code"),
        ("code", "git commit"): training.get("git_commit"),
        ("data", "dataset.json"): made.get("data") or sources.get("data"),
        ("weights", "before training"): sources.get("weights"),
        ("weights", "after training"): training.get("weights_digest"),
        ("versions", "python"): training.get("python"),
    }
    found |= {("data", name): digest for name, digest in mapping(sources.get("archives")).items()}
    found |= {("versions", name): value for name, value in mapping(training.get("versions")).items()}
    for step, document in (("training", training), ("prediction", efficiency)):
        found |= {("machine", f"{step}: {key}"): document.get(key) for key in MACHINE}
    return {key: str(value) for key, value in found.items() if value is not None}


def data_of(run: RunDescription, cell: CellDescription) -> str | None:
    """Return the digest of the `dataset.json` that a cell was predicted from; None if it is not recorded."""
    return facts(run, cell).get(("data", "dataset.json"))


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested mappings by dotted key."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, str(value)
