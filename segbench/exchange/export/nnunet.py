"""The raw dataset of nnU-Net v2: DatasetNNN_NAME/{imagesTr, labelsTr, imagesTs, labelsTs, dataset.json}.

Isensee et al., "nnU-Net", Nature Methods 2021; documentation/dataset_format.md of version 2. Class numbers
are the category ids, which follow each other; void is the label `ignore` after the last one. Images are
two-dimensional: PNG of 8 bits, RGB in one file and other channels in a file each; TIFF for more than 8 bits.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.data.folds.write import Member, divided, members, members_of, presence_of
from segbench.data.images import open_raster
from segbench.data.tiff import write_tiff
from segbench.data.writing.image import link
from segbench.errors import SegbenchError
from segbench.exchange.export.images import new_folder, save_png
from segbench.files import atomic_folder, write_json

log = logging.getLogger(__name__)
SPLITS_FILE = "splits_final.json"
COLOURS = ("R", "G", "B")


def export(dataset: Dataset, out: Path, *, number: int = 501, folds: int | None = None) -> Path:
    """Write a dataset as nnU-Net wants it.

    The evaluation split becomes `imagesTs` (and `labelsTs`, which nnU-Net does not read), others `imagesTr`.
    `splits_final.json` has the folds, or the validation split as the only fold.

    Args:
        dataset: the converted dataset.
        out: nnU-Net's folder of raw datasets; `DatasetNNN_NAME` must not exist in it.
        number: NNN, from 1 to 999.
        folds: number of folds of a cross-validation, divided as by `segbench fold`; None: no folds.

    Returns:
        The folder of the dataset.

    Raises:
        SegbenchError: nnU-Net has no such truth, or the folder exists.
    """
    info = dataset.info
    if "semantic" not in info.tasks or info.overlapping:
        what = "classes that overlap" if info.overlapping else "no class for each pixel"
        raise SegbenchError(
            f"has {what}, which nnU-Net cannot learn",
            where=dataset.root,
            remedy="choose `--to pairs`" if info.overlapping else "choose `--to yolo` or `--to coco`",
        )
    trained = members(dataset) if folds else members_of(dataset, _training_splits(dataset))
    tested = dataset.split(info.evaluation_split)
    if any(member.split.name == tested.name for member in trained):
        held_out: list[Member] = []
    else:
        held_out = members_of(dataset, [tested.name])
    ending = ".png" if info.levels is None else ".tif"
    folder = new_folder(out / f"Dataset{number:03}_{info.name}")
    with atomic_folder(folder) as partial:
        void = [
            _write(partial, suffix, member, ending)
            for suffix, found in (("Tr", trained), ("Ts", held_out))
            for member in found
        ]
        write_json(partial / "dataset.json", _description(dataset, len(trained), ending, any(void)))
        if found := _folds(dataset, trained, folds):
            write_json(partial / SPLITS_FILE, found)
    log.info("%s: %d images to train on, %d to predict", folder, len(trained), len(held_out))
    return folder


def _training_splits(dataset: Dataset) -> list[str]:
    return [name for name in dataset.info.splits if name != dataset.info.evaluation_split]


def _folds(dataset: Dataset, trained: list[Member], folds: int | None) -> list[dict[str, list[str]]]:
    """Return the folds: names to train on, and to validate on; none if nnU-Net may divide the images."""
    if folds:
        fold_of = divided(dataset, trained, presence_of(dataset, trained), folds)
        held_out = [{m.name for m, f in zip(trained, fold_of) if f == fold} for fold in range(folds)]
    elif (val := dataset.info.validation_split) is not None:
        held_out = [{m.name for m in trained if m.split.name == val}]
    else:
        return []
    return [
        {
            "train": [m.name for m in trained if m.name not in names],
            "val": [m.name for m in trained if m.name in names],
        }
        for names in held_out
    ]


def _description(dataset: Dataset, count: int, ending: str, void: bool) -> dict[str, Any]:
    info = dataset.info
    channels = COLOURS if info.channels == 3 else [f"channel_{k}" for k in range(info.channels)]
    labels = {"background": 0, **{c.name: c.id for c in info.categories}}
    if len(labels) != len(info.categories) + 1 or "ignore" in labels:
        raise SegbenchError(
            "has a class called background or ignore, names that nnU-Net gives a meaning",
            where=dataset.root,
            remedy="rename the class in the options of the dataset",
        )
    if void:
        labels["ignore"] = len(labels)
    return {
        "channel_names": {str(k): name for k, name in enumerate(channels)},
        "labels": labels,
        "numTraining": count,
        "file_ending": ending,
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "name": info.name,
        "description": info.title,
        "licence": info.licence,
        "reference": info.citation,
    }


def _write(folder: Path, suffix: str, member: Member, ending: str) -> bool:
    """Write image and label of a case. Return whether the label has void."""
    info = member.split.dataset.info
    for kind in ("images", "labels"):
        (folder / f"{kind}{suffix}").mkdir(exist_ok=True)
    _write_image(member.split, member.record, folder / f"images{suffix}", member.name, ending)
    ids = member.split.read_semantic(member.record.stem)
    ignored = len(info.categories) + 1
    labels = np.where(ids < 0, ignored, ids).astype(np.uint8 if ignored < 256 else np.uint16)
    _save(labels, folder / f"labels{suffix}" / f"{member.name}{ending}")
    return bool((ids < 0).any())


def _write_image(split: Split, record: ImageRecord, folder: Path, name: str, ending: str) -> None:
    channels = split.dataset.info.channels
    first = folder / f"{name}_0000{ending}"
    if ending == record.suffix.lower() == ".png" and channels in (1, 3):
        with Image.open(record.path) as image:
            plain = image.mode == ("L" if channels == 1 else "RGB") and not image.getexif()
        if plain:
            link(record.path, first)
            return
    array = open_raster(record.path, channels).array
    if ending == ".png" and channels == 3:
        _save(array, first)
        return
    for channel in range(channels):
        _save(np.ascontiguousarray(array[:, :, channel]), folder / f"{name}_{channel:04}{ending}")


def _save(array: np.ndarray, path: Path) -> None:
    if path.suffix == ".png":
        save_png(array, path)
    else:
        write_tiff(path, array)
