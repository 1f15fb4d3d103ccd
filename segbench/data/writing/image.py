"""Write the files of one image: the image itself, its semantic and its panoptic map."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segbench.contract.channels import Window
from segbench.contract.view import Category, Task, void_value
from segbench.data.dataset import Orientation, Sample, id_to_rgb
from segbench.data.images import allow_pixels, array_raster, open_raster, save_raster
from segbench.data.orientation import oriented, stated_size
from segbench.data.writing.journal import Texts, Written
from segbench.data.writing.measure import measure_map
from segbench.data.writing.statistics import ChannelStatistics
from segbench.data.writing.truth import Truth, complete_truth
from segbench.errors import SegbenchError

Numbered = tuple[int, Sample]
"""A sample and its place among all samples."""
MEASURED = ("category_id", "iscrowd", "area", "bbox")
"""Keys of an annotation that the statistics of a dataset need."""


@dataclass(frozen=True)
class ImageWriter:
    """Checks and writes images, in this or another process. All that it needs is here and in the sample.

    Args:
        folder: folder of the dataset.
        name: name of the dataset, for messages.
        categories, background, boxes, orientation, overlapping: see `Converted`.
        channels, max_pixels: see `DatasetInfo`.
        window: see `ChannelStatistics`.
    """

    folder: Path
    name: str
    categories: Sequence[Category]
    background: bool
    boxes: bool
    orientation: Orientation
    overlapping: bool
    channels: int
    window: Window | None
    max_pixels: int
    _made: set[tuple[str, str]] = field(default_factory=set, init=False)
    """Folders that exist, by split and part."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        allow_pixels(self.max_pixels)  # another process must allow its images, too

    def __call__(self, samples: Sequence[Numbered]) -> list[Written | list[SegbenchError]]:
        """Write images. Return what was written, or the errors of the sample, of each."""
        return [self._written(number, sample) for number, sample in samples]

    def _written(self, number: int, sample: Sample) -> Written | list[SegbenchError]:
        try:
            sample = sample if sample.faults else sample.loaded()
            return sample.faults or self.write(number, sample)
        except SegbenchError as error:
            return [error]

    def write(self, number: int, sample: Sample) -> Written:
        """Write an image and its truth. SegbenchError if they are not valid."""
        path, array = self.add_image(sample)
        height, width = array.shape[:2]
        truth = complete_truth(
            sample, height, width, self.categories, self.background, self.boxes, self.overlapping
        )
        stored = None if truth.semantic is None else self._stored(truth.semantic)
        maps = self.add_truth(sample.split, path.stem, truth, stored)
        second = self._second(sample, height, width)
        texts = self._texts(
            {"file_name": path.name, "width": width, "height": height}, truth, second, array, sample
        )
        head: dict[str, Any] = {
            "number": number,
            "split": sample.split,
            "stem": sample.stem,
            "file_name": path.name,
            "group": sample.group,
            "given": sorted(given(sample, self.boxes)),
            "dropped": truth.dropped,
            "clipped": truth.clipped,
            "objects": sum(not o["iscrowd"] for o in truth.instances or ()),
            "facts": sample.facts,
            "digest": _digest(path, truth, stored, texts, sample.group),
            "sizes": {"/".join(p.parts[-3:]): p.stat().st_size for p in (path, *maps)},
        }
        if second is not None:
            assert second.semantic is not None
            map_ = self._stored(second.semantic)
            file = self._save_png(map_, f"{sample.split}/second", "semantic", path.stem)
            head["sizes"]["/".join(file.parts[-4:])] = file.stat().st_size
            head["digest"] = _with_second(head["digest"], map_, texts.second)
            head |= {"twice": True, "dropped": truth.dropped + second.dropped}
        if sample.split == "train":
            head["measures"] = self._measures(truth)
        return Written(head, texts)

    def _second(self, sample: Sample, height: int, width: int) -> Truth | None:
        """Check the annotation of a second person, and complete it as the truth. None if there is none."""
        if sample.second is None:
            return None
        theirs = sample.second
        other = replace(
            sample,
            semantic=theirs.semantic,
            instances=theirs.instances,
            source=theirs.source or sample.source,
        )
        if self.boxes or sample.panoptic is not None or given(other, False) != given(sample, False):
            raise ValueError(f"sample {sample.stem}: the second annotation has other parts than the first")
        return complete_truth(
            other, height, width, self.categories, self.background, overlapping=self.overlapping
        )

    def add_image(self, sample: Sample) -> tuple[Path, np.ndarray]:
        """Write an image. Return its path in the dataset, and its pixels in the orientation of its truth.

        The file is the original, or a lossless copy if the image had to be turned or if one cannot tell
        which of its axes has the channels: later steps, and other programs, read pixels as they are stored.
        """
        if isinstance(sample.image, np.ndarray):
            path = self._new(sample.split, "images", f"{sample.stem}.tiff")
            raster = array_raster(sample.image, self.channels, sample.where)
            image = oriented(raster, self.orientation, sample)
            return save_raster(image.array, path), image.array
        suffix = sample.suffix if isinstance(sample.image, bytes) else sample.image.suffix
        path = self._new(sample.split, "images", f"{sample.stem}{suffix}")
        if isinstance(sample.image, bytes):
            path.write_bytes(sample.image)
        else:
            link(sample.image, path)
        # messages name the source file
        name = sample.image if isinstance(sample.image, Path) else sample.where
        size = stated_size(sample)
        opened = open_raster(path, self.channels, size=size and size[::-1], where=name)
        image = oriented(opened, self.orientation, sample)
        if image is not opened or not opened.canonical:
            path.unlink()
            path = save_raster(image.array, path)
        return path, image.array

    def add_truth(self, split: str, stem: str, truth: Truth, semantic: np.ndarray | None) -> list[Path]:
        """Write the maps of an image. `semantic`: as it is stored. Return their paths."""
        paths = []
        if semantic is not None:
            paths.append(self._save_png(semantic, split, "semantic", stem))
        if truth.panoptic is not None:
            paths.append(self._save_png(id_to_rgb(truth.panoptic[0]), split, "panoptic", stem))
        return paths

    def _measures(self, truth: Truth) -> dict[str, Any]:
        """Return what `TruthStatistics.add` gets of a training image, as JSON values."""
        found: dict[str, Any] = {"truth": None}
        if truth.semantic is not None:
            pixels, sides = measure_map(truth.semantic, len(self.categories), self.overlapping)
            labelled = int(np.count_nonzero(truth.semantic >= 0))
            found["truth"] = {"pixels": pixels, "sides": sides, "labelled": labelled}
        found["objects"] = [{k: v for k, v in o.items() if k in MEASURED} for o in truth.instances or ()]
        return found

    def _stored(self, semantic: np.ndarray) -> np.ndarray:
        void = void_value(len(self.categories), self.overlapping)
        dtype = np.uint8 if void == 255 else np.uint16
        return np.where(semantic < 0, void, semantic).astype(dtype)

    def _save_png(self, array: np.ndarray, split: str, part: str, stem: str) -> Path:
        path = self._new(split, part, f"{stem}.png")
        Image.fromarray(array).save(path, compress_level=1)
        return path

    def _new(self, split: str, part: str, name: str) -> Path:
        """Return the path of a new file. What a killed process left may be a link to the source."""
        folder = self.folder / split / part
        if (split, part) not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            self._made.add((split, part))
        path = folder / name
        path.unlink(missing_ok=True)
        return path

    def _texts(
        self,
        image: dict[str, Any],
        truth: Truth,
        second: Truth | None,
        array: np.ndarray,
        sample: Sample,
    ) -> Texts:
        statistics = None
        if sample.split == "train":
            statistics = ChannelStatistics(self.channels, self.name, self.window)
            statistics.add(array)
        return Texts(
            image=_json(image),
            statistics=_json(statistics.state()) if statistics else b"",
            slice=_json(sample.slice.model_dump()) if sample.slice else b"",
            segments=b"" if truth.panoptic is None else _json(truth.panoptic[1]),
            second=_json(second.instances) if second and second.instances is not None else b"",
            instances=[_json(annotation) for annotation in truth.instances or ()],
        )


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _digest(path: Path, truth: Truth, semantic: np.ndarray | None, texts: Texts, group: str | None) -> str:
    """Return the SHA-256 of an image, its truth and its group. `semantic`: as it is stored."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if semantic is not None:
        digest.update(semantic.tobytes())
    if truth.panoptic is not None:
        digest.update(truth.panoptic[0].tobytes())
    instances = b"null" if truth.instances is None else b"[" + b", ".join(texts.instances) + b"]"
    digest.update(b'{"image": ' + texts.image + b', "instances": ' + instances)
    if texts.segments:
        digest.update(b', "segments_info": ' + texts.segments)
    if texts.slice:
        digest.update(b', "slice": ' + texts.slice)
    digest.update(b"}\n")
    if group is not None:
        digest.update(group.encode())
    return digest.hexdigest()


def _with_second(digest: str, semantic: np.ndarray, objects: bytes) -> str:
    """Return the SHA-256 of an image with a second annotation, of which `digest` is without it."""
    return hashlib.sha256(digest.encode() + semantic.tobytes() + objects).hexdigest()


def given(sample: Sample, boxes: bool) -> set[Task]:
    """Return the tasks whose truth a sample has. `boxes`: its objects have boxes and no masks."""
    parts: dict[Task, Any] = {
        "semantic": sample.semantic,
        "detection" if boxes else "instance": sample.instances,
        "panoptic": sample.panoptic,
    }
    return {task for task, part in parts.items() if part is not None}


def link(image: Path, path: Path) -> None:
    """Give an image the further name `path`; copy it where that cannot be. SegbenchError if it is missing."""
    source = image.resolve() if image.is_symlink() else image  # a link to a link breaks with its folder
    try:
        os.link(source, path)
    except FileNotFoundError as error:
        raise SegbenchError(
            "the image does not exist", where=image, remedy="fetch the archive again"
        ) from error
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, path)
