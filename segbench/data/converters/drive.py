"""DRIVE: retinal vessels. Pixels outside of the camera's field of view are void. Staal et al. 2004."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from segbench.data.converters.common import categories, parse_options, read_binary, require, same_size
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.junk import listed

NO_TRUTH = "use a release with the test truth (test/1st_manual), such as the one of 2004"


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    observer: Literal[1, 2] = 1
    """Observer whose annotation of the test images is used. Training images have only that of the first."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archive. Options: see `Options`."""
    chosen = parse_options(Options, options)
    return Converted(
        categories=categories(["vessel"], isthing=False),
        background=True,
        evaluation_split="test",
        orientation="stored",
        division="published",
        samples=_samples(archives["DRIVE.zip"] / "DRIVE", chosen.observer),
    )


def _samples(root: Path, observer: int) -> Iterator[Sample]:
    for split, folder, manual in (("train", "training", 1), ("test", "test", observer)):
        truths = require(root / folder / ("1st_manual", "2nd_manual")[manual - 1], NO_TRUTH)
        for image in listed(require(root / folder / "images"), "*.tif"):
            number = image.stem.partition("_")[0]
            path = truths / f"{number}_manual{manual}.gif"
            semantic = read_binary(path).astype(np.int32)
            seen = read_binary(root / folder / "mask" / f"{image.stem}_mask.gif")
            same_size(semantic, path, seen, "the field of view")
            semantic[~seen] = -1
            yield Sample(split, image.stem, image, semantic=semantic)
