"""Prediction of a split with a trained network.

`segbench.prediction.runner.predict` runs this on a device, times it, and writes `efficiency.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import View
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.data.loading.loader import ignore_signals, image_tensor
from segbench.errors import SegbenchError
from segbench.models.saved import Model
from segbench.models.weights.public import UNKNOWN
from segbench.prediction.background import Background
from segbench.prediction.host import on_host
from segbench.prediction.writer import PredictionWriter

LATENCY_IMAGES = 20
"""Number of images that are predicted one by one and timed, before the batches."""


def predict_split(
    predictor: Callable[[Tensor], list[Prediction[Tensor]]],
    split: Split,
    view: View,
    out: Path,
    batch_size: int,
    workers: int = 0,
) -> Generator[int, None, None]:
    """Predict a split and write the predictions.

    With `workers`, a thread writes the predictions, except for those of the first `LATENCY_IMAGES`: nothing
    else runs while these are timed. Files do not depend on it.

    Args:
        predictor: predicts B x C x H x W images of one size.
        split: images to predict.
        view: classes of the predictor's labels.
        out: folder of the predictions; it appears when all are written.
        batch_size: maximum number of images per call of the predictor.
        workers: number of processes that read images; 0: this process reads and writes.

    Yields:
        Number of images predicted so far.
    """
    with PredictionWriter(out, split, view) as writer:

        def write(record: ImageRecord, found: Prediction[np.ndarray]) -> None:
            writer.add(record, drop_unknown_classes(found, view))

        with Background(write) if workers else nullcontext(write) as add:
            for records, images in batches(split, batch_size, workers):
                for record, found in zip(records, predictor(images)):
                    add(record, as_arrays(found))
                if isinstance(add, Background) and records[-1].id <= LATENCY_IMAGES:
                    add.wait()
                yield records[-1].id


def check_classes(trained: Model, dataset: Dataset, path: Path) -> None:
    """Check that a network was trained on the classes of a dataset.

    Args:
        trained: the network.
        dataset: dataset to predict.
        path: file of the network, for the message.

    Raises:
        SegbenchError: the classes differ.
    """
    wanted = [(c.id, c.name) for c in dataset.view(trained.view.task).classes]
    classes = [(c.id, c.name) for c in trained.view.classes]
    if not trained.spec.recipe.iterations:  # public weights have their own order, and may have more classes
        classes = [c for c in wanted if c in classes]
    if classes != wanted or trained.view.overlapping != dataset.info.overlapping:
        raise SegbenchError(
            f"was trained on the classes of '{trained.dataset}', not those of '{dataset.info.name}'",
            where=path,
            remedy="predict the dataset that it was trained on, or train it on this one",
        )


def read_tensor(split: Split, record: ImageRecord) -> Tensor:
    """Read an image as a C x H x W tensor."""
    return image_tensor(split.read_image(record))


class _Images(MapDataset[Tensor | SegbenchError]):
    """Images for loader processes. Errors are items: torch would hide them in a worker's traceback."""

    def __init__(self, split: Split, records: list[ImageRecord]) -> None:
        self._split, self._records = split, records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Tensor | SegbenchError:
        try:
            return read_tensor(self._split, self._records[index]).as_subclass(Tensor)
        except SegbenchError as error:
            return error


def images_of(split: Split, workers: int) -> Iterator[tuple[ImageRecord, Tensor]]:
    """Yield the images of a split by rising id; processes read those after the first `LATENCY_IMAGES`.

    Args:
        split: the images.
        workers: number of processes, which start after the first images; 0: this process reads.

    Raises:
        SegbenchError: an image is broken.
    """
    alone = [record for record in split if not workers or record.id <= LATENCY_IMAGES]
    for record in alone:
        yield record, read_tensor(split, record)
    rest = split.images[len(alone) :]
    if not rest:
        return
    loader = DataLoader(
        _Images(split, rest),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # else torch draws the workers' seed from the global generator
    )
    for record, image in zip(rest, loader):
        if isinstance(image, SegbenchError):
            raise image
        yield record, image


def batches(split: Split, batch_size: int, workers: int = 0) -> Iterator[tuple[list[ImageRecord], Tensor]]:
    """Yield batches of images of one size by rising id; the first `LATENCY_IMAGES` come one by one.

    Args:
        split: the images.
        batch_size: maximum number of images of the later batches.
        workers: see `images_of`.
    """
    records: list[ImageRecord] = []
    images: list[Tensor] = []
    for record, image in images_of(split, workers):
        limit = 1 if record.id <= LATENCY_IMAGES + 1 else batch_size  # size of the batch before this image
        if images and (len(images) == limit or image.shape != images[0].shape):
            yield records, torch.stack(images)
            records, images = [], []
        records.append(record)
        images.append(image)
    yield records, torch.stack(images)


def drop_unknown_classes(found: Prediction[np.ndarray], view: View) -> Prediction[np.ndarray]:
    """Remove objects and segments of classes that the dataset lacks; only public weights have such."""
    unknown = np.array([c.id == UNKNOWN for c in view.classes])
    if (objects := found.instances) is not None and unknown.any():
        keep = ~unknown[objects.labels]

        def kept(part: Any) -> Any:
            return (
                list(compress(part, keep)) if isinstance(part, list) else None if part is None else part[keep]
            )

        found.instances = Instances(
            kept(objects.scores), kept(objects.labels), kept(objects.masks), kept(objects.boxes)
        )
    if (whole := found.panoptic) is not None and unknown.any():
        whole.segments[np.isin(whole.segments, np.flatnonzero(unknown[whole.labels]) + 1)] = 0
    return found


def as_arrays(found: Prediction[Tensor]) -> Prediction[np.ndarray]:
    """Copy the tensors of a prediction, on any device, to arrays."""
    found = on_host(found)

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.numpy()

    result: Prediction[np.ndarray] = Prediction(
        semantic=None if found.semantic is None else array(found.semantic)
    )
    if (objects := found.instances) is not None:
        boxes = None if objects.boxes is None else array(objects.boxes.float())
        masks = array(objects.masks) if isinstance(objects.masks, Tensor) else objects.masks
        result.instances = Instances(array(objects.scores.float()), array(objects.labels), masks, boxes)
    if (whole := found.panoptic) is not None:
        result.panoptic = Panoptic(array(whole.segments), array(whole.labels), array(whole.scores.float()))
    return result
