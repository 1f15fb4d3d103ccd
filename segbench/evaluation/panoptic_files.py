"""COCO's panoptic format on disk, one image at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from segbench.data.dataset import open_image
from segbench.errors import SegbenchError
from segbench.evaluation.jsonstream import Records
from segbench.evaluation.maps import check_shape
from segbench.evaluation.panoptic import Segments


class PanopticFiles:
    """One side of a comparison: a JSON file and its folder of PNG files. `class_ids`: what they may hold."""

    def __init__(self, path: Path, folder: Path, class_ids: Iterable[int] | None = None) -> None:
        self.path, self.folder = path, folder
        self.records = Records(path)
        known = class_ids if class_ids is not None else (c["id"] for c in self.records.categories)
        self._class_ids = frozenset(known)
        self._table = np.zeros(1 << 24, np.uint16)  # touched, and so in memory, only where ids are

    def read(self, image_id: int, shape: tuple[int, ...] | None = None) -> tuple[Segments, np.ndarray]:
        """Segments of an image, and their scores (1 where the file has none)."""
        if image_id not in self.records:
            raise SegbenchError(
                f"has no annotation of image {image_id}", where=self.path, remedy="predict every image"
            )
        record = self.records[image_id]
        try:
            infos, path = record["segments_info"], self.folder / record["file_name"]
            numbers = np.array([s["id"] for s in infos], np.int64)
            class_ids = np.array([s["category_id"] for s in infos], np.int64)
            scores = np.array([s.get("score", 1.0) for s in infos], float)
        except (KeyError, TypeError, ValueError) as error:
            raise SegbenchError(
                f"annotation of image {image_id} is not in COCO's panoptic format ({error!r})",
                where=self.path,
            ) from error
        if unknown := set(class_ids.tolist()) - self._class_ids:
            raise SegbenchError(
                f"image {image_id}: category {min(unknown)} is not in the class list",
                where=self.path,
                remedy=f"categories are {', '.join(map(str, sorted(self._class_ids)))}",
            )
        ids = self._ids(path)
        check_shape(ids, shape, path)
        crowd = np.array([bool(s.get("iscrowd", 0)) for s in infos], bool)
        return Segments(self._look_up(ids, numbers, path), class_ids, crowd), scores

    def _ids(self, path: Path) -> np.ndarray:
        if not path.is_file():
            raise SegbenchError("does not exist", where=path, remedy=f"{self.path.name} names it")
        image = open_image(path)
        if image.mode not in ("RGB", "RGBA"):
            raise SegbenchError(
                f"is no panoptic map (mode {image.mode})",
                where=path,
                remedy="panoptic maps are RGB: id = R + 256 G + 65536 B",
            )
        return np.asarray(image.convert("RGBA")).view("<u4")[..., 0] & 0xFFFFFF

    def _look_up(self, ids: np.ndarray, numbers: np.ndarray, path: Path) -> np.ndarray:
        """Map of segment ids -> map of positions in `numbers`, from 1; 0 = void."""
        if len(np.unique(numbers)) < len(numbers) or not ((numbers > 0) & (numbers < 1 << 24)).all():
            raise SegbenchError(f"segment ids of {path.name} are not unique and positive", where=self.path)
        self._table[numbers] = np.arange(1, len(numbers) + 1)
        index = self._table[ids]
        self._table[numbers] = 0
        counts = np.bincount(index.ravel(), minlength=len(numbers) + 1)
        if not counts[1:].all():
            number = numbers[np.flatnonzero(counts[1:] == 0)[0]]
            raise SegbenchError(f"lists segment {number} of {path.name}, which has no pixel", where=self.path)
        unlisted = ids[(index == 0) & (ids != 0)]
        if unlisted.size:
            raise SegbenchError(
                f"holds segment {unlisted[0]}, which {self.path.name} does not list", where=path
            )
        return index
