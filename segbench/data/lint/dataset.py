"""The lint step: find errors in a canonical dataset before training and scoring.

Errors stop the dataset: damaged or missing files, sizes that differ, ids and values outside of the class
list, empty masks, classes without training images, identical images in two splits. Warnings do not: much
void, classes that another split lacks, more objects than AP counts, identical images in one split, files that
do not belong to the dataset.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from segbench.contract.view import has_class
from segbench.data.dataset import Dataset, Split
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import listed
from segbench.data.lint.image import (
    Annotation,
    Facts,
    Findings,
    ImageEntry,
    PanopticAnnotation,
    Truth,
    lint_image,
)
from segbench.errors import SegbenchError
from segbench.files import read_json

log = logging.getLogger(__name__)

VOID_SHARE = 0.5
"""Share of void pixels in an image or a split above which lint warns."""
THREADS = 2
SHOWN = 10
"""Number of errors that the message lists."""


class LintReport(Findings):
    """Contents of `lint.json`."""

    dataset: str
    images: int = 0

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
    """Check a canonical dataset. Each file is read once.

    The JSON files of one split, and a few images, are in memory at a time.

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
        most_objects = max([most_objects, *(f.objects for f in facts)])
        report.images += len(facts)
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
    if "semantic" not in info.tasks:
        report.error(file, "the task 'semantic' is missing, which every dataset has")
    if "instance" in info.tasks and not any(c.isthing for c in info.categories):
        report.error(file, "the task 'instance' is listed, but no category is a thing")
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
        if folder not in info.splits:
            report.warn(folder, "is not a split of dataset.json")


def _lint_split(split: Split, report: LintReport, void_share: float) -> list[Facts]:
    """Check the files of a split against each other, then each image."""
    if (stated := split.dataset.info.splits[split.name]) != len(split):
        report.error("dataset.json", f"says that '{split.name}' has {stated} images; it has {len(split)}")
    _lint_names(split, report)
    truths = [Truth() for _ in split.images]
    if "instance" in split.dataset.info.tasks:
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
    listed_images = {(entry.id, entry.file_name) for entry in content.images}
    if len(listed_images) < len(content.images):
        report.error(file, "lists an image twice", len(content.images) - len(listed_images))
    if differ := listed_images ^ {(record.id, record.path.name) for record in split.images}:
        number, name = min(differ)
        report.error(
            file,
            f"images and ids do not match images/ in sorted order (first: id {number}, {name})",
            len(differ),
        )
        return None
    return content


def _read_instances(split: Split, truths: list[Truth], report: LintReport) -> None:
    content = _read(split.instances_json, InstancesFile, split, report)
    if content is None:
        return
    file = f"{split.name}/{split.instances_json.name}"
    for entry in content.images:
        truths[entry.id - 1].entries.append((file, entry))
        truths[entry.id - 1].objects = []
    ids = Counter(a.id for a in content.annotations)
    if wrong := [k for k in ids if k < 1]:
        report.error(
            file, f"annotation ids below 1 (COCO's evaluation ignores matches with id 0): {min(wrong)}"
        )
    if twice := [k for k, times in ids.items() if times > 1]:
        report.error(file, f"annotation ids that occur twice, such as {twice[0]}", len(twice))
    things = {c.id for c in split.dataset.info.categories if c.isthing}
    _lint_categories(file, (a.category_id for a in content.annotations), things, "thing", report)
    lost = 0
    for annotation in content.annotations:
        if 1 <= annotation.image_id <= len(truths):
            objects = truths[annotation.image_id - 1].objects
            assert objects is not None
            objects.append(annotation)
        else:
            lost += 1
    if lost:
        report.error(file, "annotations of images that it does not list", lost)


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
        if absent:
            names = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            say = report.error if split.name == "train" and not info.partial else report.warn
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
