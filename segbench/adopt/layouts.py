"""Find the patterns of images and masks by the names of files."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from segbench.adopt.keys import Key, Keying, keyings
from segbench.adopt.kinds import File, Kind, kinds_of
from segbench.adopt.words import SIDES, words
from segbench.data.images import IMAGE_SUFFIXES

_FOLDERS = 40
"""Folders of up to this number may also be read as different kinds, whatever their names are."""
_CLASSES = 40
_BEST = 8
"""Number of layouts that are compared."""


@dataclass
class Part:
    """The pairs of one split; the split is "" if the names of folders do not tell."""

    split: str
    image: Keying
    mask: Keying
    pairs: dict[str, list[str]]
    """Image path -> mask paths."""
    names: list[str]


@dataclass
class Layout:
    """Images and their masks.

    Attributes:
        images, masks: the kinds.
        parts: the splits that have pairs.
        classes: texts of `{class}` in the mask pattern, if folders or names tell classes apart.
        score: number of images with a mask, weighted by how certain the words in the names are.
    """

    images: Kind
    masks: Kind
    parts: list[Part]
    score: float
    classes: list[str]

    @property
    def pairs(self) -> dict[str, list[str]]:
        return {image: masks for part in self.parts for image, masks in part.pairs.items()}

    @property
    def per_image(self) -> float:
        """Mean number of masks of an image."""
        pairs = self.pairs
        return sum(map(len, pairs.values())) / len(pairs)

    def options(self) -> dict[str, Any]:
        """Return the options `image` and `mask`, or `splits`."""
        sides = {
            part.split: {"image": _one(part.image.patterns), "mask": _one(part.mask.patterns)}
            for part in self.parts
        }
        return sides.get("", {"splits": sides})


def layouts(paths: Sequence[str]) -> list[Layout]:
    """Return the likeliest ways to understand the files as images and masks, the best first.

    Args:
        paths: below the folder, with `/`.
    """
    found: dict[str, Layout] = {}
    few = len({posixpath.dirname(path) for path in paths}) <= _FOLDERS
    for fixed in (False, True):
        if fixed and not few:
            break
        kinds = kinds_of(paths, fixed=fixed)
        few = few and any(kind.files[0].free for kind in kinds)
        if len(kinds) > 2 * _FOLDERS:
            kinds = sorted(kinds, key=lambda kind: -len(kind.files))[: 2 * _FOLDERS]
        for images, masks in _candidates(kinds):
            layout = _layout(images, masks)
            if layout is not None:
                found.setdefault(str(layout.options()), layout)
    best: list[Layout] = []
    for layout in sorted(found.values(), key=lambda layout: -layout.score):
        if len(best) < _BEST and not any(_covers(better, layout) for better in best):
            best.append(layout)
    return best


def _covers(layout: Layout, other: Layout) -> bool:
    """Return whether the masks of another layout are among those of this one, or its images."""
    own = {path for masks in layout.pairs.values() for path in masks} | layout.pairs.keys()
    return all(path in own for masks in other.pairs.values() for path in masks)


def _candidates(kinds: Sequence[Kind]) -> Iterator[tuple[Kind, Kind]]:
    for images in kinds:
        files = [f for f in images.files if f.suffix.lower() in IMAGE_SUFFIXES]
        if files and not (images.says_mask and not images.says_image and _any_image(kinds)):
            for masks in kinds:
                if masks is not images:
                    yield Kind(files, images.words), masks


def _any_image(kinds: Sequence[Kind]) -> bool:
    return any(not kind.says_mask for kind in kinds)


def _layout(images: Kind, masks: Kind) -> Layout | None:
    image_splits, mask_splits = _by_split(images.files), _by_split(masks.files)
    both = image_splits.keys() & mask_splits.keys() - {""}
    if "train" in both and len(both) > 1:
        given = {split: (image_splits[split], mask_splits[split]) for split in sorted(both, key=_order)}
    elif "train" in image_splits and len(image_splits) > 1 and set(mask_splits) == {""}:
        given = {split: (files, masks.files) for split, files in image_splits.items() if split}
    elif len(both) == 1:
        given = {"": (image_splits[next(iter(both))], mask_splits[next(iter(both))])}
    else:
        given = {"": (images.files, masks.files)}
    parts = [part for split, sides in given.items() if (part := _part(split, *sides)) is not None]
    if len(parts) == 1 and parts[0].split:
        parts[0].split = ""
    splits = {part.split for part in parts}
    if not parts or (len(parts) > 1 and "train" not in splits):
        return None
    classes = _classes(parts)
    matched = sum(len(part.pairs) for part in parts)
    used = sum(len(m) for part in parts for m in part.pairs.values())
    certain = 1.0 if masks.says_mask else 0.6
    certain *= 0.4 if masks.says_other else 1.0
    certain *= 0.5 if images.says_other else 1.0
    certain *= 1.1 if images.says_image else 1.0
    certain *= 0.1 if images.says_mask and not masks.says_mask else 1.0
    cost = 1 - 0.005 * sum(part.image.cost + part.mask.cost for part in parts) / len(parts)
    more = 1 + 0.1 * min(1, (used - matched) / matched)  # rather all masks of an image than one
    score = matched * certain * cost * more * used / len(masks.files)
    return Layout(images, masks, parts, score, classes)


def _order(split: str) -> int:
    return ("train", "val", "test").index(split)


def _by_split(files: Iterable[File]) -> dict[str, list[File]]:
    found: dict[str, list[File]] = defaultdict(list)
    for file in files:
        found[file.split].append(file)
    return dict(found)


def _part(split: str, images: Sequence[File], masks: Sequence[File]) -> Part | None:
    """Return the pairs of the best way to read the names."""
    best: tuple[float, Keying, Keying] | None = None
    mask_ways = list(keyings(masks))
    for image in keyings(images):
        keys = set(image.keys)
        if len(keys) < len(images):
            continue  # two images of one name
        for mask in mask_ways:
            if len(mask.keys[0]) != len(image.keys[0]) or set(image.patterns) & set(mask.patterns):
                continue
            of_masks = set(mask.keys)
            if len(of_masks) < len(masks) and image.skips_folders and mask.skips_folders:
                continue  # names alone, which other folders repeat, prove nothing
            common = len(keys & of_masks)
            if common:
                orphans = sum(key not in keys for key in mask.keys)
                value = common - 0.5 * orphans - 0.01 * (image.cost + mask.cost) / 20 * common
                if best is None or value > best[0]:
                    best = value, image, mask
    if best is None:
        return None
    _, image, mask = best
    of: dict[Key, list[str]] = defaultdict(list)
    for key, file in zip(mask.keys, masks):
        of[key].append(file.path)
    pairs = {f.path: of[key] for key, f in zip(image.keys, images) if key in of}
    names = ["_".join(key) for key, f in zip(image.keys, images) if key in of]
    return Part(split, image, mask, pairs, names)


def _classes(parts: Sequence[Part]) -> list[str]:
    """Return the names of the folders of masks, and write `{class}` for them, if each is a class.

    That is so if an image has several masks of one name in different folders.
    """
    texts: Counter[str] = Counter()
    for part in parts:
        if len(part.mask.patterns) != 1 or part.mask.patterns[0].split("/")[:-1].count("*") != 1:
            return []
        place = part.mask.patterns[0].split("/").index("*")
        for masks in part.pairs.values():
            texts.update(path.split("/")[place] for path in masks)
    images = sum(len(part.pairs) for part in parts)
    if not 1 < len(texts) <= _CLASSES or sum(texts.values()) <= images:
        return []
    if all(words(text) & SIDES for text in texts):
        return []
    for part in parts:
        folders = part.mask.patterns[0].split("/")
        folders[folders.index("*")] = "{class}"
        part.mask = Keying(part.mask.keys, ("/".join(folders),), part.mask.cost)
    return sorted(texts)


def _one(patterns: tuple[str, ...]) -> str | list[str]:
    return patterns[0] if len(patterns) == 1 else list(patterns)
