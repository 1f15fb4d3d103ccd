"""Divide images into splits where the source does not."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segbench.contract.columns import Columns
from segbench.data.converters.group_table import GroupColumn, group_of_each
from segbench.errors import SegbenchError

SPLITS = ("train", "val", "test")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from error
    return text


class SplitOptions(BaseModel):
    """Options of all converters that divide images into splits."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Fraction of test images, which are selected by a hash of their names."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0
    """Fraction of the other images for model selection, selected in the same way."""
    test: list[str] = []
    """Patterns of the names of test images, such as `video3*`, instead of a fraction: keep similar images in
    one split."""
    group: Annotated[str, AfterValidator(_pattern)] | GroupColumn | None = None
    """Regular expression that finds the group in an image's name, such as `(patient\\d+)_`: its first
    parentheses, or the whole match. Or a column of a CSV file, `{file: cases.csv, column: patient}`, whose
    rows name the images in the column `image`. A group stays in one split, and in one fold."""
    metadata: Columns | None = None
    """Categories of the images, such as the scanner, by which the report compares scores:
    `{file: cases.csv, columns: [scanner, site]}`. The conversion does not depend on it."""


def groups_of(names: Sequence[str], options: SplitOptions) -> dict[str, str] | None:
    """Return the group of each name, or None if the options name no groups.

    Raises:
        SegbenchError: names without a group (it lists them), or a CSV file that cannot be used.
    """
    if options.group is None:
        return None
    if isinstance(options.group, GroupColumn):
        return group_of_each(names, options.group)
    found = {name: re.search(options.group, name) for name in names}
    if lacking := [name for name, match in found.items() if match is None]:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        raise SegbenchError(
            f"{options.group!r} matches nothing in {shown}",
            where="options.group",
            remedy="write a pattern that finds the group in every name",
        )
    return {n: (m[1] if m.re.groups and m[1] is not None else m[0]) for n, m in found.items() if m}


class Place(NamedTuple):
    """Where an image belongs."""

    split: str
    group: str | None


def divided(names: Sequence[str], options: SplitOptions, given: Sequence[str] | None = None) -> list[Place]:
    """Return split and group of each name.

    Args:
        names: names of images or cases.
        options: how to divide, and how to find the groups.
        given: split of each name that the source gives, or "". None: it gives none. If it gives all, but no
            val, `val_fraction` of train becomes val.

    Raises:
        SegbenchError: a name without a group, or a group of which only a part is in the test split.
    """
    groups = groups_of(names, options)
    splits = list(given) if given is not None else [""] * len(names)
    undivided = [name for name, split in zip(names, splits) if not split]
    if undivided:
        split_of = _split_of(undivided, options, groups)
        splits = [split or split_of[name] for name, split in zip(names, splits)]
    elif options.val_fraction and "val" not in splits:
        train = [name for name, split in zip(names, splits) if split == "train"]
        val = hashed_part(train, options.val_fraction, groups) if train else set()
        splits = ["val" if s == "train" and n in val else s for n, s in zip(names, splits)]
    return [Place(split, groups[name] if groups else None) for name, split in zip(names, splits)]


def _split_of(names: Sequence[str], options: SplitOptions, groups: dict[str, str] | None) -> dict[str, str]:
    if options.test:  # a name may contain characters of a pattern
        test = {n for n in names if any(n == pattern or fnmatch(n, pattern) for pattern in options.test)}
    else:
        test = hashed_part(names, options.test_fraction, groups)
    if groups and (torn := {groups[n] for n in test} & {groups[n] for n in names if n not in test}):
        raise SegbenchError(
            f"a part of the group '{min(torn)}' is in the test split",
            where="options.test",
            remedy="write patterns that match whole groups",
        )
    rest = [name for name in names if name not in test]
    val = hashed_part(rest, options.val_fraction, groups) if options.val_fraction else set()
    return {name: "test" if name in test else "val" if name in val else "train" for name in names}


def hashed_part(names: Sequence[str], fraction: float, groups: dict[str, str] | None = None) -> set[str]:
    """Select a `fraction` of `names` by SHA-256: a fixed choice, whatever their order.

    Args:
        names: names of images.
        fraction: share of the names; at least one is selected.
        groups: group of each name. Whole groups are selected, until their images reach the fraction.
    """
    members = defaultdict(list)
    for name in names:
        members[groups[name] if groups else name].append(name)
    wanted = max(1, round(len(names) * fraction))
    chosen: set[str] = set()
    for key in sorted(members, key=lambda key: hashlib.sha256(key.encode()).digest()):
        if len(chosen) >= wanted:
            break
        chosen.update(members[key])
    return chosen
