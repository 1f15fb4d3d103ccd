"""COCO 2017: panoptic and instance truth; the classes count from 1 in the order of the source's ids.

Lin et al. 2014; Kirillov et al. 2019. `val` is scored: the truth of upstream's test set is not public.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from segbench.data.converters.common import color, inside, parse_options, require
from segbench.data.dataset import Archives, Category, Converted, Sample, open_image, rgb_to_id
from segbench.errors import SegbenchError
from segbench.files import read_json

SPLITS = ("train", "val")


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    panoptic: bool = True
    """False reads the instance files alone."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Options: see `Options`."""
    panoptic = parse_options(Options, options).panoptic
    source = _Source(archives, "panoptic" if panoptic else "instances")
    return Converted(
        categories=source.categories,
        background=not panoptic,
        evaluation_split="val",
        samples=source.panoptic_samples() if panoptic else source.instance_samples(),
    )


class _Source:
    """The JSON files of one kind name the classes; both kinds give truth."""

    def __init__(self, archives: Archives, kind: str) -> None:
        self.archives = archives
        first = self.annotations(kind, "val")["categories"]
        first = sorted(first, key=lambda c: c["id"])
        self.number_of = {c["id"]: number for number, c in enumerate(first, 1)}
        self.categories = [
            Category(
                id=number,
                name=c["name"],
                isthing=bool(c.get("isthing", True)),
                color=c.get("color") or color(number),
            )
            for number, c in enumerate(first, 1)
        ]

    def folder(self, kind: str) -> Path:
        prefix = "panoptic_" if kind == "panoptic" else ""
        return self.archives[f"{prefix}annotations_trainval2017.zip"] / "annotations"

    def annotations(self, kind: str, split: str) -> dict[str, Any]:
        return read_json(require(self.folder(kind) / f"{kind}_{split}2017.json"))

    def image(self, split: str, name: str) -> Path:
        return require(inside(self.archives[f"{split}2017.zip"] / f"{split}2017", name))

    def instances(self, split: str) -> tuple[dict[int, str], dict[int, list[dict[str, Any]]]]:
        """File name and objects by image id."""
        source = self.annotations("instances", split)
        objects = defaultdict(list)
        for annotation in source["annotations"]:
            objects[annotation["image_id"]].append(self.renumbered(annotation))
        return {i["id"]: i["file_name"] for i in source["images"]}, objects

    def renumbered(self, annotation: dict[str, Any]) -> dict[str, Any]:
        number = self.number_of.get(annotation["category_id"])
        if number is None:
            raise SegbenchError(
                f"annotation {annotation['id']} has category {annotation['category_id']}, not in the list",
                where="COCO annotations",
                remedy="fetch the archives again",
            )
        return annotation | {"category_id": number}

    def instance_samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            names, objects = self.instances(split)
            for image_id, name in names.items():
                image = self.image(split, name)
                yield Sample(split, image.stem, image, instances=objects[image_id])

    def panoptic_samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            source = self.annotations("panoptic", split)
            names = {i["id"]: i["file_name"] for i in source["images"]}
            _, objects = self.instances(split)
            maps = require(self.folder("panoptic") / f"panoptic_{split}2017")
            if (maps / maps.name).is_dir():  # the nested archive may hold the folder or its files
                maps /= maps.name
            for annotation in source["annotations"]:
                image = self.image(split, names[annotation["image_id"]])
                rgb = open_image(require(inside(maps, annotation["file_name"]))).convert("RGB")
                yield Sample(
                    split,
                    image.stem,
                    image,
                    instances=objects[annotation["image_id"]],
                    panoptic=(
                        rgb_to_id(np.asarray(rgb)),
                        [self.renumbered(s) for s in annotation["segments_info"]],
                    ),
                )
