"""Checks of one image and its truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, FiniteFloat, NonNegativeInt, PositiveInt

from segbench.contract.view import Category
from segbench.data.coco import masks
from segbench.data.coco.index import AnnotationIndex
from segbench.data.dataset import ImageRecord, Split, rgb_to_id
from segbench.data.images import open_image, open_raster, read_label_map
from segbench.data.levels import scaled
from segbench.data.lint.duplicates import perceptual_hash
from segbench.data.properties import Properties, measure
from segbench.errors import SegbenchError

ROUNDING = 1e-3
"""Pixels by which a box may reach out of the image."""
MAX_DETECTIONS = 100
"""Largest number of objects per image that COCO's AP counts."""


class Finding(BaseModel):
    """One error or warning: the file, what is wrong, and how often (pixels, annotations, files)."""

    file: str
    what: str
    count: int = 1


class Findings(BaseModel):
    """Errors and warnings."""

    errors: list[Finding] = []
    warnings: list[Finding] = []

    def error(self, file: str | Path, what: str, count: int = 1) -> None:
        self.errors.append(Finding(file=str(file), what=what, count=count))

    def warn(self, file: str | Path, what: str, count: int = 1) -> None:
        self.warnings.append(Finding(file=str(file), what=what, count=count))

    def add(self, other: Findings) -> None:
        self.errors += other.errors
        self.warnings += other.warnings


class ImageEntry(BaseModel):
    """An image in instances.json or panoptic.json."""

    id: PositiveInt
    file_name: str
    width: PositiveInt
    height: PositiveInt


class Annotation(BaseModel):
    """An object in instances.json."""

    id: int
    image_id: int
    category_id: int
    iscrowd: Literal[0, 1]
    area: FiniteFloat
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    segmentation: Any = None


class Segment(BaseModel):
    """A segment in panoptic.json."""

    id: PositiveInt
    category_id: int
    area: NonNegativeInt
    iscrowd: Literal[0, 1]


class PanopticAnnotation(BaseModel):
    """An annotation in panoptic.json."""

    image_id: int
    file_name: str
    segments_info: list[Segment]


@dataclass
class Truth:
    """The entries of one image in the JSON files of its split; None without an entry."""

    entries: list[tuple[str, ImageEntry]] = field(default_factory=list)
    """Name of the JSON file, and its entry for the image."""
    objects: AnnotationIndex | None = None
    """The objects of its split."""
    panoptic: PanopticAnnotation | None = None


@dataclass
class Facts:
    """Result for one image: SHA-256 of the file, pixels by value of the semantic map, number of objects, and
    the categories of boxes without masks."""

    file: str
    digest: str = ""
    """Empty for images of one colour, such as slices beyond a patient: equal ones are no copies."""
    perceptual_hash: int | None = None
    properties: Properties | None = None
    """None for an image that cannot be read."""
    pixels: Counter[int] = field(default_factory=Counter)
    objects: int = 0
    boxes: set[int] = field(default_factory=set)
    categories: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """Category of each object without crowds."""
    areas: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """Its area in pixels, at least 1."""
    findings: Findings = field(default_factory=Findings)


def lint_image(split: Split, record: ImageRecord, truth: Truth, void_share: float) -> Facts:
    """Check one image and its truth. Return errors as findings, without raising."""
    return _Image(split, record, void_share).run(truth)


class _Image:
    def __init__(self, split: Split, record: ImageRecord, void_share: float) -> None:
        self.split, self.record, self.void_share = split, record, void_share
        self.info = split.dataset.info
        self.categories: dict[int, Category] = {c.id: c for c in self.info.categories}
        self.facts = Facts(self.name(record.path))
        self.found = self.facts.findings

    def name(self, path: Path) -> str:
        return str(path.relative_to(self.split.dataset.root))

    def run(self, truth: Truth) -> Facts:
        with self.record.path.open("rb") as file:
            self.facts.digest = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            image = open_raster(self.record.path, self.info.channels)
        except SegbenchError as error:
            self.found.error(self.facts.file, error.what)
            return self.facts
        width, height = image.size
        if (image.array == image.array[:1, :1]).all():
            self.facts.digest = ""
        self.facts.perceptual_hash = perceptual_hash(image.array)
        self.facts.properties = measure(scaled(image.array, self.info.levels))
        if image.array.dtype != np.uint8 and self.info.levels is None:
            self.found.warn(
                self.facts.file, "has more than 8 bits, unlike the training images: scaled by its own range"
            )
        for listing, entry in truth.entries:
            if (entry.width, entry.height) != (width, height):
                self.found.error(
                    listing,
                    f"says that {entry.file_name} has {entry.width}x{entry.height} pixels; "
                    f"it has {width}x{height}",
                )
        if "semantic" in self.info.tasks:
            self.semantic(width, height)
        if truth.objects is not None:
            try:
                objects = [Annotation.model_validate(one) for one in truth.objects[self.record.id]]
            except SegbenchError as error:
                self.found.error(self.name(self.split.instances_json), error.what)
                return self.facts
            self.instances(objects, width, height)
        if truth.panoptic is not None:
            self.panoptic(truth.panoptic, width, height)
        return self.facts

    def map_of(self, path: Path, width: int, height: int, *, rgb: bool) -> np.ndarray | None:
        """Read a label map. Record an error and return None if it is not valid."""
        file = self.name(path)
        if not path.exists():
            self.found.error(file, "is missing")
            return None
        try:
            ids = np.asarray(open_image(path)) if rgb else read_label_map(path)
        except SegbenchError as error:
            self.found.error(file, error.what)
            return None
        if rgb and (ids.ndim != 3 or ids.shape[2] != 3):
            self.found.error(file, f"is not an RGB image of 8 bits (shape {ids.shape}, type {ids.dtype})")
            return None
        if ids.shape[:2] != (height, width):
            self.found.error(
                file, f"has {ids.shape[1]}x{ids.shape[0]} pixels, its image has {width}x{height}"
            )
            return None
        return ids

    def semantic(self, width: int, height: int) -> None:
        path = self.split.semantic_path(self.record.stem)
        ids = self.map_of(path, width, height, rgb=False)
        if ids is None:
            return
        counts = np.bincount(ids.ravel())
        self.facts.pixels = Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
        if self.info.overlapping:
            allowed = {self.info.void, *range(2 ** len(self.categories))}
        else:
            allowed = {self.info.void, *self.categories, *([0] if self.info.background else [])}
        if unknown := sorted(set(self.facts.pixels) - allowed):
            values = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            self.found.error(
                self.name(path),
                f"has values outside of the class list: {values}",
                sum(self.facts.pixels[value] for value in unknown),
            )
        void = self.facts.pixels[self.info.void]
        if void == ids.size:
            self.found.warn(self.name(path), "all pixels are void", void)
        elif void > self.void_share * ids.size:
            self.found.warn(self.name(path), f"{void / ids.size:.0%} of the pixels are void", void)

    def instances(self, objects: list[Annotation], width: int, height: int) -> None:
        file = self.name(self.split.instances_json)
        counted = [o for o in objects if not o.iscrowd]
        self.facts.objects = len(counted)
        self.facts.categories = np.array([o.category_id for o in counted], np.int32)
        self.facts.areas = np.array([o.area for o in counted], np.float32).clip(1)
        if self.facts.objects > MAX_DETECTIONS:
            self.found.warn(
                self.facts.file,
                f"has {self.facts.objects} objects, more than the {MAX_DETECTIONS} that AP counts by default",
                self.facts.objects,
            )
        if "instance" not in self.info.tasks:
            self.boxes(objects, width, height)
            return
        for one in objects:
            where = f"annotation {one.id} ({self.record.path.name})"
            try:
                segmentation = masks.standardise(one.segmentation, height, width)
            except ValueError as error:
                self.found.error(file, f"{where}: {error}")
                continue
            rle = masks.to_rle(segmentation, height, width)
            if not masks.area(rle) or one.area <= 0:
                self.found.error(file, f"{where}: the mask is empty (area {one.area:g})")
            elif min(one.bbox[2:]) <= 0:
                self.found.error(file, f"{where}: the box {list(one.bbox)} is empty")
            elif _iou(one.bbox, masks.bbox(rle)) < 0.5:
                self.found.warn(file, f"{where}: the box does not fit the mask")

    def boxes(self, objects: list[Annotation], width: int, height: int) -> None:
        """Check objects without masks."""
        file = self.name(self.split.instances_json)
        for one in objects:
            self.facts.boxes.add(one.category_id)
            x, y, across, down = one.bbox
            where = f"annotation {one.id} ({self.record.path.name}): the box {list(one.bbox)}"
            if min(across, down, one.area) <= 0:
                self.found.error(file, f"{where} is empty (area {one.area:g})")
            elif x < 0 or y < 0 or x + across > width + ROUNDING or y + down > height + ROUNDING:
                self.found.error(file, f"{where} reaches out of the image")

    def panoptic(self, truth: PanopticAnnotation, width: int, height: int) -> None:
        path = self.split.panoptic_folder / truth.file_name
        rgb = self.map_of(path, width, height, rgb=True)
        if rgb is None:
            return
        file = self.name(path)
        values, counts = np.unique(rgb_to_id(rgb), return_counts=True)
        areas = dict(zip(values.tolist(), counts.tolist()))
        areas.pop(0, None)
        listed = {s.id for s in truth.segments_info}
        if len(listed) < len(truth.segments_info):
            self.found.error(file, "has a segment id twice in panoptic.json")
        if unknown := sorted(set(areas) - listed):
            pixels = sum(areas[k] for k in unknown)
            self.found.error(file, f"has segment ids that panoptic.json does not list: {unknown[:5]}", pixels)
        if absent := sorted(listed - set(areas)):
            self.found.error(file, f"lacks segment ids that panoptic.json lists: {absent[:5]}", len(absent))
        wrong = [s.id for s in truth.segments_info if s.id in areas and areas[s.id] != s.area]
        if wrong:
            self.found.error(file, f"areas in panoptic.json are wrong: segments {wrong[:5]}", len(wrong))
        stuff = Counter(s.category_id for s in truth.segments_info if not self.isthing(s.category_id))
        if repeated := [k for k, n in stuff.items() if n > 1 and k in self.categories]:
            self.found.warn(file, f"has several segments of one stuff class: {repeated[:5]}", len(repeated))
        if crowds := sum(s.iscrowd for s in truth.segments_info if not self.isthing(s.category_id)):
            self.found.error(file, "has crowds of a stuff class in panoptic.json", crowds)

    def isthing(self, category: int) -> bool:
        return category in self.categories and self.categories[category].isthing


def _iou(a: tuple[float, ...], b: list[float]) -> float:
    """Return the IoU of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
