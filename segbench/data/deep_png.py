"""Read PNG files with 16 bits in each of several channels, which Pillow reduces to 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {"rgb48be": 3, "ya16be": 2, "rgba64be": 4}
"""By FFmpeg's pixel format."""


def is_deep_png(path: Path) -> bool:
    """Return whether a file is a PNG with 16 bits in each of several channels."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == _SIGNATURE and head[24:25] == b"\x10" and head[25:] in (b"\2", b"\4", b"\6")


def read_deep_png(path: Path) -> np.ndarray:
    """Read such a file as H x W x C uint16: RGB, RGB and alpha, or grey and alpha.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged.
    """
    import av  # slow to import

    try:
        decoder = av.CodecContext.create("png", "r")
        frames = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)]
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error
    if not frames or frames[0].format.name not in _CHANNELS:
        raise ValueError("no image in the PNG file")
    frame = frames[0]
    channels = _CHANNELS[frame.format.name]
    rows = np.frombuffer(memoryview(frame.planes[0]), ">u2").reshape(frame.height, -1)  # rows may be padded
    return rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels).astype(np.uint16)
