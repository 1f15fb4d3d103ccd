"""Images and masks, found by patterns of their paths.

    options:
      folder: /data/scans
      image: "images/{name}.jpg"
      mask: "masks/{name}_mask.png"
      classes: {0: background, 255: lung}

`{name}` stands for the text that an image and its mask have in common. Patterns are below the folder, or the
entry's archive; folders that contain only another folder may be omitted. With several archives, patterns
begin with the name of an archive (`Train.zip/Train/{name}.png`).

Masks are as large as the pixels of the image as they are stored. They hold values or colours of classes
(`classes`, `labelmap`), or number objects (`objects`). Masks of one image in several files, as
`masks/{name}/*.png` or `{name}_{class}.png` finds them, are united: in maps of classes, void covers
background, and a class covers those before it in `classes`. With `overlap: keep`, a pixel keeps all its
classes. Objects keep their whole masks. Masks of a second person (`second`) are read in the same way.

Splits: patterns for each (`splits`); else `test` or `test_fraction`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from segbench.data.converters.common import parse_options
from segbench.data.converters.folder import SourceOptions, evaluation_split, root_of
from segbench.data.converters.mask_files import read_mask
from segbench.data.converters.mask_values import (
    Meaning,
    bits,
    meaning_of_classes,
    meaning_of_objects,
    overlap,
    read_labelmap,
    united,
)
from segbench.data.converters.patterns import (
    CLASS,
    Files,
    Matches,
    Pair,
    Pattern,
    files_below,
    matched,
    require_matches,
)
from segbench.data.converters.splits import divided
from segbench.data.converters.stacking import further_paths, stacked
from segbench.data.dataset import Annotation, Archives, Converted, Sample
from segbench.data.images import image_size
from segbench.errors import SegbenchError

log = logging.getLogger(__name__)


def _named(value: Any) -> Any:
    """Check class names. Values become text, as in JSON."""
    names = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(names, dict):
        for key, name in names.items():
            if not isinstance(name, str):
                raise ValueError(f"the class of {key} is {name!r}, not text; write the name in quotes")
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value


Patterns = str | Annotated[list[str], Field(min_length=1)]
Named = BeforeValidator(_named)
Names = list[str] | dict[str, str]


class Split(BaseModel):
    """Patterns of one split."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    image: Patterns
    """Pattern of its images, or several."""
    mask: Patterns
    """Pattern of its masks, or several."""
    second: Patterns | None = None
    """Pattern of the masks of a second person, or several."""


class Options(SourceOptions):
    image: Patterns | None = None
    """Pattern of the images, such as `images/{name}.jpg`, or several. `{name}`, or another field, is the text
    that images and masks share; `*` is any text in a name, `**/` any folders."""
    mask: Patterns | None = None
    """Pattern of the masks, such as `masks/{name}_mask.png`, or several. `{class}` stands for the class of a
    file. If it finds several masks of an image, they are united."""
    second: Patterns | None = None
    """Pattern of the masks of a second person, such as `masks_b/{name}.png`, or several. They mean what the
    others mean, are never trained, and are scored like a prediction: `control_human`. Not every image needs
    one."""
    channels: list[str] = []
    """Further files of each image, such as `["{name}_MTT.tif", "{name}_CBV.tif"]`, stacked behind its own
    channels in this order. The fields are those of `image`. The entry's `channels` counts all."""
    splits: dict[Literal["train", "val", "test"], Split] = {}
    """Patterns of each split, instead of `image` and `mask`. `val_fraction` takes a missing
    `val` from `train`."""
    classes: Annotated[Names | None, Named] = None
    """Class of each value (`{0: background, 255: lung}`) or colour (`{"#804000": car}`, `{"128,64,0": car}`)
    in the masks, or of each text of `{class}` in their names. A list names the values 0, 1, 2, and so on.
    `background` is the implicit class 0. Values with the same name are one class."""
    labelmap: str | None = None
    """File with classes and colours instead of `classes`, as CVAT writes it: `labelmap.txt`."""
    objects: Annotated[str | Names | None, Named] = None
    """Name of the class, if the masks number objects: each value or colour but 0 is an object, in each file.
    With `{class}` in the mask pattern, a list, or the class of each text."""
    void: list[int | str] = []
    """Values or colours of pixels that are excluded from training and scores."""
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """For grey masks, such as JPEG: pixels of at least this value are the second of two classes, or the
    object of the file."""
    reduce_zero_label: bool = False
    """Whether the value 0 is void, and a list of `classes` counts from 1."""
    key: str | None = None
    """Variable with the mask in `.mat` files; `a.b` is a field of a structure. null: the only variable."""
    overlap: Literal["last", "keep"] = "last"
    """Pixels to which several masks of an image give classes have the one that `classes` names last (last),
    or all of them (keep). Classes that are kept are learned and scored each by itself, so networks need
    `activation: sigmoid`; void in any mask is void for all, and background is no class."""
    unannotated: Literal["error", "skip", "empty"] = "error"
    """Images without a mask are an error, skipped, or background without objects (empty)."""


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the folder. Options: see `Options`."""
    chosen = parse_options(Options, options)
    roots, outer = _roots(archives, chosen)
    root = next(iter(roots.values()))
    patterns = _patterns(chosen, root, outer)
    files = files_below(roots)
    by_file = any(CLASS in p.fields for _, masks in patterns.values() for p in masks)
    if chosen.labelmap is not None:
        chosen.labelmap = _below(chosen.labelmap, root, outer)
    meaning = _meaning(chosen, by_file, files)
    require_matches(files, patterns.values())
    found = {split: matched(files, *sides) for split, sides in patterns.items()}
    seconds = _seconds(chosen, patterns, root, outer)
    require_matches(files, [(patterns[split][0], masks) for split, masks in seconds.items()])
    again = {split: matched(files, patterns[split][0], masks) for split, masks in seconds.items()}
    _drop_seconds(found, again)
    further: dict[Path, list[str]] = {}
    if chosen.channels:
        texts = [_below(text, root, outer) for text in chosen.channels]
        further = _further(found, files, [p for sides in patterns.values() for p in sides[0]], texts)
        _drop_channels(found, files, further)
    images = _divided(found, chosen)
    _find_channels(images, files, further)
    _find_seconds(images, again)
    reader = _Reader(meaning, chosen.key, chosen.overlap == "keep")
    return Converted(
        categories=meaning.categories,
        background=meaning.background and chosen.overlap == "last",
        overlapping=chosen.overlap == "keep",
        evaluation_split=evaluation_split([i.split for i in images]),
        orientation="stored",
        division="given" if chosen.splits else "own",
        samples=_samples(images, _faults(found, again), reader),
        finish=reader.finish,
    )


def _seconds(
    options: Options, patterns: Mapping[str, tuple[list[Pattern], list[Pattern]]], root: Path, outer: str
) -> dict[str, list[Pattern]]:
    """Return the patterns of the masks of a second person, by split; only of splits that have some."""
    given = {"": options.second} | {split: both.second for split, both in options.splits.items()}
    if options.splits and options.second:
        raise SegbenchError(
            "is given beside `splits`", where="options.second", remedy="write it in each split that has some"
        )
    found = {}
    for split, side in given.items():
        where = f"options.splits.{split}.second" if split else "options.second"
        texts = [side] if isinstance(side, str) else side or []
        if texts:
            found[split] = [Pattern(_below(text, root, outer), where) for text in texts]
            if len({CLASS in p.fields for p in (*found[split], *patterns[split][1])}) > 1:
                raise SegbenchError(
                    f"the field {{{CLASS}}} must be in the patterns of both persons or in none",
                    where=where,
                    remedy="name the masks of both in the same way",
                )
    return found


def _patterns(options: Options, root: Path, outer: str) -> dict[str, tuple[list[Pattern], list[Pattern]]]:
    """Return the patterns of images and masks, by split; the split "" is to be divided."""
    given: dict[str, tuple[Any, Any]] = {"": (options.image, options.mask)} if not options.splits else {}
    for split, both in options.splits.items():
        given[split] = both.image, both.mask
    if options.splits and (options.image or options.mask):
        raise SegbenchError(
            "is given beside `image` or `mask`", where="options.splits", remedy="write either, not both"
        )
    if options.splits:
        if "train" not in options.splits or len(options.splits) < 2:
            raise SegbenchError(
                f"has only {', '.join(options.splits)}",
                where="options.splits",
                remedy="give `train`, and `test` or `val`; or `image` and `mask`, which are divided",
            )
        unused = options.model_fields_set & {"test", "test_fraction"}
        if "val" in options.splits:
            unused |= options.model_fields_set & {"val_fraction"}
        if unused:
            raise SegbenchError(
                "has no effect, because `splits` gives this split",
                where=f"options.{min(unused)}",
                remedy="remove one of the two",
            )
    result: dict[str, tuple[list[Pattern], list[Pattern]]] = {}
    for name, sides in given.items():
        compiled = []
        for kind, side in zip(("image", "mask"), sides):
            where = f"options.splits.{name}.{kind}" if name else f"options.{kind}"
            if side is None:
                raise SegbenchError(
                    "is missing", where=where, remedy='write a pattern such as "images/{name}.png"'
                )
            texts = [side] if isinstance(side, str) else side
            compiled.append([Pattern(_below(text, root, outer), where) for text in texts])
        result[name] = compiled[0], compiled[1]
    return result


def _roots(archives: Archives, options: Options) -> tuple[dict[str, Path], str]:
    """Return the folders, by the prefix of their paths; and the folders above that hold nothing else."""
    if options.folder is None and len(archives) > 1:
        return {f"{name}/": path for name, path in archives.items()}, ""
    root = root_of(archives, options)
    top = options.folder or next(iter(archives.values()))
    outer = root.relative_to(top).as_posix()
    return {"": root}, "" if outer == "." else outer


def _below(text: str, root: Path, outer: str) -> str:
    """Return a path or pattern below `root`. It may begin with one or more of the folders `outer`."""
    text = text.removeprefix("./")
    parts = outer.split("/")
    for start, part in enumerate(parts):
        above = "/".join(parts[start:]) + "/"
        if outer and text.startswith(above) and not (root / part).exists():
            return text.removeprefix(above)
    return text


def _meaning(options: Options, by_file: bool, files: Files) -> Meaning:
    given = [name for name in ("classes", "labelmap", "objects") if getattr(options, name) is not None]
    if len(given) != 1:
        raise SegbenchError(
            f"{', '.join(given) or 'none'} of classes, labelmap and objects {'are' if given else 'is'} given",
            where="options",
            remedy="give exactly one: `classes` or `labelmap` for classes, `objects` for numbered objects",
        )
    if options.objects is not None:
        if options.overlap == "keep":
            raise SegbenchError(
                "is `keep`, but masks number objects, which keep their whole masks in any case",
                where="options.overlap",
                remedy="remove it, or write `classes` instead of `objects`",
            )
        if options.reduce_zero_label:
            raise SegbenchError(
                "does not go with `objects`",
                where="options.reduce_zero_label",
                remedy="remove it: 0 is no object",
            )
        return meaning_of_objects(options.objects, options.void, options.threshold, by_file=by_file)
    names: Any = options.classes
    if options.labelmap is not None:
        if options.labelmap not in files:
            found = [path for path in files if path.endswith(".txt")][:5]
            raise SegbenchError(
                f"the dataset has no file {options.labelmap!r}",
                where="options.labelmap",
                remedy=f"write its path below the folder (text files: {', '.join(found) or 'none'})",
            )
        names = read_labelmap(files[options.labelmap], options.encoding)
    meaning = meaning_of_classes(
        names, options.void, options.threshold, by_file=by_file, zero_is_void=options.reduce_zero_label
    )
    if options.unannotated == "empty" and not meaning.background:
        raise SegbenchError(
            "is `empty`, but no class is the background",
            where="options.unannotated",
            remedy="write `skip`, or name the value of the background in `classes`",
        )
    return meaning


def _faults(*found_by: Mapping[str, Matches]) -> list[SegbenchError]:
    """Return what is wrong with single files, of each person. Splits may share a folder of masks."""
    faults = [fault for found in found_by for fault in _faults_of(found)]
    return list({str(fault): fault for fault in faults}.values())


def _faults_of(found: Mapping[str, Matches]) -> list[SegbenchError]:
    faults = [fault for matches in found.values() for fault in matches.faults]
    used = {path for matches in found.values() for pair in matches.pairs for path, _ in pair.masks}
    orphans = {path: name for matches in found.values() for path, name in matches.orphans.items()}
    return faults + [
        SegbenchError(
            f"is a mask of '{name}', but there is no such image",
            where=path,
            remedy="add the image, or remove the mask",
        )
        for path, name in orphans.items()
        if path not in used
    ]


@dataclass
class _Image:
    split: str
    pair: Pair
    group: str | None = None
    further: list[Path] = field(default_factory=list)
    faults: list[SegbenchError] = field(default_factory=list)
    second: Pair | None = None


def _divided(found: Mapping[str, Matches], options: Options) -> list[_Image]:
    """Return all images with their splits and groups. Those without a mask are treated as the options say."""
    images = []
    skipped: list[Path] = []
    seen = {pair.image for matches in found.values() for pair in matches.pairs}
    for split, matches in found.items():
        images += [_Image(split, pair) for pair in matches.pairs]
        for name, path in matches.unannotated.items():
            if path in seen:  # splits may share a folder of images
                continue
            if options.unannotated != "empty":  # those in two splits are an error then
                seen.add(path)
            if options.unannotated == "skip":
                skipped.append(path)
                continue
            image = _Image(split, Pair(name, path, []))
            if options.unannotated == "error":
                image.faults.append(
                    SegbenchError(
                        "has no mask",
                        where=path,
                        remedy="add the mask, or set `unannotated` to `skip` or `empty`",
                    )
                )
            images.append(image)
    if skipped:
        log.warning("skipped %d images without a mask, such as %s", len(skipped), skipped[0])
    _in_one_split(images)
    places = divided([image.pair.name for image in images], options, [image.split for image in images])
    for image, place in zip(images, places):
        image.split, image.group = place
    return sorted(images, key=lambda image: (image.split, image.pair.name))


def _further(
    found: Mapping[str, Matches], files: Files, patterns: Sequence[Pattern], texts: Sequence[str]
) -> dict[Path, list[str]]:
    """Return the paths of the further channels of each image."""
    path_of = {file: path for path, file in files.items()}
    images = {pair.image for matches in found.values() for pair in matches.pairs}
    images |= {image for matches in found.values() for image in matches.unannotated.values()}
    return {
        image: further_paths(
            texts,
            next(f for pattern in patterns for f in pattern.matches(path_of[image])),
            "options.channels",
        )
        for image in images
    }


def _drop_channels(found: Mapping[str, Matches], files: Files, further: Mapping[Path, Sequence[str]]) -> None:
    """Remove images without a mask that are further channels of an image with one."""
    for matches in found.values():
        channels = {files.get(path) for pair in matches.pairs for path in further[pair.image]}
        matches.unannotated = {n: p for n, p in matches.unannotated.items() if p not in channels}


def _drop_seconds(found: Mapping[str, Matches], again: Mapping[str, Matches]) -> None:
    """Remove masks of a second person from what the patterns of images and masks match, too."""
    theirs = {path for matches in again.values() for pair in matches.pairs for path, _ in pair.masks}
    for matches in found.values():
        matches.orphans = {p: n for p, n in matches.orphans.items() if p not in theirs}
        matches.unannotated = {n: p for n, p in matches.unannotated.items() if p not in theirs}


def _find_seconds(images: Sequence[_Image], again: Mapping[str, Matches]) -> None:
    """Set the masks of a second person, which not every image has."""
    pair_of = {pair.image: pair for matches in again.values() for pair in matches.pairs}
    for image in images:
        image.second = pair_of.get(image.pair.image)
        if image.second and {p for p, _ in image.second.masks} & {p for p, _ in image.pair.masks}:
            image.faults.append(
                SegbenchError(
                    f"is matched by the patterns of both persons: {image.second.masks[0][0].name}",
                    where=image.pair.image,
                    remedy="write `mask` and `second` so that they match different files",
                )
            )


def _find_channels(images: Sequence[_Image], files: Files, further: Mapping[Path, Sequence[str]]) -> None:
    """Set the further channels of each image. Missing ones are faults of the image."""
    for image in images:
        paths = further.get(image.pair.image, [])
        image.further = [files[p] for p in paths if p in files]
        if missing := [p for p in paths if p not in files]:
            image.faults.append(
                SegbenchError(
                    f"lacks its channels {', '.join(missing)}",
                    where=image.pair.image,
                    remedy="add them, remove the image, or correct `channels`",
                )
            )


def _in_one_split(images: Sequence[_Image]) -> None:
    """Mark images that the patterns of two splits match."""
    first: dict[Path, str] = {}
    for image in images:
        if (split := first.setdefault(image.pair.image, image.split)) != image.split:
            image.faults.append(
                SegbenchError(
                    f"is matched by the patterns of the splits '{split}' and '{image.split}'",
                    where=image.pair.image,
                    remedy="write patterns that match different files",
                )
            )


def _samples(images: Sequence[_Image], faults: Sequence[SegbenchError], reader: _Reader) -> Iterator[Sample]:
    for fault in faults:
        yield Sample("train", "", Path(), faults=[fault])
    for image in images:
        pair = image.pair
        yield Sample(
            image.split,
            pair.name,
            pair.image,
            group=image.group,
            source=pair.masks[0][0] if pair.masks else None,
            faults=image.faults,
            load=partial(reader.truth, pair, image.further, image.second),
        )


@dataclass(frozen=True)
class _Reader:
    """Reads the masks of images."""

    meaning: Meaning
    key: str | None
    keep: bool
    """Whether a pixel keeps all its classes."""

    def truth(self, pair: Pair, further: Sequence[Path], second: Pair | None = None) -> dict[str, Any]:
        """Return the truth of an image, or what is wrong with its masks.

        Args:
            pair: the image and its masks.
            further: files of its channels.
            second: the image and the masks of a second person.
        """
        found = self._truth(pair, further)
        if second is not None:
            theirs = self._truth(second, [])
            if faults := [*found.get("faults", ()), *theirs.get("faults", ())]:
                return {"faults": faults}
            source = second.masks[0][0]
            found["second"] = Annotation(theirs.get("semantic"), theirs.get("instances"), source)
        return found

    def _truth(self, pair: Pair, further: Sequence[Path]) -> dict[str, Any]:
        faults: list[SegbenchError] = []
        facts: dict[str, float] = {}
        arrays: list[tuple[np.ndarray, Path]] = []
        maps: list[np.ndarray] = []
        instances: list[dict[str, Any]] = []
        if not pair.masks:
            width, height = image_size(pair.image)
            maps.append(np.zeros((height, width), np.int32))
        for path, text in pair.masks:
            try:
                array = read_mask(path, self.meaning.content, self.key)
                if arrays and array.shape != arrays[0][0].shape:
                    raise _other_size(path, array, arrays[0][1], arrays[0][0])
                arrays.append((array, path))
                if self.meaning.threshold is not None:
                    facts["brightest"] = max(float(array.max()), facts.get("brightest", -math.inf))
                if self.meaning.objects:
                    instances += self.meaning.instances(array, path, text)
                if self.meaning.has_semantic:
                    maps.append(self.meaning.classes(array, path, text))
            except SegbenchError as error:
                faults.append(error)
        if faults:
            return {"faults": faults}
        height, width = (arrays[0][0] if arrays else maps[0]).shape
        found: dict[str, Any] = {"facts": facts}
        if self.meaning.has_semantic:
            found["semantic"] = bits(maps) if self.keep else united(maps) if len(maps) > 1 else maps[0]
            facts["overlap"] = 0 if self.keep else overlap(maps)
        if self.meaning.objects:
            facts["objects"] = len(instances)
            found |= {"instances": instances, "size": (width, height)}
        if further:
            files = [pair.image, *further]
            found["image"] = stacked(files, "stored", pair.image, (height, width))
        return found

    def finish(self, facts: Mapping[str, Sequence[float]]) -> None:
        """Check what only all masks together show."""
        threshold, brightest = self.meaning.threshold, facts.get("brightest")
        if threshold is not None and brightest and max(brightest) < threshold:
            raise SegbenchError(
                f"no pixel of any mask reaches {threshold:g}; the largest value is {max(brightest):g}",
                where="options.threshold",
                remedy="set a threshold between the dark and the bright values of the masks",
            )
        objects = facts.get("objects", ())
        if len(objects) > 1 and max(objects) == 1:
            log.warning("no mask has more than one object; `classes` is for masks that do not number objects")
        if total := sum(facts.get("overlap", ())):
            log.warning(
                "%d pixels belong to several classes; each has the one that `classes` names last", total
            )


def _other_size(path: Path, array: np.ndarray, other: Path, first: np.ndarray) -> SegbenchError:
    (height, width), (rows, columns) = array.shape, first.shape
    return SegbenchError(
        f"has {width}x{height} pixels, but {other.name} of the same image has {columns}x{rows}",
        where=path,
        remedy="save all masks of an image in its size, or remove them",
    )
