"""The output of nnU-Net v2: label maps named as the cases, with the `dataset.json` of the training.

`nnUNetv2_predict` writes CASE.png, CASE.tif or CASE.nii.gz, and copies `dataset.json` beside them, whose
`labels` name the values. The cases of a dataset of volumes are these, or their slices if it was exported by
`segbench export`. (Isensee et al., "nnU-Net", Nature Methods 2021; documentation/dataset_format.md.)
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from segbench.contract.prediction import Prediction
from segbench.data.cases import Slice, read_slices
from segbench.data.converters.nifti import read_nifti
from segbench.data.converters.volume import canonical, sliced
from segbench.data.dataset import ImageRecord
from segbench.errors import SegbenchError
from segbench.evaluation.semantic.maps import check_shape, read_labels
from segbench.exchange.predictions.files import DATASET_JSON, NNUNET, VOLUMES, dataset_json, images
from segbench.exchange.predictions.label_maps import Reader, Shape, Table
from segbench.exchange.predictions.source import Source
from segbench.files import read_json

IGNORE = "ignore"
MAX_VOXELS = 500_000_000


def reader(source: Source) -> Reader:
    """Return what reads the prediction of an image. SegbenchError if files are missing or unknown."""
    folder = source.spec.path
    paths = images(folder, NNUNET)
    volumes = any(path.name.lower().endswith(VOLUMES) for path in paths.values())
    slices = read_slices(source.split.root) if volumes else {}
    source.expected(paths, folder, [one.case for one in slices.values()] or None)
    names = dataset_json(folder)
    if source.spec.classes is None and names is None:
        raise SegbenchError(
            f"has no {DATASET_JSON}, which names the values",
            where=folder,
            remedy="copy it from nnU-Net's raw dataset, or write `external.classes`",
        )
    classes = source.spec.classes if names is None or source.spec.classes else labels_of(names)
    table = Table(source, classes, names or folder)
    axis = source.spec.axis

    def read(record: ImageRecord, shape: Shape) -> Prediction:
        place = slices.get(record.stem)
        path = paths.get(place.case if place else record.stem)
        if path is None:
            return Prediction(semantic=table.nothing(shape))
        if path.name.lower().endswith(VOLUMES):
            labels = _plane(path, place, axis)
            check_shape(labels, shape, path)
        else:
            labels = read_labels(path, shape)
        return Prediction(semantic=table.look_up(labels, path))

    return read


def labels_of(path: Path) -> dict[int, str | None]:
    """Return the name of the class of each value, from `dataset.json`. The ignore label is no class.

    Raises:
        SegbenchError: the file has no `labels`, or they are regions, which overlap.
    """
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise SegbenchError(
            "has no `labels`, which name the values", where=path, remedy="write `external.classes`"
        )
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        raise SegbenchError(
            f"describes regions ({', '.join(map(str, regions))}), which are several values each",
            where=path,
            remedy="say in `external.classes` which class each value is",
        )
    if wrong := [name for name, value in labels.items() if type(value) is not int]:
        raise SegbenchError(
            f"the label {wrong[0]!r} is {labels[wrong[0]]!r}, not a number",
            where=path,
            remedy="write nnU-Net v2's form, name to number, or `external.classes`",
        )
    return {value: None if name == IGNORE else name for name, value in labels.items()}


def _plane(path: Path, place: Slice | None, axis: str) -> np.ndarray:
    """Return the H x W map of an image from a volume: its slice, or all of a volume of one slice."""
    planes = _planes(path, axis if place else None)
    if len(planes) != (place.slices if place else 1):
        expected = f"{place.case} has {place.slices} along the axis {axis}" if place else "an image has 1"
        raise SegbenchError(
            f"has {len(planes)} slices, but {expected}",
            where=path,
            remedy="set `external.axis` to the axis of the dataset's slices, and predict whole cases",
        )
    return planes[place.index if place else 0]


@lru_cache(maxsize=1)
def _planes(path: Path, axis: str | None) -> np.ndarray:
    """Return the slices of a volume along an axis of the patient; None: along the last one of the file."""
    volume = read_nifti(path, MAX_VOXELS)
    if not np.isfinite(volume.data).all() or (volume.data != np.rint(volume.data)).any():
        raise SegbenchError(
            "holds values that are not whole numbers", where=path, remedy="predict label maps"
        )
    planes = sliced(canonical(volume), axis) if axis else volume.data.transpose(2, 1, 0)
    return planes.astype(np.int64)
