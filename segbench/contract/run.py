"""A run on disk: what was planned (`run.json`) and how far each cell came (`state.json` and its files)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from segbench.contract.card import Published
from segbench.contract.report import ReportOptions
from segbench.contract.scores import PRIMARY
from segbench.contract.view import Name, Task
from segbench.errors import SegbenchError, first_fault
from segbench.files import read_json


class Cell(BaseModel):
    model_config = ConfigDict(frozen=True)

    dataset: Name
    model: Name
    seed: int
    task: Task
    """View that it was trained on."""
    control: bool = False


class LeftOut(BaseModel):
    dataset: str
    model: str
    reason: str


class DatasetEntry(BaseModel):
    root: Path
    title: str = ""
    state: Path | None = None
    """Folder with the state.json of fetch, convert and lint."""


class ModelEntry(BaseModel):
    title: str = ""
    card: dict[str, Any] = {}
    published: list[Published] = []


class Run(BaseModel):
    """Contents of `run.json`; cell folders lie beside it under `cells/<dataset>/<model>/seed<n>/`."""

    name: str
    recipe: str = ""
    cells: list[Cell]
    left_out: list[LeftOut] = []
    datasets: dict[Name, DatasetEntry]
    models: dict[str, ModelEntry] = {}
    config_yaml: str = ""
    options: ReportOptions = ReportOptions()
    root: Path = Path()

    @classmethod
    def read(cls, path: Path) -> Run:
        try:
            run = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise SegbenchError(
                f"is not the description of a run ({first_fault(error)})",
                where=path,
                remedy="start the run again: its first step writes this file",
            ) from error
        run.root = path.parent
        return run

    def folder(self, cell: Cell) -> Path:
        return self.root / "cells" / cell.dataset / cell.model / f"seed{cell.seed}"

    def title(self, model: str) -> str:
        entry = self.models.get(model)
        return entry.title if entry and entry.title else model

    def dataset_title(self, dataset: str) -> str:
        entry = self.datasets.get(dataset)
        return entry.title if entry and entry.title else dataset

    def primary(self, task: Task) -> str:
        return self.options.primary.get(task, PRIMARY[task])

    @property
    def networks(self) -> list[str]:
        """Models that train, in the order of the configuration."""
        return list(dict.fromkeys(c.model for c in self.cells if not c.control))

    @property
    def controls(self) -> list[str]:
        return list(dict.fromkeys(c.model for c in self.cells if c.control))
