"""Functions for a user's own annotated folder: its options, files and splits."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, model_validator

from segbench.data.converters.common import require
from segbench.data.converters.group_table import GroupColumn
from segbench.data.converters.splits import SPLITS, SplitOptions
from segbench.data.dataset import Archives, Division
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import is_junk, listed
from segbench.errors import SegbenchError, nearest

log = logging.getLogger(__name__)


BoxOnly = Literal["error", "skip", "truth"]
"""Objects that have only a box are errors, or skipped; or the boxes of all objects are the truth."""


def _at_home(path: Path) -> Path:
    with suppress(RuntimeError):  # no such user: a folder with this name
        return path.expanduser()
    return path


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise ValueError("no such encoding; try gbk, big5, shift_jis or cp1252") from error


class SourceOptions(SplitOptions):
    """Options of all converters that read a folder."""

    folder: Annotated[Path, AfterValidator(_at_home)] | None = None
    """The folder with the images and annotations. null: the entry's one archive."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    """Encoding of annotation files that are not in UTF-8, such as `gbk`."""

    @model_validator(mode="after")
    def _groups_are_in_the_folder(self) -> Self:
        if self.folder and isinstance(self.group, GroupColumn):
            self.group = self.group.model_copy(update={"file": self.folder / self.group.file.expanduser()})
        return self


class FolderOptions(SourceOptions):
    """Options of converters that find the classes in the annotations."""

    labels: list[str] | None = None
    """The classes, in order. null: all labels in the annotations, sorted."""
    unannotated: Literal["skip", "empty"] = "skip"
    """Images without an annotation are skipped (skip), or images without objects (empty)."""


def root_of(archives: Archives, options: SourceOptions) -> Path:
    """Return the folder with the data. Folders that contain only another folder are skipped."""
    roots = [options.folder] if options.folder else list(archives.values())
    if len(roots) != 1:
        raise SegbenchError(
            f"there are {len(roots)} archives",
            where="options.folder",
            remedy="give one folder or one archive",
        )
    root = require(roots[0], "check `folder` in the dataset's options")
    if not root.is_dir():
        raise SegbenchError("is not a folder", where=root, remedy="check `folder` in the dataset's options")
    while True:
        inner = [p for p in root.iterdir() if not is_junk([p.name])]
        if len(inner) != 1 or not inner[0].is_dir() or inner[0].name in SPLITS:
            return root
        root = inner[0]


def split_folders(root: Path) -> dict[str, Path]:
    """Return the subfolders train, val and test. If there are none, "" -> `root`, which `divided` splits."""
    return {s: root / s for s in SPLITS if (root / s).is_dir()} or {"": root}


def annotation_files(top: Path) -> list[Path]:
    """Return all JSON files below a folder."""
    return [p for p in listed(top, "**/*") if p.suffix.lower() == ".json" and p.is_file()]


def image_named(name: str, file: Path, root: Path) -> Path | None:
    """Find the image that an annotation file names. Return None if there is none.

    If the path does not exist, as on another machine, only its file name is used, beside the annotation file.
    Upper and lower case may differ if only one image fits.

    Args:
        name: name or path of the image.
        file: the annotation file.
        root: folder of the dataset; images outside of it are ignored.
    """
    name = name.replace("\\", "/")
    inside = root.resolve()
    for path in (file.parent / name, file.parent / PurePosixPath(name).name):
        with suppress(OSError, ValueError):  # not a valid file name
            if path.is_file() and path.resolve().is_relative_to(inside):
                return path
    last = PurePosixPath(name).name.casefold()
    alike = [p for p in listed(file.parent) if p.name.casefold() == last and p.is_file()]
    return alike[0] if len(alike) == 1 and alike[0].resolve().is_relative_to(inside) else None


def no_image(name: object, file: Path, root: Path) -> SegbenchError:
    """Return the error for an image that `image_named` does not find."""
    return SegbenchError(
        f"the image {name!r} is not a file inside of {root}",
        where=file,
        remedy="put the image beside the .json file, or correct its name in the file",
    )


def unannotated(root: Path, taken: Iterable[Path], options: FolderOptions) -> Iterator[tuple[str, Path]]:
    """Yield split and path of the images without an annotation, if the options do not skip them."""
    known = {path.resolve() for path in taken}
    found = [
        (split, path)
        for split, top in split_folders(root).items()
        for path in listed(top, "**/*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.resolve() not in known
    ]
    if found and options.unannotated == "skip":
        log.warning(
            "%s: skipped %d images without an annotation, such as %s (`unannotated: empty` uses them "
            "as images without objects)",
            root,
            len(found),
            found[0][1].name,
        )
        return
    yield from found


def evaluation_split(splits: Sequence[str]) -> str:
    """Return the split that is scored: `test` if there is one, else `val`."""
    return "test" if "test" in splits else "val"


def division(root: Path) -> Division:
    """Return who divides the images: the folder, by subfolders, or the conversion."""
    return "own" if "" in split_folders(root) else "given"


def name_another(label: str, labels: Sequence[str], kind: str) -> str:
    """Return the remedy for a label that is not in the class list. `kind`: what has the label."""
    hint = nearest(label, labels)
    return f"did you mean '{hint}'?" if hint else f"add it to `labels`, or rename the {kind}"


def label_fault(label: Any) -> str | None:
    """Return what is wrong with a label, as text; None if it is valid."""
    if label is None:
        return "has no label"
    if not isinstance(label, str):
        return f"has the label {label!r} ({type_name(label)}), which must be text"
    return None if label.strip() else f"has an empty label ({label!r})"


def type_name(value: Any) -> str:
    """Return the type of a value in a JSON file, in words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def number(value: Any) -> float:
    """Convert a coordinate, a number or text of a number. ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is {type_name(value)}, not a number")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{value!r} is text, not a number") from None
