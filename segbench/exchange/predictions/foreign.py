"""Ids of images and categories in the files of another program, and what they are in the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segbench.data.coco import checks
from segbench.data.coco.jsonstream import scan
from segbench.errors import SegbenchError
from segbench.exchange.predictions.source import Source


@dataclass(frozen=True)
class Foreign:
    """Ids of a file of annotations: those of `source.spec.annotations`, or of `segbench export`."""

    stems: dict[int, str]
    """Name of the image without folder and ending, by image id."""
    names: dict[int, str]
    """Name of the category, by category id."""
    indices: dict[int, int | None]
    """Index of the class in the view of the predictions, by category id."""


def foreign(source: Source) -> Foreign:
    """Return the ids that the predictions have.

    Raises:
        SegbenchError: the file in `annotations` is malformed, or does not list all images of the split.
    """
    path = source.spec.annotations
    if path is None:
        stems = {record.id: record.stem for record in source.split}
        names = {c.id: c.name for c in source.view.classes}
        return Foreign(stems, names, {c.id: i for i, c in enumerate(source.view.classes)})
    stems, names = _listed(path)
    source.expected({*stems.values()} & {r.stem for r in source.split}, path)
    if absent := [name for name in source.index_of if name not in names.values()]:
        raise SegbenchError(
            f"has no category {absent[0]}{checks.more(absent)}, a class of {source.split.dataset.info.name}",
            where=path,
            remedy="give the categories the names of the dataset's classes",
        )
    return Foreign(stems, names, {i: source.index_of.get(name) for i, name in names.items()})


def _listed(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of images and categories of a COCO file, which is read entry by entry."""
    entries: dict[str, list[object]] = {"images": [], "categories": []}
    for key, value, _, _ in scan(path):
        if key in entries:
            entries[key].append(value)
    images = checks.listed(checks.records(entries["images"], "images", path), "image", "file_name", path)
    checks.column([*images.values()], "image", "file_name", checks.text, path)
    stems = {i: checks.stem(image["file_name"]) for i, image in images.items()}
    checks.unique_names(stems.items(), "image", path)
    found = checks.categories(entries["categories"], path)
    if not stems or not found:
        raise SegbenchError(
            "lists no images or no categories",
            where=path,
            remedy="name the file of the truth in `annotations`, not that of the predictions",
        )
    return stems, {i: category["name"] for i, category in found.items()}
