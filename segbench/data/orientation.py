"""Turn an image so that it fits its annotation, and check that their sizes agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from segbench.data.dataset import Orientation, Sample
from segbench.data.images import Opened, is_turned, upright
from segbench.errors import SegbenchError

Size = tuple[int, int]
"""Width, height."""
SEEN: dict[Orientation, str] = {"stored": "as the file stores it", "upright": "as viewers show it"}
REMEDY: dict[Orientation, str] = {
    "stored": "turn the image itself (`mogrify -auto-orient FILE`), or annotate it as it is stored",
    "upright": "remove the EXIF orientation (`exiftool -Orientation= FILE`), or annotate it as it is shown",
}


def oriented(image: Opened, orientation: Orientation, sample: Sample) -> Opened:
    """Return the image in the orientation of the sample's annotation.

    Args:
        image: image from `open_image` or `open_raster`.
        orientation: how the annotation counts pixels.
        sample: the sample; every size that it states, and the size of each of its masks, must fit.

    Raises:
        SegbenchError: a size does not fit. The message says whether it would fit with the image turned.
    """
    other: Orientation = "upright" if orientation == "stored" else "stored"
    views = {"stored": image, "upright": upright(image)}
    shown = views[orientation]
    for phrase, size in _stated(sample):
        if size == shown.size:
            continue
        what = f"{phrase} {_times(size)} pixels, the image has {_times(shown.size)}"
        remedy = "annotate the image at its own size, or remove image and annotation from the dataset"
        if is_turned(image) and size == views[other].size:
            what += f" {SEEN[orientation]}; it fits only {SEEN[other]} (its EXIF orientation is not 1)"
            remedy = REMEDY[orientation]
        elif size == shown.size[::-1]:
            what += "; it fits only with width and height exchanged"
            remedy = "turn the image or the annotation, or remove both from the dataset"
        raise SegbenchError(what, where=sample.where, remedy=remedy)
    return shown


def stated_size(sample: Sample) -> Size | None:
    """Return a width and height that the sample or one of its masks states, or None."""
    return next((size for _, size in _stated(sample)), None)


def _stated(sample: Sample) -> Iterator[tuple[str, Size]]:
    if sample.size is not None:
        yield "was drawn on", sample.size
    maps = {"semantic": sample.semantic, "panoptic": sample.panoptic and sample.panoptic[0]}
    for kind, array in maps.items():
        if array is not None and array.ndim == 2:
            yield f"the {kind} mask has", array.shape[::-1]
    yield from _of_objects(sample.instances, "")
    if sample.second is not None:
        of = f" of the second annotation{f' ({file})' if (file := sample.second.source) else ''}"
        if sample.second.semantic is not None:
            yield f"the semantic mask{of} has", sample.second.semantic.shape[::-1]
        yield from _of_objects(sample.second.instances, of)


def _of_objects(objects: list[dict[str, Any]] | None, of: str) -> Iterator[tuple[str, Size]]:
    for number, annotation in enumerate(objects or [], 1):
        mask = annotation.get("segmentation")
        if isinstance(mask, np.ndarray) and mask.ndim == 2:
            yield f"the mask of object {number}{of} has", mask.shape[::-1]


def _times(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
