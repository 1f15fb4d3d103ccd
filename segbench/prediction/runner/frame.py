"""An image, or a frame of a video, that is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segbench.prediction.runner.sources import Source
from segbench.prediction.runner.video import Moment


@dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video."""

    id: int
    """Number in JSON files, from 1."""
    source: Source
    pixels: np.ndarray
    """H x W x channels, uint8 or float32 in 0..1."""
    moment: Moment | None = None
    """None of an image."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.pixels.shape[0], self.pixels.shape[1])

    @property
    def name(self) -> str:
        """Path of its results below a folder of results, without a suffix."""
        return f"{self.source.name}/{self.number}" if self.moment else self.source.name

    @property
    def number(self) -> str:
        """Number of the frame in file names."""
        return f"{self.moment.number:06}" if self.moment else ""

    @property
    def file(self) -> str:
        """Name of the image or video, with the folders that a pattern found it in."""
        return self.source.name + self.source.path.suffix

    def described(self) -> dict[str, Any]:
        """Return its entry in `images` of COCO's formats."""
        entry = {"id": self.id, "file_name": self.file, "height": self.size[0], "width": self.size[1]}
        if self.moment:
            entry |= {"file_name": f"{self.name}.png", "video": self.file}
            entry |= {"frame": self.moment.number, "time": round(self.moment.time, 6)}
        return entry
