"""Pictures: the prediction painted over images and videos, and label maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import av
import numpy as np
from PIL import Image

from segbench.contract.prediction import Prediction
from segbench.data.painting import shown
from segbench.errors import SegbenchError
from segbench.files import atomic_folder, atomic_path, write_json
from segbench.prediction.runner.frame import Frame
from segbench.prediction.runner.objects import label_map
from segbench.prediction.runner.overlay import overlay
from segbench.prediction.runner.products.product import Product, categories
from segbench.prediction.runner.sources import Source
from segbench.prediction.runner.video import VideoWriter


class Painted(Product):
    """`<name>.png` and `<name>.mp4`: the prediction painted over the image or video."""

    @contextmanager
    def input(self, source: Source) -> Iterator[None]:
        if not source.is_video:
            yield
            return
        try:
            with atomic_path(self.out / source.painted) as partial, VideoWriter(partial) as self._video:
                yield
        except av.FFmpegError as error:
            remedy = "convert it with ffmpeg, or give --no-paint"
            raise SegbenchError(f"cannot be painted ({error})", where=source.path, remedy=remedy) from error

    def add(self, frame: Frame, found: Prediction) -> None:
        painted = overlay(shown(frame.pixels, self.settings.show), found, self.view, self.min_score)
        if frame.moment:
            self._video.add(painted, frame.moment)
            return
        with atomic_path(self.out / frame.source.painted) as partial:
            Image.fromarray(painted).save(partial)


class Pictures(Product):
    """A PNG file for each image and each frame: `<folder>/<name>.png`, `<folder>/<video>/<number>.png`."""

    folder: str
    needs_masks = True

    @contextmanager
    def input(self, source: Source) -> Iterator[None]:
        place = (
            atomic_folder(self.out / self.folder / source.name) if source.is_video else nullcontext(Path())
        )
        with place as self._frames:
            yield

    def save(self, frame: Frame, values: np.ndarray) -> None:
        """Write the picture of a frame."""
        picture = Image.fromarray(values)
        if frame.moment:
            picture.save(self._frames / f"{frame.number}.png", compress_level=1)
            return
        with atomic_path(self.out / self.folder / f"{frame.name}.png") as partial:
            picture.save(partial, compress_level=1)


class Masks(Pictures):
    """`masks/`: label maps with category ids, and `masks/classes.json` with their names."""

    folder = "masks"

    def add(self, frame: Frame, found: Prediction) -> None:
        self.save(frame, label_map(found, self.view, frame.size, self.min_score))

    def close(self) -> None:
        values = "sums of 2 ** (id - 1)" if self.view.overlapping else "ids"
        classes = {"values": values, "classes": categories(self.view, background=True)}
        write_json(self.out / self.folder / "classes.json", classes)
