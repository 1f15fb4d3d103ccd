"""VIA, the VGG Image Annotator: images with one JSON file of regions, as Mask R-CNN's balloons have.

Dutta and Zisserman 2019. A file is what VIA 1 or 2 exports as JSON, or a project that VIA 2 saves. Regions:
polygon, rect, circle, ellipse; points and lines have no area and are skipped with a warning. Images that no
file lists are left out; one that is listed without regions has no object.

The split: the subfolders train, val, test where there are any; else `test` or `test_fraction`.
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

from segbench.data.converters.common import categories, inside, parse_options, require
from segbench.data.converters.folder import (
    FolderOptions,
    divided,
    evaluation_split,
    name_another,
    root_of,
    split_folders,
)
from segbench.data.dataset import Archives, Converted, Sample
from segbench.errors import SegbenchError
from segbench.files import read_json

log = logging.getLogger(__name__)

SIDES = 64
"""Corners of the polygon that stands for an ellipse: it lacks 0.2 % of the area."""
MEND = "open the file in VIA and save it again, or remove the entry"


class Options(FolderOptions):
    attribute: str | None = None
    """The region attribute that names the class, such as `type`. null: there is one class."""


@dataclass
class _Entry:
    """One image: where it is listed, and its regions."""

    source: Path
    image: Path
    regions: list[dict[str, Any]]
    split: str

    def label(self, region: dict[str, Any], options: Options) -> str:
        if options.attribute is None:
            return (options.labels or ["object"])[0]
        label = region["region_attributes"].get(options.attribute)
        if not isinstance(label, str) or not label.strip():
            known = ", ".join(region["region_attributes"]) or "none"
            raise SegbenchError(
                f"region of {self.image.name} has no text as '{options.attribute}' (has: {known})",
                where=self.source,
                remedy="check `attribute` in the dataset's options, or name the region's class in VIA",
            )
        return label


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Options: see `Options`."""
    chosen = parse_options(Options, options)
    root = root_of(archives, chosen)
    entries = _entries(root, chosen)
    found = {e.label(region, chosen) for e in entries for region in e.regions}
    labels = chosen.labels or sorted(found)
    if not found:
        raise SegbenchError("no region in any .json file", where=root, remedy="is it a VIA folder?")
    if chosen.attribute is None and len(labels) > 1:
        raise SegbenchError(
            f"{len(labels)} labels, and nothing says which region has which",
            where="options.attribute",
            remedy="name the region attribute of the class",
        )
    return Converted(
        categories=categories(labels, isthing=True),
        background=True,
        evaluation_split=evaluation_split([e.split for e in entries]),
        samples=_samples(entries, labels, chosen, root),
    )


def _entries(root: Path, options: Options) -> list[_Entry]:
    entries = []
    for split, top in split_folders(root).items():
        for path in sorted(top.rglob("*.json")):
            content = read_json(path)
            listed = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
            if not isinstance(listed, dict) or not all(_is_entry(value) for value in listed.values()):
                log.warning("%s: skipped, it is not a VIA file", path)
                continue
            for value in listed.values():
                image = require(inside(path.parent, value["filename"]), "put the image beside the .json file")
                entries.append(_Entry(path, image, _regions(value), split))
    split_of = divided([e.image.stem for e in entries], options)
    for entry in entries:
        entry.split = entry.split or split_of[entry.image.stem]
    return entries


def _regions(entry: dict[str, Any]) -> Any:
    """VIA 1 numbers them in an object, VIA 2 lists them."""
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
    number_of = {label: number for number, label in enumerate(labels, 1)}
    skipped: Counter[str] = Counter()
    for entry in entries:
        objects = []
        for number, region in enumerate(entry.regions, 1):
            label = entry.label(region, options)
            if label not in number_of:
                raise SegbenchError(
                    f"region {number} of {entry.image.name} has the label {label!r}, not in the class list",
                    where=entry.source,
                    remedy=name_another(label, labels, "region"),
                )
            try:
                outline = _outline(region["shape_attributes"])
            except (KeyError, TypeError, ValueError) as error:
                raise SegbenchError(
                    f"region {number} of {entry.image.name}: {error!r}", where=entry.source, remedy=MEND
                ) from error
            if outline is None:
                skipped[str(region["shape_attributes"].get("name"))] += 1
                continue
            objects.append({"category_id": number_of[label], "segmentation": [outline.ravel().tolist()]})
        yield Sample(entry.split, entry.image.stem, entry.image, instances=objects)
    for kind, count in skipped.items():
        log.warning("%s: %d regions of type '%s' skipped, they have no area", root, count, kind)


def _outline(shape: dict[str, Any]) -> np.ndarray | None:
    """N x 2 corners (x, y); None for a type without area. ValueError (or its like): it is malformed."""
    kind = shape["name"]
    if kind == "polygon":
        return np.stack([np.asarray(shape[f"all_points_{axis}"], float) for axis in "xy"], axis=1)
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    if kind in ("circle", "ellipse"):
        rx, ry = (float(shape[k]) for k in (("r", "r") if kind == "circle" else ("rx", "ry")))
        angle = np.arange(SIDES) * 2 * math.pi / SIDES
        turn = float(shape.get("theta", 0.0))
        along, across = rx * np.cos(angle), ry * np.sin(angle)
        turned = [
            along * math.cos(turn) - across * math.sin(turn),
            along * math.sin(turn) + across * math.cos(turn),
        ]
        return np.stack(turned, axis=1) + np.array([float(shape["cx"]), float(shape["cy"])])
    return None
