"""The inputs of a run whose checksums its cells record, and whether the files here are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.models.digest import model_digest
from segbench.runs.reading import configuration, mapping, read_mapping


@dataclass(frozen=True)
class Input:
    """A file, and whether it has the checksum that a cell records."""

    name: str
    cell: str
    """A cell that records it."""
    state: Literal["same", "differs", "not here"]

    def __str__(self) -> str:
        return f"{self.name}: is not the one that {self.cell} records"


def inputs(run: RunDescription) -> Iterator[Input]:
    """Yield each input of the cells of a run once for each checksum that is recorded for it.

    They are the `dataset.json` of each dataset, which has a digest of all images and truth, the archives, the
    initial weights, and the trained `model.pt` that predictions were made with.
    """
    whole = configuration(run)
    config, recipes = mapping(whole.get("run")), mapping(whole.get("recipes"))
    digests: dict[Path, str | None] = {}
    seen: set[tuple[str, str]] = set()

    def check(name: str, path: Path, recorded: Any, cell: str, digest: Any) -> Iterator[Input]:
        if not isinstance(recorded, str) or (name, recorded) in seen:
            return
        seen.add((name, recorded))
        if path not in digests:
            digests[path] = digest(path) if path.is_file() else None
        state: Any = "not here" if digests[path] is None else "differs"
        yield Input(name, cell, "same" if digests[path] == recorded else state)

    for cell in run.cells:
        folder = run.folder(cell)
        sources = mapping(read_mapping(folder / "training.json").get("sources"))
        made = read_mapping(folder / "predictions" / "made_from.json")
        data = run.data(cell) / "dataset.json"
        for recorded in (sources.get("data"), made.get("data")):
            yield from check(f"{cell.dataset}/dataset.json", data, recorded, cell.name, _sha256)
        for name, recorded in mapping(sources.get("archives")).items():
            archive = Path(config.get("archives", ""), Path(name).name)
            yield from check(name, archive, recorded, cell.name, _sha256)
        yield from check(
            f"{cell.name}/model.pt", folder / "model.pt", made.get("model"), cell.name, _model_digest
        )
        recipe = mapping(mapping(recipes.get(cell.model)).get(cell.dataset))
        weights = recipe.get("weights") or recipe.get("pretrained")
        if weights and not recipe.get("init_from"):
            path = Path(config.get("weights", ""), f"{weights}.safetensors")
            yield from check(f"weights {weights}", path, sources.get("weights"), cell.name, _sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _model_digest(path: Path) -> str | None:
    try:
        return model_digest(path)
    except SegbenchError:
        return "damaged"
