"""Draw the contact sheet of a converted dataset: images with their truth, class shares and object sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageOps

from segbench.adopt.proposal import spread
from segbench.contract.view import BACKGROUND, Category, Task
from segbench.data.coco.jsonstream import scan
from segbench.data.converters.splits import SPLITS
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.data.images import image_size, open_raster
from segbench.data.levels import scaled
from segbench.data.painting import VOID, paint
from segbench.data.painting import shown as shown_channels
from segbench.files import atomic_path
from segbench.report.regions import Reader, truth_reader

IMAGES = 20
COUNTED = 300
"""Largest number of images of a split whose pixels are counted."""
_COLUMNS, _TILE, _GAP, _LINE, _DPI = 4, 250, 20, 28, 100
"""Columns of the sheet; pixels of the width of an image, between columns, and of a line of text."""
_LABEL = 60
_BARS, _NAME = 24, 26


@dataclass
class Counts:
    """Pixels by class of a split (void: -1), images with each class, and areas of objects by class."""

    pixels: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    counted: int = 0
    areas: dict[int, list[float]] = field(default_factory=dict)


def contact_sheet(root: Path, path: Path) -> None:
    """Draw the contact sheet of a dataset as PNG.

    Args:
        root: folder of the converted dataset.
        path: file to write.
    """
    dataset = Dataset(root)
    splits = [dataset.split(name) for name in SPLITS if name in dataset.info.splits]
    chosen = _chosen(splits)
    counts = {split.name: _count(split) for split in splits}
    height = _height([record for _, record in chosen])
    readers = {split.name: truth_reader(split, _task(dataset)) for split in splits}
    tiles = [_tile(split, record, readers[split.name], height) for split, record in chosen]
    rows = -(-len(chosen) // _COLUMNS)
    width = _COLUMNS * (2 * _TILE + _GAP)
    images, bars = rows * (height + _LINE), 80 + 24 * max(3, len(_shown(dataset, counts)))
    total = _LINE + images + bars
    figure = plt.figure(figsize=(width / _DPI, total / _DPI), dpi=_DPI)
    figure.text(
        0.5, 1 - _LINE / 2 / total, _title(dataset), fontsize=13, ha="center", va="center", parse_math=False
    )
    _draw_images(figure.add_axes((0, bars / total, 1, images / total)), chosen, tiles, height)
    base, size = 36 / total, (bars - 72) / total
    left, right = figure.add_axes((0.09, base, 0.39, size)), figure.add_axes((0.59, base, 0.39, size))
    if "semantic" in dataset.info.tasks:
        _draw_shares(left, dataset, counts)
    else:
        _draw_presence(left, dataset, counts)
    if any(c.areas for c in counts.values()):
        _draw_sizes(right, dataset, counts)
    else:
        _draw_presence(right, dataset, counts)
    try:
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png")
    finally:
        plt.close(figure)


def _task(dataset: Dataset) -> Task:
    """Return the richest task whose truth was annotated."""
    tasks = [task for task in dataset.info.tasks if task not in dataset.info.derived]
    return next(task for task in ("panoptic", "instance", "detection", "semantic") if task in tasks)


def _title(dataset: Dataset) -> str:
    info = dataset.info
    images = " + ".join(f"{count} {split}" for split, count in info.splits.items())
    kinds = len(_classes(dataset))
    colors = {1: "grey", 3: "colour"}.get(info.channels, f"{info.channels}-channel")
    return f"{info.name}: {images} {colors} images, {kinds} classes ({', '.join(info.tasks)})"


def _chosen(splits: list[Split]) -> list[tuple[Split, ImageRecord]]:
    """Return evenly spread images of all splits, at least two of each."""
    total = sum(len(split) for split in splits)
    others = splits[1:]
    counts = [max(2, round(IMAGES * len(split) / total)) for split in others]
    numbers = [max(1, IMAGES - sum(min(c, len(s)) for c, s in zip(counts, others))), *counts]
    return [(s, record) for s, n in zip(splits, numbers) for record in spread(s.images, n)]


def _height(records: list[ImageRecord]) -> int:
    """Return the height of tiles that suits most images."""
    sizes = [image_size(record.path) for record in records]
    aspect = float(np.median([height / width for width, height in sizes]))
    return int(_TILE * min(1.3, max(0.4, aspect)))


def _tile(split: Split, record: ImageRecord, truth: Reader, height: int) -> np.ndarray:
    """Return an image beside its painted copy."""
    array = open_raster(record.path, split.dataset.info.channels).array
    image = Image.fromarray(shown_channels(scaled(array, None)))
    shown = ImageOps.contain(image, (_TILE, height), Image.Resampling.LANCZOS)
    grey = np.asarray(shown.convert("L").convert("RGB"))
    painted = paint(grey, truth(record, (shown.height, shown.width)))
    gap = np.full((shown.height, 4, 3), 255, np.uint8)
    return np.concatenate([np.asarray(shown), gap, painted], axis=1)


def _draw_images(
    axis: plt.Axes, chosen: list[tuple[Split, ImageRecord]], tiles: list[np.ndarray], height: int
) -> None:
    """Draw all tiles as one image, so that their pixels stay as they are."""
    rows = -(-len(chosen) // _COLUMNS)
    canvas = np.full((rows * (height + _LINE), _COLUMNS * (2 * _TILE + _GAP), 3), 255, np.uint8)
    for k, ((split, record), tile) in enumerate(zip(chosen, tiles)):
        top, left = k // _COLUMNS * (height + _LINE), k % _COLUMNS * (2 * _TILE + _GAP) + _GAP // 2
        label = f"{split.name}: {_short(record.stem, _LABEL)}"
        axis.text(left, top + _LINE - 7, label, fontsize=8, va="baseline", parse_math=False)
        canvas[top + _LINE : top + _LINE + tile.shape[0], left : left + tile.shape[1]] = tile
    axis.imshow(canvas, aspect="auto", interpolation="none")
    axis.axis("off")


def _color(category: Category) -> str:
    return "#{:02x}{:02x}{:02x}".format(*category.color)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-(length // 2) + 1 :]}"


def _classes(dataset: Dataset) -> list[Category]:
    return [*([BACKGROUND] if dataset.info.background else []), *dataset.info.categories]


def _count(split: Split) -> Counts:
    result = Counts()
    tasks = split.dataset.info.tasks
    for record in spread(split.images, COUNTED) if "semantic" in tasks else ():
        values, numbers = np.unique(split.read_semantic(record.stem), return_counts=True)
        result.pixels.update(dict(zip(values.tolist(), numbers.tolist())))
        result.images.update(values.tolist())
        result.counted += 1
    if "detection" in tasks:
        pairs = set()
        for key, annotation, _, _ in scan(split.instances_json):
            if key != "annotations":
                continue
            pairs.add((annotation["image_id"], annotation["category_id"]))
            if not annotation.get("iscrowd"):
                result.areas.setdefault(annotation["category_id"], []).append(annotation["area"])
        if "semantic" not in tasks:
            result.images.update(category for _, category in pairs)
            result.counted = len(split)
    return result


def _shown(dataset: Dataset, counts: dict[str, Counts]) -> list[Category]:
    """Return the classes to list, those with most pixels if there are many, and void if there is any."""
    total: Counter[int] = sum((c.pixels for c in counts.values()), Counter())
    classes = _classes(dataset)
    if len(classes) > _BARS:
        most = sorted(classes, key=lambda c: -total[c.id])[:_BARS]
        classes = [c for c in classes if c in most]
    return [*classes, *([VOID] if total[VOID.id] else [])]


def _bars(axis: plt.Axes, dataset: Dataset, counts: dict[str, Counts], title: str, pixels: bool) -> None:
    shown = _shown(dataset, counts)
    height = 0.8 / len(counts)
    for k, (split, count) in enumerate(counts.items()):
        source = count.pixels if pixels else count.images
        total = max(1, count.pixels.total() if pixels else count.counted)
        shares = [100 * source[c.id] / total for c in shown]
        places = [n + k * height for n in range(len(shown))]
        colors = [_color(c) for c in shown]
        axis.barh(places, shares, height * 0.9, color=colors, edgecolor="black", linewidth=0.4)
        for place, share in zip(places, shares):
            axis.text(
                share, place, f" {share:.3g} % {split}", va="center", fontsize=7 if len(counts) < 3 else 6
            )
    axis.set_yticks(
        [n + 0.4 - height / 2 for n in range(len(shown))],
        [_short(c.name, _NAME) for c in shown],
        fontsize=8,
        parse_math=False,
    )
    axis.invert_yaxis()
    axis.set_xlim(0, 115)
    hidden = len(_classes(dataset)) - len([c for c in shown if c is not VOID])
    axis.set_title(title + (f" ({hidden} further classes not shown)" if hidden else ""), fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_shares(axis: plt.Axes, dataset: Dataset, counts: dict[str, Counts]) -> None:
    _bars(axis, dataset, counts, "Share of the pixels", pixels=True)


def _draw_presence(axis: plt.Axes, dataset: Dataset, counts: dict[str, Counts]) -> None:
    _bars(axis, dataset, counts, "Share of the images that contain the class", pixels=False)


def _label_of_few(value: float, _: float) -> str:
    """Label 2 and 5 times the powers of ten."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _draw_sizes(axis: plt.Axes, dataset: Dataset, counts: dict[str, Counts]) -> None:
    of = {c.id: c for c in dataset.info.categories}
    areas: dict[int, list[float]] = {}
    for count in counts.values():
        for number, values in count.areas.items():
            areas.setdefault(number, []).extend(values)
    order = sorted(areas, key=lambda number: -len(areas[number]))[:_BARS]
    sides = [np.sqrt(np.maximum(areas[number], 1)) for number in order]
    least, most = min(map(np.min, sides)), max(map(np.max, sides))
    edges = np.geomspace(least * 0.7, most * 1.4, 30)
    axis.hist(
        sides,
        edges.tolist(),
        stacked=True,
        color=[_color(of[n]) for n in order],
        label=[f"{_short(of[n].name, _NAME)} ({len(areas[n])})" for n in order],
        edgecolor="black",
        linewidth=0.3,
    )
    axis.set_xscale("log")
    axis.set_xlabel("square root of the area, pixels", fontsize=8)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(_label_of_few)
    axis.tick_params(which="both", labelsize=7)
    every = sum(map(len, areas.values()))
    images = sum(dataset.info.splits.values())
    axis.set_title(f"Size of the {every} objects ({every / images:.1f} in an image)", fontsize=10)
    if len(order) < _BARS:
        axis.legend(fontsize=7, ncols=1 + len(order) // 9)
    axis.spines[["top", "right"]].set_visible(False)
