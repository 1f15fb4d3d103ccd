"""Read and write videos frame by frame, each frame upright and at its own time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from segbench.errors import SegbenchError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv"}
)
"""File name suffixes of videos in folders; a video that is given by name may have any other."""
RATE = 25
"""Frames per second of a video that does not state its rate."""


@dataclass(frozen=True)
class Moment:
    """When a frame of a video is shown."""

    number: int
    """Number of the frame, from 0."""
    tick: int
    """Start, in multiples of `base` since the first frame; it increases even in a damaged video."""
    length: int
    """Duration, in multiples of `base`."""
    base: Fraction
    """Seconds of a tick."""
    rate: Fraction
    """Frames per second of the video."""

    @property
    def time(self) -> float:
        """Start in seconds since the first frame."""
        return float(self.tick * self.base)


def read_video(source: Path, channels: int) -> Iterator[tuple[np.ndarray, Moment]]:
    """Yield the frames of a video, H x W x channels uint8, all of the size of the first.

    Args:
        source: video in any format that FFmpeg reads.
        channels: 1 (grey) or 3 (RGB).

    Raises:
        SegbenchError: `source` cannot be read or has no frame.
    """
    try:
        with av.open(source) as reader:
            stream = reader.streams.video[0]
            rate = Fraction(stream.average_rate or RATE)
            base = stream.time_base or 1 / rate
            step = max(1, round(1 / (rate * base)))
            size, start, last = None, 0, -1
            for number, frame in enumerate(reader.decode(stream)):
                if size is None:
                    size, start = (frame.width, frame.height), frame.pts or 0
                tick = last + step if frame.pts is None else frame.pts - start
                last = max(tick, last + 1)
                yield (
                    _upright(frame, channels, size),
                    Moment(number, last, frame.duration or step, base, rate),
                )
        if size is None:
            raise IndexError("it has no frame")
    except (av.FFmpegError, IndexError, UnicodeDecodeError) as error:
        # no video stream, no frame, damaged metadata
        raise SegbenchError(
            f"is neither an image nor a video that can be read ({error})",
            where=source,
            remedy="convert it with ffmpeg, or remove it from the inputs",
        ) from error


class VideoWriter:
    """Write frames as H.264; use it in a `with` block.

    Args:
        target: file to write.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._file: Any = None
        self._lengths: dict[int, int] = {}

    def __enter__(self) -> VideoWriter:
        self._file = av.open(self._target, "w")
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None and self._file.streams.video:
            self._mux(self._file.streams.video[0].encode())
        self._file.close()

    def add(self, pixels: np.ndarray, moment: Moment) -> None:
        """Write an H x W x 3 uint8 frame of the size of the first; odd sides lose their last pixel.

        Raises:
            av.FFmpegError: the frame cannot be encoded.
        """
        if not self._file.streams.video:
            self._start(pixels, moment)
        stream = self._file.streams.video[0]
        even = np.ascontiguousarray(pixels[: stream.height, : stream.width])
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts, frame.time_base = moment.tick, moment.base
        self._lengths[moment.tick] = moment.length
        self._mux(stream.encode(frame))

    def _start(self, pixels: np.ndarray, moment: Moment) -> None:
        stream = self._file.add_stream("h264", rate=moment.rate)
        height, width = pixels.shape[:2]
        # H.264 stores colours at half the resolution, so both sides must be even
        stream.width, stream.height = width // 2 * 2, height // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.max_b_frames = 0  # so packets come in the order of the frames
        stream.codec_context.time_base = moment.base

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:  # players need the duration of the last frame; the others end with the next
            packet.duration = self._lengths.pop(packet.pts or 0, 1)
        self._file.mux(packets)


def _upright(frame: av.VideoFrame, channels: int, size: tuple[int, int]) -> np.ndarray:
    """Return a frame as H x W x channels, rotated by multiples of 90 degrees and mirrored as its header says.

    Args:
        frame: decoded frame.
        channels: 1 or 3.
        size: width and height to convert to before the rotation, since some videos change their size.
    """
    width, height = size
    form = "gray" if channels == 1 else "rgb24"
    pixels = frame.to_ndarray(format=form, width=width, height=height).reshape(height, width, channels)
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # a pixel at (x, y) is shown at (a x + c y, b x + d y), plus a shift
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
