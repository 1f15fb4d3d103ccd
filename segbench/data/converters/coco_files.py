"""Find the annotation files of a COCO dataset, in a folder or in the archives of an entry."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from segbench.data.coco.jsonstream import scan
from segbench.data.converters.coco_reader import flat
from segbench.data.converters.common import inside
from segbench.data.converters.folder import FolderOptions, annotation_files, root_of
from segbench.data.dataset import Archives
from segbench.errors import SegbenchError, nearest
from segbench.files import read_json

Paths = str | dict[Literal["train", "val", "test"], str]
"""One path, or one for each split."""
Kind = Literal["instances", "panoptic"]
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_of(path: PurePath) -> str:
    """Return the split that a path names, such as `valid/` or `instances_train2017`; "" if none.

    The last part of the path that names exactly one split decides.
    """
    for part in reversed(path.parts):
        found = {_SPLIT_WORDS[w] for w in re.findall("[a-z]+", part.lower()) if w in _SPLIT_WORDS}
        if len(found) == 1:
            return found.pop()
    return ""


@dataclass(frozen=True)
class Place:
    """Where the data is: one folder, or several archives, with which paths begin."""

    roots: dict[str, Path]
    """Archive name -> folder with its contents. "" -> the folder, if there is only one."""
    whole: Path | None = None
    """The one folder, with the folders that `root_of` skips."""

    def path(self, name: str, option: str) -> Path:
        """Return the path that an option names. SegbenchError if it does not exist or leads out."""
        name = name.replace("\\", "/")
        first, _, rest = name.strip("/").partition("/")
        if first in self.roots:
            tops, rest = [self.roots[first]], rest or "."
        elif self.whole is not None:
            tops, rest = [self.whole, self.roots[""]], name
        else:
            raise SegbenchError(
                f"{name!r} does not begin with the name of an archive ({', '.join(self.roots)})",
                where=f"options.{option}",
                remedy=f"did you mean '{nearest(first, self.roots) or next(iter(self.roots))}/...'?",
            )
        found = [path for path in (inside(top, rest) for top in tops) if path.exists()]
        if not found:
            raise SegbenchError(
                f"{name!r} is missing in {tops[0]}", where=f"options.{option}", remedy="check the path"
            )
        return found[0]

    def paths(self, given: Paths, option: str) -> dict[str, Path]:
        """Return the paths that an option names, by split; "" for one path for all."""
        by_split: dict[str, str] = {"": given} if isinstance(given, str) else dict(given.items())
        return {split: self.path(name, option) for split, name in by_split.items()}

    @property
    def tops(self) -> dict[str, Path]:
        """The folders to search, without those that stand twice in `roots`."""
        return {"": self.roots[""]} if "" in self.roots else self.roots

    def relative(self, path: Path) -> Path:
        """Return a path as it counts from the folder, or with the name of its archive."""
        for name, root in self.tops.items():
            if path.is_relative_to(root):
                return name / path.relative_to(root)
        return path


def place_of(archives: Archives, options: FolderOptions) -> Place:
    """Return where the data is."""
    if options.folder is None and len(archives) > 1:
        return Place({name: path for name, path in archives.items() if path.is_dir()})
    root = root_of(archives, options)
    if options.folder is not None:
        return Place({"": root}, options.folder)
    return Place({"": root} | dict(archives), next(iter(archives.values())))


def found_files(place: Place, encoding: str) -> dict[Kind, dict[str, Path]]:
    """Find the COCO files of a dataset by their contents, and their splits by their names.

    Args:
        place: where the data is.
        encoding: encoding of files that are not in UTF-8.

    Returns:
        Kind -> split -> file; the split is "" if there is one file without a split in its path.

    Raises:
        SegbenchError: there is no file, or it is not clear which ones to use. It lists what there is.
    """
    files = list(dict.fromkeys(path for root in place.tops.values() for path in annotation_files(root)))
    by_kind: dict[Kind, dict[str, list[Path]]] = {
        "instances": defaultdict(list),
        "panoptic": defaultdict(list),
    }
    for path in files:
        if (kind := _kind(path, encoding)) is not None:
            by_kind[kind][split_of(place.relative(path).with_suffix(""))].append(path)
    if not any(by_kind.values()):
        seen = ", ".join(str(place.relative(path)) for path in files[:5]) or "no .json file"
        raise SegbenchError(
            f"has no COCO file, with images, annotations and categories ({seen}"
            f"{f' and {len(files) - 5} more' if len(files) > 5 else ''})",
            where=next(iter(place.tops.values())),
            remedy="check `folder`, or name the files in `instances`",
        )
    return {kind: _one_each(splits, kind, place) for kind, splits in by_kind.items() if splits}


def _one_each(splits: Mapping[str, Sequence[Path]], kind: Kind, place: Place) -> dict[str, Path]:
    """Return the one file of each split. COCO's archive has person_keypoints beside instances."""
    named = {split: [p for p in paths if kind in p.stem] for split, paths in splits.items()}
    chosen = {split: named[split] if len(named[split]) == 1 else paths for split, paths in splits.items()}
    if any(len(paths) > 1 for paths in chosen.values()) or ("" in chosen and len(chosen) > 1):
        seen = [
            f"{place.relative(path)} ({split or 'no split in its name'})"
            for split, paths in splits.items()
            for path in paths
        ]
        raise SegbenchError(
            f"has several {kind} files: {', '.join(seen)}",
            where=next(iter(place.tops.values())),
            remedy=f"name those to use in the options: `{kind}: {{train: ..., test: ...}}`, or one file to "
            "divide",
        )
    return {split: paths[0] for split, paths in chosen.items()}


def _kind(path: Path, encoding: str) -> Kind | None:
    """Return the kind of a COCO file; None for other files."""
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith((b"{", b"\xff\xfe", b"\xfe\xff")):
        return None
    try:
        return _kind_of(path, ((key, value) for key, value, _, _ in scan(path)))
    except SegbenchError:  # another encoding, or damaged
        return _kind_of(path, flat(read_json(path, encoding)))


def _kind_of(path: Path, entries: Iterable[tuple[str, Any]]) -> Kind | None:
    keys = set()
    for key, value in entries:
        keys.add(key)
        if key == "annotations":
            if not isinstance(value, dict):
                return None
            if "segments_info" in value:
                return "panoptic"
            return "instances" if "image_id" in value and "category_id" in value else None
    if {"images", "categories"} <= keys:  # no annotation
        return "panoptic" if path.with_suffix("").is_dir() else "instances"
    return None
