"""Find images and their masks by patterns of paths, such as `images/{name}.jpg` and `masks/{name}_mask.png`.

All files are listed once; each pattern is a regular expression over this list.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import is_junk
from segbench.errors import SegbenchError

MASK_SUFFIXES = frozenset(
    {".png", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jpg", ".jpeg", ".npy", ".mat"}
)
CLASS = "class"
"""The field of a mask pattern that names the class of a file."""
_TOKEN = re.compile(r"\{([^{}]*)\}|\*\*/|\*|\?")
_SHOWN = 8
Key = tuple[str, ...]
Files = Mapping[str, Path]
"""Path below the folder of the dataset, with `/` -> file."""


@dataclass
class Pair:
    """An image, and its masks: each with the text of the field `{class}`, if the pattern has it."""

    name: str
    image: Path
    masks: list[tuple[Path, str | None]]


@dataclass
class Matches:
    """The pairs of a split; its images without a mask, by name, and its masks without an image, with the name
    of the missing one; and what is wrong with other files."""

    pairs: list[Pair] = field(default_factory=list)
    unannotated: dict[str, Path] = field(default_factory=dict)
    orphans: dict[Path, str] = field(default_factory=dict)
    faults: list[SegbenchError] = field(default_factory=list)


class Pattern:
    """A pattern of paths: `{field}` is text without `/`, `*` and `?` are as in a shell, `**/` is any folders.

    A field that stands twice the same text in both places. Upper and lower case of the suffix are equal.

    Args:
        text: the pattern.
        where: what error messages name.
        known: fields that it may have, of which it must have the first. None: at least one, of any name.

    Raises:
        SegbenchError: the pattern is not valid.
    """

    def __init__(self, text: str, where: str, known: Sequence[str] | None = None) -> None:
        text = unicodedata.normalize("NFC", text)  # macOS writes names in another form
        self.text, self.where = text, where
        found = [m[1] for m in _TOKEN.finditer(text) if m[1] is not None]
        self.fields = tuple(dict.fromkeys(found))
        rest = _TOKEN.sub("", text)
        if wrong := [f for f in found if not (f in known if known else re.fullmatch(r"[A-Za-z_]\w*", f))]:
            names = " or ".join(f"{{{f}}}" for f in known or ())
            self._fail(
                f"{{{wrong[0]}}} is not a field", f"write {names or 'a name of letters, such as {name}'}"
            )
        if known and (first := known[0]) not in found:
            self._fail(f"lacks {{{first}}}", f"write {{{first}}} where the name of the {first} stands")
        if not found:
            self._fail(
                "has no field", "write {name} where the name stands that image and mask have in common"
            )
        if "{" in rest or "}" in rest or "**" in text.replace("**/", ""):
            self._fail("has a brace or ** that is not closed", "write {name} for a field and **/ for folders")
        if "\\" in text or text.startswith(("/", "~")) or ".." in PurePosixPath(text).parts:
            self._fail("is not a path below the dataset's folder", "write it as in images/{name}.png, with /")
        self._greedy, self._lazy = (re.compile(self._expression(text, more)) for more in ("+", "+?"))

    def _fail(self, what: str, remedy: str) -> None:
        raise SegbenchError(f"{self.text!r} {what}", where=self.where, remedy=remedy)

    @staticmethod
    def _expression(text: str, more: str) -> str:
        suffix = PurePosixPath(text).suffix
        stem = text[: len(text) - len(suffix)] if re.fullmatch(r"\.\w+", suffix) else text
        parts, end, seen = [], 0, set[str]()
        for token in _TOKEN.finditer(stem):
            parts.append(re.escape(stem[end : token.start()]))
            end = token.end()
            if token[1] is None:
                parts.append({"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}[token[0]])
            else:
                parts.append(f"(?P={token[1]})" if token[1] in seen else f"(?P<{token[1]}>[^/]{more})")
                seen.add(token[1])
        return "".join(parts) + re.escape(stem[end:]) + f"(?i:{re.escape(text[len(stem) :])})"

    def matches(self, path: str) -> Iterator[dict[str, str]]:
        """Yield the fields of a path: first with the longest possible texts, then with the shortest."""
        for expression in (self._greedy, self._lazy):
            if match := expression.fullmatch(path):
                yield match.groupdict()


def files_below(roots: Mapping[str, Path]) -> dict[str, Path]:
    """List all files below folders, without junk, sorted. Paths are in Unicode's form NFC.

    Args:
        roots: prefix of the paths -> folder, or a single file. Links to folders are followed.
    """
    found: dict[str, Path] = {}
    for prefix, root in roots.items():
        if root.is_file():
            found[prefix.rstrip("/")] = root
        else:
            found |= _walked(root, prefix, frozenset())
    return {unicodedata.normalize("NFC", path): found[path] for path in sorted(found)}


def _walked(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, Path]]:
    """Yield path and file of all files in a folder. `above`: the folders above, as links may be circular."""
    try:
        status = folder.stat()
        entries = [(entry.name, entry.is_dir()) for entry in os.scandir(folder)]
    except OSError as error:
        raise SegbenchError(
            f"is not readable ({error.strerror})", where=folder, remedy="check the permissions of the folder"
        ) from error
    if (identity := (status.st_dev, status.st_ino)) in above:
        return
    for name, is_folder in entries:
        if is_junk([name]):
            continue
        if is_folder:
            yield from _walked(folder / name, f"{prefix}{name}/", above | {identity})
        else:
            yield f"{prefix}{name}", folder / name


def matched(files: Files, images: Sequence[Pattern], masks: Sequence[Pattern]) -> Matches:
    """Find the images of a split and their masks.

    A file that both kinds of patterns match is a mask if the image that it would belong to exists, else an
    image if it has a mask itself; else it is what it has the shorter name as.

    Args:
        files: all files of the dataset.
        images, masks: patterns. Fields that all of them have must agree between an image and its masks.

    Raises:
        SegbenchError: no image has a mask.
    """
    shared = _shared(images, masks)
    image_at, mask_at = _images(files, images, shared), _masks(files, masks, shared)
    known: dict[Key, list[str]] = defaultdict(list)
    for path, (key, _) in image_at.items():
        known[key].append(path)
    chosen = {path: _likely(path, candidates, known) for path, candidates in mask_at.items()}
    annotated = {key for key, _ in chosen.values()}
    result = Matches()
    for path in sorted(image_at.keys() & chosen.keys()):
        as_image, as_mask = image_at[path][0], chosen[path][0]
        if as_image == as_mask:
            what = "an image pattern and a mask pattern both match it under the same name"
            result.faults.append(_fault(what, files[path], "write patterns that tell images and masks apart"))
        elif known.get(as_mask, [path]) != [path]:
            del image_at[path]
        elif as_image in annotated or len("".join(as_image)) < len("".join(as_mask)):
            del chosen[path]
        else:
            del image_at[path]
    return _paired(files, image_at, chosen, result)


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()  # far faster than pathlib


def require_matches(files: Files, splits: Iterable[tuple[Sequence[Pattern], Sequence[Pattern]]]) -> None:
    """Check that each pattern of images and of masks matches a file.

    Raises:
        SegbenchError: patterns match nothing, or only files of other types. It lists all of them.
    """
    wrong = []
    for sides in splits:
        for patterns, suffixes in zip(sides, (IMAGE_SUFFIXES, MASK_SUFFIXES)):
            for pattern in patterns:
                hits = (path for path in files if any(pattern.matches(path)))
                if any(_suffix(path) in suffixes for path in hits):
                    continue
                others = sorted({_suffix(path) for path in files if any(pattern.matches(path))})
                if not others:
                    wrong.append(f"{pattern.where}: {pattern.text!r} matches no file of the dataset")
                else:
                    wrong.append(
                        f"{pattern.where}: {pattern.text!r} matches only files of type "
                        f"{', '.join(others)} (known: {', '.join(sorted(suffixes))})"
                    )
    if wrong:
        raise SegbenchError(
            "; ".join(wrong) + f"\n  files: {_summary(files)}",
            remedy="write the patterns as the files are named; upper and lower case differ",
        )


def _shared(images: Sequence[Pattern], masks: Sequence[Pattern]) -> list[str]:
    everywhere = [f for f in images[0].fields if all(f in p.fields for p in (*images, *masks))]
    if not everywhere:
        raise SegbenchError(
            f"{images[0].text!r} and {masks[0].text!r} share no field",
            where=masks[0].where,
            remedy="write {name} in every pattern, where the name stands that image and mask have in common",
        )
    if any(CLASS in p.fields for p in images) or len({CLASS in p.fields for p in masks}) > 1:
        raise SegbenchError(
            f"the field {{{CLASS}}} is for masks, and must be in all of their patterns or in none",
            where=masks[0].where,
            remedy="give the field another name, such as {folder}",
        )
    return everywhere


def _images(files: Files, patterns: Sequence[Pattern], shared: list[str]) -> dict[str, tuple[Key, str]]:
    """Return key and name of each image, by path."""
    found = {}
    for path in files:
        if _suffix(path) in IMAGE_SUFFIXES:
            for fields in (f for pattern in patterns for f in pattern.matches(path)):
                found[path] = tuple(fields[f] for f in shared), "_".join(fields.values())
                break
    return found


def _masks(
    files: Files, patterns: Sequence[Pattern], shared: list[str]
) -> dict[str, list[tuple[Key, str | None]]]:
    """Return possible keys of each mask, with its class, by path."""
    found = {}
    for path in files:
        if _suffix(path) in MASK_SUFFIXES:
            fields = [f for pattern in patterns for f in pattern.matches(path)]
            if fields:
                found[path] = [(tuple(f[s] for s in shared), f.get(CLASS)) for f in fields]
    return found


def _likely(
    path: str, candidates: list[tuple[Key, str | None]], known: Mapping[Key, list[str]]
) -> tuple[Key, str | None]:
    """Return the first candidate whose image exists and is another file, else the first one."""
    return next((c for c in candidates if known.get(c[0], [path]) != [path]), candidates[0])


def _summary(files: Files) -> str:
    """Name the folders with the number of files of each type, and an example."""
    kinds: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for path in files:
        pure = PurePosixPath(path)
        kind = str(pure.parent), pure.suffix
        kinds[kind] += 1
        example.setdefault(kind, path)
    shown = [
        example[kind] if count == 1 else f"{count} like {example[kind]}"
        for kind, count in kinds.most_common(_SHOWN)
    ]
    more = f", and {len(kinds) - _SHOWN} further kinds" if len(kinds) > _SHOWN else ""
    return (", ".join(shown) or "none") + more


def _paired(
    files: Files,
    image_at: Mapping[str, tuple[Key, str]],
    mask_at: Mapping[str, tuple[Key, str | None]],
    result: Matches,
) -> Matches:
    images: dict[Key, list[str]] = defaultdict(list)
    masks: dict[Key, list[str]] = defaultdict(list)
    for path, (key, _) in image_at.items():
        images[key].append(path)
    for path, (key, _) in mask_at.items():
        masks[key].append(path)
    if not images.keys() & masks.keys():
        raise SegbenchError(
            f"no image has a mask of its name: images are named {_examples(images)}, "
            f"masks {_examples(masks)}\n  files: {_summary(files)}",
            remedy="write {name} in the patterns for what image and mask have in common",
        )
    for key, paths in images.items():
        if len(paths) > 1:
            result.faults.append(_twice("image", paths, files))
        elif key not in masks:
            result.unannotated[image_at[paths[0]][1]] = files[paths[0]]
        else:
            stems: dict[str, list[str]] = defaultdict(list)
            for path in masks[key]:
                stems[posixpath.splitext(path)[0]].append(path)
            result.faults += [_twice("mask", same, files) for same in stems.values() if len(same) > 1]
            found = [(files[p], mask_at[p][1]) for p in masks[key]]
            result.pairs.append(Pair(image_at[paths[0]][1], files[paths[0]], found))
    for key, paths in masks.items():
        if key not in images:
            result.orphans |= {files[path]: "/".join(key) for path in paths}
    return result


def _examples(found: Mapping[Key, list[str]]) -> str:
    return ", ".join(repr("/".join(key)) for key in sorted(found)[:3])


def _twice(kind: str, paths: list[str], files: Files) -> SegbenchError:
    what = f"is the {kind} of the same name as {', '.join(paths[1:4])}"
    return _fault(what, files[paths[0]], "remove one, or write a further field such as {folder}/{name}")


def _fault(what: str, where: Path, remedy: str) -> SegbenchError:
    return SegbenchError(what, where=where, remedy=remedy)
