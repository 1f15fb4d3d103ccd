"""Write the predictions of one network on one split, in the formats of the truth.

    predictions.json                    dataset, split, task (of the view), parts (see below), images, digest;
                                        `only`, the names of the images, if they are a part of the split
    semantic/<stem>.png                 category ids, one channel; 8 bit, or 16 bit if the truth has 16;
                                        if classes overlap, the sum of 2 ** (id - 1) over a pixel's classes
    instances.json                      COCO results: image_id, category_id, score, segmentation (RLE), bbox;
                                        no segmentation if the part is `boxes`
    panoptic.json, panoptic/<stem>.png  COCO panoptic format; every segment has a score

The parts are the same for every image. Scoring reads only these files and the truth. The digest covers all
predictions: Snakemake compares small files by content, so different predictions must give a different file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import View
from segbench.data.dataset import ImageRecord, Split, id_to_rgb
from segbench.files import atomic_folder, write_json

_OBJECTS = frozenset({"instances", "boxes"})
"""Parts that are stored in instances.json."""


class PredictionWriter:
    """Stream predictions to a folder, which appears only when the `with` block ends without an error.

    Args:
        folder: folder of the predictions.
        split: the split that is predicted.
        view: classes of all labels.
        semantic_view: classes of the semantic labels, if these differ, as an instance view has no background.
    """

    def __init__(self, folder: Path, split: Split, view: View, semantic_view: View | None = None) -> None:
        self._folder, self._split, self._view = folder, split, view
        self._ids = np.array([c.id for c in view.classes])
        dtype = np.uint8 if split.dataset.info.void == 255 else np.uint16
        if split.dataset.info.overlapping:  # category ids count from 1, and indices from 0
            self._semantic_ids = np.arange(2 ** len(split.dataset.info.categories), dtype=dtype)
        else:
            ids = [c.id for c in (semantic_view or view).classes]
            self._semantic_ids = np.array([*ids, split.dataset.info.void], dtype)  # -1: void
        self._stack = ExitStack()
        self._parts: tuple[str, ...] | None = None
        self._images: list[dict[str, Any]] = []
        self._digest = hashlib.sha256()

    def __enter__(self) -> PredictionWriter:
        self._partial = self._stack.enter_context(atomic_folder(self._folder))
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def add(self, record: ImageRecord, prediction: Prediction) -> None:
        """Write the prediction of one image.

        Args:
            record: the image; ids must increase from call to call.
            prediction: its prediction at the size of the image; every image must have the same parts.

        Raises:
            ValueError: the ids or the parts are not as required.
        """
        given = _parts(prediction)
        if self._parts is None:
            self._start(given)
        if given != self._parts:
            raise ValueError(f"image {record.stem} has the parts {given}, the images before it {self._parts}")
        if self._images and record.id <= self._images[-1]["id"]:
            raise ValueError(f"image {record.stem} (id {record.id}) after id {self._images[-1]['id']}")
        self._images.append({"id": record.id, "file_name": record.path.name})
        if prediction.semantic is not None:
            self._save_png(self._semantic_ids[prediction.semantic], "semantic", record)
        if prediction.instances is not None:
            self._add_instances(record, prediction.instances)
        if prediction.panoptic is not None:
            self._add_panoptic(record, prediction.panoptic)

    def _start(self, parts: tuple[str, ...]) -> None:
        self._parts = parts
        for part in {"semantic", "panoptic"}.intersection(parts):
            (self._partial / part).mkdir()
        if _OBJECTS.intersection(parts):
            self._instances = _JsonArray(self._open("instances.json"), self._digest)
        if "panoptic" in parts:
            file = self._open("panoptic.json")
            file.write('{"annotations": ')
            self._panoptic = _JsonArray(file, self._digest)
        self._stack.push(self._write_index)

    def _open(self, name: str) -> TextIO:
        return self._stack.enter_context((self._partial / name).open("w", encoding="utf-8"))

    def _save_png(self, array: np.ndarray, part: str, record: ImageRecord) -> None:
        self._digest.update(array.tobytes())
        Image.fromarray(array).save(self._partial / part / f"{record.stem}.png", compress_level=1)

    def _add_instances(self, record: ImageRecord, found: Instances) -> None:
        masks = found.masks
        if isinstance(masks, np.ndarray):
            masks = rle.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
        if found.boxes is None:
            boxes = rle.toBbox(masks) if masks else np.zeros((0, 4))
        else:
            boxes = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
        shapes: Iterable[dict[str, Any]] = [{}] * len(boxes) if masks is None else map(_segmentation, masks)
        for score, label, shape, box in zip(found.scores, found.labels, shapes, boxes, strict=True):
            self._instances.append(
                {
                    "image_id": record.id,
                    "category_id": int(self._ids[label]),
                    "score": float(score),
                    **shape,
                    "bbox": [float(v) for v in box],
                }
            )

    def _add_panoptic(self, record: ImageRecord, found: Panoptic) -> None:
        segments = found.segments.astype(np.int32)
        height, width = segments.shape
        self._images[-1].update(height=height, width=width)
        areas = np.bincount(segments.ravel(), minlength=len(found.labels) + 1)[1:]
        segments_info = [
            {"id": k, "category_id": int(self._ids[label]), "score": float(score), "area": int(area)}
            for k, (label, score, area) in enumerate(zip(found.labels, found.scores, areas, strict=True), 1)
            if area  # readers of the format reject a listed segment without pixels
        ]
        self._save_png(id_to_rgb(segments), "panoptic", record)
        self._panoptic.append(
            {"image_id": record.id, "file_name": f"{record.stem}.png", "segments_info": segments_info}
        )

    def _write_index(self, error: type[BaseException] | None, *_: Any) -> None:
        if error is not None:
            return
        assert self._parts is not None
        if _OBJECTS.intersection(self._parts):
            self._instances.close()
        if "panoptic" in self._parts:
            file = self._panoptic.close()
            categories = [c.model_dump() | {"isthing": int(c.isthing)} for c in self._view.classes]
            file.write(f', "images": {json.dumps(self._images)}, "categories": {json.dumps(categories)}}}\n')
        index = {
            "dataset": self._split.dataset.info.name,
            "split": self._split.name,
            "task": self._view.task,
            "parts": list(self._parts),
            "images": len(self._images),
            "digest": self._digest.hexdigest(),
        }
        if len(self._split) < self._split.dataset.info.splits[self._split.name]:
            index["only"] = [record.stem for record in self._split]
        write_json(self._partial / "predictions.json", index)


def _parts(prediction: Prediction) -> tuple[str, ...]:
    """Return the names of the parts of a prediction; objects without masks are called boxes."""
    objects = prediction.instances
    named = {
        "semantic": prediction.semantic,
        "instances" if objects is None or objects.masks is not None else "boxes": objects,
        "panoptic": prediction.panoptic,
    }
    return tuple(name for name, part in named.items() if part is not None)


def _segmentation(mask: dict[str, Any]) -> dict[str, Any]:
    """Return the field `segmentation` of a COCO result."""
    counts = mask["counts"]
    counts = counts.decode() if isinstance(counts, bytes) else counts
    return {"segmentation": {"size": [int(n) for n in mask["size"]], "counts": counts}}


class _JsonArray:
    """A JSON array that is written one element at a time, to keep only one element in memory."""

    def __init__(self, file: TextIO, digest: Any) -> None:
        self._file, self._digest, self._separator = file, digest, "[\n"

    def append(self, value: dict[str, Any]) -> None:
        text = json.dumps(value)
        self._digest.update(text.encode())
        self._file.write(self._separator + text)
        self._separator = ",\n"

    def close(self) -> TextIO:
        self._file.write("[]" if self._separator == "[\n" else "\n]")
        return self._file
