"""COCO results: a list of objects with image, category, score, and outline or box."""

from __future__ import annotations

import numpy as np

from segbench.contract.prediction import Instances, Prediction
from segbench.data.dataset import ImageRecord
from segbench.errors import SegbenchError
from segbench.evaluation.annotations import Objects
from segbench.evaluation.instance.files import read_results
from segbench.exchange.predictions.files import json_file
from segbench.exchange.predictions.foreign import Foreign, foreign
from segbench.exchange.predictions.label_maps import Reader, Shape
from segbench.exchange.predictions.source import Source


def reader(source: Source) -> Reader:
    """Return what reads the prediction of an image. SegbenchError if the file is malformed."""
    path = json_file(source.spec.path)
    ids = foreign(source)
    masks = None if source.spec.task == "instance" else False
    results, _ = read_results(path, ids.stems, ids.names, masks=masks)
    own = {record.stem for record in source.split}
    unknown = sorted({ids.stems[i] for i in results.by_image} - own)
    if unknown and not source.spec.some:
        raise SegbenchError(
            f"has objects of image {unknown[0]}, which is not in the split {source.split.name}",
            where=path,
            remedy="score results on the split that they were made for",
        )
    id_of = {stem: i for i, stem in ids.stems.items()}

    def read(record: ImageRecord, shape: Shape) -> Prediction:
        found = results.objects(id_of[record.stem], shape) if record.stem in id_of else None
        return Prediction(instances=_instances(found, ids, results.masks))

    return read


def _instances(found: Objects | None, ids: Foreign, masks: bool) -> Instances:
    if found is None:
        return Instances(np.zeros(0), np.zeros(0, int), [] if masks else None, np.zeros((0, 4)))
    labels = [ids.indices[int(c)] for c in found.class_ids]
    kept = np.array([k for k, label in enumerate(labels) if label is not None], int)
    objects = found.take(kept)
    boxes = objects.boxes.copy()
    boxes[:, 2:] += boxes[:, :2]
    return Instances(
        objects.scores,
        np.array([labels[k] for k in kept], int),
        objects.masks if masks else None,
        boxes,
    )
