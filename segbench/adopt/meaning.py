"""Decide what the values of masks mean, and say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segbench.adopt.contents import Contents
from segbench.adopt.names import class_list, color_names
from segbench.data.converters.mask_values import read_labelmap
from segbench.errors import SegbenchError

_MANY = 64
"""Masks with more values than this number objects."""
_RECURS = 0.2
_VOID = 255
_SHOWN = 12


@dataclass
class Meaning:
    """Options of `pairs` for the meaning of masks, with notes as in `Proposal`."""

    options: dict[str, Any]
    seen: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)


def meaning_of(
    contents: Contents, files: Mapping[str, Path], classes: list[str], per_image: float
) -> Meaning:
    """Decide what masks mean.

    Args:
        contents: a sample of the masks.
        files: all files of the folder, some of which may name the classes.
        classes: texts of `{class}` in the pattern of the masks.
        per_image: mean number of masks of an image.

    Raises:
        SegbenchError: the masks have no values that can be classes or objects.
    """
    if contents.form in ("lossy", "smooth"):
        return _black_and_white(contents, classes, per_image)
    if classes:
        return _classes_by_folder(contents, classes)
    if contents.form == "colors":
        return _colors(contents, files)
    two = len(contents.values) <= 2 and contents.values[0] == 0
    if per_image > 2 and two:
        return Meaning(
            {"objects": "object"},
            [f"{per_image:.1f} black and white masks for each image"],
            ["each mask is an object of the class `object`"],
            [
                "if the masks of an image are parts of one class: classes: {0: background, "
                f"{contents.values[-1]}: NAME}} instead of objects"
            ],
        )
    if _are_objects(contents):
        most = max(len(s - {0}) for s in contents.sets)
        return Meaning(
            {"objects": "object"},
            [
                f"{contents.bits}-bit masks with up to {most} values, which count from 1 or recur little; "
                f"{contents.single:.0%} of the values are one region each"
            ],
            ["the masks number objects of one class, `object`"],
            [
                "if the values are classes: classes: {0: background, 1: NAME, 2: NAME} instead of objects",
                "another name of the class: objects: NAME",
            ],
        )
    return _values(contents, files)


def _black_and_white(contents: Contents, classes: list[str], per_image: float) -> Meaning:
    bright = contents.values[-1]
    middle = sum(n for v, n in contents.pixels.items() if bright / 4 < v < 3 * bright / 4)
    if middle > 0.2 * contents.pixels.total():
        raise SegbenchError(
            f"the masks are grey ({middle / contents.pixels.total():.0%} of the pixels are neither dark nor "
            "bright)" + (", and JPEG changed their values" if contents.form == "lossy" else ""),
            remedy="save them without loss (PNG), one value for each class",
        )
    threshold = 128 if bright > 128 else max(1, (bright + 1) // 2)
    seen = [
        "black and white masks as JPEG"
        if contents.form == "lossy"
        else "black and white masks with grey borders"
    ]
    options: dict[str, Any] = {"threshold": threshold}
    if classes:
        options = {"classes": {name: name for name in classes}} | options
        taken = [f"pixels of at least {threshold} belong to the class of the folder"]
    elif per_image > 2:
        options = {"objects": "object"} | options
        taken = [f"pixels of at least {threshold} of each mask are an object"]
    else:
        options = {"classes": ["background", "foreground"]} | options
        taken = [f"pixels of at least {threshold} are the class `foreground`"]
    return Meaning(
        options, seen, taken, ["another limit: threshold: 200", "names: classes: [background, NAME]"]
    )


def _classes_by_folder(contents: Contents, classes: list[str]) -> Meaning:
    numbered = max((len(s - {0}) for s in contents.sets), default=0) > 1
    names = {name: name for name in classes}
    return Meaning(
        {"objects": names} if numbered else {"classes": names},
        [f"masks in a folder for each of {', '.join(classes)}"],
        ["the folders are classes" + (", and the masks number objects" if numbered else "")],
        [
            "if the folders are parts of one class: * instead of {class} in `mask`, and "
            f"classes: {{0: background, {contents.values[-1]}: NAME}}"
        ],
    )


def _are_objects(contents: Contents) -> bool:
    """Return whether values number objects: one region each, and either 1, 2, 3, ... as many as a mask has,
    or values that recur in few masks."""
    sets = [s - {0} for s in contents.sets if s - {0}]
    if not sets or contents.single < 0.85 or max(map(len, sets)) < 2:
        return False
    union = set().union(*sets)
    counts = {len(s) for s in sets}
    counting = sum(s == set(range(1, len(s) + 1)) for s in sets) > 0.9 * len(sets)
    recurring = sum(map(len, sets)) / len(union) / len(sets)
    many = max(counts) > _MANY or len(union) > _MANY
    return (
        (counting and (len(counts) > 2 or max(counts) > 20))
        or (many and recurring < _RECURS)
        or (many and counting)
    )


def _values(contents: Contents, files: Mapping[str, Path]) -> Meaning:
    values = contents.values
    if len(values) > 256:
        raise SegbenchError(
            f"the masks have {len(values)} values, too many for classes, and {1 - contents.single:.0%} of "
            "them are several regions, so that they do not number objects",
            remedy="check that these are masks, and save them without smoothing; or write the entry as "
            "docs/own_data.md says",
        )
    shown = ", ".join(map(str, values[:_SHOWN])) + (f", ... {values[-1]}" if len(values) > _SHOWN else "")
    kind = "palette masks" if contents.form == "palette" else f"{contents.bits}-bit masks"
    seen = [f"{kind} with the values {shown} (in {contents.masks} of the masks)"]
    if values[:1] == [0] and len(values) == 2:
        return Meaning(
            {"classes": {0: "background", values[1]: "foreground"}},
            seen,
            [f"0 is background, {values[1]} the class `foreground`"],
            [
                f"names: classes: {{0: background, {values[1]}: NAME}}",
            ],
        )
    if values == [0]:
        raise SegbenchError(
            f"all {contents.masks} masks that were read are empty (0 everywhere)",
            remedy="check how they were saved; name other files with --set mask=...",
        )
    small = len(values) > 2 and values[-2] < 2 * len(values) + 8
    void = [_VOID] if values[-1] == _VOID and small else []
    known = [v for v in values if v not in void]
    listed = class_list(files)
    options: dict[str, Any]
    taken = []
    if listed is not None and known[-1] <= len(listed[1]):
        names = dict(enumerate(listed[1]))
        if known[-1] == len(listed[1]):
            names = {0: "background"} | dict(enumerate(listed[1], 1))
        used = {v: n for v, n in names.items() if v in contents.pixels or not contents.complete}
        options = {"classes": used}
        taken.append(f"the lines of {listed[0]} name the values from {min(used)}")
        if len(used) < len(names):
            absent = ", ".join(n for v, n in names.items() if v not in used)
            taken.append(f"names of {listed[0]} without any pixel are not classes here: {absent}")
    else:
        options = {"classes": {v: "background" if v == 0 else f"class_{v}" for v in known}}
        taken.append("each value is a class" + ("; 0 is background" if known[0] == 0 else ""))
    if void:
        options["void"] = void
        taken.append("255 is void, which training and scores exclude")
    return Meaning(
        options,
        seen,
        taken,
        [
            "names and values: classes: {0: background, 1: NAME, 2: NAME}",
            "values to exclude: void: [0]; if values number objects: objects: NAME instead of classes",
        ],
    )


def _colors(contents: Contents, files: Mapping[str, Path]) -> Meaning:
    most = max(map(len, contents.sets), default=0)
    sizes = sum(map(len, contents.sets)) / max(1, len(contents.pixels)) / max(1, len(contents.sets))
    seen = [f"colour masks with {len(contents.pixels)} colours"]
    table = _labelmap(files) or color_names(files)
    hexes = {_hex(v): v for v in contents.values}
    own = 'your own names: classes: {"#000000": background, "#804000": NAME}'
    if table is not None:
        path, names = table
        if lacking := [h for h in hexes if h not in names]:
            shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            raise SegbenchError(
                f"does not name the colours {shown} of the masks",
                where=path,
                remedy="add them to the file; if they are smoothed borders, save the masks again without",
            )
        used = {h: name for h, name in names.items() if h in hexes or not contents.complete}
        taken = [f"{path} names the colours"]
        if len(used) < len(names):
            absent = ", ".join(name for h, name in names.items() if h not in used)
            taken.append(f"classes of {path} without any pixel are not classes here: {absent}")
        whole = path.endswith("labelmap.txt") and len(used) == len(names)
        return Meaning({"labelmap": path} if whole else {"classes": used}, [*seen, path], taken, [own])
    if most > 2 and contents.single > 0.85 and (sizes < _RECURS * 2 or len(contents.pixels) > _MANY):
        return Meaning(
            {"objects": "object"},
            seen,
            ["each colour of a mask but black is an object"],
            ['if the colours are classes: classes: {"#000000": background, "#804000": NAME}'],
        )
    if len(contents.pixels) > _MANY:
        raise SegbenchError(
            f"the masks have {len(contents.pixels)} colours, too many for classes, and no file names them",
            remedy="add labelmap.txt as CVAT writes it (name:r,g,b:: in each line); if borders are smoothed, "
            "save the masks again without; if these are photographs, name the masks with --set mask=...",
        )
    order = sorted(hexes, key=lambda h: (h != "#000000", -contents.pixels[hexes[h]]))
    classes = {h: "background" if h == "#000000" else f"color_{h[1:]}" for h in order}
    return Meaning(
        {"classes": classes},
        seen,
        ["each colour is a class" + ("; black is background" if "#000000" in classes else "")],
        ['names: change `color_...` in the entry; colours to exclude: void: ["#ffffff"]'],
    )


def _labelmap(files: Mapping[str, Path]) -> tuple[str, dict[str, str]] | None:
    """Return the path and the classes by colour of CVAT's labelmap.txt."""
    for path, file in files.items():
        if path.rsplit("/", 1)[-1].lower() == "labelmap.txt":
            return path, {_normal(color): name for color, name in read_labelmap(file, "utf-8").items()}
    return None


def _hex(value: int) -> str:
    return f"#{value & 255:02x}{value >> 8 & 255:02x}{value >> 16 & 255:02x}"


def _normal(color: str) -> str:
    if color.startswith("#"):
        return color.lower()
    red, green, blue = (int(part) for part in color.split(","))
    return f"#{red:02x}{green:02x}{blue:02x}"
