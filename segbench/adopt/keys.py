"""Ways to read the name that an image and its mask share from their paths, and the patterns that say so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segbench.adopt.kinds import File

Key = tuple[str, ...]


@dataclass(frozen=True)
class Keying:
    """One way to read names.

    Attributes:
        keys: the name of each file.
        patterns: patterns of the paths, one for each type of file.
        cost: 0 for the simplest; decides between ways that find the same pairs.
    """

    keys: tuple[Key, ...]
    patterns: tuple[str, ...]
    cost: int

    @property
    def skips_folders(self) -> bool:
        """Whether names leave out folders that vary."""
        return "*" in self.patterns[0].split("/")[:-1]


def keyings(files: Sequence[File]) -> Iterator[Keying]:
    """Yield all ways for the files of one kind and split."""
    free = len(files[0].free)
    cores = [f.core for f in files]
    for cost, (start, end) in enumerate(_strips(cores)):
        names = [core[start : len(core) - end] for core in cores]
        texts = cores[0][:start], cores[0][len(cores[0]) - end :] if end else ""
        stem = texts[0] + "{name}" + texts[1]
        if all(names):
            yield _keying(files, [(*f.free, n) for f, n in zip(files, names)], _fields(free), stem, cost)
            if free:
                yield _keying(files, [(n,) for n in names], ["*"] * free, stem, cost + 3)
                if all(n == f.free[-1] for f, n in zip(files, names)):
                    yield _keying(files, [f.free for f in files], _names(free), stem, cost + 1)
    if free:
        one = len(set(cores)) == 1
        stem = cores[0] if one else "*"
        yield _keying(files, [f.free for f in files], _names(free), stem, 4 if one else 6)


def _fields(free: int) -> list[str]:
    return ["{folder}"] if free == 1 else [f"{{folder{k}}}" for k in range(1, free + 1)]


def _names(free: int) -> list[str]:
    """The last folder is the name."""
    return [*_fields(free - 1), "{name}"] if free > 1 else ["{name}"]


def _keying(files: Sequence[File], keys: list[Key], fields: list[str], stem: str, cost: int) -> Keying:
    patterns: dict[str, None] = {}
    numbers = {f.number for f in files}
    first = files[0]
    after = first.after + (first.number if len(numbers) == 1 else "*")
    for suffix in sorted({f.suffix.lower() for f in files}):
        given = iter(fields)
        parts = []
        for place, (folder, kind) in enumerate(zip(first.folders, first.form)):
            if kind == "f":
                parts.append(next(given))
            else:
                same = all(f.folders[place] == folder for f in files)
                parts.append(_literal(folder) if same else "*")
        name = _literal(first.before) + _escaped_stem(stem) + _literal(after, star=True) + suffix
        patterns["/".join([*parts, name])] = None
    return Keying(tuple(keys), tuple(patterns), cost)


def _literal(text: str, *, star: bool = False) -> str:
    """Replace what patterns give a meaning."""
    return re.sub(r"[{}]" if star else r"[{}*]", "?", text)


def _escaped_stem(stem: str) -> str:
    return stem if stem == "*" else "{name}".join(_literal(part) for part in stem.split("{name}"))


def _strips(stems: Sequence[str]) -> list[tuple[int, int]]:
    """Return how many characters at the start and the end of all stems are equal, cut at words and numbers.

    The choices are: nothing, the end, the start, both.
    """
    start, end = _common(stems), _common([s[::-1] for s in stems])
    choices = [(0, 0), (0, end), (start, 0), (start, end)]
    return [c for k, c in enumerate(choices) if c not in choices[:k]]


def _common(stems: Sequence[str]) -> int:
    if len(set(stems)) < 2:
        return 0
    split = [re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]+", s) for s in (min(stems), max(stems), *stems)]
    count = 0
    for tokens in zip(*split):
        if len(set(tokens)) > 1:
            break
        count += len(tokens[0])
    # something must remain of each name
    return 0 if any(len(s) <= count for s in stems) else count
