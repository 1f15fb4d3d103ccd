"""Pixels of files as tensors and arrays, by torchvision's decoders where these give what Pillow gives.

torchvision writes a decoded image once. Pillow keeps four bytes for three, and is copied twice more on the way
to an array, which takes longer than the decoding of a photograph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, read_file

from segbench.data.dataset import ImageRecord, Split
from segbench.data.images import check_pixels, open_image, read_label_map

_MODES = {"L": 1, "RGB": 3}
"""Number of channels by Pillow's name of a mode."""


def read_pixels(split: Split, record: ImageRecord) -> Tensor:
    """Read an image of a dataset, see `Split.read_image`.

    Returns:
        C x H x W uint8, or float32 in 0..1 if the dataset has `levels`. The channels of a pixel may lie side
        by side in memory.
    """
    info = split.dataset.info
    found = None if info.levels is not None else _decoded(record.path)
    if found is not None and len(found) == 1 and info.channels == 3:
        return found.expand(3, -1, -1)
    if found is not None and len(found) == info.channels:
        return found
    return torch.from_numpy(np.array(split.read_image(record).transpose(2, 0, 1)))


def read_labels(path: Path) -> np.ndarray:
    """Read an H x W map of unsigned integers, see `read_label_map`."""
    found = _decoded(path, "L")
    return read_label_map(path) if found is None else found[0].numpy()


def read_colours(path: Path) -> np.ndarray:
    """Read an H x W x 3 uint8 image, such as a map of panoptic segments."""
    found = _decoded(path, "RGB")
    return np.asarray(open_image(path).convert("RGB")) if found is None else found.permute(1, 2, 0).numpy()


def _decoded(path: Path, *modes: str) -> Tensor | None:
    """Decode a JPEG or PNG file of 8 bits without palette and transparency, as C x H x W uint8.

    Args:
        path: the file.
        modes: accepted modes, by Pillow's names; none: grey and RGB.

    Returns:
        None for all other files, and for broken ones: Pillow says what is wrong.

    Raises:
        SegbenchError: the image is too large (see `allow_pixels`).
    """
    try:
        with Image.open(path) as header:  # reads no pixels
            if header.mode not in (modes or _MODES) or not _is_plain(header):
                return None
            size, channels = header.size, _MODES[header.mode]
    except (OSError, ValueError, SyntaxError):
        return None
    check_pixels(*size, path)
    try:
        found = decode_image(read_file(str(path)), ImageReadMode.UNCHANGED)
    except RuntimeError:
        return None
    return found if found.dtype == torch.uint8 and found.shape == (channels, *size[::-1]) else None


def _is_plain(header: Image.Image) -> bool:
    if header.format == "JPEG":
        return True
    (tile,) = header.tile if len(getattr(header, "tile", [])) == 1 else (None,)
    return header.format == "PNG" and tile is not None and tile.args == header.mode and not header.info.get(
        "interlace"
    )
