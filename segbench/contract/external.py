"""Predictions of another program: where they are, and how they are read. Without torch."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from segbench.contract.recipe import Strict
from segbench.contract.view import Task

Format = Literal["label_maps", "object_maps", "coco", "panoptic", "nnunet", "ultralytics"]
FIELDS = ("dataset", "seed", "fold")
"""What may stand in braces in a path."""
TASKS_OF: dict[Format, list[Task]] = {
    "label_maps": ["semantic"],
    "nnunet": ["semantic"],
    "object_maps": ["instance"],
    "coco": ["detection", "instance"],
    "ultralytics": ["detection", "instance"],
    "panoptic": ["panoptic"],
}
"""Tasks that the predictions of a format answer by themselves."""


def _pattern(text: str) -> str:
    try:
        found = [(name, rest) for _, name, *rest in string.Formatter().parse(text) if name is not None]
    except ValueError:
        raise ValueError("has a brace without its partner") from None
    if wrong := [name for name, rest in found if name not in FIELDS or any(rest)]:
        raise ValueError(f"{{{wrong[0]}}} has no meaning; use {', '.join(f'{{{f}}}' for f in FIELDS)}")
    if not text.strip() or not text.isprintable():
        raise ValueError("is not a path")
    return str(Path(text).expanduser())


def _numbered(value: Any) -> Any:
    return dict(enumerate(value)) if isinstance(value, list) else value


Pattern = Annotated[str, AfterValidator(_pattern)]
Classes = Annotated[dict[int, str | None], BeforeValidator(_numbered)]


class StatedCosts(Strict):
    """What the predictions cost, as the user states it. The tables show it."""

    parameters: PositiveInt | None = None
    """Number of parameters of the network."""
    training_hours: PositiveFloat | None = None
    """Hours of training."""
    latency_ms: PositiveFloat | None = None
    """Median time for one image in milliseconds."""

    @property
    def columns(self) -> dict[str, float]:
        """The stated costs in the units and under the names of the summary."""
        found = {
            "train_parameters": self.parameters,
            "train_seconds": self.training_hours and self.training_hours * 3600,
            "predict_latency_median": self.latency_ms and self.latency_ms / 1000,
        }
        return {name: value for name, value in found.items() if value is not None}


class External(Strict):
    """Predictions of another program, which are scored like those of a network."""

    path: Pattern
    """Folder of the predictions; with `coco` and `panoptic`, their JSON file, or the folder that has it.
    `{dataset}`, `{seed}` and `{fold}` stand for the name of the dataset and the numbers of seed and fold."""
    format: Format
    """`label_maps`: images of class numbers. `object_maps`: images of object numbers, as of Cellpose and
    StarDist. `coco`: a list of COCO results. `panoptic`: COCO's panoptic format. `nnunet`: the output of
    nnU-Net v2. `ultralytics`: the folder of `predict save_txt=True save_conf=True`."""
    classes: Classes | None = None
    """Name of the class of each value, as a list from 0 on or as a mapping; null for no class. Of
    `object_maps`: `[name]`, the class of all objects. Default: the values that `segbench export` writes."""
    annotations: Pattern | None = None
    """Of `coco` and `panoptic`: the JSON file of the truth that the program was given, whose ids of images
    and categories the predictions have. Default: those that `segbench export` writes."""
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    """Of `nnunet` with volumes: the axis along which the dataset's images are slices."""
    missing: Literal["error", "empty"] = "error"
    """Images without a prediction are an error, or predicted as empty."""
    costs: StatedCosts = StatedCosts()
    """What the predictions cost."""

    @model_validator(mode="after")
    def _fits_format(self) -> External:
        if self.annotations and self.format not in ("coco", "panoptic"):
            raise ValueError(f"`annotations` is for coco and panoptic, not for {self.format}")
        if self.classes and self.format in ("coco", "panoptic"):
            raise ValueError(f"{self.format} names classes by the file in `annotations`, not by `classes`")
        if self.classes and self.format == "object_maps" and len(self.classes) != 1:
            raise ValueError("`classes` of object_maps has one name, the class of all objects")
        return self

    def has(self, field: str) -> bool:
        """Return whether `{field}` stands in a path."""
        return any(f"{{{field}}}" in text for text in (self.path, self.annotations or ""))


class ExternalSpec(Strict):
    """What `segbench external` gets: the predictions of one cell."""

    path: Path
    format: Format
    task: Task
    """Task of the view of the predictions."""
    classes: dict[int, str | None] | None = None
    annotations: Path | None = None
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    missing: Literal["error", "empty"] = "error"
    some: bool = Field(default=False)
    """Whether there may be predictions of other images: with one folder for all folds of a
    cross-validation."""

    @classmethod
    def of(cls, entry: External, task: Task, dataset: str, seed: int, fold: int | None) -> ExternalSpec:
        """Return the specification of one cell of an entry."""

        def filled(text: str) -> Path:
            return Path(text.format(dataset=dataset, seed=seed, fold=fold))

        return cls(
            path=filled(entry.path),
            annotations=filled(entry.annotations) if entry.annotations else None,
            task=task,
            some=fold is not None and not entry.has("fold"),
            **entry.model_dump(include={"format", "classes", "axis", "missing"}),
        )
