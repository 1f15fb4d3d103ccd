"""Apply a trained network to a user's own images and videos."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segbench.contract.prediction import Prediction
from segbench.data.images import read_upright
from segbench.data.levels import scaled
from segbench.data.loading.loader import image_tensor
from segbench.data.painting import shown
from segbench.errors import OutOfMemory, SegbenchError
from segbench.files import scratch
from segbench.models.saved import Model, load_model
from segbench.prediction.host import on_host
from segbench.prediction.inference import Predictor
from segbench.prediction.runner.frame import Frame
from segbench.prediction.runner.objects import only_boxes
from segbench.prediction.runner.products.coco import Coco, Panoptic
from segbench.prediction.runner.products.pictures import Masks, Painted
from segbench.prediction.runner.products.product import Product, Settings
from segbench.prediction.runner.products.table import Table
from segbench.prediction.runner.progress import FileProgress
from segbench.prediction.runner.sources import Source, find_sources
from segbench.prediction.runner.video import read_video
from segbench.training.kernels import choose_kernels, deterministic_errors
from segbench.training.precision import Precision, memory_errors, pick_device

log = logging.getLogger(__name__)
MIN_SCORE = 0.5
"""Objects below this score do not count, unless another one is given."""
NAMED = 10
"""Largest number of failed inputs that the last message names."""
PRODUCTS: dict[str, type[Product]] = {
    "paint": Painted,
    "masks": Masks,
    "coco": Coco,
    "panoptic": Panoptic,
    "csv": Table,
}
"""Kinds of results by name."""


class Unsuitable(SegbenchError):
    """The network cannot give what is asked for, whatever the image."""


def predict_files(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    products: Sequence[str] = ("paint",),
    min_score: float = MIN_SCORE,
    batch_size: int | None = None,
    device: str = "auto",
    show: Sequence[int] = (),
) -> None:
    """Predict images and videos, and write what is asked for.

    Results are upright, according to the image's EXIF data or the video's header. Images and frames are
    streamed: memory does not grow with their number. An input that fails is named, and the others go on.

    Args:
        model: a trained model.pt.
        inputs: images, videos in any format that FFmpeg reads, folders of both, and patterns.
        out: folder of the results.
        products: kinds of results, names of `PRODUCTS`.
        min_score: objects below this score do not count; COCO results contain all objects.
        batch_size: images of one size that are predicted together; None: as in the recipe.
        device: auto, cpu, cuda or cuda:<n>.
        show: channels to paint on; see `segbench.data.painting.shown`.

    Raises:
        SegbenchError: an input is missing or unreadable or has other channels than the network, a folder has
            no image and no video, a result would replace an input or another result, or the network cannot
            give what is asked for. Except for the inputs that failed, all results are written.
    """
    where = pick_device(device)
    sources = find_sources(inputs, out)
    trained = load_model(model, where)
    shown(np.zeros((1, 1, trained.network.in_channels)), show)  # checks the channels
    if "panoptic" in products and trained.view.overlapping:
        raise Unsuitable(
            "predicts classes that overlap; panoptic segments do not", where=model, remedy="ask for masks"
        )
    choose_kernels(where, training=False, deterministic=trained.spec.recipe.deterministic)
    precision = Precision.of(trained.spec.recipe.precision, where)
    inference = trained.spec.recipe.inference
    predictor = Predictor(trained, inference, precision)
    with scratch(out / "work") as work:
        settings = Settings(out, work, trained.view, min_score, show)
        made = [PRODUCTS[name](settings) for name in products]
        run = _Run(trained, predictor, made, batch_size or inference.batch_size)
        run.all(sources)
        for product in made:
            product.close()
    log.info("%s: %d images and frames of %d inputs", out, run.frames, len(sources) - len(run.failed))
    if run.failed:
        raise _joined(run.failed, len(sources), out)


def _joined(failed: dict[Path, SegbenchError], total: int, out: Path) -> SegbenchError:
    """Return the one error of a call: that of its only input, or the names of the inputs that failed."""
    if total == 1:
        return next(iter(failed.values()))
    names = ", ".join(map(str, [*failed][:NAMED])) + (
        f" and {len(failed) - NAMED} more" * (len(failed) > NAMED)
    )
    reason = f" ({next(iter(failed.values())).what})" if len(failed) == 1 else ""
    return SegbenchError(
        f"lacks {len(failed)} of {total} inputs, which failed: {names}{reason}",
        where=out,
        remedy="the messages above say why; repair or remove these inputs",
    )


class _Run:
    """Predict all inputs, and count what was done."""

    def __init__(
        self, trained: Model, predictor: Predictor, products: Sequence[Product], batch_size: int
    ) -> None:
        self._channels, self._levels = trained.network.in_channels, trained.levels
        self._predictor, self._products, self._batch_size = predictor, products, batch_size
        self._ids = count(1)
        self.failed: dict[Path, SegbenchError] = {}
        self.frames = 0

    def all(self, sources: Sequence[Source]) -> None:
        """Predict images in batches, and each video on its own."""
        with FileProgress(len(sources)) as self._progress:
            for is_video, group in groupby(sources, lambda source: source.is_video):
                if is_video:
                    for source in group:
                        self._video(source)
                else:
                    for batch in _batches(self._images(group), self._batch_size):
                        self._batch(batch)

    def _images(self, sources: Iterable[Source]) -> Iterator[Frame]:
        for source in sources:
            with self._named(source):
                with memory_errors(f"reading {source.path}", "use smaller images"):
                    pixels = read_upright(source.path, self._channels, self._levels)
                yield Frame(next(self._ids), source, pixels)

    def _batch(self, batch: list[Frame]) -> None:
        """Predict images together; if that fails, one by one, so that one bad image is the only loss."""
        try:
            pairs = self._predicted(batch)
        except SegbenchError as error:
            if len(batch) == 1:
                self._fail(batch[0].source, error)
            else:
                for frame in batch:
                    self._batch([frame])
            return
        for frame, found in pairs:
            with self._named(frame.source):
                self._write(frame.source, [(frame, found)])

    def _video(self, source: Source) -> None:
        with self._named(source):
            if self._channels not in (1, 3):
                raise SegbenchError(
                    f"is a video; the network was trained on images of {self._channels} channels",
                    where=source.path,
                    remedy=f"give images of {self._channels} channels",
                )
            frames = (
                Frame(next(self._ids), source, scaled(pixels, self._levels), moment)
                for pixels, moment in read_video(source.path, self._channels)
            )
            batches = _batches(frames, self._batch_size)
            self._write(source, (pair for batch in batches for pair in self._predicted(batch)))

    def _write(self, source: Source, pairs: Iterable[tuple[Frame, Prediction]]) -> None:
        """Add the frames of an input to all products, or none of them if one fails."""
        with ExitStack() as stack:
            for product in self._products:
                stack.enter_context(product.input(source))
            for frame, found in pairs:
                if only_boxes(found) and any(product.needs_masks for product in self._products):
                    raise Unsuitable(
                        "predicts only boxes; label maps and panoptic segments need masks",
                        where="the network",
                        remedy="ask for --coco and --csv",
                    )
                for product in self._products:
                    product.add(frame, found)
                self.frames += 1
                self._progress.frame()
        self._progress.file()

    def _predicted(self, batch: list[Frame]) -> list[tuple[Frame, Prediction[Tensor]]]:
        images = torch.stack([image_tensor(frame.pixels) for frame in batch])
        path = batch[0].source.path
        try:
            name, remedy = f"predicting {path}", "use smaller images, or --batch 1"
            with memory_errors(name, remedy), deterministic_errors(name):
                return [(frame, on_host(found)) for frame, found in zip(batch, self._predictor(images))]
        except OutOfMemory:
            if len(batch) == 1:
                raise
            return [pair for frame in batch for pair in self._predicted([frame])]
        except (RuntimeError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            height, width = batch[0].size
            raise SegbenchError(
                f"cannot be predicted at {width} x {height} pixels ({reason})",
                where=path,
                remedy="give images of about the size that the network was trained on",
            ) from error

    @contextmanager
    def _named(self, source: Source) -> Iterator[None]:
        """Keep an error of an input, and go on."""
        try:
            yield
        except Unsuitable:
            raise
        except SegbenchError as error:
            self._fail(source, error)

    def _fail(self, source: Source, error: SegbenchError) -> None:
        log.error("error: %s", error)
        self.failed[source.path] = error
        self._progress.file()


def _batches(frames: Iterable[Frame], limit: int) -> Iterator[list[Frame]]:
    """Yield successive frames of one size and type in lists of at most `limit`."""
    batch: list[Frame] = []
    for frame in frames:
        last = batch[-1].pixels if batch else frame.pixels
        if len(batch) == limit or (frame.pixels.shape, frame.pixels.dtype) != (last.shape, last.dtype):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch
