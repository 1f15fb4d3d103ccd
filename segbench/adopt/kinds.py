"""Sort the files of a folder into kinds, such as the images of all splits, or the masks of all patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from segbench.adopt.words import IMAGE, MASK, OTHER, mask_affix, split_in, words
from segbench.data.converters.patterns import MASK_SUFFIXES
from segbench.data.images import IMAGE_SUFFIXES

FREE, SPLIT = "*", "\0"


@dataclass(frozen=True)
class File:
    """A file: its folders, the split that they name, and the parts of its name.

    `form` has a character for each folder: `l` for fixed names, `s` for a split, `f` for names that vary.
    """

    path: str
    folders: tuple[str, ...]
    form: str
    split: str
    before: str
    core: str
    after: str
    number: str
    suffix: str

    @property
    def free(self) -> tuple[str, ...]:
        """The names of the folders that vary."""
        return tuple(f for f, kind in zip(self.folders, self.form) if kind == "f")


@dataclass
class Kind:
    """Files with the same form of folders and the same mask word in their names.

    `words`: words of the fixed folders and of the mask word.
    """

    files: list[File]
    words: set[str]

    @property
    def says_mask(self) -> bool:
        return bool(self.words & MASK)

    @property
    def says_image(self) -> bool:
        return bool(self.words & IMAGE) and not self.says_mask

    @property
    def says_other(self) -> bool:
        return bool(self.words & OTHER)

    @property
    def place(self) -> str:
        """Name the kind in messages by an example."""
        return self.files[0].path


def kinds_of(paths: Iterable[str], *, fixed: bool) -> list[Kind]:
    """Sort paths below the folder into kinds.

    Args:
        paths: with `/`.
        fixed: whether the names of all folders tell kinds apart. Otherwise, only those with a word for images,
            masks or splits, or that stand alone in their place; the others are patients, videos and the like.
    """
    groups: dict[tuple[object, ...], list[File]] = defaultdict(list)
    for path in paths:
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES | MASK_SUFFIXES:
            key, file = _parsed(path, fixed)
            groups[key].append(file)
    found = []
    for (template, before, after), files in groups.items():  # type: ignore[misc]
        files = _numbered(files)
        for part in _by_suffix(_without_lone(files)):
            text = " ".join([*(t.replace(SPLIT, " ") for t in template if t != FREE), before, after])
            found.append(Kind(part, words(text)))
    return found


def _parsed(path: str, fixed: bool) -> tuple[tuple[object, ...], File]:
    pure = PurePosixPath(path)
    folders = pure.parts[:-1]
    template, form, split = [], "", ""
    for folder in folders:
        found, rest = split_in(folder)
        if found and not split:
            split = found
            template.append(rest + SPLIT)
            form += "s"
        elif fixed or words(folder) & (MASK | IMAGE | OTHER):
            template.append(folder)
            form += "l"
        else:
            template.append(FREE)
            form += "f"
    before, core, after, number = mask_affix(pure.stem)
    file = File(path, folders, form, split, before, core, after, number, pure.suffix)
    return (tuple(template), before.lower(), after.lower()), file


def _numbered(files: list[File]) -> list[File]:
    """A number after the mask word is the name, if there is nothing else: scan_mask_1, scan_mask_2."""
    if len(files) > 1 and files[0].number and len({f.core for f in files}) == 1:
        return [replace(f, before=f.core + f.after, core=f.number, after="", number="") for f in files]
    return files


def _without_lone(files: list[File]) -> list[File]:
    """Fix the folders that have one name only."""
    form = files[0].form
    lone = {k for k, kind in enumerate(form) if kind == "f" and len({f.folders[k] for f in files}) == 1}
    new = "".join("l" if k in lone else kind for k, kind in enumerate(form))
    return [replace(f, form=new) for f in files]


def _by_suffix(files: list[File]) -> list[list[File]]:
    """Divide files by type, if there are two of one name, such as x.jpg and x.png."""
    names = {f.path[: len(f.path) - len(f.suffix)] for f in files}
    if len(names) == len(files):
        return [files]
    parts: dict[str, list[File]] = defaultdict(list)
    for file in files:
        parts[file.suffix.lower()].append(file)
    return list(parts.values())
