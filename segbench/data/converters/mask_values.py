"""What the values, colours or file names of masks mean: classes, background, void, or numbered objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segbench.contract.view import BACKGROUND, Category
from segbench.data.coco.masks import encode, objects_of_map
from segbench.data.converters.common import categories, require
from segbench.data.converters.mask_files import Content
from segbench.errors import SegbenchError, nearest

VOID = -1
_UNKNOWN = -2
_NAMES_OF_BACKGROUND = (BACKGROUND.name, "_background_")
_SHOWN = 5
_SMOOTH = 20
"""More unknown values than this look like the grey levels of a smoothed mask."""
_GREY = 0x010101
_FEW = 1000
_SMALLEST = 16
"""Up to `_FEW` objects are always accepted; more must have at least `_SMALLEST` pixels of the image each."""
Names = Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class Meaning:
    """What masks mean.

    Attributes:
        categories: the classes.
        background: whether a value is the implicit class 0.
        content: how masks are read.
        ids: value, or colour as R + 256 G + 256² B -> category id, 0 = background, -1 = void.
        files: text of the field `{class}` -> category id; None: the values name the classes.
        threshold: the lowest grey level that is bright; dark and bright are the values 0 and 1 then.
        objects: whether each value of each mask is an object.
    """

    categories: list[Category]
    background: bool
    content: Content
    ids: Mapping[int, int]
    files: Mapping[str, int] | None
    threshold: float | None
    objects: bool

    @property
    def has_semantic(self) -> bool:
        """Whether masks give maps of classes. Those of objects without void follow from the objects."""
        return not self.objects or bool(self.ids)

    def category_of_file(self, path: Path, text: str | None) -> int:
        """Return the category id of a mask by the text of `{class}`. SegbenchError if it is not known."""
        if self.files is None:
            return 1
        if text not in self.files:
            hint = nearest(str(text), self.files)
            raise SegbenchError(
                f"is a mask of {text!r}, which is not a class (known: {', '.join(self.files)})",
                where=path,
                remedy=f"did you mean '{hint}'?"
                if hint
                else f"name it in the options, or exclude {path.name}",
            )
        return self.files[str(text)]

    def classes(self, array: np.ndarray, path: Path, text: str | None) -> np.ndarray:
        """Return an H x W int32 map of category ids from a mask of classes or objects.

        Args:
            array: H x W, from `read_mask`.
            path: its file, which messages name.
            text: text of the field `{class}`, if there is one.

        Raises:
            SegbenchError: it has values without a meaning.
        """
        array = self._values(array)
        if self.files is None and not self.objects:
            ids = self._looked_up(array)
            if (unknown := ids == _UNKNOWN).any():
                raise self._without_class(array[unknown], path)
            return ids
        void = np.isin(array, [v for v, i in self.ids.items() if i == VOID])
        inside = (array != 0) & ~void
        if not self.objects and len(values := np.unique(array[inside])) > 1:
            raise _two_values(values, path)
        return np.where(void, VOID, np.where(inside, self.category_of_file(path, text), 0)).astype(np.int32)

    def instances(self, array: np.ndarray, path: Path, text: str | None) -> list[dict[str, Any]]:
        """Return COCO annotations of the objects in a mask: one for each value but 0 and void."""
        array = self._values(array)
        category = self.category_of_file(path, text)
        if array.dtype == np.uint8:
            numbers = np.flatnonzero(np.bincount(array.ravel()))
        else:
            numbers = np.unique(array)
        numbers = numbers[numbers != 0]
        if len(numbers) > max(_FEW, array.size // _SMALLEST):
            raise SegbenchError(
                f"has {len(numbers)} values in {array.size} pixels, too many to be numbers of objects",
                where=path,
                remedy="check that `mask` finds masks, and that they were saved without smoothing or loss",
            )
        if len(numbers) and numbers[0] < 0 and int(numbers[0]) not in self.ids:
            raise SegbenchError(
                f"has the object number {numbers[0]}",
                where=path,
                remedy="number from 1, or list it in `void`",
            )
        if self.threshold is not None:
            return [{"category_id": category, "segmentation": encode(array > 0)}] if len(numbers) else []
        return objects_of_map(array, {k: category for k in numbers.tolist() if k not in self.ids})

    def _values(self, array: np.ndarray) -> np.ndarray:
        if self.threshold is not None:
            return (array >= self.threshold).astype(np.uint8)
        if array.dtype == bool:  # white is 1 or 255, as programs disagree
            white = 255 if 255 in self.ids and 1 not in self.ids else 1
            return array.astype(np.uint8) * np.uint8(white)
        return array

    def _looked_up(self, array: np.ndarray) -> np.ndarray:
        if array.dtype == np.uint8:
            return self._ids(np.arange(256))[array]
        return self._ids(array)

    def _ids(self, array: np.ndarray) -> np.ndarray:
        keys = np.array(sorted(self.ids))
        values = np.array([self.ids[k] for k in keys.tolist()], np.int32)
        place = np.searchsorted(keys, array).clip(max=len(keys) - 1)
        return np.where(keys[place] == array, values[place], np.int32(_UNKNOWN))

    def _without_class(self, unknown: np.ndarray, path: Path) -> SegbenchError:
        values, counts = np.unique(unknown, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_SHOWN].tolist()
        shown = ", ".join(f"{self._text(int(values[k]))} ({counts[k]} pixels)" for k in order)
        more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
        kind = ("colour" if self.content == "colors" else "value") + ("s" if len(values) > 1 else "")
        first = self._text(int(values[order[0]]))
        example = f'"{first}": NAME' if self.content == "colors" else f"{first}: NAME"
        remedy = f"name each in `classes`, such as `{example}`, or list it in `void`"
        if len(values) > _SMOOTH and self.content == "values":
            remedy += "; if the mask is a smoothed black and white one, set `threshold`"
        return SegbenchError(f"has the {kind} {shown}{more}, without a class", where=path, remedy=remedy)

    def _text(self, value: int) -> str:
        return _color_text(value) if self.content == "colors" else str(value)


def united(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Unite H x W maps of category ids: void covers background, and later classes cover earlier ones."""
    ranks = [np.where(m == VOID, 1, 2 * m) for m in maps]
    rank = np.maximum.reduce(ranks)
    return np.where(rank == 1, VOID, rank // 2).astype(np.int32)


def bits(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Unite H x W maps of category ids to a map of overlapping classes, see `Sample.semantic`.

    Void in any map is void.
    """
    found = np.zeros(maps[0].shape, np.int32)
    for ids in maps:
        found |= np.where(ids > 0, np.left_shift(1, ids.clip(min=1) - 1), 0).astype(np.int32)
    return np.where(np.logical_or.reduce([ids == VOID for ids in maps]), VOID, found).astype(np.int32)


def overlap(maps: Sequence[np.ndarray]) -> int:
    """Return the number of pixels to which the H x W maps give several classes."""
    if len(maps) < 2:
        return 0
    highest = np.maximum.reduce(maps)
    differs = [(m > 0) & (m != highest) for m in maps]
    return int(np.count_nonzero(np.logical_or.reduce(differs)))


def meaning_of_classes(
    names: Names, void: Sequence[int | str], threshold: float | None, *, by_file: bool, zero_is_void: bool
) -> Meaning:
    """Return the meaning of masks of classes.

    Args:
        names: value, colour or text of `{class}` -> name of its class; or the names of the values 0, 1, ...
        void: values or colours.
        threshold: see `Meaning`; dark is the first of two classes.
        by_file: whether the field `{class}` names the class of a file.
        zero_is_void: whether 0 is void, and a list counts from 1.

    Raises:
        SegbenchError: they are not consistent.
    """
    where = "options.classes"
    if not isinstance(names, Mapping):
        first = 1 if zero_is_void else 0
        names = {n if by_file else str(k): n for k, n in enumerate(names, first)}
    classes = [n for n in dict.fromkeys(names.values()) if not _is_background(n)]
    if not classes:
        raise SegbenchError("names no class", where=where, remedy="write `classes: {0: background, 1: NAME}`")
    id_of = {name: number for number, name in enumerate(classes, 1)}
    void_ids = {value: VOID for text in void for value in [_value(str(text), "options.void")[0]]}
    if by_file:
        files = {text: id_of.get(name, 0) for text, name in names.items()}
        content: Content = "grey" if threshold is not None else "values"
        return Meaning(categories(classes, isthing=False), True, content, void_ids, files, threshold, False)
    kinds = {key: _value(key, where) for key in names}
    ids = {kinds[key][0]: id_of.get(name, 0) for key, name in names.items()}
    colors = _all_colors([*kinds.values(), *(_value(str(t), "options.void") for t in void)])
    if len(ids) < len(names):
        raise SegbenchError("names a value twice", where=where, remedy="remove one of the two")
    if zero_is_void:
        if colors or ids.get(0):
            what = "names colours" if colors else "names the value 0"
            raise SegbenchError(
                f"{what}, but `reduce_zero_label` makes the value 0 void", where=where, remedy="remove one"
            )
        ids[0] = VOID
    if both := set(void_ids) & {k for k, v in ids.items() if v != VOID}:
        text = _color_text(min(both)) if colors else min(both)
        raise SegbenchError(
            f"{text} is also in `classes`", where="options.void", remedy="remove one of the two"
        )
    if threshold is not None:
        if colors or void or zero_is_void or len(ids) != 2:
            raise SegbenchError(
                f"needs two classes named by values, without void (there are {len(ids)})",
                where="options.threshold",
                remedy="write `classes: {0: background, 255: NAME}`: the lower value is the dark class",
            )
        ids = dict(enumerate(ids[k] for k in sorted(ids)))
    content = "grey" if threshold is not None else "colors" if colors else "values"
    found = categories(classes, isthing=False)
    if colors:
        of_class = {id_: value for value, id_ in reversed(ids.items())}
        found = [c.model_copy(update={"color": _rgb(of_class[c.id])}) for c in found]
    return Meaning(found, 0 in ids.values(), content, ids | void_ids, None, threshold, False)


def meaning_of_objects(
    names: str | Names, void: Sequence[int | str], threshold: float | None, *, by_file: bool
) -> Meaning:
    """Return the meaning of masks that number objects. `names`: the class, or those of `{class}`."""
    if isinstance(names, str) == by_file:
        what = "names one class, but the field {class} names several" if by_file else "names several classes"
        remedy = "write a list" if by_file else "write one name, or a mask pattern with the field {class}"
        raise SegbenchError(what, where="options.objects", remedy=remedy)
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Mapping):
        names = {n: n for n in names}
    classes = [*dict.fromkeys(names.values())]
    id_of = {name: number for number, name in enumerate(classes, 1)}
    files = {text: id_of[name] for text, name in names.items()} if by_file else None
    numbers = [_value(str(text), "options.void")[0] for text in void]
    ids = {v: VOID for n in numbers for v in ([n, n * _GREY] if 0 < n < 256 else [n])}  # also in RGB
    content: Content = "grey" if threshold is not None else "numbers"
    return Meaning(categories(classes, isthing=True), True, content, ids, files, threshold, True)


def read_labelmap(path: Path, encoding: str) -> dict[str, str]:
    """Read CVAT's `labelmap.txt`: colour -> class. Lines are `label:r,g,b:parts:actions`, or comments.

    Raises:
        SegbenchError: a line is not of this form. It lists all of them.
    """
    try:
        lines = require(path, "correct `labelmap`").read_text(encoding=encoding).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SegbenchError(
            f"is not readable text ({error})", where=path, remedy="correct `labelmap` or `encoding`"
        ) from error
    found: dict[str, str] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        label, _, rest = line.partition(":")
        color = rest.partition(":")[0].strip()
        try:
            value, is_color = _value(color, "")
        except SegbenchError:
            value, is_color = 0, False
        text = _color_text(value)
        if not is_color or not label.strip():
            wrong.append(f"line {number} is {line.strip()[:80]!r}")
        elif text in found:
            wrong.append(f"line {number} has the colour {text} of '{found[text]}'")
        else:
            found[text] = label.strip()
    if wrong or not found:
        what = "; ".join(wrong[:_SHOWN]) or "has no line"
        raise SegbenchError(
            what, where=path, remedy="write lines such as `car:128,64,0::`, a colour for each label"
        )
    return found


def _is_background(name: str) -> bool:
    return name.casefold() in _NAMES_OF_BACKGROUND


def _value(text: str, where: str) -> tuple[int, bool]:
    """Return a value, or a colour as R + 256 G + 256² B, and whether it is a colour."""
    text = text.strip()
    if re.fullmatch(r"-?\d{1,10}", text):
        return int(text), False
    if match := re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text):
        red, green, blue = (int(part, 16) for part in match.groups())
        return red + 256 * green + 65536 * blue, True
    if match := re.fullmatch(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", text):
        red, green, blue = (int(part) for part in match.groups())
        if max(red, green, blue) < 256:
            return red + 256 * green + 65536 * blue, True
    raise SegbenchError(
        f"{text!r} is neither a value nor a colour",
        where=where,
        remedy='write a value such as 255, or a colour such as "#804000" (in quotes) or "128,64,0"',
    )


def _all_colors(found: Sequence[tuple[int, bool]]) -> bool:
    kinds = {is_color for _, is_color in found}
    if len(kinds) > 1:
        raise SegbenchError(
            "names values and colours",
            where="options.classes",
            remedy="name either, also in `void`: masks hold one of the two",
        )
    return kinds == {True}


def _rgb(value: int) -> tuple[int, int, int]:
    return value % 256, value // 256 % 256, value // 65536


def _color_text(value: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_rgb(value))


def _two_values(values: np.ndarray, path: Path) -> SegbenchError:
    shown = ", ".join(map(str, values[:_SHOWN].tolist())) + (", ..." if len(values) > _SHOWN else "")
    return SegbenchError(
        f"has the values {shown} beside 0, but its file name tells its class",
        where=path,
        remedy="save it with 0 and one other value, or set `threshold` (such as 128)",
    )
