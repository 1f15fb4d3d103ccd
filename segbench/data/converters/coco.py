"""COCO 2017: panoptic and instance truth. Classes are numbered from 1 in the order of COCO's ids.

Lin et al. 2014; Kirillov et al. 2019. `val` is scored, as the truth of COCO's test set is not public.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from segbench.contract.view import Category
from segbench.data.coco import checks, masks
from segbench.data.converters.coco_entries import (
    CategoryEntry,
    ImageEntry,
    Instances,
    ObjectEntry,
    Panoptic,
    SegmentEntry,
)
from segbench.data.converters.common import color, inside, parse_options, read_checked, require
from segbench.data.dataset import Archives, Converted, Sample, rgb_to_id
from segbench.data.images import open_image
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)
SPLITS = ("train", "val")
T = TypeVar("T")
Size = tuple[int, int]
"""Height, width"""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    panoptic: bool = True
    """Read the panoptic files, too. False: the instance files only."""
    scale: bool = False
    """Scale the annotation if its size is not that of the image. False: that is an error."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archives. Options: see `Options`."""
    chosen = parse_options(Options, options)
    source = _Source(archives, chosen)
    return Converted(
        categories=source.categories,
        background=not chosen.panoptic,
        evaluation_split="val",
        orientation="stored",
        division="published",
        partial=True,
        samples=source.panoptic_samples() if chosen.panoptic else source.instance_samples(),
    )


class _Source:
    """Reads the JSON files. The reference file defines the classes; the others are matched by name."""

    def __init__(self, archives: Archives, options: Options) -> None:
        self.archives, self.options = archives, options
        self.reference = self.panoptic_json("val") if options.panoptic else self.instances_json("val")
        kind: type[Instances | Panoptic] = Panoptic if options.panoptic else Instances
        first = sorted(read_checked(self.reference, kind).categories, key=lambda c: c.id)
        self.ids = _ids_by_name(first, self.reference)
        self.number_of = {name: number for number, name in enumerate(self.ids, 1)}
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

    def numbers(self, entries: Sequence[CategoryEntry], path: Path, *, some: bool = False) -> dict[int, int]:
        """Map the category ids of a file to class numbers, by name. `some`: the file may lack classes."""
        ids = _ids_by_name(entries, path)
        checks.check_same_names(ids, path, self.ids, self.reference, some=some)
        moved = [
            f"{name} {own} (there {self.ids[name]})" for name, own in ids.items() if own != self.ids[name]
        ]
        if moved:
            log.warning(
                "%s: category ids differ from those of %s; classes are matched by name: %s",
                path,
                self.reference,
                ", ".join(moved),
            )
        return {own: self.number_of[name] for name, own in ids.items()}

    def instances(self, split: str) -> tuple[dict[int, ImageEntry], dict[int, list[dict[str, Any]]]]:
        """Read an instance file: return images by id, and objects by image id."""
        path = self.instances_json(split)
        source = read_checked(path, Instances)
        images = _images(source.images, path)
        numbers = self.numbers(source.categories, path, some=self.options.panoptic)
        _check_outlines(source.annotations, path)
        objects = defaultdict(list)
        for annotation in source.annotations:
            _known(annotation.image_id, images, "image", path)
            objects[annotation.image_id].append(_renumbered(annotation, numbers, path))
        return images, objects

    def instance_samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            path = self.instances_json(split)
            images, objects = self.instances(split)
            for image_id, entry in images.items():
                image = self.image(split, entry.file_name)
                stated, size = self.sizes(entry, image, path)
                found = _fitted(objects[image_id], stated, size, path)
                yield Sample(split, image.stem, image, instances=found)

    def panoptic_samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            path, other = self.panoptic_json(split), self.instances_json(split)
            source = read_checked(path, Panoptic)
            images = _images(source.images, path)
            numbers = self.numbers(source.categories, path)
            known, objects = self.instances(split)
            checks.unique_ids(
                ((a.image_id, a.file_name) for a in source.annotations), "annotation of image", path
            )
            if len(source.annotations) < len(images):
                unused = len(images) - len(source.annotations)
                log.warning("%s: %d images without an annotation are skipped", path, unused)
            maps = require(path.with_suffix(""))
            if (maps / maps.name).is_dir():  # the nested archive may contain the folder or its files
                maps /= maps.name
            for annotation in source.annotations:
                entry = _known(annotation.image_id, images, "image", path)
                _check_same_image(entry, path, known, other)
                image = self.image(split, entry.file_name)
                stated, size = self.sizes(entry, image, path)
                rgb = open_image(require(inside(maps, annotation.file_name))).convert("RGB")
                ids = rgb_to_id(np.asarray(rgb))
                if self.options.scale:
                    ids = masks.resized(ids, size)
                found = _fitted(objects[annotation.image_id], stated, size, other)
                segments = [_renumbered(s, numbers, path) for s in annotation.segments_info]
                yield Sample(split, image.stem, image, instances=found, panoptic=(ids, segments))

    def sizes(self, entry: ImageEntry, image: Path, path: Path) -> tuple[Size, Size]:
        """Return the size of an image as the JSON file states it, and its real size."""
        try:
            with Image.open(image) as file:
                size = file.height, file.width
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            size = open_image(image).size[::-1]  # raises a clear error
        stated = entry.height or size[0], entry.width or size[1]
        if stated != size and not self.options.scale:
            turned = ", which fits an image that is turned by a right angle" if stated[::-1] == size else ""
            raise SegbenchError(
                f"is {size[1]}x{size[0]} (width x height), {path} states {stated[1]}x{stated[0]}{turned}",
                where=image,
                remedy="use the images that were annotated, or scale the truth with `options: {scale: true}`",
            )
        return stated, size


def _ids_by_name(entries: Sequence[CategoryEntry], path: Path) -> dict[str, int]:
    checks.unique_ids(((c.id, c.name) for c in entries), "category", path)
    return checks.unique_names(((c.id, c.name) for c in entries), "category", path)


def _images(entries: Sequence[ImageEntry], path: Path) -> dict[int, ImageEntry]:
    checks.unique_ids(((i.id, i.file_name) for i in entries), "image", path)
    checks.unique_names(((i.id, i.file_name) for i in entries), "image", path)
    return {i.id: i for i in entries}


def _check_same_image(entry: ImageEntry, path: Path, known: Mapping[int, ImageEntry], other: Path) -> None:
    """Check that an id means the same image in the panoptic and in the instance file."""
    name = known[entry.id].file_name if entry.id in known else None
    if name is None or checks.stem(name) != checks.stem(entry.file_name):
        is_there = "not listed" if name is None else checks.shown(name)
        raise SegbenchError(
            f"image id {entry.id} is {checks.shown(entry.file_name)}, in {other} it is {is_there}",
            where=path,
            remedy="use two files of the same release",
        )


def _check_outlines(annotations: Sequence[ObjectEntry], path: Path) -> None:
    lacking = [a for a in annotations if not masks.has_outline(a.segmentation)]
    if lacking:
        raise SegbenchError(
            f"{len(lacking)} of {len(annotations)} objects have no outline, first annotation {lacking[0].id} "
            f"of image {lacking[0].image_id} (segmentation: {checks.shown(lacking[0].segmentation)})",
            where=path,
            remedy="outline these objects or remove them; boxes are not enough to learn masks",
        )


def _renumbered(
    annotation: ObjectEntry | SegmentEntry, numbers: Mapping[int, int], path: Path
) -> dict[str, Any]:
    number = _known(annotation.category_id, numbers, "category", path)
    return {key: value for key, value in annotation if value is not None} | {"category_id": number}


def _fitted(objects: list[dict[str, Any]], stated: Size, size: Size, path: Path) -> list[dict[str, Any]]:
    """Scale objects from an image of the `stated` size to one of `size`."""
    if stated == size:
        return objects
    found = []
    for entry in objects:
        try:
            outline = masks.standardise(entry["segmentation"], *stated)
        except ValueError as error:
            raise SegbenchError(
                f"annotation {entry['id']}: {error}", where=path, remedy="correct the annotation or remove it"
            ) from error
        kept = {key: value for key, value in entry.items() if key not in ("area", "bbox")}
        found.append(kept | {"segmentation": masks.scaled(outline, stated, size)})
    return found


def _known(key: int, listed: Mapping[int, T], kind: str, path: Path) -> T:
    """Return `listed[key]`. SegbenchError if the key is missing."""
    if key not in listed:
        raise SegbenchError(
            f"an annotation has {kind} {key}, which is not listed",
            where=path,
            remedy="fetch the archives again",
        )
    return listed[key]
