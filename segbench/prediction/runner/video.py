"""Read and write videos frame by frame, each frame upright and at its own time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import chain
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


def repaint_video(
    source: Path, target: Path, channels: int, paint: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Change each frame of a video, and write the result as H.264.

    Args:
        source: video in any format that FFmpeg reads.
        target: file to write.
        channels: 1 (grey) or 3 (RGB), as `paint` requires.
        paint: maps an H x W x channels uint8 frame to an H x W x 3 uint8 frame.

    Raises:
        SegbenchError: `source` cannot be read or has no frame.
    """
    try:
        with av.open(source) as reader, av.open(target, "w") as writer:
            stream = reader.streams.video[0]
            frames = reader.decode(stream)
            first = next(frames)
            sink = writer.add_stream("h264", rate=stream.average_rate or RATE)
            height, width = _upright(first, channels).shape[:2]
            # H.264 stores colours at half the resolution, so both sides must be even
            sink.width, sink.height = width // 2 * 2, height // 2 * 2
            sink.pix_fmt = "yuv420p"
            sink.codec_context.max_b_frames = 0  # so packets come in the order of the frames
            sink.codec_context.time_base = stream.time_base or 1 / Fraction(sink.rate or RATE)
            clock = _Clock(sink.codec_context.time_base, Fraction(stream.average_rate or RATE))
            for frame in chain([first], frames):
                pixels = _upright(frame, channels, (first.width, first.height))
                painted = paint(pixels[: sink.height, : sink.width])
                shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(painted), format="rgb24")
                shown.pts, shown.time_base = clock.tick(frame), clock.base
                writer.mux(clock.timed(sink.encode(shown)))
            writer.mux(clock.timed(sink.encode()))
    except (av.FFmpegError, StopIteration, IndexError, UnicodeDecodeError) as error:
        # no video stream, no frame, damaged metadata
        raise SegbenchError(
            f"is neither an image nor a video that can be read ({str(error) or 'it has no frame'})",
            where=source,
            remedy="convert it with ffmpeg, or remove it from the inputs",
        ) from error


class _Clock:
    """Times of frames, in ticks of `base` since the first frame; they increase even in a damaged video."""

    def __init__(self, base: Fraction, rate: Fraction) -> None:
        self.base = base
        self._step = max(1, round(1 / (rate * base)))
        self._first: int | None = None
        self._last = -1
        self._lengths: dict[int, int] = {}

    def tick(self, frame: av.VideoFrame) -> int:
        if self._first is None:
            self._first = frame.pts or 0
        pts = self._last + self._step if frame.pts is None else frame.pts - self._first
        self._last = max(pts, self._last + 1)
        self._lengths[self._last] = frame.duration or self._step
        return self._last

    def timed(self, packets: list[av.Packet]) -> list[av.Packet]:
        """Set the durations of packets; players need that of the last frame, the others end with the next."""
        for packet in packets:
            packet.duration = self._lengths.pop(packet.pts or 0, self._step)
        return packets


def _upright(frame: av.VideoFrame, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a frame as H x W x channels, rotated by multiples of 90 degrees and mirrored as its header says.

    Args:
        frame: decoded frame.
        channels: 1 or 3.
        size: width and height to convert to before the rotation, since some videos change their size.
    """
    width, height = size or (frame.width, frame.height)
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
