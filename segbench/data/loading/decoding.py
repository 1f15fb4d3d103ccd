"""Pixels of files, without a copy of those that a crop leaves out.

Pillow keeps a decoded image as four bytes a pixel. `numpy.asarray` copies them twice, which takes longer than
decoding a photograph. Arrow's interface gives access to Pillow's memory instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segbench.data.dataset import ImageRecord, Split
from segbench.data.images import check_pixels, open_image, read_label_map

_MODES = {"L": 1, "RGB": 3}
"""Number of channels by Pillow's name of a mode."""


def read_pixels(split: Split, record: ImageRecord) -> Tensor:
    """Read an image of a dataset, see `Split.read_image`.

    Returns:
        C x H x W uint8, or float32 in 0..1 if the dataset has `levels`. The channels of a pixel may lie side
        by side in memory, and writing to the tensor is not allowed.
    """
    if split.kept is not None and (kept := split.kept.get(record.path)) is not None:
        return torch.from_dlpack(kept)
    info = split.dataset.info
    found = None if info.levels is not None else _decoded(record.path)
    if found is None or found.shape[2] not in (1, info.channels) or info.channels not in _MODES.values():
        return torch.from_numpy(np.array(split.read_image(record).transpose(2, 0, 1)))
    image = torch.from_dlpack(found).permute(2, 0, 1)  # `from_numpy` warns of arrays that are read-only
    return image.expand(info.channels, -1, -1)


def read_labels(path: Path, kept: Mapping[Path, np.ndarray] | None = None) -> np.ndarray:
    """Read an H x W map of unsigned integers, see `read_label_map`; what is `kept` is not read again."""
    if kept is not None and path in kept:
        return kept[path]
    found = _decoded(path, "L")
    return read_label_map(path) if found is None else found[:, :, 0]


def read_colours(path: Path, kept: Mapping[Path, np.ndarray] | None = None) -> np.ndarray:
    """Read an H x W x 3 uint8 image, such as a map of panoptic segments; what is `kept` is not read again."""
    if kept is not None and path in kept:
        return kept[path]
    found = _decoded(path, "RGB")
    return np.asarray(open_image(path).convert("RGB")) if found is None else found


def _decoded(path: Path, *modes: str) -> np.ndarray | None:
    """Decode a JPEG or PNG file of 8 bits, without palette and alpha, as H x W x C uint8, read-only.

    Args:
        path: the file.
        modes: accepted modes, by Pillow's names; none: grey and RGB.

    Returns:
        None for all other files, and for broken ones: `open_image` says what is wrong.

    Raises:
        SegbenchError: the image is too large (see `allow_pixels`).
    """
    try:
        with Image.open(path) as image:
            if image.mode not in (modes or _MODES) or not _has_8_bits(image):
                return None
            check_pixels(*image.size, path)
            image.load()
            return _memory(image)
    except (OSError, ValueError, SyntaxError):
        return None


def _has_8_bits(image: Image.Image) -> bool:
    tiles = getattr(image, "tile", [])
    return image.format == "JPEG" or (
        image.format == "PNG" and bool(tiles) and all(tile.args == image.mode for tile in tiles)
    )


def _memory(image: Image.Image) -> np.ndarray:
    """Return the memory of a grey or RGB image as H x W x C; a copy if it is in several parts."""
    import pyarrow

    shape = (image.height, image.width)
    try:
        stored = pyarrow.array(image)
    except ValueError:  # an image of more than 16 MB
        return np.asarray(image).reshape(*shape, -1)
    values = stored.flatten() if image.mode == "RGB" else stored
    return values.to_numpy().reshape(*shape, -1)[:, :, : _MODES[image.mode]]
