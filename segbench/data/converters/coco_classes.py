"""The classes of COCO files: matched by name, without entries that are not classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segbench.contract.view import BACKGROUND, Category
from segbench.data.coco import checks
from segbench.data.converters.coco_entries import CategoryEntry
from segbench.data.converters.coco_reader import AnnotationFile, not_listed
from segbench.data.converters.common import color
from segbench.data.faults import Faults
from segbench.errors import SegbenchError, nearest

log = logging.getLogger(__name__)
IMPLICIT = (BACKGROUND.name, "_background_", "__background__")
AnyFile = AnnotationFile[Any]


class Classes:
    """The classes of a dataset. They are numbered from 1, in the order of their ids or of `labels`.

    Args:
        files: the files that define the classes; the first one defines their order.
        others: files that may list a part of the classes: instance files beside panoptic ones.
        labels: names of the classes, in order. None: those of `files`.
        things: whether all classes are things, as in instance files alone.

    Raises:
        SegbenchError: the files do not agree, or an annotation has a category that is not listed.
    """

    def __init__(
        self,
        files: Sequence[AnyFile],
        others: Sequence[AnyFile],
        labels: Sequence[str] | None,
        *,
        things: bool,
    ) -> None:
        listed = _without_dummies([*files, *others])
        names = {file.path: _ids_by_name(listed[file.path], file) for file in (*files, *others)}
        self.reference = files[0]
        first = {c.name: c for c in sorted(listed[files[0].path], key=lambda c: c.id)}
        if labels is None:
            for file in (*files, *others):
                checks.check_same_names(
                    names[file.path], file.path, first, self.reference.path, some=file in others
                )
                self._warn_if_moved(names[file.path], first, file)
        else:
            _check_labels(labels, names, [*files, *others])
            known = {c.name: c for entries in listed.values() for c in entries}
            first = {name: known[name] for name in labels}
        number_of = {name: number for number, name in enumerate(first, 1)}
        self.categories = [
            Category(id=number, name=name, isthing=things or c.isthing, color=c.color or color(number))
            for number, (name, c) in enumerate(first.items(), 1)
        ]
        self.numbers = {
            path: {own: number_of[name] for name, own in ids.items() if name in number_of}
            for path, ids in names.items()
        }
        """File -> category id -> class number."""
        faults = Faults()
        for file in (*files, *others):
            if unknown := sorted(file.used - set(self.numbers[file.path])):
                faults.add(not_listed("category", unknown, file.path))
        faults.raise_if_any()

    def _warn_if_moved(
        self, ids: Mapping[str, int], first: Mapping[str, CategoryEntry], file: AnyFile
    ) -> None:
        moved = [
            f"{name} {own} (there {first[name].id})" for name, own in ids.items() if own != first[name].id
        ]
        if moved:
            log.warning(
                "%s: category ids differ from those of %s; classes are matched by name: %s",
                file.path,
                self.reference.path,
                ", ".join(moved),
            )


def _without_dummies(files: Sequence[AnyFile]) -> dict[Path, list[CategoryEntry]]:
    """Return the categories of each file without those that have no annotation and are not classes.

    These are parents of other categories (Roboflow lists one, with id 0), and the background.
    """
    annotated = {c.name for file in files for c in file.categories if c.id in file.used}
    kept: dict[Path, list[CategoryEntry]] = {}
    dropped: dict[str, str] = {}
    for file in files:
        kept[file.path] = []
        for c in file.categories:
            others = [other for other in file.categories if other.id != c.id]
            is_parent = any(other.supercategory == c.name for other in others)
            has_double = any(other.name == c.name for other in others)
            is_dummy = is_parent or c.name.casefold() in IMPLICIT
            if c.id in file.used or not is_dummy or (c.name in annotated and not has_double):
                kept[file.path].append(c)
            else:
                why = "is the parent of others" if is_parent else "is implicit"
                dropped[c.name] = f"category {c.id} '{c.name}' is skipped: it has no object and {why}"
    for text in dropped.values():
        log.info("%s: %s", files[0].path, text)
    return kept


def _ids_by_name(entries: Sequence[CategoryEntry], file: AnyFile) -> dict[str, int]:
    return checks.unique_names(((c.id, c.name) for c in entries), "category", file.path)


def _check_labels(
    labels: Sequence[str], names: Mapping[Path, Mapping[str, int]], files: Sequence[AnyFile]
) -> None:
    faults = Faults()
    known = {name for ids in names.values() for name in ids}
    for label in labels:
        if label not in known:
            hint = nearest(label, known)
            faults.add(
                SegbenchError(
                    f"{label!r} is not a category of the files",
                    where="options.labels",
                    remedy=f"did you mean '{hint}'?" if hint else f"known: {', '.join(sorted(known))}",
                )
            )
    for file in files:
        for name, own in names[file.path].items():
            if own in file.used and name not in labels:
                faults.add(
                    SegbenchError(
                        f"has objects of the category {name!r}, which is not in `labels`",
                        where=file.path,
                        remedy=f"add {name!r} to `labels`, or remove the objects",
                    )
                )
    faults.raise_if_any()
