"""Segmentation folders of Ultralytics' YOLO: `data.yaml`, images, and a text file of polygons for each image.

Jocher et al. 2023. CVAT, Roboflow and Label Studio export this layout. A row of a text file is an object:
its class, counted from 0, and the corners x1 y1 x2 y2 ... of its outline as shares of width and height. An
image without a text file has no objects. Rows that stand twice are read once, as Ultralytics does.

Images are read upright, as Ultralytics and annotation tools do.

Splits: `train`, `val` and `test` of the YAML file; if it has only `train`, `test` or `test_fraction` divide
its images. Without a YAML file, there must be `classes.txt` or `labels`, and folders such as `images/train`
are the splits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from segbench.data.converters.common import categories, parse_options
from segbench.data.converters.folder import BoxOnly, FolderOptions, evaluation_split, root_of
from segbench.data.converters.named_images import NamedImage, name_and_divide
from segbench.data.converters.yolo_files import CLASSES, Described, described, text_file
from segbench.data.converters.yolo_rows import read_rows
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.faults import Faults
from segbench.data.images import read_header
from segbench.data.junk import listed
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)


class Options(FolderOptions):
    labels: list[str] | None = None
    """The classes, in order. null: `names` of the YAML file, or the lines of `classes.txt`."""
    unannotated: Literal["skip", "empty"] = "empty"
    """Images without a text file are skipped (skip), or images without objects (empty)."""
    data: str | None = None
    """The YAML file, from the folder. null: `data.yaml`, or the only YAML file that has `train`."""
    boxes: BoxOnly = "error"
    """Rows of five values are boxes, not outlines. They are errors (error) or skipped (skip). truth: the
    boxes of all objects are the truth, without masks, for the task detection."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the folder. Options: see `Options`."""
    chosen = parse_options(Options, options)
    root = root_of(archives, chosen)
    source = described(root, chosen.labels, chosen.data)
    images = _images(source, root, chosen)
    division = name_and_divide(images, chosen)
    _check(images, len(source.labels), chosen)
    return Converted(
        categories=categories(source.labels, isthing=True),
        background=chosen.boxes != "truth",
        boxes=chosen.boxes == "truth",
        evaluation_split=evaluation_split([image.split for image in images]),
        orientation="upright",
        division=division,
        partial=True,  # the YAML file may list classes that the images do not have
        samples=_samples(images, chosen.boxes == "truth"),
    )


@dataclass(kw_only=True)
class _Image(NamedImage):
    text: Path
    """Its text file, which may not exist."""


def _images(source: Described, root: Path, options: Options) -> list[_Image]:
    """Pair images and text files."""
    images: list[_Image] = []
    faults = Faults()
    split_of_image: dict[Path, str] = {}
    for split, paths in source.images.items():
        common = [path for path in paths if path in split_of_image]
        if common:
            what = f"{len(common)} images of '{split}' are also in '{split_of_image[common[0]]}'"
            remedy = f"remove `{split}`, so that a share of the images is for the test; or divide the images"
            faults.add(SegbenchError(f"{what}, such as {common[0]}", where=source.where, remedy=remedy))
            continue
        split_of_image.update(dict.fromkeys(paths, split))
        own = [_Image(path=path, split=split, text=text_file(path, root)) for path in paths]
        annotated = [image for image in own if image.text.is_file()]
        if not annotated:
            what = f"no image of the split '{split}' has a text file" if split else "no image has a text file"
            looked = f" (looked for {own[0].text})" if own else " (there is no image)"
            faults.add(
                SegbenchError(what + looked, where=source.where, remedy="add the labels, or remove the split")
            )
        if options.unannotated == "skip" and len(annotated) < len(own):
            log.warning("%s: skipped %d images without a text file", source.where, len(own) - len(annotated))
            own = annotated
        images += own
    faults.raise_if_any()
    _warn_of_texts_without_image(images)
    return images


def _warn_of_texts_without_image(images: Sequence[_Image]) -> None:
    expected = {image.text for image in images}
    beside = {image.path.parent for image in images}
    for folder in sorted({path.parent for path in expected} - beside):
        texts = listed(folder, "*.txt") if folder.is_dir() else []
        others = [p for p in texts if p not in expected and p.name not in CLASSES]
        if others:
            log.warning("%s: %d text files have no image, such as %s", folder, len(others), others[0].name)


def _check(images: Sequence[_Image], classes: int, options: Options) -> None:
    """Check all rows. SegbenchError lists all that are wrong, and counts boxes."""
    faults = Faults()
    boxes, rows, twice, first = 0, 0, 0, None
    for image in images:
        found = read_rows(image.text, classes)
        faults.add(*found.faults)
        boxes, twice = boxes + len(found.boxes), twice + found.twice
        rows += len(found.objects) + len(found.boxes)
        first = first or (image.text if found.boxes else None)
    if boxes and options.boxes == "error":
        faults.add(
            SegbenchError(
                f"{boxes} of {rows} rows are boxes (five values)",
                where=first,
                remedy="outline these objects, or skip them with `options: {boxes: skip}`; or use all boxes "
                "and no masks: `boxes: truth`, for the task detection",
            )
        )
    faults.raise_if_any()
    if boxes and options.boxes == "skip":
        log.warning("%s: skipped %d rows that are boxes, here and in other files", first, boxes)
    if twice:
        log.warning("%d rows that stand twice in their file are read once", twice)


def _samples(images: Sequence[_Image], boxes: bool) -> Iterator[Sample]:
    for image in images:
        load = partial(_truth, image.path, image.text, boxes)
        yield Sample(image.split, image.name, image.path, group=image.group, load=load)


def _truth(image: Path, text: Path, boxes: bool) -> dict[str, Any]:
    (width, height), orientation = read_header(image)
    if orientation > 4:
        width, height = height, width
    rows = read_rows(text)
    scale = (width, height) * 2
    if boxes:
        outlined = [(kind, _bounds(points)) for kind, points in rows.objects]
        instances: list[dict[str, Any]] = [
            {"category_id": kind + 1, "bbox": [v * s for v, s in zip(box, scale)]}
            for kind, box in outlined + rows.boxes
        ]
    else:
        instances = [
            {
                "category_id": kind + 1,
                "segmentation": [[v * scale[k % 2] for k, v in enumerate(points)]],
            }
            for kind, points in rows.objects
        ]
    return {"instances": instances}


def _bounds(points: Sequence[float]) -> list[float]:
    """Return x, y, width, height of the corners x, y, x, y, ..."""
    x, y = points[::2], points[1::2]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]
