"""Name images by their place in the folder, and divide those whose source does not."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.data.converters.splits import SplitOptions, divided
from segbench.data.dataset import Division


@dataclass(kw_only=True)
class NamedImage:
    """An image of a dataset. `split` is "" until it is divided."""

    path: Path
    split: str
    name: str = ""
    group: str | None = None


def name_and_divide(images: Sequence[NamedImage], options: SplitOptions) -> Division:
    """Set name, split and group of images.

    The name is the path below the folder that the images of the split have in common, joined by `_`, without
    suffix. If all images are in one split, "" or train, they are divided. Return who divides them.
    """
    by_split: dict[str, list[NamedImage]] = defaultdict(list)
    for image in images:
        by_split[image.split].append(image)
    for part in by_split.values():
        top = os.path.commonpath([image.path.parent for image in part])
        for image in part:
            image.name = "_".join(image.path.relative_to(top).with_suffix("").parts)
    undivided = len(by_split) == 1 and by_split.keys() <= {"", "train"}
    given = ["" if undivided else image.split for image in images]
    for image, place in zip(images, divided([image.name for image in images], options, given)):
        image.split, image.group = place
    return "own" if undivided else "given"
