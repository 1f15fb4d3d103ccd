"""The external step: read predictions of another program, check them, and write them as those of a cell."""

from __future__ import annotations

import logging
from pathlib import Path

from segbench.contract.external import ExternalSpec
from segbench.data.dataset import Dataset
from segbench.data.images import image_size
from segbench.exchange.predictions.source import Source
from segbench.importing import load_object
from segbench.prediction.writer import PredictionWriter

log = logging.getLogger(__name__)
EVERY = 1000
"""Number of images between two lines of the log."""


def read_predictions(data: Path, spec: ExternalSpec, out: Path) -> None:
    """Write predictions of the evaluation split, which another program made, in the format of all cells.

    Args:
        data: folder of the dataset.
        spec: where the predictions are, and how they are read.
        out: folder of the predictions; it appears when all are written.

    Raises:
        SegbenchError: a prediction is missing, malformed, of another size or of an unknown class or image.
    """
    dataset = Dataset(data)
    source = Source(spec, dataset.split(dataset.info.evaluation_split))
    read = load_object(f"segbench.exchange.predictions.{spec.format}:reader")(source)
    with PredictionWriter(out, source.split, source.view) as writer:
        for record in source.split:
            width, height = image_size(record.path)
            writer.add(record, read(record, (height, width)))
            if record.id % EVERY == 0 or record.id == len(source.split):
                log.info("read the predictions of %d/%d images", record.id, len(source.split))
