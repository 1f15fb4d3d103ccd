"""All galleries of a run: which images and networks they show, and how large."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.contract.view import Task
from segbench.errors import SegbenchError
from segbench.report.gallery import Gallery, gallery
from segbench.report.image_scores import read_image_scores

logger = logging.getLogger(__name__)

Tables = Mapping[tuple[str, Task], pd.DataFrame]
THUMBNAILS = (192, 160, 128, 96)
"""Widths of the small pictures in pixels, from the largest on."""
THUMBNAIL_PIXELS = 16_000_000
"""Largest number of pixels of all small pictures of a page, which decides their width."""


def galleries(
    run: RunDescription, tables: Tables, summary: Path, folder: Path
) -> dict[tuple[str, Task], Gallery]:
    """Draw the gallery of each dataset and task, of the networks that are ok.

    Args:
        summary: Folder that `summarise` wrote.
        folder: Folder of the large pictures. Broken predictions leave a gallery out, with a warning.
    """
    chosen = {
        key: table[~table["control"] & (table["status"] == "ok")]["model"].tolist()
        for key, table in tables.items()
    }
    options = run.options
    images = options.gallery_images + options.gallery_worst + options.gallery_disagreement
    count = images * sum(2 + len(networks) for networks in chosen.values())
    width = next((w for w in THUMBNAILS if count * w * w * 3 / 4 <= THUMBNAIL_PIXELS), THUMBNAILS[-1])
    drawn = {}
    for (dataset, task), networks in chosen.items():
        try:
            scores = read_image_scores(summary, dataset, task)
            found = gallery(run, dataset, task, networks, scores, folder, width)
        except (SegbenchError, OSError, KeyError, ValueError) as error:
            logger.warning("no gallery for %s, %s: %s", dataset, task, error)
            continue
        if found:
            drawn[dataset, task] = found
    return drawn
