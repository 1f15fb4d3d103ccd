"""The lint step: find errors in a canonical dataset before training and scoring.

Errors stop the dataset: damaged or missing files, sizes that differ, ids and values outside of the class
list, empty masks, classes without training images, identical images in two splits, groups in two splits.
Warnings do not: much void, classes that another split lacks, more objects than AP counts, identical images in
one split, similar images in two, files that do not belong to the dataset.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from segbench.contract.view import has_class
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.jsonstream import scan
from segbench.data.dataset import Dataset, Split
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import listed
from segbench.data.lint.duplicates import near_duplicates
from segbench.data.lint.image import (
    Annotation,
    Facts,
    Findings,
    ImageEntry,
    PanopticAnnotation,
    Truth,
    lint_image,
)
from segbench.data.lint.summary import SplitSummary, summarise_split
from segbench.data.properties import Properties
from segbench.errors import SegbenchError
from segbench.files import read_json

log = logging.getLogger(__name__)

VOID_SHARE = 0.5
"""Share of void pixels in an image or a split above which lint warns."""
THREADS = 2
PAIRS = 1000
"""Largest number of near-duplicates that are listed."""
SHOWN = 10
"""Number of errors that the message lists."""


class NearDuplicate(BaseModel):
    """Two images that look alike, in two splits."""

    files: tuple[str, str]
    distance: int
    """Bits of 64 in which their perceptual hashes differ."""


class LintReport(Findings):
    """Contents of `lint.json`."""

    dataset: str
    images: int = 0
    splits: dict[str, SplitSummary] = {}
    near_duplicates: list[NearDuplicate] = []
    """The `PAIRS` pairs that are most alike."""
    properties: list[tuple[str, str, Properties]] = Field(default=[], exclude=True)
    """Split, name and properties of each image, which have a file of their own."""

    def raise_on_errors(self) -> None:
        """Raise SegbenchError with the first errors if there are any."""
        if not self.errors:
            return
        lines = [
            f"  {e.file}: {e.what}" + (f" ({e.count})" if e.count > 1 else "") for e in self.errors[:SHOWN]
        ]
        if len(self.errors) > SHOWN:
            lines.append(f"  and {len(self.errors) - SHOWN} more")
        raise SegbenchError(
            f"the converted data has {len(self.errors)} errors:\n" + "\n".join(lines),
            where=f"dataset {self.dataset}",
            remedy="fix these in the source, or exclude the images, and convert again",
        )


class InstancesFile(BaseModel):
    images: list[ImageEntry]
    annotations: list[Annotation]


class PanopticFile(BaseModel):
    images: list[ImageEntry]
    annotations: list[PanopticAnnotation]


File = TypeVar("File", InstancesFile, PanopticFile)


def lint_dataset(root: Path, void_share: float = VOID_SHARE) -> LintReport:
    """Check a canonical dataset.

    The segments of one split, and a few images with their objects, are in memory at a time.

    Args:
        root: folder of the dataset.
        void_share: share of void pixels, 0 to 1, above which to warn.

    Raises:
        SegbenchError: `dataset.json` is missing or not valid.
    """
    dataset = Dataset(root)
    report = LintReport(dataset=dataset.info.name)
    _lint_info(dataset, report)
    seen: dict[str, str] = {}
    groups: dict[str, str] = {}
    all_facts: list[tuple[str, Facts]] = []
    most_objects = 0
    for name in dataset.info.splits:
        split = dataset.split(name)
        if not (split.root / "images").is_dir():
            report.error(f"{name}/images", "is missing")
            continue
        if not split.images:
            report.error(f"{name}/images", "contains no images")
        facts = _lint_split(split, report, void_share)
        _lint_copies(facts, seen, report)
        own_groups = _lint_groups(split, groups, report)
        report.splits[name] = summarise_split(dataset.info, facts, own_groups)
        all_facts += ((name, one) for one in facts)
        pairs = zip(split, facts)
        report.properties += [(name, r.stem, one.properties) for r, one in pairs if one.properties]
        most_objects = max([most_objects, *(f.objects for f in facts)])
        report.images += len(facts)
    _lint_near_duplicates(all_facts, report)
    if most_objects != dataset.info.max_instances:
        report.error("dataset.json", f"says max_instances {dataset.info.max_instances}; it is {most_objects}")
    log.info(
        "%s: %d images, %d errors, %d warnings",
        report.dataset,
        report.images,
        len(report.errors),
        len(report.warnings),
    )
    return report


def _lint_info(dataset: Dataset, report: LintReport) -> None:
    info, file = dataset.info, "dataset.json"
    if [c.id for c in info.categories] != list(range(1, len(info.categories) + 1)):
        report.error(file, "category ids do not count from 1")
    for name, times in Counter(c.name for c in info.categories).items():
        if times > 1:
            report.error(file, f"two categories are named '{name}'", times)
    colours = Counter(c.color for c in info.categories)
    if same := [colour for colour, times in colours.items() if times > 1]:
        report.warn(file, f"categories share the colour {same[0]}", len(same))
    if "semantic" not in info.tasks and info.tasks != ["detection"]:
        report.error(file, "the task 'semantic' is missing, which every dataset has that has masks")
    things = any(c.isthing for c in info.categories)
    for task in ("instance", "detection"):
        if task in info.tasks and not things:
            report.error(file, f"the task '{task}' is listed, but no category is a thing")
    statistics = [*info.mean, *info.std]
    if not len(info.mean) == len(info.std) == info.channels or not all(map(math.isfinite, statistics)):
        report.error(file, f"mean and std are not {info.channels} finite numbers each")
    elif min(info.std) <= 0:
        flat = [number for number, value in enumerate(info.std, 1) if value <= 0]
        which = f" in channel {', '.join(map(str, flat))}" if len(flat) < info.channels else ""
        report.error(file, f"the training images are of one colour{which} (std 0)")
    for needed in ("train", info.evaluation_split):
        if needed not in info.splits:
            report.error(file, f"the split '{needed}' is missing")
    if info.evaluation_split == "train":
        report.error(file, "the split 'train' is the one that is scored")
    for folder in sorted(p.name for p in dataset.root.iterdir() if p.is_dir()):
        if folder not in (*info.splits, "folds"):
            report.warn(folder, "is not a split of dataset.json")


def _lint_split(split: Split, report: LintReport, void_share: float) -> list[Facts]:
    """Check the files of a split against each other, then each image."""
    if (stated := split.dataset.info.splits[split.name]) != len(split):
        report.error("dataset.json", f"says that '{split.name}' has {stated} images; it has {len(split)}")
    _lint_names(split, report)
    truths = [Truth() for _ in split.images]
    if {"detection", "instance"}.intersection(split.dataset.info.tasks):
        _read_instances(split, truths, report)
    if "panoptic" in split.dataset.info.tasks:
        _read_panoptic(split, truths, report)
    facts = []
    with ThreadPoolExecutor(THREADS) as pool:
        pairs = zip(split.images, truths)
        for one in pool.map(lambda pair: lint_image(split, pair[0], pair[1], void_share), pairs):
            report.add(one.findings)
            facts.append(one)
            if len(facts) % 5000 == 0:
                log.info("%s/%s: %d of %d images", report.dataset, split.name, len(facts), len(split))
    _lint_classes(split, facts, report, void_share)
    return facts


def _lint_names(split: Split, report: LintReport) -> None:
    stems = Counter(record.stem for record in split.images)
    for stem, times in stems.items():
        if times > 1:
            report.error(
                f"{split.name}/images/{stem}.*",
                "several images share one name, and therefore one mask",
                times,
            )
    images = listed(split.root / "images")
    others = [p.name for p in images if p.suffix.lower() not in IMAGE_SUFFIXES]
    if others:
        report.warn(
            f"{split.name}/images", f"contains files that are not images, such as {others[0]}", len(others)
        )
    for part in ("semantic", "panoptic"):
        folder = split.root / part
        extra = sorted(p.name for p in folder.iterdir() if p.stem not in stems) if folder.is_dir() else []
        if extra:
            report.warn(
                f"{split.name}/{part}", f"contains files without an image, such as {extra[0]}", len(extra)
            )


def _read(path: Path, model: type[File], split: Split, report: LintReport) -> File | None:
    """The JSON file at `path` with its image ids checked; None where it is of no use."""
    file = f"{split.name}/{path.name}"
    if not path.exists():
        report.error(file, "is missing")
        return None
    try:
        content = model.model_validate(read_json(path))
    except SegbenchError as error:
        report.error(file, error.what)
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        report.error(file, f"is not in COCO's format (first: {place}: {first['msg']})", error.error_count())
        return None
    return content if _same_images(content.images, file, split, report) else None


def _same_images(entries: list[ImageEntry], file: str, split: Split, report: LintReport) -> bool:
    """Check the images that a JSON file lists."""
    listed_images = {(entry.id, entry.file_name) for entry in entries}
    if len(listed_images) < len(entries):
        report.error(file, "lists an image twice", len(entries) - len(listed_images))
    if differ := listed_images ^ {(record.id, record.path.name) for record in split.images}:
        number, name = min(differ)
        report.error(
            file,
            f"images and ids do not match images/ in sorted order (first: id {number}, {name})",
            len(differ),
        )
        return False
    return True


def _read_instances(split: Split, truths: list[Truth], report: LintReport) -> None:
    """Check the objects of a split together. Each image reads its own later: all need too much memory."""
    path = split.instances_json
    try:
        found = _scanned(path)
    except (SegbenchError, ValidationError):
        found = None
    if found is None:  # the whole file shows what is wrong
        if (whole := _read(path, InstancesFile, split, report)) is None:
            return
        table = np.array([(a.id, a.image_id, a.category_id) for a in whole.annotations], np.int64)
        found = whole.images, table
    elif not _same_images(found[0], f"{split.name}/{path.name}", split, report):
        return
    entries, table = found
    file = f"{split.name}/{path.name}"
    index = AnnotationIndex(path)
    for entry in entries:
        truths[entry.id - 1].entries.append((file, entry))
        truths[entry.id - 1].objects = index
    numbers, images, kinds = table.reshape(-1, 3).T
    if (numbers < 1).any():
        report.error(
            file,
            f"annotation ids below 1 (COCO's evaluation ignores matches with id 0): {numbers.min()}",
        )
    values, times = np.unique(numbers, return_counts=True)
    if len(twice := values[times > 1]):
        report.error(file, f"annotation ids that occur twice, such as {twice[0]}", len(twice))
    things = {c.id for c in split.dataset.info.categories if c.isthing}
    _lint_categories(file, kinds.tolist(), things, "thing", report)
    if lost := int(np.count_nonzero((images < 1) | (images > len(truths)))):
        report.error(file, "annotations of images that it does not list", lost)


def _scanned(path: Path) -> tuple[list[ImageEntry], np.ndarray] | None:
    """Return the images of an instance file, and id, image and category of its objects; None if it lacks
    one of both. SegbenchError or ValidationError for one that is not valid.
    """
    entries: list[ImageEntry] = []
    table = array("q")
    seen = set()
    for key, value, _, _ in scan(path):
        seen.add(key)
        if key == "images":
            entries.append(ImageEntry.model_validate(value))
        elif key == "annotations":
            one = Annotation.model_validate(value)
            try:
                table.extend((one.id, one.image_id, one.category_id))
            except OverflowError:
                return None
    return (entries, np.array(table, np.int64)) if seen >= {"images", "annotations"} else None


def _read_panoptic(split: Split, truths: list[Truth], report: LintReport) -> None:
    content = _read(split.panoptic_json, PanopticFile, split, report)
    if content is None:
        return
    file = f"{split.name}/{split.panoptic_json.name}"
    for entry in content.images:
        truths[entry.id - 1].entries.append((file, entry))
    known = {c.id for c in split.dataset.info.categories}
    used = (s.category_id for a in content.annotations for s in a.segments_info)
    _lint_categories(file, used, known, "known", report)
    for annotation in content.annotations:
        number = annotation.image_id
        if not 1 <= number <= len(truths) or annotation.file_name != f"{split.images[number - 1].stem}.png":
            report.error(
                file, f"the annotation of {annotation.file_name} (image {number}) does not belong to an image"
            )
        elif truths[number - 1].panoptic is not None:
            report.error(file, f"{annotation.file_name} is annotated twice")
        else:
            truths[number - 1].panoptic = annotation
    for record, truth in zip(split.images, truths):
        if truth.panoptic is None:
            report.error(file, f"{record.path.name} has no annotation")


def _lint_categories(
    file: str, used: Iterable[int], allowed: set[int], what: str, report: LintReport
) -> None:
    for category, times in sorted(Counter(used).items()):
        if category not in allowed:
            report.error(file, f"category {category} is not a {what} category", times)


def _lint_classes(split: Split, facts: list[Facts], report: LintReport, void_share: float) -> None:
    """Check void and absent classes over the whole split."""
    info = split.dataset.info
    pixels: Counter[int] = Counter()
    for one in facts:
        pixels.update(one.pixels)
    if info.tasks == ["detection"]:
        seen = {category for one in facts for category in one.boxes}
        absent = [c.name for c in info.categories if c.id not in seen]
        _lint_absent(f"{split.name}/{split.instances_json.name}", absent, split, report)
    total, void = pixels.total(), pixels[info.void]
    file = f"{split.name}/semantic"
    if total and void == total:
        report.error(file, "all pixels are void")
    elif total and void > void_share * total:
        report.warn(file, f"{void / total:.0%} of the pixels are void")
    if total > void:
        present = set(pixels) - {info.void}
        if info.overlapping:
            present = {c.id for c in info.categories if any(has_class(v, c.id - 1) for v in present)}
        absent = [c.name for c in info.categories if c.id not in present]
        if info.background and not pixels[0]:
            report.warn(file, "classes that never occur: background")
        _lint_absent(file, absent, split, report)


def _lint_absent(file: str, absent: list[str], split: Split, report: LintReport) -> None:
    """Report classes that a split does not have."""
    if absent:
        names = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        say = report.error if split.name == "train" and not split.dataset.info.partial else report.warn
        say(file, f"classes that never occur: {names}", len(absent))


def _lint_copies(facts: list[Facts], seen: dict[str, str], report: LintReport) -> None:
    """Find identical images. `seen`: digest -> file, of earlier splits; those of this split are added."""
    own: dict[str, str] = {}
    for one in facts:
        if not one.digest:
            continue
        if one.digest in seen:
            report.error(one.file, f"is the same image as {seen[one.digest]}, in another split")
        elif one.digest in own:
            report.warn(one.file, f"is the same image as {own[one.digest]}")
        own.setdefault(one.digest, one.file)
    seen.update({digest: file for digest, file in own.items() if digest not in seen})


def _lint_groups(split: Split, seen: dict[str, str], report: LintReport) -> int:
    """Find groups in two splits, and return the number of groups of this one.

    Args:
        split: the split.
        seen: group -> split, of earlier splits; those of this split are added.
        report: gets the findings. A benchmark's published splits are used as they are: a warning.
    """
    file = f"{split.name}/{split.groups_json.name}"
    try:
        group_of = TypeAdapter(dict[str, str]).validate_python(split.groups())
    except (SegbenchError, ValidationError) as error:
        what = error.what if isinstance(error, SegbenchError) else "is not an object of names and groups"
        report.error(file, what)
        return 0
    if unknown := sorted(group_of.keys() - {record.stem for record in split}):
        report.error(file, f"names images that do not exist, such as {unknown[0]}", len(unknown))
    own = sorted(set(group_of.values()))
    if torn := [group for group in own if group in seen]:
        say = report.warn if split.dataset.info.division == "published" else report.error
        names = ", ".join(f"'{group}' ({seen[group]})" for group in torn[:5])
        say(file, f"groups that are also in another split: {names}" + ", ..." * (len(torn) > 5), len(torn))
    for group in own:
        seen.setdefault(group, split.name)
    return len(own)


def _lint_near_duplicates(facts: list[tuple[str, Facts]], report: LintReport) -> None:
    """List images of two splits that look alike. Identical files are errors already."""
    known = [(split, one) for split, one in facts if one.perceptual_hash is not None]
    hashes = [one.perceptual_hash or 0 for _, one in known]
    pairs = [
        NearDuplicate(files=(known[a][1].file, known[b][1].file), distance=distance)
        for a, b, distance in near_duplicates(hashes, [split for split, _ in known])
        if known[a][1].digest != known[b][1].digest
    ]
    report.near_duplicates = pairs[:PAIRS]
    if pairs:
        one, other = pairs[0].files
        report.warn(
            one,
            f"looks like {other}, in another split"
            + (f"; there are {len(pairs)} such pairs" if len(pairs) > 1 else ""),
            len(pairs),
        )
