from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segbench.errors import SegbenchError
from segbench.prediction.runner.video import VideoWriter, read_video

UPRIGHT = np.zeros((32, 48), np.uint8)
UPRIGHT[:16, :24], UPRIGHT[:16, 24:], UPRIGHT[16:, :24] = 240, 160, 80
# of a stored pixel (x, y), shown at (a x + c y, b x + d y), and how the stored frame comes from the shown one
ORIENTATIONS = {
    "upright": ((1, 0, 0, 1), lambda image: image),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down": ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.T),
    "on its left": ((0, 1, -1, 0), lambda image: np.rot90(image)),
    "on its right": ((0, -1, 1, 0), lambda image: np.rot90(image, -1)),
    "transversed": ((0, -1, -1, 0), lambda image: image[::-1, ::-1].T),
}


def write(path: Path, frames: list[np.ndarray], times: list[int], *, last: int = 1, matrix=None) -> None:
    """Write a video with frames that start at `times`, in hundredths of a second."""
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=100)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "yuv420p"
        if matrix:
            a, b, c, d = (65536 * v for v in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 2**30])
        lengths = {t: n - t for t, n in zip(times, [*times[1:], times[-1] + last])}
        for pixels, time in zip(frames, times):
            frame = av.VideoFrame.from_ndarray(np.stack([pixels] * 3, -1).copy(), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            for packet in stream.encode(frame):
                packet.duration = lengths[packet.pts]
                file.mux(packet)
        file.mux(stream.encode())


def read(path: Path) -> tuple[list[np.ndarray], list[float], float]:
    """Return grey frames, their times, and the end of the last one, in seconds."""
    with av.open(path) as file:
        frames = list(file.decode(video=0))
        end = file.streams.video[0].duration * file.streams.video[0].time_base
    return [f.to_ndarray(format="gray") for f in frames], [f.time for f in frames], float(end)


def repaint(source: Path, target: Path, channels: int, paint=lambda pixels: pixels) -> None:
    with VideoWriter(target) as writer:
        for pixels, moment in read_video(source, channels):
            writer.add(paint(pixels), moment)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_videos_are_answered_upright(tmp_path: Path, name: str, channels: int) -> None:
    matrix, stored = ORIENTATIONS[name]
    write(tmp_path / "a.mov", [stored(UPRIGHT)] * 2, [0, 10], matrix=matrix)
    seen = []
    repaint(tmp_path / "a.mov", tmp_path / "b.mp4", channels, lambda p: seen.append(p.shape) or grey(p))
    assert seen == [(32, 48, channels)] * 2
    frames, _, _ = read(tmp_path / "b.mp4")
    for frame in frames:
        corners = frame[[4, 4, 28, 28], [4, 44, 4, 44]].astype(int)
        assert np.abs(corners - [240, 160, 80, 0]).max() < 30


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("times", "last"),
    [([0, 10, 13, 90, 220], 5), ([0, 600], 600), ([0, 4, 8, 12], 4), ([500, 510, 530], 20), ([0], 50)],
    ids=["uneven", "slides", "even", "late", "single"],
)
def test_every_frame_keeps_its_time(tmp_path: Path, times: list[int], last: int, suffix: str) -> None:
    source = tmp_path / f"a{suffix}"
    write(source, [UPRIGHT] * len(times), times, last=last)
    repaint(source, tmp_path / "b.mp4", 3)
    moments = [moment for _, moment in read_video(source, 3)]
    assert [m.time for m in moments] == pytest.approx([(t - times[0]) / 100 for t in times], abs=2e-3)
    assert [m.number for m in moments] == [*range(len(times))]
    _, found, end = read(tmp_path / "b.mp4")
    assert found == pytest.approx([(t - times[0]) / 100 for t in times], abs=2e-3)
    if suffix == ".mp4":  # the other container does not say how long the last frame is shown
        assert end == pytest.approx((times[-1] + last - times[0]) / 100, abs=2e-3)


def test_what_has_no_frame_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with av.open(tmp_path / "sound.mp4", "w") as file:
        stream = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    for name in ("empty.mp4", "sound.mp4"):
        with pytest.raises(
            SegbenchError, match=f"{name}: is neither an image nor a video .*\n  remedy: conv"
        ):
            list(read_video(tmp_path / name, 3))
