"""COCO 2017: panoptic and instance truth; the classes count from 1 in the order of the source's ids.

Lin et al. 2014; Kirillov et al. 2019. `val` is scored: the truth of upstream's test set is not public.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from segbench.data.converters.common import color, inside, parse_options, read_checked, require
from segbench.data.dataset import Archives, Category, Color, Converted, Sample, rgb_to_id
from segbench.data.images import open_image
from segbench.errors import SegbenchError

SPLITS = ("train", "val")
T = TypeVar("T")


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    panoptic: bool = True
    """False reads the instance files alone."""


Length = Annotated[float, Field(allow_inf_nan=False)]


class CategoryEntry(BaseModel):
    id: int
    name: str
    isthing: bool = True
    color: Color | None = None


class ImageEntry(BaseModel):
    id: int
    file_name: str


class ObjectEntry(BaseModel):
    id: int
    image_id: int
    category_id: int
    segmentation: Any
    iscrowd: bool = False
    area: Length | None = None
    bbox: tuple[Length, Length, Length, Length] | None = None


class SegmentEntry(BaseModel):
    id: int
    category_id: int
    iscrowd: bool = False


class PanopticEntry(BaseModel):
    image_id: int
    file_name: str
    segments_info: list[SegmentEntry]


class Instances(BaseModel):
    """What is read of an instance file."""

    images: list[ImageEntry]
    annotations: list[ObjectEntry]
    categories: list[CategoryEntry]


class Panoptic(BaseModel):
    """What is read of a panoptic file."""

    images: list[ImageEntry]
    annotations: list[PanopticEntry]
    categories: list[CategoryEntry]


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Options: see `Options`."""
    panoptic = parse_options(Options, options).panoptic
    source = _Source(archives, panoptic)
    return Converted(
        categories=source.categories,
        background=not panoptic,
        evaluation_split="val",
        samples=source.panoptic_samples() if panoptic else source.instance_samples(),
    )


class _Source:
    """The JSON files of one kind name the classes; both kinds give truth."""

    def __init__(self, archives: Archives, panoptic: bool) -> None:
        self.archives = archives
        path = self.panoptic_json("val") if panoptic else self.instances_json("val")
        kind: type[Instances | Panoptic] = Panoptic if panoptic else Instances
        first = sorted(read_checked(path, kind).categories, key=lambda c: c.id)
        self.number_of = {c.id: number for number, c in enumerate(first, 1)}
        if len(self.number_of) < len(first):
            raise SegbenchError("lists a category id twice", where=path, remedy="mend it, or fetch it again")
        self.categories = [
            Category(id=number, name=c.name, isthing=c.isthing, color=c.color or color(number))
            for number, c in enumerate(first, 1)
        ]

    def instances_json(self, split: str) -> Path:
        root = self.archives["annotations_trainval2017.zip"]
        return root / "annotations" / f"instances_{split}2017.json"

    def panoptic_json(self, split: str) -> Path:
        root = self.archives["panoptic_annotations_trainval2017.zip"]
        return root / "annotations" / f"panoptic_{split}2017.json"

    def image(self, split: str, name: str) -> Path:
        return require(inside(self.archives[f"{split}2017.zip"] / f"{split}2017", name))

    def instances(self, split: str) -> tuple[dict[int, str], dict[int, list[dict[str, Any]]]]:
        """File name and objects by image id."""
        path = self.instances_json(split)
        source = read_checked(path, Instances)
        names = {i.id: i.file_name for i in source.images}
        objects = defaultdict(list)
        for annotation in source.annotations:
            _known(annotation.image_id, names, "image", path)
            objects[annotation.image_id].append(self.renumbered(annotation, path))
        return names, objects

    def renumbered(self, annotation: ObjectEntry | SegmentEntry, path: Path) -> dict[str, Any]:
        number = _known(annotation.category_id, self.number_of, "category", path)
        return {key: value for key, value in annotation if value is not None} | {"category_id": number}

    def instance_samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            names, objects = self.instances(split)
            for image_id, name in names.items():
                image = self.image(split, name)
                yield Sample(split, image.stem, image, instances=objects[image_id])

    def panoptic_samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            path = self.panoptic_json(split)
            source = read_checked(path, Panoptic)
            names = {i.id: i.file_name for i in source.images}
            _, objects = self.instances(split)
            maps = require(path.with_suffix(""))
            if (maps / maps.name).is_dir():  # the nested archive may hold the folder or its files
                maps /= maps.name
            for annotation in source.annotations:
                image = self.image(split, _known(annotation.image_id, names, "image", path))
                rgb = open_image(require(inside(maps, annotation.file_name))).convert("RGB")
                segments = [self.renumbered(s, path) for s in annotation.segments_info]
                yield Sample(
                    split,
                    image.stem,
                    image,
                    instances=objects[annotation.image_id],
                    panoptic=(rgb_to_id(np.asarray(rgb)), segments),
                )


def _known(key: int, listed: Mapping[int, T], kind: str, path: Path) -> T:
    """What `key` stands for; it must be listed."""
    if key not in listed:
        raise SegbenchError(
            f"an annotation has {kind} {key}, not in the list", where=path, remedy="fetch the archives again"
        )
    return listed[key]
