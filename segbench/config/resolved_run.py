"""A configuration that has been checked: its entries, its cells, and the pairs that it skips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from segbench.config.schema import DatasetEntry, ModelEntry, RunConfig
from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.external import ExternalSpec
from segbench.contract.needs import Needs
from segbench.contract.recipe import Recipe
from segbench.contract.run import MissingDataset, SkippedPair, repetition
from segbench.contract.sources import Archive, WeightsEntry
from segbench.contract.view import Task

CellKey = tuple[str, str, str]
"""Dataset, model, and seed with fold (`segbench.contract.run.repetition`)."""


@dataclass(frozen=True)
class PlannedCell:
    """A network, control or external result on a dataset with a seed and fold, and all that its jobs need."""

    dataset: str
    model: str
    seed: int
    task: Task
    control: bool
    """Whether it is predicted without training: a control, or a method such as Otsu's threshold."""
    class_path: str
    """`package.module:Class` of the network or control; "" of external predictions."""
    options: Mapping[str, Any]
    """Arguments of the constructor, those of the recipe included."""
    recipe: Recipe | None
    """None for controls and external predictions."""
    threads: int
    fits: Needs = field(default_factory=Needs)
    """What the network needs to see."""
    fold: int | None = None
    """None without cross-validation."""
    external: ExternalSpec | None = None
    """Predictions of another program."""
    earlier: CellKey | None = None
    """Key of the cell whose weights the training starts from."""

    @property
    def key(self) -> CellKey:
        return self.dataset, self.model, self.repetition

    @property
    def repetition(self) -> str:
        """Seed and fold, as in the path of the cell."""
        return repetition(self.seed, self.fold)

    @property
    def weights(self) -> str | None:
        """Name of the entry of config/weights that the training starts from."""
        if self.recipe is None or self.recipe.init_from:
            return None
        return self.recipe.weights or self.recipe.pretrained

    @property
    def given(self) -> Path | None:
        """The `model.pt` of another run that the training starts from."""
        start = self.recipe.init_from if self.recipe else None
        return Path(start.path).expanduser() if start and start.path else None

    @property
    def passes(self) -> int:
        """Number of times that an image is predicted, for the estimate of the time."""
        return self.recipe.inference.passes if self.recipe else 1

    @cached_property
    def spec(self) -> str:
        """JSON of the `CellSpec` for `segbench train`. A change of it retrains the cell."""
        return json.dumps(
            {
                "class_path": self.class_path,
                "options": self.options,
                "task": self.task,
                "seed": self.seed,
                **self._recipe_keys,
            }
        )

    @property
    def _recipe_keys(self) -> dict[str, Any]:
        if self.recipe is None:
            return {"recipe": None}
        # weights that are selected by their predictions depend on how these are made
        apart = {"options"} if self.recipe.select_by == "metric" else {"options", "inference"}
        if self.recipe.fit is None:
            return {"recipe": self.recipe.model_dump(mode="json", exclude=apart)}
        # the rules must know which keys are stated, defaults included
        recipe = self.recipe.model_dump(mode="json", exclude=apart, exclude_unset=True)
        return {"recipe": recipe, "fits": self.fits.model_dump(mode="json", exclude_unset=True)}

    @property
    def inference(self) -> str:
        """JSON for `segbench predict --inference`, of a network. A change of it predicts the cell again."""
        assert self.recipe is not None
        return self.recipe.inference.model_dump_json(exclude_unset=True)

    @property
    def external_spec(self) -> str:
        """JSON of the `ExternalSpec`; of external predictions only."""
        assert self.external is not None
        return self.external.model_dump_json(exclude_defaults=True)

    @property
    def control_keys(self) -> dict[str, Any]:
        """Keys of the `ControlSpec`; of a control only."""
        return {"class_path": self.class_path, "task": self.task, "seed": self.seed}


@dataclass
class ResolvedRun:
    """A run configuration with the registry entries that it names and the cells that follow from it."""

    config: RunConfig
    datasets: dict[str, DatasetEntry]
    models: dict[str, ModelEntry]
    """Networks and controls."""
    weights: dict[str, WeightsEntry]
    cells: list[PlannedCell]
    skipped: list[SkippedPair]
    missing: list[MissingDataset] = field(default_factory=list)
    """Datasets that the run goes on without, as `segbench.jobs.missing` found."""
    by_key: dict[CellKey, PlannedCell] = field(init=False)

    def __post_init__(self) -> None:
        self.by_key = {cell.key: cell for cell in self.cells}

    def evaluation(self, dataset: str) -> EvaluationOptions:
        """Return the options of the evaluation on a dataset, with the families that its entry asks for."""
        options = self.config.evaluation
        families = dict.fromkeys((*options.families, *self.datasets[dataset].families))
        return options.model_copy(update={"families": tuple(families)})

    def loader(self, cell: PlannedCell) -> str | None:
        """Return the Python path of the function that loads the cell's public weights into the network."""
        entry = self.weights[cell.weights] if cell.weights else None
        return entry.checkpoint.load if entry and entry.checkpoint else None

    @cached_property
    def archives(self) -> dict[str, Archive]:
        """Archives of all datasets by file name."""
        return {name: archive for entry in self.datasets.values() for name, archive in entry.archives.items()}

    def convert_spec(self, dataset: str) -> str:
        """Return the JSON for `segbench convert`. A change of it converts the dataset again."""
        apart: dict[str, Any] = dict.fromkeys(
            ("archives", "disk", "families", "images", "address", "recipe", "recipes"), True
        )
        if self.datasets[dataset].columns:
            apart["options"] = {"metadata"}
        spec = self.datasets[dataset].model_dump(mode="json", exclude=apart)
        limits = self.config.limits.model_dump(mode="json", exclude_defaults=True)
        return json.dumps({**spec, "limits": limits} if limits else spec)

    def as_yaml(self) -> str:
        """Return the configuration as YAML, with every default and every recipe written out.

        A recipe that several datasets share is written once, and named by an alias of YAML for the others.
        """
        recipes: dict[str, dict[str, Any]] = {}
        written: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            if cell.recipe and cell.dataset not in (own := recipes.setdefault(cell.model, {})):
                recipe = cell.recipe.model_dump(mode="json")
                own[cell.dataset] = written.setdefault(f"{cell.model} {json.dumps(recipe)}", recipe)
        whole = {"run": self.config.model_dump(mode="json"), "recipes": recipes}
        return yaml.dump(whole, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
