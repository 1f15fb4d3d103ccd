"""DRIVE: retinal vessels. Pixels outside of the camera's field of view are void. Staal et al. 2004."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from segbench.data.converters.common import categories, parse_options, read_binary, require, same_size
from segbench.data.dataset import Annotation, Archives, Converted, Sample
from segbench.data.junk import listed

NO_TRUTH = "use a release with the test truth (test/1st_manual), such as the one of 2004"
NO_SECOND = "use a release with test/2nd_manual, such as that of 2004, or write `second: false` in `options`"
FOLDERS = ("1st_manual", "2nd_manual")


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    observer: Literal[1, 2] = 1
    """Observer whose annotation of the test images is used. Training images have only that of the first."""
    second: bool = False
    """Whether the annotation of the other observer is kept, too, and scored as `control_human`."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archive. Options: see `Options`."""
    chosen = parse_options(Options, options)
    return Converted(
        categories=categories(["vessel"], isthing=False),
        background=True,
        evaluation_split="test",
        orientation="stored",
        division="published",
        samples=_samples(archives["DRIVE.zip"] / "DRIVE", chosen),
    )


def _samples(root: Path, options: Options) -> Iterator[Sample]:
    observer = options.observer
    for split, folder, manual in (("train", "training", 1), ("test", "test", observer)):
        annotated = {manual: require(root / folder / FOLDERS[manual - 1], NO_TRUTH)}
        if options.second and split == "test":
            annotated[3 - manual] = require(root / folder / FOLDERS[2 - manual], NO_SECOND)
        for image in listed(require(root / folder / "images"), "*.tif"):
            number = image.stem.partition("_")[0]
            seen = read_binary(root / folder / "mask" / f"{image.stem}_mask.gif")
            paths = [truths / f"{number}_manual{one}.gif" for one, truths in annotated.items()]
            first, *others = [_within(seen, path) for path in paths]
            second = Annotation(semantic=others[0], source=paths[1]) if others else None
            yield Sample(split, image.stem, image, semantic=first, second=second)


def _within(seen: np.ndarray, path: Path) -> np.ndarray:
    """Read an H x W map of the vessels, with void outside of the field of view `seen`."""
    semantic = read_binary(path).astype(np.int32)
    same_size(semantic, path, seen, "the field of view")
    semantic[~seen] = -1
    return semantic
