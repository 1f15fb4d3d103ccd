"""The primary metric of a network on some images of the validation split, while it is trained.

Images are predicted and scored as by the steps after the training: same predictions, same files, same counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.recipe import Inference
from segbench.contract.view import Task
from segbench.data.dataset import Split
from segbench.evaluation.evaluate import settings_of, write_statistics
from segbench.evaluation.intervals import primary_metric
from segbench.evaluation.joined import joined
from segbench.evaluation.pooling import pool
from segbench.evaluation.prediction_folder import PredictionFolder
from segbench.files import read_json
from segbench.models.saved import Model
from segbench.prediction.inference import Predictor
from segbench.prediction.predict import predict_split
from segbench.training.precision import Precision

OPTIONS = EvaluationOptions(families=(), bootstrap_samples=0)
T = TypeVar("T")
Painter = Callable[[Split, Path, Task], Mapping[str, np.ndarray]]


class PrimaryMetric:
    """Compute the primary metric of the task that a network is trained on.

    The images are divided among the processes of a training: each calls `count`, and one of them `value`.

    Args:
        painter: makes pictures of predictions, see `segbench.report.validation_pictures`; None: makes none.
    """

    def __init__(self, painter: Painter | None = None) -> None:
        self._painter = painter

    def count(
        self,
        model: Model,
        split: Split,
        out: Path,
        inference: Inference,
        precision: Precision,
        stopped: Callable[[], bool],
    ) -> Path | None:
        """Predict images, and write their per-image statistics.

        Args:
            model: the network.
            split: the images; not empty.
            out: an empty folder for predictions and statistics.
            inference: how images are predicted.
            precision: device and number format.
            stopped: returns whether this process was told to stop.

        Returns:
            The file of the statistics, or None if the process was told to stop before the end.
        """
        folder, predictor = out / "predictions", Predictor(model, inference, precision)
        with closing(predict_split(predictor, split, model.view, folder, inference.batch_size)) as predicting:
            for _ in predicting:
                if stopped():
                    return None
        task = model.view.task
        parts = read_json(folder / "predictions.json")["parts"]
        predicted = PredictionFolder(split, folder, parts, task, OPTIONS.min_score)
        settings = {task: settings_of(split.dataset, task, predicted, OPTIONS)}
        path = out / "per_image.parquet"
        write_statistics(split, predicted, settings, path, options=OPTIONS, spread=_one_by_one)
        return path

    def pictures(self, split: Split, out: Path, task: Task) -> Mapping[str, np.ndarray]:
        """Return pictures (H x W x 3 uint8) by name, of the predictions that `count` has written to `out`."""
        return self._painter(split, out / "predictions", task) if self._painter else {}

    def value(self, paths: Sequence[Path], task: Task) -> tuple[str, float]:
        """Return the name and the value of the metric on all images of the files of `count`."""
        statistics = joined(paths)
        metric = primary_metric(statistics, task)
        return metric, next(s.value for s in pool(statistics) if (s.metric, s.name) == (metric, ""))


def _one_by_one(
    job: Callable[[Sequence[T]], pa.RecordBatch], items: Sequence[T], *, chunk: int | None = None
) -> Iterator[pa.RecordBatch]:
    return (job([item]) for item in items)
