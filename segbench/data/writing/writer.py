"""Write a canonical dataset (`segbench.data.dataset`) from the samples that a converter yields."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from segbench.contract.limits import MAX_PIXELS
from segbench.contract.view import TASKS, Category, Task, void_value
from segbench.data.dataset import Converted, DatasetInfo, Orientation, Sample, id_to_rgb
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES, open_image, pixels, save_lossless
from segbench.data.orientation import oriented
from segbench.data.writing.classes import check_categories
from segbench.data.writing.statistics import ChannelStatistics
from segbench.data.writing.truth import Truth, complete_truth
from segbench.errors import SegbenchError
from segbench.files import atomic_folder, write_json

log = logging.getLogger(__name__)


def write_dataset(
    converted: Converted,
    root: Path,
    *,
    name: str,
    title: str,
    licence: str,
    citation: str,
    archives: dict[str, str],
    channels: int,
    max_pixels: int = MAX_PIXELS,
) -> DatasetInfo:
    """Write a dataset folder, which appears only when it is complete. One image is in memory at a time.

    Args:
        converted: what the converter returned; samples may come in any order.
        root: folder to write.
        name, title, licence, citation, archives, channels, max_pixels: see `DatasetInfo`.

    Returns:
        The contents of `dataset.json`.

    Raises:
        SegbenchError: samples are not valid (it lists all of them), two images of a split have the same name,
            or the training or the evaluation split is empty.
    """
    check_categories(converted.categories, converted.background, name)
    with ExitStack() as stack:
        folder = stack.enter_context(atomic_folder(root))
        splits: dict[str, _SplitWriter] = {}
        statistics = ChannelStatistics(channels, name)
        given: set[Task] | None = None
        dropped = 0
        faults = Faults()
        for count, sample in enumerate(faults.including(converted.samples), 1):
            if sample.faults:
                faults.add(*sample.faults)
                continue
            if given is None:
                given = _given(sample)
            elif given != _given(sample):
                raise ValueError(f"sample {sample.stem} has the parts {_given(sample)}, others have {given}")
            if sample.split not in splits:
                splits[sample.split] = _SplitWriter(folder / sample.split, converted.categories)
                stack.callback(splits[sample.split].close)
            try:
                path, image = splits[sample.split].add_image(sample, converted.orientation)
                array = pixels(image, sample.where, channels)
                truth = complete_truth(
                    sample, image.height, image.width, converted.categories, converted.background
                )
            except SegbenchError as error:
                faults.add(error)
                continue
            splits[sample.split].add_truth(path, truth, sample.group)
            dropped += truth.dropped
            if sample.split == "train":
                statistics.add(array)
            if count % 1000 == 0:
                log.info("%s: %d images", name, count)
        faults.raise_if_any()
        for needed in ("train", converted.evaluation_split):
            if needed not in splits:
                raise SegbenchError(
                    f"the split '{needed}' has no image",
                    where=f"dataset {name}",
                    remedy="check the archive, and the dataset's options for the split",
                )
        for split in splits.values():
            split.finish()
        if dropped:
            log.warning("%s: %d masks without a pixel were skipped", name, dropped)
        assert given is not None
        tasks = _offered(given, converted.categories)
        mean, std, levels = statistics.result()
        info = DatasetInfo(
            name=name,
            title=title,
            categories=converted.categories,
            background=converted.background,
            tasks=[t for t in TASKS if t in tasks],
            derived=[t for t in TASKS if t in tasks - given],
            splits={split: len(splits[split].offsets) for split in sorted(splits)},
            evaluation_split=converted.evaluation_split,
            licence=licence,
            citation=citation,
            archives=archives,
            channels=channels,
            mean=mean,
            std=std,
            levels=levels,
            partial=converted.partial,
            max_pixels=max_pixels,
            max_instances=max(s.max_instances for s in splits.values()),
            division=converted.division,
            digest=_joined({split: writer.digest() for split, writer in splits.items()}),
        )
        write_json(folder / "dataset.json", info.model_dump())
    return info


def _given(sample: Sample) -> set[Task]:
    parts: dict[Task, Any] = {
        "semantic": sample.semantic,
        "instance": sample.instances,
        "panoptic": sample.panoptic,
    }
    return {task for task, part in parts.items() if part is not None}


def _offered(given: set[Task], categories: list[Category]) -> set[Task]:
    derived: set[Task] = {"semantic"}
    if "panoptic" in given and any(c.isthing for c in categories):
        derived.add("instance")
    return given | derived


def _joined(digests: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


class _SplitWriter:
    """Writes the files of one split.

    Ids follow the sorted file names, which are known only at the end. Until then, the annotations are in a
    temporary file, one line per image.
    """

    def __init__(self, folder: Path, categories: list[Category]) -> None:
        self.folder, self.categories = folder, categories
        self.void = void_value(len(categories))
        self.dtype = np.uint8 if self.void == 255 else np.uint16
        for part in ("images", "semantic"):
            (folder / part).mkdir(parents=True)
        self.offsets: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self.max_instances = 0
        self._stems: set[str] = set()
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by `close`

    def close(self) -> None:
        self._spool.close()

    def add_image(self, sample: Sample, orientation: Orientation) -> tuple[Path, Image.Image]:
        """Write an image. Return its path in the dataset, and the image in the orientation of its truth.

        The file is the original, or a lossless copy if the image had to be turned: later steps, and other
        programs, read pixels as they are stored.
        """
        suffix = sample.suffix if isinstance(sample.image, bytes) else sample.image.suffix
        self._check_name(sample, suffix)
        path = self.folder / "images" / f"{sample.stem}{suffix}"
        if isinstance(sample.image, bytes):
            path.write_bytes(sample.image)
        else:
            self._link(sample.image, path)
        # messages name the source file
        name = sample.image if isinstance(sample.image, Path) else sample.where
        opened = open_image(path, where=name)
        image = oriented(opened, orientation, sample)
        if image is not opened:
            path.unlink()
            path = save_lossless(image, path)
        return path, image

    def _link(self, image: Path, path: Path) -> None:
        source = image.resolve()  # a link to a link breaks when its folder is removed
        try:
            os.link(source, path)
        except FileNotFoundError as error:
            raise SegbenchError(
                "the image does not exist", where=image, remedy="fetch the archive again"
            ) from error
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, path)

    def _check_name(self, sample: Sample, suffix: str) -> None:
        stem = sample.stem
        if stem in ("", ".", "..") or any(c in "/\\" or not c.isprintable() for c in stem):
            raise SegbenchError(
                f"{stem!r} cannot be the name of an image", where=sample.split, remedy="rename the image"
            )
        if suffix.lower() not in IMAGE_SUFFIXES:
            raise SegbenchError(
                f"images of type '{suffix}' are not supported",
                where=f"{sample.split}/{stem}{suffix}",
                remedy=f"convert it to one of {', '.join(sorted(IMAGE_SUFFIXES))}",
            )
        if stem in self._stems:
            raise SegbenchError(
                f"two images of the split '{sample.split}' are named '{stem}'",
                where=sample.image if isinstance(sample.image, Path) else f"{sample.split}/{stem}{suffix}",
                remedy="rename one of them (file names must differ without their suffixes)",
            )
        self._stems.add(stem)

    def add_truth(self, path: Path, truth: Truth, group: str | None = None) -> None:
        """Write the truth of the image at `path`, which belongs to `group`."""
        semantic = np.where(truth.semantic < 0, self.void, truth.semantic).astype(self.dtype)
        self._save_png(semantic, "semantic", path.stem)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(semantic.tobytes())
        height, width = semantic.shape
        record: dict[str, Any] = {
            "image": {"file_name": path.name, "width": width, "height": height},
            "instances": truth.instances,
        }
        if truth.instances:
            objects = sum(not o["iscrowd"] for o in truth.instances)
            self.max_instances = max(self.max_instances, objects)
        if truth.panoptic is not None:
            segments, record["segments_info"] = truth.panoptic
            (self.folder / "panoptic").mkdir(exist_ok=True)
            self._save_png(id_to_rgb(segments), "panoptic", path.stem)
            digest.update(segments.tobytes())
        line = json.dumps(record).encode() + b"\n"
        self.offsets[path.name] = self._spool.tell()
        self._spool.write(line)
        digest.update(line)
        if group is not None:
            self._groups[path.stem] = group
            digest.update(group.encode())
        self._digests[path.name] = digest.hexdigest()

    def digest(self) -> str:
        """Return the SHA-256 of the images and their truth, whatever the order of the samples."""
        return _joined(self._digests)

    def _save_png(self, array: np.ndarray, part: str, stem: str) -> None:
        Image.fromarray(array).save(self.folder / part / f"{stem}.png", compress_level=1)

    def finish(self) -> None:
        """Write the JSON files; call it after the last sample, when the order of the images is known."""
        if self._groups:
            write_json(self.folder / "groups.json", dict(sorted(self._groups.items())))
        self._spool.seek(0)
        first = json.loads(self._spool.readline())
        if first["instances"] is not None:
            things = [c for c in self.categories if c.isthing]
            self._write_json("instances.json", self._instances(), things)
        if "segments_info" in first:
            self._write_json("panoptic.json", self._panoptic(), self.categories)

    def _records(self) -> Iterator[dict[str, Any]]:
        for number, name in enumerate(sorted(self.offsets), 1):  # the ids of `Split.images`
            self._spool.seek(self.offsets[name])
            record = json.loads(self._spool.readline())
            record["image"] = {"id": number} | record["image"]
            yield record

    def _instances(self) -> Iterator[dict[str, Any]]:
        number = 0
        for record in self._records():
            for annotation in record["instances"]:
                number += 1
                yield {"id": number, "image_id": record["image"]["id"]} | annotation

    def _panoptic(self) -> Iterator[dict[str, Any]]:
        for record in self._records():
            image = record["image"]
            yield {
                "image_id": image["id"],
                "file_name": f"{Path(image['file_name']).stem}.png",
                "segments_info": record["segments_info"],
            }

    def _write_json(self, name: str, annotations: Iterable[Any], categories: list[Category]) -> None:
        parts: dict[str, Iterable[Any]] = {
            "images": (record["image"] for record in self._records()),
            "annotations": annotations,
            "categories": (c.model_dump() | {"isthing": int(c.isthing)} for c in categories),
        }
        with (self.folder / name).open("w", encoding="utf-8") as file:
            for number, (key, values) in enumerate(parts.items()):
                file.write(f'{"," if number else "{"}"{key}": [')
                for place, value in enumerate(values):
                    file.write(("," if place else "") + "\n" + json.dumps(value))
                file.write("]\n")
            file.write("}\n")
