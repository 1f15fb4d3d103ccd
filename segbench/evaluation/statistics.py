"""The per-image sufficient statistics of a cell: one Parquet file from which all scores are computed.

There is one row for each task, image and class. Columns of other tasks are null. If images have groups, the
column `group` names them.

semantic    `predicted`, `pixels`: this true class's row of the confusion matrix, sparse: predicted class
            (-1 = none) and pixel count. `boundary_*`, `contour_*`: see `evaluation.semantic.boundary`;
            `skeleton_*`: see `evaluation.semantic.centreline`. If classes overlap: see
            `evaluation.semantic.overlapping`.
instance    `truths`: number of true objects that count, for each of the four area ranges. `scores` of the
            detections, highest first. `mask_matched`, `mask_ignored`, `box_matched`, `box_ignored`: a bit
            mask over the ten IoU thresholds for each detection and area range. `object_*`, `aji_*`: see
            `evaluation.instance.objects`; `object_areas` and `object_partners` have a value for each true
            object without crowds: its area, and the IoU of its partner, 0 without one.
detection   as instance, for boxes only.
panoptic    `iou_sum` of the matched segments, `true_positives`, `false_positives`, `false_negatives`.

Each row group holds rows of one task, and all rows of an image. The file's metadata lists images, classes and
options, so that the scores need no other file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import Category, Task
from segbench.errors import SegbenchError
from segbench.files import atomic_path

T = TypeVar("T")
NONE = -1
"""Class id of a pixel without a predicted class."""

_LISTS = {
    "predicted": pa.int32(),
    "pixels": pa.int64(),
    "truths": pa.int32(),
    "scores": pa.float64(),
    "mask_matched": pa.uint16(),
    "mask_ignored": pa.uint16(),
    "box_matched": pa.uint16(),
    "box_ignored": pa.uint16(),
    "object_ious": pa.float64(),
    "object_areas": pa.float64(),
    "object_partners": pa.float64(),
}
_NUMBERS = (
    "boundary_intersection",
    "boundary_truth",
    "boundary_predicted",
    "contour_truth",
    "contour_truth_hit",
    "contour_predicted",
    "contour_predicted_hit",
    "skeleton_truth",
    "skeleton_truth_hit",
    "skeleton_predicted",
    "skeleton_predicted_hit",
    "object_truths",
    "object_predictions",
    "aji_intersection",
    "aji_union",
    "true_positives",
    "false_positives",
    "false_negatives",
)
SCHEMA = pa.schema(
    [
        ("task", pa.dictionary(pa.int8(), pa.string())),
        ("image_id", pa.int64()),
        ("image", pa.string()),
        ("class_id", pa.int32()),
        *((name, pa.list_(kind)) for name, kind in _LISTS.items()),
        *((name, pa.int64()) for name in _NUMBERS),
        ("iou_sum", pa.float64()),
    ]
)


@dataclass(frozen=True)
class TaskSettings:
    """The classes of one task, and how it is scored."""

    classes: tuple[Category, ...]
    conversion: str = ""
    """How the prediction was converted from another task; "" if it was not."""
    max_detections: tuple[int, ...] = (1, 10, 100)
    """Limits of AR, ascending. AP uses the last one."""
    kinds: tuple[str, ...] = ("mask", "box")
    """Shapes that AP compares: "mask", "box"."""
    min_score: float = 0.0
    """Detections with a lower score are ignored, except by AP."""
    overlapping: bool = False
    """Whether a pixel may have several classes."""


@dataclass(frozen=True)
class Metadata:
    """Metadata of a statistics file: options, scored tasks and ids of all images."""

    options: EvaluationOptions
    tasks: dict[Task, TaskSettings]
    image_ids: tuple[int, ...]
    groups: tuple[str | None, ...] | None = None
    """Group of each image, such as the patient, or None for an image without; None if there are no groups."""

    def dumps(self) -> bytes:
        """Return the metadata as JSON."""
        tasks = {
            task: {**vars(settings), "classes": [c.model_dump() for c in settings.classes]}
            for task, settings in self.tasks.items()
        }
        groups = {"groups": self.groups} if self.groups else {}
        return json.dumps(
            {"options": self.options.model_dump(), "tasks": tasks, "image_ids": self.image_ids, **groups}
        ).encode()

    @classmethod
    def loads(cls, data: bytes) -> Metadata:
        """Read what `dumps` returned."""
        raw = json.loads(data)
        tasks = {
            task: TaskSettings(
                **{**settings, "classes": tuple(Category.model_validate(c) for c in settings["classes"])}
            )
            for task, settings in raw["tasks"].items()
        }
        options = EvaluationOptions.model_validate(raw["options"])
        groups = tuple(raw["groups"]) if "groups" in raw else None
        return cls(options, tasks, tuple(raw["image_ids"]), groups)


_KEY = b"segbench"
_GROUP = 8192
"""Rows in a row group, which is read as a whole. The description of all groups is held in memory."""


class Writer:
    """Write a statistics file in parts. It appears when the `with` block ends without an error."""

    def __init__(self, path: Path, metadata: Metadata) -> None:
        self._context = atomic_path(path)
        self._group_of = dict(zip(metadata.image_ids, metadata.groups)) if metadata.groups else None
        schema = SCHEMA if self._group_of is None else SCHEMA.append(pa.field("group", pa.string()))
        self._schema = schema.with_metadata({_KEY: metadata.dumps()})
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> Writer:
        pa.array(np.zeros(0))  # makes pyarrow import pandas once, before processes are forked
        self._writer = pq.ParquetWriter(
            self._context.__enter__(), self._schema, compression="zstd", write_statistics=False
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
        self._writer.close()
        self._context.__exit__(kind, error, trace)

    def add(self, rows: pa.RecordBatch) -> None:
        """Rows of whole images, as `Rows.batch` makes them."""
        self._waiting.append(rows)
        if sum(w.num_rows for w in self._waiting) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows added so far as a row group, which must be of one task."""
        if any(rows.num_rows for rows in self._waiting):
            table = pa.Table.from_batches(self._waiting)
            if self._group_of is not None:
                groups = [self._group_of[number] for number in table["image_id"].to_pylist()]
                table = table.append_column("group", pa.array(groups, pa.string()))
            table = table.cast(self._schema)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting.clear()


@dataclass
class Rows:
    """Collects the rows of one task, image by image."""

    task: Task
    columns: dict[str, list[Any]] = field(default_factory=dict)
    lengths: dict[str, list[Any]] = field(default_factory=dict)
    """Length of each row's list, for columns of lists, whose values are concatenated."""

    def add(self, image_id: int, image: str, class_id: int, **values: Any) -> None:
        """Add the row of one class, as `extend` does."""
        lists = {name: (v, [len(v)]) for name, v in values.items() if name in _LISTS}
        numbers = {name: [v] for name, v in values.items() if name not in _LISTS}
        self.extend(image_id, image, [class_id], **numbers, **lists)

    def extend(
        self, image_id: int, image: str, class_ids: Sequence[int] | np.ndarray, **columns: Any
    ) -> None:
        """Add the rows of one image.

        Args:
            image_id, image: id and name of the image.
            class_ids: class of each of the N rows.
            columns: N values each; for a column of lists (values of all rows, length of each row's list).
        """
        self._append("image_id", [image_id] * len(class_ids))
        self._append("image", [image] * len(class_ids))
        self._append("class_id", class_ids)
        for name, values in columns.items():
            if name in _LISTS:
                values, lengths = values
                self.lengths.setdefault(name, []).append(lengths)
            self._append(name, values)

    def _append(self, name: str, values: Any) -> None:
        self.columns.setdefault(name, []).append(values)

    def batch(self) -> pa.RecordBatch:
        """Return all rows with the columns of `SCHEMA`."""
        if not self.columns:
            return pa.RecordBatch.from_arrays([pa.nulls(0, e.type) for e in SCHEMA], schema=SCHEMA)
        length = sum(map(len, self.columns["class_id"]))
        arrays = []
        for entry in SCHEMA:
            if entry.name == "task":
                arrays.append(pa.array([self.task] * length, pa.string()).cast(entry.type))
            elif entry.name == "image":
                arrays.append(pa.array(chain.from_iterable(self.columns["image"]), entry.type))
            elif entry.name in _LISTS and entry.name in self.columns:
                offsets = np.append(0, np.cumsum(np.concatenate(self.lengths[entry.name])))
                values = self._flat(entry.name, entry.type.value_type)
                arrays.append(pa.ListArray.from_arrays(offsets.astype(np.int32), values))
            elif entry.name in self.columns:
                arrays.append(self._flat(entry.name, entry.type))
            else:
                arrays.append(pa.nulls(length, entry.type))
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)

    def _flat(self, name: str, kind: pa.DataType) -> pa.Array:
        return pa.array(np.concatenate(self.columns[name]).astype(kind.to_pandas_dtype()))


def rows_of(task: Task, add: Callable[[Rows, T], None], items: Sequence[T]) -> pa.RecordBatch:
    """Return the rows that `add` adds for each of `items`."""
    rows = Rows(task)
    for item in items:
        add(rows, item)
    return rows.batch()


class Batch:
    """Rows of one task as arrays. A batch holds all rows of its images."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self.rows = rows
        self.image_ids, self.image = np.unique(rows["image_id"].to_numpy(), return_inverse=True)
        """Sorted ids of the images, and for each row its index in them."""
        self.class_ids = rows["class_id"].to_numpy()

    def __len__(self) -> int:
        return self.rows.num_rows

    def numbers(self, name: str) -> np.ndarray:
        """Return the values of a column of numbers."""
        return self.rows[name].to_numpy()

    def table(self, values: np.ndarray, ids: Sequence[int], defined: np.ndarray) -> np.ndarray:
        """Return numbers of rows as images x K, for K category ids; NaN where no row is `defined`."""
        found = np.full((len(self.image_ids), len(ids)), np.nan)
        found[self.image[defined], positions(self.class_ids[defined], ids)] = values[defined]
        return found

    def lists(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a column of lists as (values of all rows, length of each row's list)."""
        column = self.rows[name]
        return column.flatten().to_numpy(), np.diff(column.offsets.to_numpy())

    def names(self) -> list[str]:
        """Return the name of each image, in the order of `image_ids`."""
        first = np.unique(self.image, return_index=True)[1]
        return self.rows["image"].take(pa.array(first)).to_pylist()


def positions(values: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Return the index of each value in `ids`, which contain all values and may be unsorted."""
    order = np.argsort(ids)
    return order[np.searchsorted(np.asarray(ids)[order], values)]


class Statistics:
    """Read access to a statistics file, a row group at a time.

    Raises:
        SegbenchError: the file cannot be read, or is not a statistics file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
            self.metadata = Metadata.loads(self._file.schema_arrow.metadata[_KEY])
        except (OSError, pa.ArrowException, KeyError, TypeError) as error:
            raise SegbenchError(
                f"is not a file of per-image statistics ({error})",
                where=path,
                remedy="evaluate the cell again",
            ) from error

    def batches(self, task: Task, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows of `task` with the given columns, some images at a time, in the order of scoring."""
        wanted = ["task", "image_id", "image", "class_id", *columns]
        for group in range(self._file.num_row_groups):
            table = self._file.read_row_group(group, columns=wanted, use_threads=False)
            if table.num_rows and table["task"][0].as_py() == task:
                yield Batch(table.combine_chunks().to_batches()[0])
