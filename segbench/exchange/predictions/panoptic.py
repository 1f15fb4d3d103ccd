"""Predictions in COCO's panoptic format: a JSON file, and its PNG files in the folder of the same name."""

from __future__ import annotations

import numpy as np

from segbench.contract.prediction import Panoptic, Prediction
from segbench.data.coco import checks
from segbench.data.coco.jsonstream import scan
from segbench.data.dataset import ImageRecord
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.exchange.predictions.files import json_file
from segbench.exchange.predictions.foreign import foreign
from segbench.exchange.predictions.label_maps import Reader, Shape
from segbench.exchange.predictions.source import Source


def reader(source: Source) -> Reader:
    """Return what reads the prediction of an image.

    Annotations belong to images by the name of their PNG file, as the images of COCO's own files do.

    Raises:
        SegbenchError: the file is malformed, or images are missing or unknown.
    """
    path = json_file(source.spec.path, "panoptic.json")
    ids = foreign(source)
    files = PanopticFiles(path, path.with_suffix(""), ids.names)
    own = {i: category["name"] for i, category in files.categories.items()}
    where = source.spec.annotations or source.split.panoptic_json
    checks.check_same_ids(ids.names, own, "category", where, path)
    id_of = {
        checks.stem(value.get("file_name")): value["image_id"]
        for key, value, _, _ in scan(path)
        if key == "annotations"
    }
    source.expected(id_of, path)
    index_of = {i: index for i, index in ids.indices.items() if index is not None}

    def read(record: ImageRecord, shape: Shape) -> Prediction:
        if record.stem not in id_of:
            empty = np.zeros(0)
            return Prediction(panoptic=Panoptic(np.zeros(shape, np.int32), empty.astype(int), empty))
        found = files.read(id_of[record.stem], shape)
        kept = np.array([int(c) in index_of for c in found.class_ids], bool)
        numbers = np.append(0, np.where(kept, np.cumsum(kept), 0))  # segments of other classes are dropped
        labels = [index_of[int(c)] for c in found.class_ids[kept]]
        return Prediction(panoptic=Panoptic(numbers[found.index], np.array(labels, int), found.scores[kept]))

    return read
