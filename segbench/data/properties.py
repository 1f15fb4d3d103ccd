"""Properties of images that may make them hard, measured by the check of a dataset."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from segbench.data.painting import shown
from segbench.errors import SegbenchError
from segbench.files import atomic_path

FILE = "image_properties.csv"
"""Name of the file, beside dataset.json."""


class Properties(NamedTuple):
    brightness: float
    """Mean grey value, 0 to 1."""
    sharpness: float
    """Variance of the Laplacian of the grey values 0 to 255. It is low for blurred images. NaN for images of
    fewer than three rows or columns."""


def measure(image: np.ndarray) -> Properties:
    """Measure an image, H x W x C, uint8 or float in 0..1.

    The Laplacian is the sum of the four neighbours less four times the pixel (Pech-Pacheco et al., ICPR
    2000), without the pixels at the border.
    """
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(shown(image))).convert("L"))
    wide = grey.astype(np.int16)
    inner = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * wide[1:-1, 1:-1]
    return Properties(float(grey.mean()) / 255, float(inner.var()) if inner.size else math.nan)


def write_properties(path: Path, rows: Iterable[tuple[str, str, Properties]]) -> None:
    """Write split, name without suffix and properties of some images to a CSV file."""
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "image", *Properties._fields])
        for split, image, found in rows:
            writer.writerow([split, image, *("" if math.isnan(v) else f"{v:.6g}" for v in found)])


def read_properties(path: Path) -> dict[tuple[str, str], Properties]:
    """Read what `write_properties` wrote, by split and name.

    Raises:
        SegbenchError: the file cannot be read, or is not of this form.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                (row["split"], row["image"]): Properties(
                    *(float(row[f] or "nan") for f in Properties._fields)
                )
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise SegbenchError(
            f"has no properties of images ({error!r})",
            where=path,
            remedy="check the dataset again with `segbench lint`",
        ) from error
