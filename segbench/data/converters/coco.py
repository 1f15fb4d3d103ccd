"""COCO: instance and panoptic truth, of COCO itself and as annotation tools export it.

Lin et al. 2014; Kirillov et al. 2019. CVAT, Roboflow, Label Studio, VIA, Datumaro, labelme2coco and others
write this format. Classes are numbered from 1 in the order of the ids in the file.

Splits: one annotation file for each, from the options or by their paths, such as `train/` or
`instances_val2017.json`; else `test` or `test_fraction` divide the images of the one file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import field_validator

from segbench.contract.limits import MAX_PIXELS
from segbench.data.coco import checks, masks
from segbench.data.converters.coco_classes import Classes
from segbench.data.converters.coco_entries import ImageEntry, ObjectEntry, PanopticEntry, SegmentEntry
from segbench.data.converters.coco_files import Paths, Place, found_files, place_of
from segbench.data.converters.coco_images import ImageFolder
from segbench.data.converters.coco_orientation import Size, Sizes, orientation_of, sizes_of
from segbench.data.converters.coco_reader import ObjectFile, PanopticFile, Texts
from segbench.data.converters.common import inside, parse_options, require
from segbench.data.converters.folder import BoxOnly, FolderOptions, evaluation_split
from segbench.data.converters.named_images import NamedImage, name_and_divide
from segbench.data.converters.splits import SPLITS
from segbench.data.dataset import Archives, Converted, Orientation, Sample, rgb_to_id
from segbench.data.faults import Faults
from segbench.data.images import open_image
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)
BOX_SHARE = 0.01
"""Smallest difference between the area of an outline and that of its box, as a share of the latter, that
shows that a stated area is that of the box."""


class Options(FolderOptions):
    labels: list[str] | None = None
    """The classes, in order. null: the categories of the files, in the order of their ids."""
    instances: Paths | None = None
    """The instance file, or one for each split (`{train: ..., test: ...}`); paths count from the folder, or
    begin with the name of an archive. null: those that are found, if `panoptic` is not given either."""
    panoptic: Paths | bool | None = None
    """The panoptic file, or one for each split, each with its maps in a folder of the same name. null: those
    that are found, if `instances` is not given; true: they must be found; false: none."""
    images: Paths | None = None
    """The folder of the images, or one for each split. null: images are searched by name."""
    boxes: BoxOnly = "error"
    """Objects without an outline, which have only a box, are errors (error) or skipped (skip). truth: the
    boxes of all objects are the truth, without masks, for the task detection."""
    orientation: Orientation | None = None
    """Whether annotations count the pixels of images that EXIF turns as stored (stored), or as viewers and
    most annotation tools show them (upright). null: as the stated sizes of the images show."""
    scale: bool = False
    """Scale the annotation if its size is not that of the image. False: that is an error."""

    @field_validator("instances", "panoptic", "images", mode="before")
    @classmethod
    def splits_are_known(cls, value: Any) -> Any:
        if isinstance(value, dict) and (wrong := [key for key in value if key not in SPLITS]):
            raise ValueError(f"{wrong[0]!r} is not a split; write train, val or test")
        return value


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the folder or the archives. Options: see `Options`."""
    chosen = parse_options(Options, options)
    source = _Source(place_of(archives, chosen), chosen)
    return Converted(
        categories=source.classes.categories,
        background=not source.panoptic and chosen.boxes != "truth",
        boxes=chosen.boxes == "truth",
        evaluation_split=evaluation_split([image.split for image in source.images]),
        orientation=source.orientation,
        division=source.division,
        partial=True,  # a file may list classes that its images do not have
        samples=source.samples(),
    )


@dataclass(kw_only=True)
class _Listed(NamedImage):
    """An image. `file`: the split of the file that lists it; None: no file lists it."""

    file: str | None
    id: int
    sizes: Sizes


class _Source:
    """The files of a dataset, and the images that they list."""

    def __init__(self, place: Place, options: Options) -> None:
        self.place, self.options = place, options
        instances, panoptic = _paths(place, options)
        faults = Faults()
        self.instances = {
            split: ObjectFile(path, faults, options.encoding, boxes=options.boxes)
            for split, path in instances.items()
        }
        self.panoptic = {
            split: PanopticFile(path, faults, options.encoding) for split, path in panoptic.items()
        }
        faults.raise_if_any()
        self.files: Mapping[str, ObjectFile | PanopticFile] = self.panoptic or self.instances
        first = [self.files[split] for split in ("val", "train", "test", "") if split in self.files]
        others = list(self.instances.values()) if self.panoptic else []
        self.classes = Classes(first, others, options.labels, things=not self.panoptic)
        self.stuff = frozenset(c.id for c in self.classes.categories if not c.isthing)
        self.maps = {split: _maps(file.path) for split, file in self.panoptic.items()}
        self.images = self._images()
        self.orientation = options.orientation or orientation_of(image.sizes for image in self.images)
        self._check_sizes()
        self.division = name_and_divide(self.images, options)
        for file in self.instances.values():
            if file.skipped:
                log.warning("%s: skipped %d objects without an outline", file.path, file.skipped)
        if options.boxes == "truth" and self.panoptic:
            raise SegbenchError(
                "is truth, but there are panoptic files",
                where="options.boxes",
                remedy="write `panoptic: false`",
            )

    def _images(self) -> list[_Listed]:
        """Find the images that the files list."""
        folders = self._folders()
        faults = Faults()
        found: list[_Listed] = []
        lister: dict[Path, tuple[Path, str]] = {}
        for split, file in self.files.items():
            for entry in self._entries(split):
                try:
                    image = folders[split].find(entry.file_name, file.path, split)
                    sizes = sizes_of(image, entry.height, entry.width)
                except SegbenchError as error:
                    faults.add(error)
                    continue
                if other := lister.get(image):
                    what = f"the images {entry.file_name!r} and {other[1]!r} (in {other[0]}) are both {image}"
                    faults.add(SegbenchError(what, where=file.path, remedy="list each image once"))
                    continue
                lister[image] = file.path, entry.file_name
                found.append(_Listed(path=image, split=split, file=split, id=entry.id, sizes=sizes))
        faults.raise_if_any()
        return found + self._unlisted(folders, lister)

    def _folders(self) -> dict[str, ImageFolder]:
        """Return the images among which those of each split are searched."""
        if self.options.images is None:
            maps = list(self.maps.values())
            everywhere = ImageFolder(self.place.tops, beside=True, without=maps)
            return dict.fromkeys(self.files, everywhere)
        given = self.place.paths(self.options.images, "images")
        if lacking := [split for split in self.files if split not in given and "" not in given]:
            raise SegbenchError(
                f"has no folder for the split '{lacking[0]}'",
                where="options.images",
                remedy="give one folder for all splits, or one for each",
            )
        for path in given.values():
            if not path.is_dir():
                raise SegbenchError("is not a folder", where=path, remedy="name the folder in `images`")
        made = {path: ImageFolder({"": path}, beside=False) for path in given.values()}
        return {split: made[given.get(split) or given[""]] for split in self.files}

    def _entries(self, split: str) -> Iterator[ImageEntry]:
        """Yield the images of a file. Images without a panoptic annotation are skipped."""
        file = self.files[split]
        if split not in self.panoptic:
            yield from file.images.values()
            return
        annotated = set(file.image_ids.tolist())
        if len(annotated) < len(file.images):
            unused = len(file.images) - len(annotated)
            log.warning("%s: %d images without an annotation are skipped", file.path, unused)
        instances = self.instances.get(split)
        for number in file.image_ids.tolist():
            if instances is not None:
                _check_same_image(file.images[number], file.path, instances)
            yield file.images[number]

    def _unlisted(self, folders: Mapping[str, ImageFolder], listed: Mapping[Path, object]) -> list[_Listed]:
        """Return the images that no file lists, if the options do not skip them."""
        found = {path: split for f in folders.values() for split, path in f.unlisted(listed)}
        if not found or self.panoptic:
            return []
        if self.options.unannotated == "skip":
            log.warning(
                "%s: skipped %d images that no file lists, such as %s (`unannotated: empty` uses them as "
                "images without objects)",
                next(iter(self.place.tops.values())),
                len(found),
                min(found).name,
            )
            return []
        one = next(iter(self.files)) if len(self.files) == 1 else None
        faults = Faults()
        for path, split in found.items():
            if one is None and split not in self.files:
                what = "no file lists the image, and it is not in the folder of a split"
                faults.add(SegbenchError(what, where=path, remedy="move it, or set `unannotated: skip`"))
        faults.raise_if_any()
        return [
            _Listed(
                path=path,
                split=split if one is None else one,
                file=None,
                id=0,
                sizes=sizes_of(path, None, None),
            )
            for path, split in found.items()
        ]

    def _check_sizes(self) -> None:
        faults = Faults()
        for listed in self.images:
            sizes, size = listed.sizes, listed.sizes.seen(self.orientation)
            if sizes.stated is None or sizes.stated == size:
                continue
            if self.options.scale and sizes.stated[0] * sizes.stated[1] <= MAX_PIXELS:
                continue
            remedy = "use the images that were annotated, or scale the truth with `options: {scale: true}`"
            turned = ""
            if sizes.stated == sizes.stored or sizes.stated == sizes.upright:
                turned = f", which fits only with `orientation: {_other(self.orientation)}` (EXIF)"
                remedy = "set `orientation` in the options, or turn the image itself"
            elif sizes.stated[::-1] == size:
                turned = ", which fits an image that is turned by a right angle"
            assert listed.file is not None
            faults.add(
                SegbenchError(
                    f"is {size[1]}x{size[0]} (width x height), {self.files[listed.file].path} states "
                    f"{sizes.stated[1]}x{sizes.stated[0]}{turned}",
                    where=listed.path,
                    remedy=remedy,
                )
            )
        faults.raise_if_any()

    def samples(self) -> Iterator[Sample]:
        for image in self.images:
            load = _Truth(image.sizes, self.orientation, self._objects(image), self._segments(image))
            yield Sample(image.split, image.name, image.path, group=image.group, load=load)

    def _objects(self, image: _Listed) -> _Objects | None:
        if not self.instances:
            return None
        boxes = self.options.boxes == "truth"
        if image.file is None or image.file not in self.instances:
            return _Objects(None, Path(), {}, frozenset(), boxes)
        file = self.instances[image.file]
        numbers = self.classes.numbers[file.path]
        return _Objects(file.of(image.id), file.path, numbers, self.stuff, boxes)

    def _segments(self, image: _Listed) -> _Segments | None:
        if not self.panoptic:
            return None
        assert image.file is not None
        file = self.panoptic[image.file]
        folder, numbers = self.maps[image.file], self.classes.numbers[file.path]
        return _Segments(file.of(image.id), folder, numbers, self.options.scale)


@dataclass(frozen=True)
class _Objects:
    """The objects of an image."""

    texts: Texts[ObjectEntry] | None
    """None: no file lists the image."""
    path: Path
    numbers: Mapping[int, int]
    """Id of a category in the file -> in the dataset."""
    stuff: frozenset[int]
    boxes: bool

    def read(self, sizes: Sizes, orientation: Orientation) -> list[dict[str, Any]]:
        found = [_renumbered(entry, self.numbers) for entry in (self.texts.parsed() if self.texts else ())]
        if self.boxes:
            return [_without_mask(one, sizes, orientation) for one in found]
        # the panoptic file has stuff
        objects = [_without_area_of_box(one) for one in found if one["category_id"] not in self.stuff]
        return _fitted(objects, sizes, orientation, self.path)


@dataclass(frozen=True)
class _Segments:
    """The panoptic truth of an image."""

    texts: Texts[PanopticEntry]
    folder: Path
    numbers: Mapping[int, int]
    scale: bool

    def read(self, sizes: Sizes, orientation: Orientation) -> tuple[np.ndarray, list[dict[str, Any]]]:
        (annotation,) = self.texts.parsed()
        path = require(inside(self.folder, annotation.file_name.replace("\\", "/")))
        ids = rgb_to_id(np.asarray(open_image(path).convert("RGB")))
        if self.scale:
            ids = masks.resized(ids, sizes.seen(orientation))
        return ids, [_renumbered(segment, self.numbers) for segment in annotation.segments_info]


@dataclass(frozen=True)
class _Truth:
    """The truth of an image, which is parsed and read where the image is written."""

    sizes: Sizes
    orientation: Orientation
    objects: _Objects | None
    segments: _Segments | None

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.objects:
            found["instances"] = self.objects.read(self.sizes, self.orientation)
        if self.segments:
            found["panoptic"] = self.segments.read(self.sizes, self.orientation)
        return found


def _paths(place: Place, options: Options) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the instance and the panoptic files by split, from the options or as they are found."""
    instances: dict[str, Path] = {}
    panoptic: dict[str, Path] = {}
    if options.instances is not None:
        instances = place.paths(options.instances, "instances")
    if not isinstance(options.panoptic, bool | None):
        panoptic = place.paths(options.panoptic, "panoptic")
    if (options.instances is None and not panoptic) or options.panoptic is True:
        found = found_files(place, options.encoding)
        if options.instances is None:
            instances = found.get("instances", {})
        if options.panoptic is not False:
            panoptic = found.get("panoptic", {})
    if options.panoptic is True and not panoptic:
        raise SegbenchError(
            "there is no panoptic file",
            where="options.panoptic",
            remedy="name it: `panoptic: {train: ..., val: ...}`, or write false",
        )
    if not instances and not panoptic:
        raise SegbenchError(
            "there is no instance file", where="options.instances", remedy="name it, or use the panoptic file"
        )
    if instances and panoptic and (lacking := set(panoptic) ^ set(instances)):
        raise SegbenchError(
            f"the split '{min(lacking)}' has only one of the two files: instances: "
            f"{', '.join(map(str, instances.values()))}; panoptic: {', '.join(map(str, panoptic.values()))}",
            where="options.panoptic",
            remedy="name both files of each split, or write `panoptic: false`",
        )
    order = ("", *SPLITS)
    instances, panoptic = (
        {split: part[split] for split in order if split in part} for part in (instances, panoptic)
    )
    return instances, panoptic


def _maps(path: Path) -> Path:
    """Return the folder of the maps of a panoptic file."""
    maps = require(path.with_suffix(""))
    return maps / maps.name if (maps / maps.name).is_dir() else maps  # as the nested archive may have it


def _check_same_image(entry: ImageEntry, path: Path, other: ObjectFile) -> None:
    """Check that an id means the same image in the panoptic and in the instance file."""
    name = other.images[entry.id].file_name if entry.id in other.images else None
    if name is None or checks.stem(name) != checks.stem(entry.file_name):
        is_there = "not listed" if name is None else checks.shown(name)
        raise SegbenchError(
            f"image id {entry.id} is {checks.shown(entry.file_name)}, in {other.path} it is {is_there}",
            where=path,
            remedy="use two files of the same release",
        )


def _other(orientation: Orientation) -> Orientation:
    return "stored" if orientation == "upright" else "upright"


def _renumbered(entry: ObjectEntry | SegmentEntry, numbers: Mapping[int, int]) -> dict[str, Any]:
    return {k: v for k, v in entry if v is not None} | {"category_id": numbers[entry.category_id]}


def _without_mask(entry: dict[str, Any], sizes: Sizes, orientation: Orientation) -> dict[str, Any]:
    """Drop the mask of an object, and scale its box from the stated size of the image to its own."""
    kept = {key: value for key, value in entry.items() if key != "segmentation"}
    size: Size = sizes.seen(orientation)
    if sizes.stated in (None, size):
        return kept
    assert sizes.stated is not None
    down, across = (own / stated for own, stated in zip(size, sizes.stated))
    x, y, width, height = kept["bbox"]
    kept["bbox"] = [x * across, y * down, width * across, height * down]
    if "area" in kept:
        kept["area"] *= down * across
    return kept


def _without_area_of_box(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop an area that is that of the box, as Roboflow and VIA write it. The area decides what is small."""
    area, box, outline = entry.get("area"), entry.get("bbox"), entry["segmentation"]
    if area is None or box is None or abs(area - box[2] * box[3]) > 1e-6 * abs(area):
        return entry
    try:
        own = sum(_polygon_area(polygon) for polygon in outline) if isinstance(outline, list) else None
    except (TypeError, ValueError):  # malformed, which is found later
        return entry
    if own is None or abs(own - area) <= BOX_SHARE * area:
        return entry
    return {key: value for key, value in entry.items() if key != "area"}


def _polygon_area(points: list[float]) -> float:
    x, y = np.asarray(points, float).reshape(-1, 2).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _fitted(
    objects: list[dict[str, Any]], sizes: Sizes, orientation: Orientation, path: Path
) -> list[dict[str, Any]]:
    """Scale objects from the stated size of an image to its own."""
    size: Size = sizes.seen(orientation)
    if sizes.stated in (None, size):
        return objects
    assert sizes.stated is not None
    found = []
    for entry in objects:
        try:
            outline = masks.standardise(entry["segmentation"], *sizes.stated)
        except ValueError as error:
            raise SegbenchError(
                f"annotation {entry['id']}: {error}", where=path, remedy="correct the annotation or remove it"
            ) from error
        kept = {key: value for key, value in entry.items() if key not in ("area", "bbox")}
        found.append(kept | {"segmentation": masks.scaled(outline, sizes.stated, size)})
    return found
