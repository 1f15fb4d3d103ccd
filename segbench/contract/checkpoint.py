"""Description of public weights of a whole network."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Checkpoint(BaseModel):
    """Network, classes and normalisation that a state dict of a whole network belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    class_: Annotated[str, Field(alias="class", pattern=r"^[\w.]+:\w+$")]
    """Python path of the network, as in the network's entry."""
    load: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """Python path of a function (network, state dict) that loads weights under the names of another code
    base. null: the names are the network's own."""
    classes: list[str] = []
    """Class names in the order of the logits, spelled as the dataset spells them; any other name for a class
    that the dataset lacks.

    Without this key the file is a `model.pt` of segbench, which contains classes, mean and std.
    """
    mean: list[float] = []
    """Mean of each channel that the images were normalised with, in the range 0 to 1."""
    std: list[float] = []
    """Standard deviation of each channel that the images were normalised with, in the range 0 to 1."""

    @model_validator(mode="after")
    def _is_whole(self) -> Checkpoint:
        if len({bool(self.classes), bool(self.mean), bool(self.std)}) > 1:
            raise ValueError("`classes`, `mean` and `std` go together")
        if self.load and not self.classes:
            raise ValueError("`load` needs `classes`")
        return self
