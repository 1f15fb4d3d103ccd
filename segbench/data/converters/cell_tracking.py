"""Two-dimensional datasets of the Cell Tracking Challenge: cells in videos. Maška et al. 2014.

A folder `<dataset>` holds the frames of each sequence (`01/t000.tif`) and its maps of numbered cells
(`01_GT/SEG/man_seg000.tif`, `01_ST/SEG/...`), which only some frames have. Frames without a map are skipped.
As the truth of the challenge's test sequences is not public, the sequence 02 is the test split.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from segbench.data.coco.masks import objects_of_map
from segbench.data.converters.common import categories, parse_options, require, same_size
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.images import read_label_map
from segbench.data.junk import listed
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)
TEST_SEQUENCE = "02"


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    truth: Literal["gold", "silver"] = "gold"
    """gold: outlines by experts, in a part of the frames. silver: the majority of several programs' results,
    in all frames."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the archive, whose name is that of its folder. Options: see `Options`."""
    chosen = parse_options(Options, options)
    ((name, folder),) = archives.items()
    return Converted(
        categories=categories(["cell"], isthing=True),
        background=True,
        evaluation_split="test",
        orientation="stored",
        division="given",
        samples=_samples(require(folder / Path(name).stem), chosen.truth),
    )


def _samples(root: Path, truth: str) -> Iterator[Sample]:
    suffix = "GT" if truth == "gold" else "ST"
    unseen = 0
    folders = listed(root, f"*_{suffix}/SEG")
    if not folders:
        raise SegbenchError(
            f"has no folder *_{suffix}/SEG", where=root, remedy="use the archive of the training sequences"
        )
    for maps in folders:
        sequence = maps.parent.name.removesuffix(f"_{suffix}")
        for path in listed(maps, "*.tif"):
            sample = Sample(
                "test" if sequence == TEST_SEQUENCE else "train",
                f"{sequence}_{path.stem.removeprefix('man_seg')}",
                path,
                source=path,
                group=sequence,
            )
            try:
                unseen += _read(sample, root / sequence, path)
            except SegbenchError as error:
                sample.faults.append(error)
            yield sample
    if unseen:
        log.warning(
            "%s: %d tracked cells have no outline in frames of which others have one; their markers are void",
            root.name,
            unseen,
        )


def _read(sample: Sample, frames: Path, path: Path) -> int:
    """Set the image and the truth of a frame. Return the number of tracked cells that have no outline."""
    if not (match := re.fullmatch(r"man_seg(\d+)", path.stem)):
        raise SegbenchError(
            "is not named man_seg<frame>.tif; three-dimensional datasets are not supported",
            where=path,
            remedy="use a two-dimensional dataset, or remove the file",
        )
    sample.image = require(frames / f"t{match[1]}.tif")
    ids = read_label_map(path).astype(np.int32)
    cells = np.unique(ids[ids > 0]).tolist()
    sample.instances = objects_of_map(ids, dict.fromkeys(cells, 1))
    sample.semantic = (ids > 0).astype(np.int32)
    tracked = path.parents[1] / "TRA" / f"man_track{match[1]}.tif"
    if not tracked.exists():
        return 0
    markers = read_label_map(tracked).astype(np.int32)
    same_size(markers, tracked, ids, path.name)
    without = np.setdiff1d(markers, [0, *np.unique(markers[ids > 0])])
    sample.semantic[np.isin(markers, without)] = -1
    return len(without)
