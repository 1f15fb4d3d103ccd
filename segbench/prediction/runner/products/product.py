"""Base of what `segbench segment` writes of each image and frame.

A file appears when it is complete, and the frames of a video when all of them are. What belongs to an input
that fails does not appear, or is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.contract.prediction import Prediction
from segbench.contract.view import View
from segbench.prediction.runner.frame import Frame
from segbench.prediction.runner.sources import Source


@dataclass(frozen=True)
class Settings:
    """What all products of a call share."""

    out: Path
    """Folder of the results."""
    work: Path
    """Folder for unfinished files, on the same file system."""
    view: View
    """Classes of the predictions."""
    min_score: float
    """Objects below this score do not count."""
    show: Sequence[int] = ()
    """Channels to paint on, see `segbench.data.painting.shown`."""


class Product:
    """One kind of result."""

    needs_masks = False
    """Whether it cannot be made of boxes."""

    def __init__(self, settings: Settings) -> None:
        self.out, self.view, self.min_score = settings.out, settings.view, settings.min_score
        self.settings = settings

    @contextmanager
    def input(self, source: Source) -> Iterator[None]:
        """Write the results of an image or video; those of its frames are added in the block."""
        yield

    def add(self, frame: Frame, found: Prediction) -> None:
        """Add a prediction on the host."""
        raise NotImplementedError

    def close(self) -> None:
        """Write the files of all inputs."""


def categories(view: View, *, background: bool = False) -> list[dict[str, Any]]:
    """Return the classes as COCO's categories."""
    return [c.model_dump() | {"isthing": int(c.isthing)} for c in view.classes if c.id or background]
