"""The predict step: predict a split of a dataset on a device, and measure the cost."""

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
from segbench.prediction.predict import LATENCY_IMAGES, check_classes, predict_split, read_tensor
from segbench.training.kernels import choose_kernels, deterministic_errors
from segbench.training.precision import Precision, memory_errors
from segbench.training.runner.checkpoint import remove_checkpoint
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
    split: str = "",
    threads: int | None = None,
    workers: int = 0,
    device: str = "auto",
) -> None:
    """Predict a split, and write `efficiency.json` next to the predictions.

    Latency is measured on single images after a warm-up, without reading and writing files: on all that are
    predicted one by one, or on the first `LATENCY_IMAGES` if others are read and written meanwhile
    (`workers`).

    Args:
        dataset_root: folder of the converted dataset.
        model: a trained model.pt.
        out: folder of the predictions.
        inference: how images are resized and batched; None: as in the recipe of the training.
        split: name of the split; "": the evaluation split.
        threads: processor threads; None: as torch decides.
        workers: number of processes that read images, while a thread writes predictions; it does not change
            them. 0: reading, predicting and writing take turns.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        SegbenchError: the model is broken or has other classes, an image is unreadable, or memory runs out
            (`OutOfMemory`).
    """
    if threads:
        torch.set_num_threads(threads)
    with leased(device) as (where,):
        _predict(dataset_root, model, out, inference, split, workers, where)


def _predict(
    dataset_root: Path,
    model: Path,
    out: Path,
    inference: Inference | None,
    split_name: str,
    workers: int,
    where: torch.device,
) -> None:
    if where.type == "cuda":
        torch.cuda.set_device(where)
    trained = load_model(model, where)
    dataset = Dataset(dataset_root)
    split = dataset.split(split_name or dataset.info.evaluation_split)
    check_classes(trained, dataset, model)
    feeding = trained.spec.recipe.inference.stated_over(inference)
    choose_kernels(where, training=False, deterministic=trained.spec.recipe.deterministic)
    precision = Precision.of(trained.spec.recipe.precision, where)
    predictor = Predictor(trained, feeding, precision)
    stopwatch = Stopwatch(predictor, where, LATENCY_IMAGES if workers else None)
    started = logged = time.monotonic()
    name, remedy = f"predicting with {model}", "set recipe.inference.window, max_side or a smaller batch_size"
    with memory_errors(name, remedy), deterministic_errors(name):
        stopwatch.warm_up(read_tensor(split, split.images[0]))
        for done in predict_split(stopwatch, split, trained.view, out, feeding.batch_size, workers):
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
    remove_checkpoint(model.parent, trained.identity)  # the training has ended, or this step would not run
