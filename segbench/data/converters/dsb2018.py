"""DSB 2018 (BBBC038): nuclei, one mask file each. Caicedo et al. 2019.

Where masks overlap, a pixel belongs to the smallest one. A fixed fifth of the images, by hash of their names,
is the test split.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.coco.masks import objects_of_map
from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import (
    categories,
    parse_options,
    read_binary,
    require,
    same_size,
)
from segbench.data.converters.splits import hashed_part
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import open_image
from segbench.data.junk import listed

TEST_SHARE = 0.2


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archive. It takes no options."""
    parse_options(Options, options)
    return Converted(
        categories=categories(["nucleus"], isthing=True),
        background=True,
        evaluation_split="test",
        orientation="stored",
        division="own",
        samples=_samples(archives["stage1_train.zip"]),
    )


def _samples(root: Path) -> Iterator[Sample]:
    folders = [path.parent for path in listed(root, "*/images")]
    test = hashed_part([f.name for f in folders], TEST_SHARE)
    for folder in folders:
        image = require(folder / "images" / f"{folder.name}.png")
        split = "test" if folder.name in test else "train"
        yield Sample(split, folder.name, image, load=partial(_truth, image, folder / "masks"))


def _truth(image: Path, folder: Path) -> dict[str, Any]:
    ids = _id_map(image, listed(require(folder), "*.png"))
    return {"instances": objects_of_map(ids, dict.fromkeys(range(1, int(ids.max()) + 1), 1))}


def _id_map(image: Path, paths: list[Path]) -> np.ndarray:
    """Return an H x W map of nuclei, numbered 1 to n from the largest to the smallest."""
    width, height = open_image(image).size
    ids = np.zeros((height, width), np.int32)
    nuclei = []
    for path in paths:
        mask = read_binary(path)
        same_size(mask, path, ids, "its image")
        nuclei.append(np.flatnonzero(mask))
    for number, pixels in enumerate(sorted(nuclei, key=len, reverse=True), 1):
        ids.flat[pixels] = number
    return ids
