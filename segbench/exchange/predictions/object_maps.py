"""Images of object numbers, one for each image, as Cellpose and StarDist write them: 0 is background.

Such maps have no scores: all objects have the score 1. Cellpose's `save_masks` writes NAME_cp_masks.png or
.tif; programs that use StarDist save its labels as 16-bit TIFF.
"""

from __future__ import annotations

import numpy as np

from segbench.contract.prediction import Instances, Prediction
from segbench.data.coco.masks import objects_of_map
from segbench.data.converters.mask_files import read_mask
from segbench.data.dataset import ImageRecord
from segbench.errors import SegbenchError
from segbench.evaluation.semantic.maps import check_shape
from segbench.exchange.predictions.files import object_maps
from segbench.exchange.predictions.label_maps import Reader, Shape
from segbench.exchange.predictions.source import Source


def reader(source: Source) -> Reader:
    """Return what reads the prediction of an image. SegbenchError if files are missing or unknown."""
    paths = object_maps(source.spec.path)
    source.expected(paths, source.spec.path)
    label = _label(source)

    def read(record: ImageRecord, shape: Shape) -> Prediction:
        path = paths.get(record.stem)
        if path is None:
            return Prediction(instances=Instances(np.zeros(0), np.zeros(0, int), []))
        numbers = read_mask(path, "numbers")
        check_shape(numbers, shape, path)
        found = np.unique(numbers)
        if found[0] < 0:
            raise SegbenchError(
                f"holds the number {found[0]}", where=path, remedy="number objects from 1; 0 is background"
            )
        masks = objects_of_map(numbers, {int(n): 0 for n in found if n})
        return Prediction(
            instances=Instances(
                np.ones(len(masks)),
                np.full(len(masks), label),
                [mask["segmentation"] for mask in masks],
            )
        )

    return read


def _label(source: Source) -> int:
    """Return the index of the class of all objects."""
    if source.spec.classes:
        (name,) = source.spec.classes.values()
        index = source.indices({1: name}, source.spec.path)[1]
        if index is not None:
            return index
    elif len(source.index_of) == 1:
        return 0
    raise SegbenchError(
        f"has objects of one class, but {source.split.dataset.info.name} has {', '.join(source.index_of)}",
        where=source.spec.path,
        remedy="name the class of the objects: `external: {classes: [NAME]}`",
    )
