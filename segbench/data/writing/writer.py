"""Write a canonical dataset (`segbench.data.dataset`) from the samples that a converter yields."""

from __future__ import annotations

import hashlib
import json
import logging
from array import array
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from segbench.contract.channels import Window
from segbench.contract.limits import MAX_PIXELS
from segbench.contract.view import TASKS, Category, Task, offered
from segbench.data.cases import Slice, write_cases
from segbench.data.dataset import Converted, DatasetInfo, Sample
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.writing.classes import check_categories, check_overlapping
from segbench.data.writing.image import ImageWriter, Numbered
from segbench.data.writing.journal import Journal, Written
from segbench.data.writing.listing import json_file
from segbench.data.writing.measure import TruthStatistics
from segbench.data.writing.statistics import ChannelStatistics
from segbench.errors import SegbenchError
from segbench.files import replace_folder, scratch, write_json
from segbench.jobs.processes import in_order

log = logging.getLogger(__name__)
_CHUNK, _CHUNK_BYTES = 16, 4 << 20
"""Number of samples that a process takes at a time, and bytes of their arrays."""
_FEW = 64
"""Number of images that are written before other processes are started, which takes time."""


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
    window: Window | None = None,
    max_pixels: int = MAX_PIXELS,
    processes: int = 1,
    work: Path | None = None,
) -> DatasetInfo:
    """Write a dataset folder, which appears only when it is complete.

    Each process has a few images in memory at a time. The result does not depend on the number of processes.

    Args:
        converted: what the converter returned; samples may come in any order.
        root: folder to write.
        name, title, licence, citation, archives, channels, max_pixels: see `DatasetInfo`.
        window: values that are scaled to 0 and 1; None: by the training images.
        processes: number of processes that write images.
        work: folder for unfinished work, on the file system of `root`. Images that an earlier call for the
            same samples finished there are not written again. None: a temporary folder.

    Returns:
        The contents of `dataset.json`.

    Raises:
        SegbenchError: samples are not valid (it lists all of them), two images of a split have the same name,
            or the training or the evaluation split is empty.
        OutOfMemory: a process was killed.
    """
    check_categories(converted.categories, converted.background, name)
    if converted.overlapping:
        check_overlapping(converted, name)
    with ExitStack() as stack:
        place = stack.enter_context(nullcontext(work) if work else scratch(root))
        folder = place / "dataset"
        folder.mkdir(exist_ok=True)
        journal = stack.enter_context(Journal(place / "journal"))
        summary = _Summary()
        writer = ImageWriter(
            folder=folder,
            name=name,
            categories=converted.categories,
            background=converted.background,
            boxes=converted.boxes,
            orientation=converted.orientation,
            overlapping=converted.overlapping,
            channels=channels,
            window=window,
            max_pixels=max_pixels,
        )
        _write_images(converted, writer, journal, summary, processes)
        for needed in ("train", converted.evaluation_split):
            if needed not in summary.splits:
                raise SegbenchError(
                    f"the split '{needed}' has no image",
                    where=f"dataset {name}",
                    remedy="check the archive, and the dataset's options for the split",
                )
        statistics = ChannelStatistics(channels, name, window)
        measures = TruthStatistics(converted.categories, converted.background, converted.overlapping)
        for split in summary.splits:
            _write_listings(folder / split, summary, journal, statistics, measures, converted.categories)
        if summary.dropped:
            what = "boxes without an area" if converted.boxes else "masks without a pixel"
            log.warning("%s: %d %s were skipped", name, summary.dropped, what)
        if summary.clipped:
            log.warning(
                "%s: %d boxes reach out of their image; they were clipped to it", name, summary.clipped
            )
        assert summary.given is not None
        tasks = _offered(summary.given, converted.categories)
        mean, std, levels = statistics.result()
        info = DatasetInfo(
            name=name,
            title=title,
            categories=converted.categories,
            background=converted.background,
            overlapping=converted.overlapping,
            tasks=[t for t in TASKS if t in tasks],
            derived=[t for t in TASKS if t in tasks - summary.given],
            splits={split: len(images) for split, images in sorted(summary.splits.items())},
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
            max_instances=summary.max_instances,
            division=converted.division,
            twice=dict(sorted(summary.twice.items())),
            statistics=measures.result(),
            digest=summary.digest(),
        )
        write_json(folder / "dataset.json", info.model_dump())
        replace_folder(folder, root)
    return info


@dataclass
class _Summary:
    """What is known of all images that are written."""

    splits: dict[str, dict[str, tuple[int, str]]] = field(default_factory=dict)
    """By split and file name: position in the journal, and digest."""
    given: set[Task] | None = None
    dropped: int = 0
    clipped: int = 0
    max_instances: int = 0
    twice: Counter[str] = field(default_factory=Counter)
    """Number of images with a second annotation, by split."""
    facts: defaultdict[str, array[float]] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    """Values of `Sample.facts` by name."""

    def add(self, position: int, head: dict[str, Any]) -> None:
        self.splits.setdefault(head["split"], {})[head["file_name"]] = position, head["digest"]
        given = set(head["given"])
        if self.given is None:
            self.given = given
        elif self.given != given:
            raise ValueError(f"sample {head['stem']} has the parts {given}, others have {self.given}")
        self.dropped += head["dropped"]
        self.clipped += head["clipped"]
        self.max_instances = max(self.max_instances, head["objects"])
        if head.get("twice"):
            self.twice[head["split"]] += 1
        for key, value in head["facts"].items():
            self.facts[key].append(value)

    def digest(self) -> str:
        """Return the SHA-256 of the images and their truth, whatever the order of the samples."""
        return _joined(
            {
                split: _joined({name: digest for name, (_, digest) in images.items()})
                for split, images in self.splits.items()
            }
        )


def _joined(digests: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def _offered(given: set[Task], categories: list[Category]) -> set[Task]:
    derived: set[Task] = set() if "detection" in given else {"semantic"}
    if "panoptic" in given and any(c.isthing for c in categories):
        derived.add("instance")
    return {*offered(given | derived)}


def _write_images(
    converted: Converted, writer: ImageWriter, journal: Journal, summary: _Summary, processes: int
) -> None:
    """Write the images that the journal does not have. SegbenchError lists all that are not valid."""
    done: dict[int, tuple[str, str]] = {}
    for position, head in journal.heads():
        whole = all(_has_size(writer.folder / path, size) for path, size in head["sizes"].items())
        if whole and head["number"] not in done:
            done[head["number"]] = head["split"], head["stem"]
            summary.add(position, head)
    if done:
        log.info("%s: %d images are already written", writer.name, len(done))
    faults = Faults()
    images = len(done)
    with closing(_results(writer, _pending(converted.samples, done), processes)) as results:
        for found in chain.from_iterable(results):
            if not isinstance(found, Written):
                faults.add(*found)
                continue
            summary.add(journal.add(found), found.head)
            images += 1
            if images % 1000 == 0:
                log.info("%s: %d images", writer.name, images)
    try:
        converted.finish(summary.facts)
    except SegbenchError as error:
        faults.add(error)
    faults.raise_if_any()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _results(
    writer: ImageWriter, pending: Iterator[Numbered], processes: int
) -> Generator[list[Written | list[SegbenchError]]]:
    first = pending if processes == 1 else islice(pending, _FEW)
    yield from (writer([one]) for one in first)
    more = next(pending, None)
    if more is not None:
        chunks = _chunks(chain([more], pending))
        yield from in_order(writer, chunks, processes, start="forkserver", modules=[ImageWriter.__module__])


def _pending(samples: Iterable[Sample], done: dict[int, tuple[str, str]]) -> Iterator[Numbered]:
    """Yield the samples that are not `done`, in order. An error of the converter becomes one of a sample."""
    taken: set[tuple[str, str]] = set()
    number = -1
    try:
        for number, sample in enumerate(samples):
            name = sample.split, sample.stem
            if number in done:
                if done[number] != name:
                    raise ValueError(f"sample {number} is {name}, was {done[number]}")
            else:
                if not sample.faults:
                    sample.faults += _faults_of_name(sample, name in taken)
                yield number, sample
            taken.add(name)
    except SegbenchError as error:
        yield number + 1, Sample("", "", b"", faults=[error])


def _faults_of_name(sample: Sample, taken: bool) -> Iterator[SegbenchError]:
    stem = sample.stem
    suffix = sample.image.suffix if isinstance(sample.image, Path) else sample.suffix
    known = isinstance(sample.image, np.ndarray) or suffix.lower() in IMAGE_SUFFIXES
    if stem in ("", ".", "..") or any(c in "/\\" or not c.isprintable() for c in stem):
        yield SegbenchError(
            f"{stem!r} cannot be the name of an image", where=sample.split, remedy="rename the image"
        )
    elif not known:
        yield SegbenchError(
            f"images of type '{suffix}' are not supported",
            where=f"{sample.split}/{stem}{suffix}",
            remedy=f"convert it to one of {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    elif taken:
        yield SegbenchError(
            f"two images of the split '{sample.split}' are named '{stem}'",
            where=sample.image if isinstance(sample.image, Path) else f"{sample.split}/{stem}{suffix}",
            remedy="rename one of them (file names must differ without their suffixes)",
        )


def _chunks(samples: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    """Divide samples for the processes. Large arrays fill a chunk, so that few are in memory."""
    chunk: list[Numbered] = []
    size = 0
    for number, sample in samples:
        chunk.append((number, sample))
        size += _bytes(sample)
        if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _bytes(sample: Sample) -> int:
    """Return the size of the arrays and the image that are sent with a sample."""
    outlines = [o.get("segmentation") for o in sample.instances or ()]
    arrays = [sample.image, sample.semantic, sample.panoptic and sample.panoptic[0], *outlines]
    size = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    return size + (len(sample.image) if isinstance(sample.image, bytes) else 0)


def _write_listings(
    folder: Path,
    summary: _Summary,
    journal: Journal,
    statistics: ChannelStatistics,
    measures: TruthStatistics,
    categories: list[Category],
) -> None:
    """Write the JSON files of a split, and add its images to the statistics, all in the order of ids."""
    assert summary.given is not None
    images = summary.splits[folder.name]
    with ExitStack() as stack:
        instances = panoptic = second = None
        if summary.given & {"detection", "instance", "panoptic"}:
            things = [c for c in categories if c.isthing]
            instances = stack.enter_context(json_file(folder / "instances.json", things))
            if summary.twice[folder.name]:
                second = stack.enter_context(json_file(folder / "second" / "instances.json", things))
        if "panoptic" in summary.given:
            panoptic = stack.enter_context(json_file(folder / "panoptic.json", categories))
        slices: list[tuple[str, Slice]] = []
        groups: dict[str, str] = {}
        numbers, further = count(1), count(1)
        for image_id, name in enumerate(sorted(images), 1):  # the ids of `Split.images`
            head, texts = journal.read(images[name][0])
            if texts.statistics:
                statistics.merge(from_json(texts.statistics))
            if (measured := head.get("measures")) is not None:
                image = from_json(texts.image)
                measures.add(image["height"], image["width"], measured["truth"], measured["objects"])
            if (group := head["group"]) is not None:
                groups[Path(name).stem] = group
            if texts.slice:
                slices.append((Path(name).stem, Slice.model_validate_json(texts.slice)))
            image = b'{"id": %d, ' % image_id + texts.image[1:]
            if instances:
                instances.images.add(image)
                for text in texts.instances:
                    ids = b'{"id": %d, "image_id": %d, ' % (next(numbers), image_id)
                    instances.add_annotation(image_id, ids + text[1:])
            if second and head.get("twice"):
                second.images.add(image)
                for one in from_json(texts.second):
                    entry = {"id": next(further), "image_id": image_id, **one}
                    second.add_annotation(image_id, json.dumps(entry).encode())
            if panoptic:
                panoptic.images.add(image)
                file = json.dumps(f"{Path(name).stem}.png").encode()
                text = b'{"image_id": %d, "file_name": %s, "segments_info": %s}'
                panoptic.add_annotation(image_id, text % (image_id, file, texts.segments))
    if groups:
        write_json(folder / "groups.json", dict(sorted(groups.items())))
    if slices:
        write_cases(folder, slices)
