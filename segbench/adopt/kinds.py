"""Sort the files of a folder into kinds, such as the images of all splits, or the masks of all patients."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from segbench.adopt.words import IMAGE, MASK, OTHER, SIDES, mask_affix, split_in, words
from segbench.data.converters.patterns import MASK_SUFFIXES
from segbench.data.images import IMAGE_SUFFIXES

FREE, SPLIT = "*", "\0"
_ENDS = 3


@dataclass(slots=True)
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
        fixed: whether the names of all folders tell kinds apart. Otherwise, only those with a word for
            images, masks or splits, or that stand alone in their place; others are patients, videos and the
            like.
    """
    groups: dict[tuple[tuple[str, ...], str, str], list[File]] = defaultdict(list)
    parsed: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() in IMAGE_SUFFIXES | MASK_SUFFIXES:
            if folder not in parsed:
                names = tuple(folder.split("/")) if folder else ()
                parsed[folder] = names, *_parsed(names, fixed)
            names, template, form, split = parsed[folder]
            before, core, after, number = mask_affix(stem)
            file = File(path, names, form, split, before, core, after, number, suffix)
            groups[template, before.lower(), after.lower()].append(file)
    found = []
    for (template, _, _), files in groups.items():
        folders = " ".join(t.replace(SPLIT, " ") for t in template if t != FREE)
        text = f"{folders} {files[0].before} {files[0].after}"
        for named, role in _by_stem(_numbered(files)):
            parts = _by_suffix(_without_lone(named))
            found += [Kind(part, words(f"{text} {role}")) for part in parts]
    return found


def _parsed(folders: tuple[str, ...], fixed: bool) -> tuple[tuple[str, ...], str, str]:
    """Return template, form and split of folders. In the template, marks replace splits and free names."""
    template, form, split = [], "", ""
    for folder in folders:
        found, rest = split_in(folder)
        if found and split in ("", found):
            split = found
            template.append(rest + SPLIT)
            form += "s"
        elif fixed or (words(folder) & (MASK | IMAGE | OTHER) and not words(folder) & SIDES):
            template.append(folder)
            form += "l"
        else:
            template.append(FREE)
            form += "f"
    return tuple(template), form, split


def _numbered(files: list[File]) -> list[File]:
    """A number after the mask word is the name, if there is nothing else: scan_mask_1, scan_mask_2."""
    if len(files) > 1 and files[0].number and len({f.core for f in files}) == 1:
        for f in files:
            f.before, f.core, f.after, f.number = f.core + f.after, f.number, "", ""
    return files


def _by_stem(files: list[File]) -> list[tuple[list[File], str]]:
    """Divide files that differ in the end of their names, with the word that tells them apart.

    Either names have no other part, as in scene1/image.png and scene1/mask.png; or some are those of other
    files with something added, as in 7.png and 7_L.png.
    """
    stems = {f.core for f in files}
    parts: dict[str, list[File]] = defaultdict(list)
    if "f" in files[0].form and any(words(s) & MASK and not any(map(str.isdigit, s)) for s in stems):
        for file in files:
            parts[file.core].append(file)
        return [(part, stem) for stem, part in parts.items()]
    if files[0].before or files[0].after:
        return [(files, "")]
    ends = Counter(end for f in files for end in _ends(f.core) if f.core.removesuffix(end) in stems)
    common = [end for end, count in ends.most_common(_ENDS) if count > max(1, 0.2 * len(files))]
    for file in files:
        end = next((e for e in common if file.core.endswith(e) and file.core.removesuffix(e) in stems), "")
        file.core, file.after = file.core.removesuffix(end), end
        parts[end].append(file)
    return [(part, end) for end, part in parts.items()]


def _ends(stem: str) -> list[str]:
    """Return the last letters of a name, with their separator, as they may be added to another name."""
    found = re.search(r"[_\-. ]+(?=\d*[A-Za-z])[A-Za-z0-9]+$", stem) or re.search(r"(?<=\d)[A-Za-z]+$", stem)
    return [found[0]] if found else []


def _without_lone(files: list[File]) -> list[File]:
    """Fix the folders that have one name only."""
    form = files[0].form
    lone = {k for k, kind in enumerate(form) if kind == "f" and len({f.folders[k] for f in files}) == 1}
    new = "".join("l" if k in lone else kind for k, kind in enumerate(form))
    for file in files:
        file.form = new
    return files


def _by_suffix(files: list[File]) -> list[list[File]]:
    """Divide files by type, if there are two of one name, such as x.jpg and x.png."""
    names = {f.path[: len(f.path) - len(f.suffix)] for f in files}
    if len(names) == len(files):
        return [files]
    parts: dict[str, list[File]] = defaultdict(list)
    for file in files:
        parts[file.suffix.lower()].append(file)
    return list(parts.values())
