"""Find the files of each case by patterns such as `TRAINING/{case}/*.CT.*/*.nii`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segbench.data.junk import is_junk

_TOKENS = re.compile(r"(\*\*/|\*|\?|\{[^{}]*\}?|\})")
_SIMPLE = {"**/": r"(?:[^/]+/)*", "*": r"[^/]*", "?": r"[^/]"}
_FIELDS = {"{case}": "case", "{split}": "split"}


def check_pattern(text: str) -> str:
    """Return the pattern. ValueError if it is not valid."""
    compiled(text)
    return text


def compiled(text: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern, with the groups `case` and, if used, `split`.

    `*` and `?` stand for any characters of one name, `**/` for any folders or none. `{case}` and `{split}`
    stand for a part of a name; where they occur again, it is the same part.

    Raises:
        ValueError: the pattern is not valid.
    """
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError("a pattern is relative to the folder of the dataset")
    if "{case}" not in text:
        raise ValueError("a pattern needs {case}, the part of the path that names the case")
    parts, seen = [], set()
    for token in _TOKENS.split(text):
        if token in _SIMPLE:
            parts.append(_SIMPLE[token])
        elif token in _FIELDS:
            name = _FIELDS[token]
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)")
            seen.add(name)
        elif token[:1] in ("{", "}"):
            raise ValueError(f"{token} is not known; patterns have {{case}} and {{split}}")
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts))


@dataclass
class Found:
    """The files, or folders of files, of one case."""

    case: str
    split: str
    """Name of the split's folder; empty if the patterns have no {split}."""
    paths: dict[str, list[Path]] = field(default_factory=dict)
    """By role, such as a modality or the label: all that match its pattern."""


def find_cases(root: Path, patterns: Mapping[str, str]) -> list[Found]:
    """Return the cases for which any pattern matches, sorted by split and name.

    Args:
        root: folder of the dataset.
        patterns: pattern by role, all with {split} or all without.
    """
    expressions = {role: compiled(pattern) for role, pattern in patterns.items()}
    cases: dict[tuple[str, str], Found] = {}
    for name in _names(root):
        for role, expression in expressions.items():
            if match := expression.fullmatch(name):
                split = match["split"] if "split" in expression.groupindex else ""
                key = split, match["case"]
                case = cases.setdefault(key, Found(key[1], split))
                case.paths.setdefault(role, []).append(root / name)
    return [cases[key] for key in sorted(cases)]


def _names(root: Path) -> Iterable[str]:
    """Yield the paths below `root` of all files, and of folders with files, without junk."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not is_junk([f]))
        place = Path(folder).relative_to(root).as_posix()
        named = sorted(f for f in files if not is_junk([f]))
        if named and place != ".":
            yield place
        yield from (name if place == "." else f"{place}/{name}" for name in named)
