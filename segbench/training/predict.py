"""Predict the evaluation split of a dataset."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segbench.data import predictions as files
from segbench.data.dataset import Dataset, ImageRecord, Split, View
from segbench.data.loader import image_tensor
from segbench.data.predictions import PredictionWriter
from segbench.errors import SegbenchError
from segbench.files import write_json
from segbench.models.network import Prediction
from segbench.recipe import Inference
from segbench.training.checkpoint import forget
from segbench.training.efficiency import Stopwatch
from segbench.training.inference import Predictor
from segbench.training.lease import leased
from segbench.training.model import Model, load_model
from segbench.training.precision import Precision, memory_errors
from segbench.training.provenance import peak_memory, provenance
from segbench.training.start import UNKNOWN

log = logging.getLogger(__name__)
LOG_SECONDS = 5.0
LATENCY_IMAGES = 20
"""So many images go one by one, to be timed, before batches begin."""


def predict(
    dataset_root: Path,
    model: Path,
    out: Path,
    *,
    inference: Inference | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> None:
    """Predict the evaluation split into the folder `out`, and write `efficiency.json` beside it.

    `inference`: how images are fed; None: as the recipe of the training says. Latency is measured on single
    images, after a warm-up, without reading and writing files.
    Raises SegbenchError: a model that is broken or of other classes, an unreadable image, OutOfMemory.
    """
    if threads:
        torch.set_num_threads(threads)
    with leased(device) as (where,):
        _predict(dataset_root, model, out, inference, where)


def _predict(
    dataset_root: Path, model: Path, out: Path, inference: Inference | None, where: torch.device
) -> None:
    if where.type == "cuda":
        torch.cuda.set_device(where)
    trained = load_model(model, where)
    dataset = Dataset(dataset_root)
    split = dataset.split(dataset.info.evaluation_split)
    _check_classes(trained, dataset, model)
    feeding = inference or trained.spec.recipe.inference
    precision = Precision.of(trained.spec.recipe.precision, where)
    stopwatch = Stopwatch(Predictor(trained, feeding, precision), where)
    started = logged = time.monotonic()
    with (
        memory_errors(
            f"predicting with {model}", "set recipe.inference.window, max_side or a smaller batch_size"
        ),
        PredictionWriter(out, split, trained.view) as writer,
    ):
        stopwatch.warm_up(_read(split, split.images[0]))
        for records, images in _batches(split, feeding.batch_size):
            for record, found in zip(records, stopwatch(images)):
                writer.add(record, known_only(as_arrays(found), trained.view))
            if time.monotonic() - logged >= LOG_SECONDS or records[-1].id == len(split):
                logged = time.monotonic()
                log.info("predicted %d/%d images", records[-1].id, len(split))
    write_json(
        out.parent / "efficiency.json",
        {
            "parameters": sum(p.numel() for p in trained.network.parameters()),
            **stopwatch.result(),
            "seconds": time.monotonic() - started,
            "images": len(split),
            "peak_memory": peak_memory(where),
            "precision": precision.name,
            **provenance(where),
        },
    )
    forget(model.parent, trained.identity)  # who predicts knows that the training has ended


def _check_classes(trained: Model, dataset: Dataset, path: Path) -> None:
    wanted = [(c.id, c.name) for c in dataset.view(trained.view.task).classes]
    classes = [(c.id, c.name) for c in trained.view.classes]
    if not trained.spec.recipe.iterations:  # public weights: in their own order, and some may be unknown here
        classes = [c for c in wanted if c in classes]
    if classes != wanted:
        raise SegbenchError(
            f"was trained on the classes of '{trained.dataset}', not those of '{dataset.info.name}'",
            where=path,
            remedy="predict the dataset that it was trained on, or train it on this one",
        )


def _read(split: Split, record: ImageRecord) -> Tensor:
    return image_tensor(split.read_image(record))


def _batches(split: Split, batch_size: int) -> Iterator[tuple[list[ImageRecord], Tensor]]:
    """Images in the order of their ids; in a batch all have one size."""
    records: list[ImageRecord] = []
    images: list[Tensor] = []
    for record in split:
        image = _read(split, record)
        limit = 1 if record.id <= LATENCY_IMAGES + 1 else batch_size  # of the batch before this image
        if images and (len(images) == limit or image.shape != images[0].shape):
            yield records, torch.stack(images)
            records, images = [], []
        records.append(record)
        images.append(image)
    yield records, torch.stack(images)


def known_only(found: files.Prediction, view: View) -> files.Prediction:
    """Without the objects and segments of classes that the dataset lacks; only public weights have such."""
    unknown = np.array([c.id == UNKNOWN for c in view.classes])
    if (objects := found.instances) is not None and unknown.any():
        keep = ~unknown[objects.labels]

        def kept(part: Any) -> Any:
            return None if part is None else part[keep]

        found.instances = files.Instances(
            kept(objects.scores), kept(objects.labels), kept(objects.masks), kept(objects.boxes)
        )
    if (whole := found.panoptic) is not None and unknown.any():
        whole.segments[np.isin(whole.segments, np.flatnonzero(unknown[whole.labels]) + 1)] = 0
    return found


def as_arrays(found: Prediction) -> files.Prediction:
    """Tensors on any device -> arrays."""

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.cpu().numpy()

    result = files.Prediction(semantic=None if found.semantic is None else array(found.semantic))
    if (objects := found.instances) is not None:
        boxes = None if objects.boxes is None else array(objects.boxes.float())
        masks = None if objects.masks is None else array(objects.masks)
        result.instances = files.Instances(array(objects.scores.float()), array(objects.labels), masks, boxes)
    if (whole := found.panoptic) is not None:
        result.panoptic = files.Panoptic(
            array(whole.segments), array(whole.labels), array(whole.scores.float())
        )
    return result
