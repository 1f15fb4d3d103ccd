"""Read COCO's panoptic format, one image at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segbench.data.coco import checks
from segbench.data.coco.jsonstream import Records
from segbench.data.images import open_image
from segbench.errors import SegbenchError
from segbench.evaluation.annotations import SegmentMap
from segbench.evaluation.semantic.maps import check_shape


class PanopticFiles:
    """A JSON file in COCO's panoptic format and its folder of PNG files.

    `class_ids` are the category ids that segments may have; None: those that the file lists.
    """

    def __init__(self, path: Path, folder: Path, class_ids: Iterable[int] | None = None) -> None:
        self.path, self.folder = path, folder
        self.records = Records(path)
        self.categories = checks.categories(self.records.categories, path)
        self._class_ids = frozenset(self.categories if class_ids is None else class_ids)
        self._table = np.zeros(1 << 24, np.uint16)  # pages take memory only once written

    def annotations(self, image_id: int) -> list[dict[str, Any]]:
        """Return the checked annotation of an image, with the path of its PNG file as `file_name`.

        `panoptic.quality.add_image` takes it, and reads the PNG file itself.
        """
        record = self._record(image_id)
        return [record | {"file_name": str(self._png(record))}]

    def shape(self, image_id: int) -> tuple[int, int]:
        """Return height and width, from the header of the PNG file."""
        with Image.open(self._png(self._record(image_id))) as image:
            return image.height, image.width

    def read(self, image_id: int, shape: tuple[int, int]) -> SegmentMap:
        """Return the segments of an image of `shape` (height, width); a segment without a score has 1."""
        record = self._record(image_id)
        infos, path = record["segments_info"], self._png(record)
        ids = self._ids(path)
        check_shape(ids, shape, path)
        return SegmentMap(
            self._look_up(ids, np.array([s["id"] for s in infos], np.int64), path),
            np.array([s["category_id"] for s in infos], np.int64),
            np.array([1.0 if s.get("score") is None else s["score"] for s in infos], float),
        )

    def _record(self, image_id: int) -> dict[str, Any]:
        if image_id not in self.records:
            raise SegbenchError(
                f"has no annotation of image {image_id}", where=self.path, remedy="predict every image"
            )
        record = self.records[image_id]
        segment = f"image {image_id}: segment"
        checks.column([record], "annotation of image", "file_name", checks.text, self.path)
        infos = checks.records(record.get("segments_info"), f"image {image_id}: segments_info", self.path)
        numbers, class_ids = (
            checks.column(infos, segment, key, checks.whole, self.path) for key in ("id", "category_id")
        )
        crowds = checks.column(infos, segment, "iscrowd", checks.flag, self.path)
        scored = [s for s in infos if s.get("score") is not None]
        checks.column(scored, segment, "score", checks.number, self.path)
        for info, number, class_id, crowd in zip(infos, numbers, class_ids, crowds):
            info |= {"id": number, "category_id": class_id, "iscrowd": int(crowd)}
        if unknown := set(class_ids) - self._class_ids:
            raise SegbenchError(
                f"image {image_id}: category {min(unknown)} is not in the class list",
                where=self.path,
                remedy=f"categories are {', '.join(map(str, sorted(self._class_ids)))}",
            )
        if len(set(numbers)) < len(numbers) or not all(0 < number < 1 << 24 for number in numbers):
            raise SegbenchError(
                f"image {image_id}: segment ids are not unique, or not from 1 to 16777215",
                where=self.path,
                remedy="number the segments of an image from 1",
            )
        return record

    def _png(self, record: dict[str, Any]) -> Path:
        path = self.folder / record["file_name"]
        if "\0" in str(path) or not path.is_file():
            raise SegbenchError(
                "does not exist",
                where=path,
                remedy=f"{self.path.name} names it; write it, or correct the name",
            )
        return path

    def _ids(self, path: Path) -> np.ndarray:
        image = open_image(path)
        if image.mode not in ("RGB", "RGBA"):
            raise SegbenchError(
                f"is not a panoptic map (mode {image.mode})",
                where=path,
                remedy="panoptic maps are RGB: id = R + 256 G + 65536 B",
            )
        return np.asarray(image.convert("RGBA")).view("<u4")[..., 0] & 0xFFFFFF

    def _look_up(self, ids: np.ndarray, numbers: np.ndarray, path: Path) -> np.ndarray:
        """Replace segment ids by their position in `numbers`, from 1; 0 = void."""
        self._table[numbers] = np.arange(1, len(numbers) + 1)
        index = self._table[ids]
        self._table[numbers] = 0
        unlisted = ids[(index == 0) & (ids != 0)]
        if unlisted.size:
            raise SegbenchError(
                f"holds segment {unlisted[0]}, which {self.path.name} does not list",
                where=path,
                remedy="list every segment in segments_info",
            )
        return index
