"""The canonical dataset: the format that converters write and all later steps read.

One folder per dataset:

    dataset.json                        `DatasetInfo`
    <split>/images/*                    the original files; PNG or TIFF files of images that had to be turned
                                        or that the converter gave as arrays; pixels are read as stored,
                                        whatever EXIF says
    <split>/semantic/<stem>.png         class ids, one channel; 0 = background, 255 = void (65535 in 16 bits);
                                        if classes overlap, the sum of 2 ** (id - 1) over a pixel's classes
    <split>/instances.json              COCO detection format, things only, ids from 1, with `iscrowd`;
                                        without `segmentation` if the objects have only boxes
    <split>/panoptic.json, panoptic/<stem>.png   COCO panoptic format
    <split>/*.index.npz                 where each image's annotations are in the JSON file (`coco.index`)
    <split>/cases.json                  volumes whose slices are the images, and their spacing; only for these
    <split>/groups.json                 group by stem, such as the patient, if images have groups
    <split>/second/...                  the annotation of a second person, in the same files, of the images
                                        that have one

Every dataset has semantic maps, unless its objects have only boxes. The maps are annotated, or derived from
instances (painted from large to small, crowds as void) or from panoptic segments. A panoptic dataset has all
kinds of truth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segbench.contract.channels import Channels
from segbench.contract.statistics import DatasetStatistics
from segbench.contract.view import BACKGROUND, Category, Task, View, void_value
from segbench.data.cases import Slice
from segbench.data.images import IMAGE_SUFFIXES, allow_pixels, read_image, read_label_map
from segbench.data.junk import is_junk, listed
from segbench.data.levels import Levels
from segbench.errors import SegbenchError, first_fault, nearest
from segbench.files import read_json

Division = Literal["own", "given", "published"]
"""Who divided the images into splits: `own`, the conversion; `given`, who made the data; `published`, a
benchmark, whose splits are used as they are. Cross-validation divides all images of an `own` division; of the
others, it keeps the evaluation split out."""


class DatasetInfo(BaseModel):
    """Contents of `dataset.json`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    categories: list[Category]
    background: bool
    """Whether value 0 of a semantic map is the class `background`, as in VOC or DRIVE."""
    overlapping: bool = False
    """Whether a pixel may have several classes. Then `background` is False, and the only task is semantic."""
    tasks: list[Task]
    derived: list[Task]
    """Those of `tasks` whose truth was not annotated, but derived from that of another task."""
    splits: dict[str, int]
    """Number of images per split. `train`, and one of `test` and `val`, always exist."""
    evaluation_split: str
    """The split that is scored. It is never used for model selection."""
    licence: str
    citation: str
    archives: dict[str, str]
    """SHA-256 of each source archive, by file name."""
    channels: Channels
    mean: list[float]
    std: list[float]
    """Channel statistics of the training images, scaled to 0..1."""
    levels: Levels | None
    """Values of each channel that are scaled to 0 and 1: the window of the dataset's entry, or the darkest
    and brightest value of the training images if these have more than 8 bits; else None."""
    partial: bool
    """Whether some classes may be missing from the training images."""
    max_pixels: int
    """Largest number of pixels of an image that the conversion allowed."""
    max_instances: int
    """Largest number of objects (without crowds) in an image, over all splits; 0 without instances."""
    division: Division = "given"
    """Who divided the images into splits."""
    twice: dict[str, int] = Field(default={}, exclude_if=lambda twice: not twice)
    """Number of images of each split that a second person has annotated, too; splits without are missing."""
    statistics: DatasetStatistics
    """Sizes, objects and classes of the training images."""
    digest: str
    """SHA-256 of all images and their truth. Later steps depend on this file, so it must change with them."""

    @property
    def void(self) -> int:
        """Value of unlabelled pixels in semantic maps."""
        return void_value(len(self.categories), self.overlapping)

    @property
    def validation_split(self) -> str | None:
        """The split for model selection, or None. The evaluation split is never used for it."""
        return "val" if "val" in self.splits and self.evaluation_split != "val" else None


Orientation = Literal["stored", "upright"]
"""Which pixels an annotation refers to if EXIF says that an image is turned: `stored`, as in the file, or
`upright`, as viewers show it. Annotation tools show images upright."""


@dataclass
class Annotation:
    """A further annotation of an image, with the parts of the first: see `Sample`."""

    semantic: np.ndarray | None = None
    instances: list[dict[str, Any]] | None = None
    source: Path | None = None
    """The annotation file, which messages name."""


@dataclass
class Sample:
    """One annotated image from a converter. Give only what the source annotates.

    Attributes:
        split: `train`, `val` or `test`.
        stem: name of the image without suffix, unique in its split.
        image: the image file, its contents, or an H x W or H x W x C array of uint8, uint16, int16 or
            float32.
        semantic: H x W integer map of category ids, 0 = background, -1 = void. If classes overlap, the sum of
            2 ** (id - 1) over the classes of a pixel instead of ids.
        instances: COCO annotations without `id` and `image_id`: `category_id`, `segmentation` (polygons, RLE,
            or an H x W bool array), `iscrowd`; missing `area` and `bbox` are computed. If `Converted.boxes`:
            `category_id`, `bbox`, `iscrowd`.
        panoptic: H x W integer map of segment ids (0 = void), and COCO `segments_info` (`id`, `category_id`,
            `iscrowd`).
        size: width and height of the annotated image, if the source states them.
        group: what the image belongs to, such as a patient or a video; None: only to itself.
        slice: the place of the image in a volume, if it is a slice of one.
        second: the annotation of a second person, which is scored like a prediction, and never trained.
        source: the annotation file, which messages name; None: they name the image.
        facts: numbers for `Converted.finish`, by name.
        faults: errors of the annotation. Those of all samples are reported together.
        load: returns further fields of the sample. It is called in the process that writes the image, so it
            must be picklable: what it does, such as reading a mask, is done for several images in parallel.
    """

    split: str
    stem: str
    image: Path | bytes | np.ndarray
    suffix: str = ""
    """Suffix of the file name if `image` is bytes."""
    semantic: np.ndarray | None = None
    instances: list[dict[str, Any]] | None = None
    panoptic: tuple[np.ndarray, list[dict[str, Any]]] | None = None
    size: tuple[int, int] | None = None
    group: str | None = None
    slice: Slice | None = None
    second: Annotation | None = None
    source: Path | None = None
    facts: dict[str, float] = field(default_factory=dict)
    faults: list[SegbenchError] = field(default_factory=list)
    load: Callable[[], dict[str, Any]] | None = None

    def loaded(self) -> Sample:
        """Return the sample with what `load` returns. SegbenchError if that is not valid."""
        return replace(self, load=None, **self.load()) if self.load else self

    @property
    def where(self) -> Path | str:
        """What messages about the annotation name."""
        if self.source is not None:
            return self.source
        return self.image if isinstance(self.image, Path) else f"{self.split}/{self.stem}{self.suffix}"


@dataclass
class Converted:
    """What a converter returns. `samples` is read once, in order."""

    categories: list[Category]
    background: bool
    evaluation_split: str
    samples: Iterable[Sample] = field(repr=False)
    orientation: Orientation = field(kw_only=True)
    partial: bool = field(kw_only=True, default=False)
    """Whether the archives may contain only a part of the published images, without some classes."""
    boxes: bool = field(kw_only=True, default=False)
    """Whether objects have boxes and no masks. Then the dataset has no task but detection, and semantic if
    the samples have maps."""
    division: Division = field(kw_only=True, default="given")
    """Who divided the images into splits."""
    overlapping: bool = field(kw_only=True, default=False)
    """Whether a pixel may have several classes, see `Sample.semantic`."""
    finish: Callable[[Mapping[str, Sequence[float]]], None] = field(kw_only=True, default=lambda facts: None)
    """Called when all images are written, with the `facts` of all valid samples by name, in any order. It
    may log warnings, and raise SegbenchError."""


@dataclass(frozen=True)
class ImageRecord:
    """One image of a split. `id` counts from 1 in the order of file names, in all files of the split."""

    id: int
    folder: Path
    stem: str
    suffix: str

    @property
    def path(self) -> Path:
        """Path of the file. Paths of a hundred thousand images would take a second and much memory."""
        return self.folder / (self.stem + self.suffix)


class Dataset:
    """Reads a canonical dataset. SegbenchError if `dataset.json` is missing or not valid."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        path = self.root / "dataset.json"
        try:
            self.info = DatasetInfo.model_validate(read_json(path))
        except ValidationError as error:
            raise SegbenchError(
                f"is not a segbench dataset ({error.error_count()} errors; first: {first_fault(error)})",
                where=path,
                remedy="convert the dataset again",
            ) from error
        allow_pixels(self.info.max_pixels)

    def __reduce__(self) -> tuple[type[Dataset], tuple[Path]]:
        return Dataset, (self.root,)  # another process must allow its images, too

    def split(self, name: str) -> Split:
        """Return a split. SegbenchError if the dataset does not have it."""
        if name not in self.info.splits:
            hint = nearest(name, self.info.splits)
            raise SegbenchError(
                f"no split '{name}' (has: {', '.join(self.info.splits)})",
                where=self.root,
                remedy=f"did you mean '{hint}'?" if hint else None,
            )
        return Split(self, name)

    def view(self, task: Task) -> View:
        """Return the classes for which a network is trained. SegbenchError if the dataset lacks the task."""
        if task not in self.info.tasks:
            raise SegbenchError(f"has no {task} truth (has: {', '.join(self.info.tasks)})", where=self.root)
        categories = self.info.categories
        if task in ("detection", "instance"):
            categories = [c for c in categories if c.isthing]
        elif task == "semantic" and self.info.background:
            categories = [BACKGROUND, *categories]
        return View(task, tuple(categories), self.info.overlapping)


class Split:
    """One split: its images in the order of their ids, and the files with their truth."""

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.dataset, self.name = dataset, name
        self.root = dataset.root / name
        self.kept: Mapping[Path, np.ndarray] | None = None
        """Decoded files by path, see `segbench.data.loading.kept`."""

    @cached_property
    def images(self) -> list[ImageRecord]:
        folder = self.root / "images"
        # `listed` would take seconds for a hundred thousand images
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  as text
        parts = (os.path.splitext(name) for name in names if not is_junk([name]))  # noqa: PTH122
        images = ((stem, suffix) for stem, suffix in parts if suffix.lower() in IMAGE_SUFFIXES)
        return [ImageRecord(i, folder, stem, suffix) for i, (stem, suffix) in enumerate(images, 1)]

    def part(self, images: list[ImageRecord]) -> Split:
        """Return the split with some of its images only, which keep their ids."""
        part = Split(self.dataset, self.name)
        part.images = images
        return part

    def second(self) -> Split:
        """Return the images that a second person has annotated, too, with that annotation as their truth."""
        folder = self.root / "second"
        annotated = {path.stem for path in listed(folder / "semantic")}
        part = self.part([record for record in self.images if record.stem in annotated])
        part.root = folder
        return part

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.images)

    @property
    def instances_json(self) -> Path:
        return self.root / "instances.json"

    @property
    def panoptic_json(self) -> Path:
        return self.root / "panoptic.json"

    @property
    def panoptic_folder(self) -> Path:
        return self.root / "panoptic"

    @property
    def groups_json(self) -> Path:
        return self.root / "groups.json"

    def groups(self) -> dict[str, str]:
        """Return the group of each image that has one, by stem."""
        return read_json(self.groups_json) if self.groups_json.exists() else {}

    def semantic_path(self, stem: str) -> Path:
        return self.root / "semantic" / f"{stem}.png"

    def read_image(self, record: ImageRecord) -> np.ndarray:
        """Read an image: H x W x channels, uint8, or float32 in 0..1 if the dataset has `levels`."""
        info = self.dataset.info
        return read_image(record.path, info.channels, info.levels)

    def read_semantic(self, stem: str) -> np.ndarray:
        """Read an H x W int32 map of category ids, or sums of 2 ** (id - 1); 0 = background, -1 = void."""
        ids = read_label_map(self.semantic_path(stem)).astype(np.int32)
        ids[ids == self.dataset.info.void] = -1
        return ids


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Encode segment ids as colours, as COCO's panoptic format: id = R + 256 G + 256² B.

    H x W -> H x W x 3 uint8.
    """
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536 % 256], axis=-1).astype(np.uint8)


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Decode segment ids from colours, the inverse of `id_to_rgb`. H x W x 3 -> H x W int32."""
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


Archives = Mapping[str, Path]
"""File name -> folder with the extracted contents, or the file itself if it is not an archive."""
