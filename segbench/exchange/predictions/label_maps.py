"""Images of class numbers, one for each image: from any program, or from `segbench segment`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segbench.contract.prediction import Prediction
from segbench.data.dataset import ImageRecord
from segbench.errors import SegbenchError
from segbench.evaluation.semantic.maps import read_labels
from segbench.exchange.predictions.files import images
from segbench.exchange.predictions.source import Source

Shape = tuple[int, int]
Reader = Callable[[ImageRecord, Shape], Prediction]


def reader(source: Source) -> Reader:
    """Return what reads the prediction of an image. SegbenchError if files are missing or unknown."""
    paths = images(source.spec.path)
    source.expected(paths, source.spec.path)
    table = Table(source, source.spec.classes, source.spec.path)

    def read(record: ImageRecord, shape: Shape) -> Prediction:
        path = paths.get(record.stem)
        if path is None:
            return Prediction(semantic=table.nothing(shape))
        return Prediction(semantic=table.look_up(read_labels(path, shape), path))

    return read


class Table:
    """Turns the values of a map into indices of classes.

    Args:
        source: the predictions.
        classes: name of the class of each value; None: category ids of the dataset. 0 is its background. In
            a dataset without one, 0 and the value of void are no class.
        where: what names the classes, for the message.
    """

    def __init__(self, source: Source, classes: dict[int, str | None] | None, where: Path) -> None:
        self._classes, info = source.view.classes, source.split.dataset.info
        self._overlapping = info.overlapping
        if info.overlapping:
            if classes is not None:
                raise SegbenchError(
                    f"the classes of {info.name} overlap, so a value is no class",
                    where=where,
                    remedy="write sums of 2^(number of the class - 1), and no `classes`",
                )
            self._known = {value: value for value in range(2 ** len(self._classes))}
            self._none = 0
            return
        self._none = len(self._classes) - 1
        if classes is None:
            self._known = {0: self._none} | {c.id: i for i, c in enumerate(self._classes)}
            if info.background:  # 255 may be meant as the foreground of a mask
                del self._known[info.void]
        else:
            found = source.indices(classes, where)
            self._known = {v: self._none if index is None else index for v, index in found.items()}

    def nothing(self, shape: Shape) -> np.ndarray:
        """Return a map without any class."""
        return np.full(shape, self._none)

    def look_up(self, labels: np.ndarray, path: Path) -> np.ndarray:
        """Return the H x W map of indices. SegbenchError for a value that is no class."""
        values, places = np.unique(labels, return_inverse=True)
        unknown = [int(v) for v in values if int(v) not in self._known]
        if unknown:
            count = int(np.isin(labels, unknown).sum())
            raise SegbenchError(
                f"holds values that are no class: {', '.join(map(str, unknown[:5]))} ({count} pixels)",
                where=path,
                remedy="say in `external.classes` what the values mean, "
                + ("such as {0: background, 255: lung}" if not self._overlapping else "or correct the map"),
            )
        return np.array([self._known[int(v)] for v in values], int)[places].reshape(labels.shape)
