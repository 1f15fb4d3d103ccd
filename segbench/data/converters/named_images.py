"""Name images by their place in the folder, and divide those whose source does not."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.data.converters.splits import SplitOptions, divided, groups_of, hashed_part


@dataclass(kw_only=True)
class NamedImage:
    """An image of a dataset. `split` is "" until it is divided."""

    path: Path
    split: str
    name: str = ""
    group: str | None = None


def name_and_divide(images: Sequence[NamedImage], options: SplitOptions) -> None:
    """Set name, split and group of images.

    The name is the path below the folder that the images of the split have in common, joined by `_`, without
    suffix. If all images are in one split, "" or train, `divided` divides them. If there is no val split,
    `val_fraction` of the train split becomes one.
    """
    by_split: dict[str, list[NamedImage]] = defaultdict(list)
    for image in images:
        by_split[image.split].append(image)
    for part in by_split.values():
        top = os.path.commonpath([image.path.parent for image in part])
        for image in part:
            image.name = "_".join(image.path.relative_to(top).with_suffix("").parts)
    groups = groups_of([image.name for image in images], options)
    if len(by_split) == 1 and by_split.keys() <= {"", "train"}:
        split_of = divided([image.name for image in images], options)
        for image in images:
            image.split = split_of[image.name]
    elif options.val_fraction and "val" not in by_split and "train" in by_split:
        val = hashed_part([image.name for image in by_split["train"]], options.val_fraction, groups)
        for image in by_split["train"]:
            image.split = "val" if image.name in val else "train"
    for image in images:
        image.group = groups[image.name] if groups else None
