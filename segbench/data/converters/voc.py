"""PASCAL VOC 2012 and SBD, each alone or joined. Everingham et al. 2010; Hariharan et al. 2011.

Joined, the training images are those of VOC and SBD without VOC's `val`, which is scored. An image that is in
both has VOC's truth. With `keep: sbd`, the training images are those of SBD's `train`, and the images of
VOC's `val` that are not among them are scored: for VOC 2011 the 736 images of `seg11valid`, on which the
authors of FCN report (Shelhamer et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.io import loadmat

from segbench.data.coco.masks import objects_of_map
from segbench.data.converters.common import categories, inside, parse_options, read_lines, require, same_size
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import read_label_map
from segbench.errors import SegbenchError

CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
VOID = 255
VOC_ARCHIVES = {
    2011: ("VOCtrainval_25-May-2011.tar", "TrainVal/VOCdevkit/VOC2011"),
    2012: ("VOCtrainval_11-May-2012.tar", "VOCdevkit/VOC2012"),
}
"""Archive of each year, and its folder."""


class Options(BaseModel):
    """The sources to use."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    voc: bool = False
    """Use the images of VOC's segmentation set."""
    sbd: bool = False
    """Use the images of SBD."""
    year: Literal[2011, 2012] = 2012
    """Year of VOC."""
    keep: Literal["voc", "sbd"] = "voc"
    """With both: the source whose split is kept. voc: VOC's `val` is scored, and all other images are for
    training. sbd: SBD's `train` is for training, and the other images of VOC's `val` are scored."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archives. Options: see `Options`."""
    chosen = parse_options(Options, options)
    archive, folder = VOC_ARCHIVES[chosen.year]
    voc = _Voc(archives[archive] / folder) if chosen.voc else None
    sbd = _Sbd(archives["benchmark.tgz"] / "benchmark_RELEASE" / "dataset") if chosen.sbd else None
    return Converted(
        categories=categories(CLASSES, isthing=True),
        background=True,
        evaluation_split="val",
        orientation="stored",
        division="published",
        partial=True,
        samples=_samples(voc, sbd, chosen.keep),
    )


def _samples(voc: _Voc | None, sbd: _Sbd | None, keep: str) -> Iterator[Sample]:
    if voc and sbd and keep == "sbd":
        training = dict.fromkeys(sbd.names("train"))
        yield from (sbd.sample("train", name) for name in training)
        yield from (voc.sample("val", name) for name in voc.names("val") if name not in training)
        return
    if voc:
        for split in ("train", "val"):
            yield from (voc.sample(split, name) for name in voc.names(split))
    if voc and sbd:
        taken = {*voc.names("train"), *voc.names("val")}
        joined = dict.fromkeys([*sbd.names("train"), *sbd.names("val")])
        yield from (sbd.sample("train", name) for name in joined if name not in taken)
    elif sbd:
        for split in ("train", "val"):
            yield from (sbd.sample(split, name) for name in sbd.names(split))


@dataclass(frozen=True)
class _Voc:
    """Palette PNGs of classes and of objects; 255 = border or difficult."""

    root: Path

    def names(self, split: str) -> list[str]:
        return read_lines(self.root / "ImageSets" / "Segmentation" / f"{split}.txt")

    def sample(self, split: str, name: str) -> Sample:
        image = require(inside(self.root, f"JPEGImages/{name}.jpg"))
        return Sample(split, name, image, load=partial(self.truth, name))

    def truth(self, name: str) -> dict[str, Any]:
        path = require(inside(self.root, f"SegmentationClass/{name}.png"))
        classes = read_label_map(path).astype(np.int32)
        objects = read_label_map(require(inside(self.root, f"SegmentationObject/{name}.png")))
        same_size(classes, path, objects, "the map of objects")
        category_of = {}
        for k in np.unique(objects[(objects != 0) & (objects != VOID)]).tolist():
            inner = classes[objects == k]
            counts = np.bincount(inner[(inner != 0) & (inner != VOID)])
            if counts.any():  # objects that are all void are skipped
                category_of[k] = int(counts.argmax())
        return {
            "semantic": np.where(classes == VOID, -1, classes),
            "instances": objects_of_map(objects, category_of),
        }


@dataclass(frozen=True)
class _Sbd:
    """MATLAB files of classes and of objects, without void."""

    root: Path

    def names(self, split: str) -> list[str]:
        return read_lines(self.root / f"{split}.txt")

    def sample(self, split: str, name: str) -> Sample:
        image = require(inside(self.root, f"img/{name}.jpg"))
        return Sample(split, name, image, load=partial(self.truth, name))

    def truth(self, name: str) -> dict[str, Any]:
        objects, numbers = self._load(name, "inst", "GTinst")
        return {
            "semantic": self._load(name, "cls", "GTcls")[0],
            "instances": objects_of_map(objects, dict(enumerate(numbers, 1))),
        }

    def _load(self, name: str, folder: str, key: str) -> tuple[np.ndarray, list[int]]:
        """Return a map and, for maps of objects, the categories of its objects."""
        path = require(inside(self.root, f"{folder}/{name}.mat"))
        try:
            content = loadmat(path, simplify_cells=True)[key]
            segmentation = np.asarray(content["Segmentation"]).astype(np.int32)
            if segmentation.ndim != 2:
                raise ValueError(f"Segmentation of shape {segmentation.shape}")
            numbers = np.atleast_1d(content["Categories"]) if key == "GTinst" else np.zeros(0)
            return segmentation, numbers.astype(int).ravel().tolist()
        except Exception as error:  # loadmat raises many types on a broken file
            raise SegbenchError(
                f"is not a MATLAB file with '{key}' ({error})", where=path, remedy="fetch the archive again"
            ) from error
