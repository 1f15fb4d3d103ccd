"""VIA, the VGG Image Annotator: images with one JSON file of regions, such as the balloons of Mask R-CNN.

Dutta and Zisserman 2019. Files are JSON exports of VIA 1 or 2, or projects of VIA 2. Regions: polygon, rect,
circle, ellipse. Points and lines have no area and are skipped with a warning. Images are read upright, as
browsers show them. A listed image without regions has no objects.

Splits: the subfolders train, val and test if there are any; else `test` or `test_fraction`.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.converters.common import categories, parse_options
from segbench.data.converters.folder import (
    FolderOptions,
    annotation_files,
    division,
    evaluation_split,
    image_named,
    label_fault,
    name_another,
    no_image,
    number,
    root_of,
    split_folders,
    unannotated,
)
from segbench.data.converters.splits import divided
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.faults import Faults
from segbench.errors import SegbenchError
from segbench.files import read_json

log = logging.getLogger(__name__)

SIDES = 64
"""Corners of the polygon that approximates an ellipse: its area is 0.2 % smaller."""
WITHOUT_AREA = ("point", "polyline", "line")
FIX = "open the file in VIA and save it again, or remove the entry"


class Options(FolderOptions):
    attribute: str | None = None
    """The region attribute with the class, such as `type`. null: there is one class."""


@dataclass
class _Entry:
    """One image: the file that lists it, and its regions."""

    source: Path | None
    image: Path
    regions: list[dict[str, Any]]
    split: str
    group: str | None = None

    def label(self, region: dict[str, Any], options: Options) -> str:
        if options.attribute is None:
            return (options.labels or ["object"])[0]
        return str(region["region_attributes"][options.attribute]).strip()


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the folder. Options: see `Options`."""
    chosen = parse_options(Options, options)
    root = root_of(archives, chosen)
    entries = _entries(root, chosen)
    found = {e.label(region, chosen) for e in entries for region in e.regions}
    labels = chosen.labels or sorted(found)
    if not found:
        raise SegbenchError(
            "has no region in any .json file", where=root, remedy="check that it is a VIA folder"
        )
    if chosen.attribute is None and len(labels) > 1:
        raise SegbenchError(
            f"is not set, but there are {len(labels)} labels",
            where="options.attribute",
            remedy="set it to the region attribute that has the class",
        )
    return Converted(
        categories=categories(labels, isthing=True),
        background=True,
        evaluation_split=evaluation_split([e.split for e in entries]),
        orientation="upright",
        division=division(root),
        samples=_samples(entries, labels, chosen, root),
    )


def _entries(root: Path, options: Options) -> list[_Entry]:
    entries: dict[Path, _Entry] = {}
    faults = Faults()
    for split, top in split_folders(root).items():
        for path in annotation_files(top):
            content = read_json(path, options.encoding)
            listed = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
            if not isinstance(listed, dict) or not all(_is_entry(value) for value in listed.values()):
                log.warning("%s: skipped, it is not a VIA file", path)
                continue
            for value in listed.values():
                image = image_named(value["filename"], path, root)
                if image is None:
                    faults.add(no_image(value["filename"], path, root))
                    continue
                if other := entries.get(image.resolve()):
                    again = "twice" if other.source == path else f"which {other.source} also lists"
                    what = f"lists the image {value['filename']!r} {again}"
                    faults.add(SegbenchError(what, where=path, remedy="remove one of the two"))
                    continue
                entry = entries[image.resolve()] = _Entry(path, image, _regions(value), split)
                faults.add(*_label_faults(entry, options))
    faults.raise_if_any()
    found = list(entries.values())
    images = [entry.image for entry in found]
    found += [_Entry(None, image, [], split) for split, image in unannotated(root, images, options)]
    places = divided([entry.image.stem for entry in found], options, [entry.split for entry in found])
    for entry, place in zip(found, places):
        entry.split, entry.group = place
    return found


def _label_faults(entry: _Entry, options: Options) -> Iterator[SegbenchError]:
    if options.attribute is None:
        return
    for place, region in enumerate(entry.regions, 1):
        known = region["region_attributes"]
        if fault := label_fault(known.get(options.attribute)):
            yield SegbenchError(
                f"region {place} of {entry.image.name} {fault} as '{options.attribute}' "
                f"(has: {', '.join(known) or 'none'})",
                where=entry.source,
                remedy="check `attribute` in the dataset's options, or name the region's class in VIA",
            )


def _regions(entry: dict[str, Any]) -> Any:
    """Return the regions of an entry: an object in VIA 1, a list in VIA 2."""
    regions = entry.get("regions")
    return list(regions.values()) if isinstance(regions, dict) else regions


def _is_entry(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("filename"), str):
        return False
    regions = _regions(value)
    return isinstance(regions, list) and all(
        isinstance(region, dict)
        and isinstance(region.get("shape_attributes"), dict)
        and isinstance(region.get("region_attributes"), dict)
        for region in regions
    )


def _samples(
    entries: Sequence[_Entry], labels: Sequence[str], options: Options, root: Path
) -> Iterator[Sample]:
    number_of = {label: place for place, label in enumerate(labels, 1)}
    skipped: Counter[str] = Counter()
    for entry in entries:
        objects: list[dict[str, Any]] = []
        sample = Sample(entry.split, entry.image.stem, entry.image, instances=objects, group=entry.group)
        for place, region in enumerate(entry.regions, 1):
            label = entry.label(region, options)
            try:
                if label not in number_of:
                    raise _Unknown(f"the label {label!r} is not in the class list")
                outline = _outline(region["shape_attributes"])
            except (KeyError, TypeError, ValueError) as error:
                unknown = isinstance(error, _Unknown)
                remedy = name_another(label, labels, "region") if unknown else FIX
                what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
                what = f"region {place} of {entry.image.name}: {what}"
                sample.faults.append(SegbenchError(what, where=entry.source, remedy=remedy))
                continue
            if outline is None:
                skipped[str(region["shape_attributes"].get("name"))] += 1
                continue
            objects.append({"category_id": number_of[label], "segmentation": [outline.ravel().tolist()]})
        yield sample
    for kind, count in skipped.items():
        log.warning("%s: skipped %d regions of type '%s', which have no area", root, count, kind)


class _Unknown(ValueError):
    """A label that is not in the class list."""


def _outline(shape: dict[str, Any]) -> np.ndarray | None:
    """Return N x 2 corners (x, y), or None for a type without area. ValueError or KeyError if malformed."""
    kind = shape["name"]
    if kind in WITHOUT_AREA:
        return None
    if kind == "polygon":
        xs, ys = ([number(v) for v in shape[f"all_points_{axis}"]] for axis in "xy")
        if len(xs) != len(ys) or len(xs) < 3:
            raise ValueError(f"a polygon of {len(xs)} x and {len(ys)} y")
        return np.stack([xs, ys], axis=1)
    if kind == "rect":
        x, y, width, height = (number(shape[key]) for key in ("x", "y", "width", "height"))
        return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    if kind in ("circle", "ellipse"):
        rx, ry = (number(shape[k]) for k in (("r", "r") if kind == "circle" else ("rx", "ry")))
        angle = np.arange(SIDES) * 2 * math.pi / SIDES
        turn = number(shape.get("theta", 0.0))
        along, across = rx * np.cos(angle), ry * np.sin(angle)
        turned = [
            along * math.cos(turn) - across * math.sin(turn),
            along * math.sin(turn) + across * math.cos(turn),
        ]
        return np.stack(turned, axis=1) + np.array([number(shape["cx"]), number(shape["cy"])])
    raise ValueError(f"regions of type {kind!r} are not known (known: polygon, rect, circle, ellipse)")
