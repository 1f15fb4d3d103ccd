"""Description of a run, which the workflow writes as `run.json` and the report reads."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segbench.contract.card import Published
from segbench.contract.columns import Columns
from segbench.contract.needs import Needs
from segbench.contract.report import ReportOptions
from segbench.contract.scores import PRIMARY
from segbench.contract.view import Name, Task
from segbench.errors import SegbenchError, first_fault
from segbench.files import read_json


def repetition(seed: int, fold: int | None) -> str:
    """Return the name of the folder of a cell below its dataset and network: `seed0`, or `seed0-fold2`."""
    return f"seed{seed}" if fold is None else f"seed{seed}-fold{fold}"


def fold_folder(root: Path, folds: int | None, fold: int) -> Path:
    """Return the folder of one of `folds` folds of the dataset in `root`."""
    return root / "folds" / f"{folds}" / f"{fold}"


def _is_none(value: object) -> bool:
    return value is None


class CellDescription(BaseModel):
    """One network or control on one dataset with one seed and, in a cross-validation, one fold."""

    model_config = ConfigDict(frozen=True)

    dataset: Name
    model: Name
    seed: int
    fold: int | None = Field(default=None, exclude_if=_is_none)
    task: Task
    """Task that the network is trained on."""
    control: bool = False
    """Whether it is a control, which is not ranked."""
    external: bool = Field(default=False, exclude_if=lambda external: not external)
    """Whether another program made the predictions."""
    start: str | None = Field(default=None, exclude_if=_is_none)
    """Name of the cell whose weights the training starts from."""
    trained: bool = Field(default=True, exclude_if=bool)
    """False for controls, methods without training and predictions of other programs."""

    @property
    def name(self) -> str:
        """Path of the cell below `cells`."""
        return f"{self.dataset}/{self.model}/{repetition(self.seed, self.fold)}"


class SkippedPair(BaseModel):
    """A dataset and a model that the run does not combine, and why."""

    dataset: str
    model: str
    reason: str

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}: {self.reason}"


class MissingDataset(BaseModel):
    """A dataset that must be placed by hand and was not there when the run started."""

    dataset: str
    title: str = ""
    wanted: list[str]
    """For each missing archive: what to place where, and where to get it."""

    def __str__(self) -> str:
        return f"{self.dataset}: missing: {'; '.join(self.wanted)}"


class DatasetDescription(BaseModel):
    root: Path
    """Folder of the converted dataset."""
    title: str = ""
    folds: int | None = Field(default=None, exclude_if=_is_none)
    """Number of folds of its cross-validation."""
    images: dict[str, int] = Field(default={}, exclude_if=lambda images: not images)
    """Number of images in each split of the full dataset, if the entry states them."""
    columns: Columns | None = Field(default=None, exclude_if=_is_none)
    """Categories of the images by which scores are compared."""
    state: Path | None = None
    """Folder with the `state.json` of fetch, convert and lint."""


class ModelDescription(BaseModel):
    """A network, a control, or predictions of another program."""

    title: str = ""
    card: dict[str, Any] = {}
    """Text by heading, such as Paper."""
    published: list[Published] = []
    costs: dict[str, float] = Field(default={}, exclude_if=lambda costs: not costs)
    """Stated costs of external predictions, by column of cells.csv."""
    fits: Needs = Field(default=Needs(), exclude_if=lambda needs: needs == Needs())
    """What a network needs to see, for fitted recipes."""


class RunDescription(BaseModel):
    """Contents of `run.json`. The folders of the cells are `cells/<dataset>/<model>/seed<n>[-fold<n>]/`
    next to it."""

    name: str
    recipe: str = ""
    """Name of the recipe that the networks are trained with."""
    cells: list[CellDescription]
    skipped: list[SkippedPair] = []
    missing: list[MissingDataset] = Field(default=[], exclude_if=lambda missing: not missing)
    """Datasets that the run goes on without."""
    score_splits: list[str] = Field(default=["test"], exclude_if=lambda splits: splits == ["test"])
    """`test`, the evaluation split of each dataset, and `train` if networks are scored on that, too."""
    datasets: dict[Name, DatasetDescription]
    models: dict[str, ModelDescription] = {}
    """Networks and controls."""
    config_yaml: str = ""
    """The whole configuration, with every default."""
    options: ReportOptions = ReportOptions()
    root: Path = Field(default=Path(), exclude=True)
    """Folder of `run.json`; not in the file itself."""

    @classmethod
    def read(cls, path: Path) -> RunDescription:
        """Read `run.json`. Raises SegbenchError if it is missing or does not describe a run."""
        try:
            run = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise SegbenchError(
                f"does not describe a run ({first_fault(error)})",
                where=path,
                remedy="start the run again: its first step writes this file",
            ) from error
        run.root = path.parent
        return run

    def folder(self, cell: CellDescription, split: str = "") -> Path:
        """Return the folder of a cell's results: of the evaluation split, or of the split `train`."""
        return self.root / "cells" / cell.name / split

    def data(self, cell: CellDescription) -> Path:
        """Return the folder of the data of a cell: its dataset, or the fold."""
        dataset = self.datasets[cell.dataset]
        return dataset.root if cell.fold is None else fold_folder(dataset.root, dataset.folds, cell.fold)

    def pooled(self, cell: CellDescription) -> Path:
        """Return the folder of the scores over all folds with the network and seed of a cell."""
        return self.root / "cells" / cell.dataset / cell.model / f"seed{cell.seed}-pooled"

    def title(self, model: str) -> str:
        """Return the title of a network or control, or its name if it has none. External ones are marked."""
        entry = self.models.get(model)
        title = entry.title if entry and entry.title else model
        return f"{title} (external)" if model in self.externals else title

    def dataset_title(self, dataset: str) -> str:
        """Return the title of a dataset, or its name if it has none."""
        entry = self.datasets.get(dataset)
        return entry.title if entry and entry.title else dataset

    def primary(self, task: Task) -> str:
        """Return the metric that ranks the networks in a task."""
        return self.options.primary.get(task, PRIMARY[task])

    @cached_property
    def externals(self) -> frozenset[str]:
        """Models whose predictions another program made."""
        return frozenset(cell.model for cell in self.cells if cell.external)

    @property
    def networks(self) -> list[str]:
        """Models that are ranked, in the order of their cells: all but the controls."""
        return list(dict.fromkeys(c.model for c in self.cells if not c.control))

    @property
    def controls(self) -> list[str]:
        """Controls, in the order of their cells."""
        return list(dict.fromkeys(c.model for c in self.cells if c.control))
