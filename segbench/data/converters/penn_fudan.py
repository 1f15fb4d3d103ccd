"""Penn-Fudan: pedestrians, one map of object numbers per image. Wang et al. 2007.

A fixed quarter of the images, by hash of their names, is the test split: the dataset defines none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.coco.masks import objects_of_map
from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import categories, parse_options, require
from segbench.data.converters.splits import hashed_part
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import read_label_map
from segbench.data.junk import listed

TEST_SHARE = 0.25


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archive. It takes no options."""
    parse_options(Options, options)
    return Converted(
        categories=categories(["pedestrian"], isthing=True),
        background=True,
        evaluation_split="test",
        orientation="stored",
        division="own",
        samples=_samples(archives["PennFudanPed.zip"] / "PennFudanPed"),
    )


def _samples(root: Path) -> Iterator[Sample]:
    images = listed(require(root / "PNGImages"), "*.png")
    test = hashed_part([i.stem for i in images], TEST_SHARE)
    for image in images:
        load = partial(_truth, root / "PedMasks" / f"{image.stem}_mask.png")
        yield Sample("test" if image.stem in test else "train", image.stem, image, load=load)


def _truth(path: Path) -> dict[str, Any]:
    ids = read_label_map(require(path))
    return {"instances": objects_of_map(ids, dict.fromkeys(np.unique(ids[ids > 0]).tolist(), 1))}
