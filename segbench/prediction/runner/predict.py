"""The predict step: the evaluation split of a dataset, on a device, timed."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch

from segbench.contract.recipe import Inference
from segbench.data.dataset import Dataset
from segbench.files import write_json
from segbench.models.saved import load_model
from segbench.prediction.efficiency import Stopwatch
from segbench.prediction.inference import Predictor
from segbench.prediction.predict import check_classes, predict_split, read_tensor
from segbench.training.precision import Precision, memory_errors
from segbench.training.runner.checkpoint import forget
from segbench.training.runner.lease import leased
from segbench.training.runner.provenance import peak_memory, provenance

log = logging.getLogger(__name__)
LOG_SECONDS = 5.0


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
    check_classes(trained, dataset, model)
    feeding = inference or trained.spec.recipe.inference
    precision = Precision.of(trained.spec.recipe.precision, where)
    stopwatch = Stopwatch(Predictor(trained, feeding, precision), where)
    started = logged = time.monotonic()
    with memory_errors(
        f"predicting with {model}", "set recipe.inference.window, max_side or a smaller batch_size"
    ):
        stopwatch.warm_up(read_tensor(split, split.images[0]))
        for done in predict_split(stopwatch, split, trained.view, out, feeding.batch_size):
            if time.monotonic() - logged >= LOG_SECONDS or done == len(split):
                logged = time.monotonic()
                log.info("predicted %d/%d images", done, len(split))
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
