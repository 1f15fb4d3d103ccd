"""Find the images that COCO files list.

Programs write `file_name` as a name, a path below some folder, a path of the machine of the annotator, a path
of Windows, or an address; Label Studio puts eight hexadecimal digits before the name of an uploaded image.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from segbench.data.converters.coco_files import split_of
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import is_junk
from segbench.errors import SegbenchError

_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")
_REMEDY = "put the image into the folder, correct its name in the file, or set `images` to its folder"


class ImageFolder:
    """The images below some folders.

    Args:
        tops: the folders, by the names of their archives; "" for a folder without one.
        beside: whether names may also count from the folder of the annotation file, as by default.
        without: folders below `tops` without images: those of panoptic maps whose name does not say so.
    """

    def __init__(self, tops: Mapping[str, Path], *, beside: bool, without: Sequence[Path] = ()) -> None:
        self._tops, self._beside = list(dict.fromkeys(tops.values())), beside
        self._folder_of: dict[Path, Path] = {}
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for archive, top in tops.items():
            for path in _files(top, without):
                if path not in self._folder_of:
                    self._folder_of[path] = archive / path.parent.relative_to(top)
                    self._by_name[path.name.casefold()].append(path)

    def find(self, name: str, file: Path, split: str) -> Path:
        """Return the image that an annotation file names.

        A path that fits as it is written is used. Else the file names must be equal, apart from upper and
        lower case; if several images have the name, the one that has most folders of the path in common, or
        lies in the folder of the split. Images in the folder of another split are not used.

        Raises:
            SegbenchError: there is no such image, or several fit.
        """
        written = _cleaned(name)
        tops = [file.parent, *self._tops] if self._beside else self._tops
        for top in tops:
            path = Path(os.path.normpath(top / written))
            if path in self._folder_of:
                return path
        last = PurePosixPath(written).name
        upload = _UPLOAD.fullmatch(last)
        for wanted in (last, upload[1]) if upload else (last,):
            found = self._nearest(wanted, PurePosixPath(written).parent, split)
            if len(found) == 1:
                return found[0]
            if found:
                raise SegbenchError(
                    f"the image {name!r} may be any of {', '.join(map(str, found[:5]))}"
                    f"{f' and {len(found) - 5} more' if len(found) > 5 else ''}",
                    where=file,
                    remedy="write its path in the file, or set `images` to the folder (of each split)",
                )
        if Path(written).is_absolute() or ".." in PurePosixPath(written).parts or "\0" in written:
            what = f"the image {name!r} leads out of the dataset's folder, in which no image has this name"
            raise SegbenchError(what, where=file, remedy=_REMEDY)
        raise SegbenchError(f"is missing; {file} lists it", where=tops[0] / written, remedy=_REMEDY)

    def _nearest(self, name: str, folder: PurePosixPath, split: str) -> list[Path]:
        found = self._by_name.get(name.casefold(), [])
        if split:
            found = [path for path in found if self._split(path) in ("", split)]
        for rank in (
            lambda path: _in_common(self._folder_of[path].parts, folder.parts),
            lambda path: self._split(path) == split,
            lambda path: path.name == name,
        ):
            best = max(map(rank, found), default=0)
            found = [path for path in found if rank(path) == best]
        return found

    def _split(self, path: Path) -> str:
        return split_of(self._folder_of[path])

    def unlisted(self, listed: Mapping[Path, object]) -> list[tuple[str, Path]]:
        """Return split ("" if unknown) and path of the images that are not in `listed`, sorted."""
        return [
            (self._split(path), path)
            for path in sorted(self._folder_of)
            if path not in listed and path.suffix.lower() in IMAGE_SUFFIXES
        ]


def _files(top: Path, without: Container[Path]) -> Iterator[Path]:
    """Yield the files below a folder, without junk, links that lead out, and panoptic maps."""
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        maps = {name.removesuffix(".json") for name in names if name.startswith("panoptic")}
        folders[:] = sorted(
            f for f in folders if not is_junk([f]) and here / f not in without and f not in maps
        )
        for path in sorted(here / name for name in names if not is_junk([name])):
            if not path.is_symlink() or path.resolve().is_relative_to(top.resolve()):
                yield path


def _cleaned(name: str) -> str:
    """Return `file_name` as a path with forward slashes, without the address of a server."""
    name = name.strip().replace("\\", "/")
    if "://" not in name and "?d=" not in name:
        return name
    try:
        parts = urlsplit(name)
    except ValueError:  # not an address
        return name
    local = parse_qs(parts.query).get("d")  # Label Studio: /data/local-files/?d=folder/image.jpg
    return local[0] if local else unquote(parts.path).lstrip("/")


def _in_common(folders: Sequence[str], others: Sequence[str]) -> int:
    """Return how many of the last folders of two paths are equal."""
    count = 0
    for one, other in zip(reversed(folders), reversed(others)):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count
