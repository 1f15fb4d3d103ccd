"""Find the images and videos of a user, and where their results go."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import listed
from segbench.errors import SegbenchError
from segbench.prediction.runner.video import VIDEO_SUFFIXES

log = logging.getLogger(__name__)
KNOWN = IMAGE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class Source:
    """An image or a video."""

    path: Path
    name: str
    """Path of its results below a folder of results, without a suffix."""

    @property
    def is_video(self) -> bool:
        """Whether it is to be read as a video: all files without a suffix of images are."""
        return self.path.suffix.lower() not in IMAGE_SUFFIXES

    @property
    def painted(self) -> str:
        """File name of the source with the prediction painted over it."""
        return f"{self.name}{'.mp4' if self.is_video else '.png'}"


def find_sources(inputs: Sequence[Path], out: Path) -> list[Source]:
    """Return all files that were named, the images and videos in folders, and those that match a pattern.

    A pattern has `*`, `?`, `[...]` or `**` (any folders). The results of its files have the folders below
    the part without a pattern; those of other inputs have none. Files in `out` match no pattern.

    Args:
        inputs: files, folders and patterns.
        out: folder of the results.

    Raises:
        SegbenchError: an input is missing, a folder or pattern has no image and no video, or a result would
            replace an input or another result.
    """
    found = [source for given in inputs for source in _sources(given, out)]
    _check_results(found, out)
    return found


def _sources(given: Path, out: Path) -> Iterator[Source]:
    if given.is_dir():
        yield from (Source(path, path.stem) for path in _known(listed(given), given, "contains"))
    elif given.exists():
        yield Source(given, given.stem)
    elif glob.has_magic(str(given)):
        yield from _matching(given, out)
    else:
        raise SegbenchError("does not exist", where=given, remedy="check the path")


def _matching(pattern: Path, out: Path) -> Iterator[Source]:
    fixed = next(k for k, part in enumerate(pattern.parts) if glob.has_magic(part))
    root, results = Path(*pattern.parts[:fixed]), out.resolve()
    try:
        inside = listed(root, str(Path(*pattern.parts[fixed:])))
    except ValueError as error:
        raise SegbenchError(f"is no pattern ({error})", where=pattern, remedy="write in/**/*.png") from error
    if out.exists():
        inside = [p for p in inside if not p.resolve().is_relative_to(results)]
    for path in _known(inside, pattern, "matches"):
        below = path.relative_to(root).with_suffix("")
        yield Source(path, path.stem if ".." in below.parts else below.as_posix())


def _known(paths: list[Path], where: Path, verb: str) -> list[Path]:
    """Return the images and videos among paths; raise SegbenchError if there are none."""
    found = [p for p in paths if p.suffix.lower() in KNOWN and p.is_file()]
    if not found:
        raise SegbenchError(
            f"{verb} no image and no video (folders inside a folder are not searched)",
            where=where,
            remedy="name a folder with images or videos, the files themselves, or a pattern (in/**/*.png)",
        )
    if others := len(paths) - len(found):
        log.info("%s: %d other files and folders are skipped", where, others)
    return found


def _check_results(sources: list[Source], out: Path) -> None:
    """Raise SegbenchError if a result would replace an input or another result."""
    folders = {path: path.resolve() for path in {source.path.parent for source in sources}}
    originals = {folders[source.path.parent] / source.path.name for source in sources}
    videos = {source.name for source in sources if source.is_video}
    taken: dict[str, Path] = {}
    place = out.resolve()
    for source in sources:
        other = taken.setdefault(source.painted, source.path)
        frames = videos.intersection(map(str, Path(source.name).parents))
        if other != source.path or frames:
            also = f"{other} would" if not frames else f"the frames of {frames.pop()} would"
            raise SegbenchError(
                f"would be written to {out / source.painted}, as {also}",
                where=source.path,
                remedy="rename one of them, or use one call each with another --out",
            )
        for target in (source.painted, f"masks/{source.name}.png", f"panoptic/{source.name}.png"):
            if place / target in originals:
                raise SegbenchError(
                    f"would replace the input {out / target}", where=source.path, remedy="give another --out"
                )
