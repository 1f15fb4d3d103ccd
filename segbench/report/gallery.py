"""Pictures of what the networks see: image | truth | each network, a row an image."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle

from segbench.data.dataset import (
    Category,
    Dataset,
    ImageRecord,
    Split,
    Task,
    read_image,
    read_label_map,
    rgb_to_id,
)
from segbench.files import atomic_path, read_json
from segbench.report.run import Run

CANVAS, TEXT, MUTED = (22, 24, 29), (236, 238, 242), (160, 166, 178)
"""Light on dark, which sits well on a white page and on a dark one."""
GAP = 6
WIDTH = 1800
"""Wanted width of a gallery in pixels; tiles keep between 150 and 320."""
LEGEND = 30
"""Most classes in a legend; the rest are counted."""
VOID = Category(id=-1, name="void", isthing=False, color=(235, 235, 235))


@dataclass
class Region:
    """A class or an object to paint: `mask` is H x W bool at the image's size."""

    category: Category
    mask: np.ndarray
    is_object: bool = False


Reader = Callable[[ImageRecord], list[Region]]


def gallery(
    run: Run, dataset: str, task: Task, models: Sequence[str], hardest: Sequence[str], path: Path
) -> str | None:
    """Draw a gallery as JPEG; returns its caption, or None where there is nothing to show.

    `models` are the columns, `hardest` the stems of images to add below the evenly chosen ones.
    """
    data = Dataset(run.datasets[dataset].root)
    split = data.split(data.info.evaluation_split)
    rows = _choose(split, run.options.gallery_images, hardest)
    readers = {}
    for model in models:
        for cell in run.cells:
            folder = run.folder(cell) / "predictions"
            if (cell.dataset, cell.model) == (dataset, model) and _has(folder, task):
                readers[model] = prediction_reader(folder, data, task, rows, run.options.instance_score)
                break
    if not rows or not readers:
        return None
    truth = truth_reader(split, task, rows)
    titles = ["image", "truth", *(run.title(m) for m in readers)]
    tile = min(320, max(150, (WIDTH - GAP) // len(titles) - GAP))
    seen: dict[int, Category] = {}
    strips = []
    for record in rows:
        image = Image.fromarray(read_image(record.path, 3))
        tiles = [
            image.resize((tile, max(1, round(image.height * tile / image.width))), Image.Resampling.LANCZOS)
        ]
        for read in (truth, *readers.values()):
            regions = read(record)
            seen |= {r.category.id: r.category for r in regions}
            tiles.append(paint(tiles[0], regions))
        strips.append((f"{record.stem} (hardest)" if record.stem in hardest else record.stem, tiles))
    order = {c.id: i for i, c in enumerate(data.info.categories)}
    legend = sorted(seen.values(), key=lambda c: order.get(c.id, len(order)))
    with atomic_path(path) as partial:
        _compose(titles, strips, legend, tile).save(partial, quality=88, subsampling=0)
    drawn = f"; objects with a score of {run.options.instance_score} or more" if task == "instance" else ""
    return f"{run.dataset_title(dataset)}, {task}{drawn}. Each network's first seed."


def _choose(split: Split, count: int, hardest: Sequence[str]) -> list[ImageRecord]:
    """Evenly spread images, the same in every run, then the hardest."""
    images = split.images
    count = min(count, len(images))
    even = [images[int((k + 0.5) * len(images) / count)] for k in range(count)]
    chosen = [i for i in even if i.stem not in hardest]
    return chosen + [i for i in images if i.stem in hardest]


def _has(folder: Path, task: Task) -> bool:
    needed = {"semantic": "semantic", "instance": "instances.json", "panoptic": "panoptic.json"}[task]
    return (folder / needed).exists()


def truth_reader(split: Split, task: Task, records: Sequence[ImageRecord]) -> Reader:
    categories = {c.id: c for c in split.dataset.info.categories}
    if task == "semantic":
        return lambda record: _semantic(split.read_semantic(record.stem), categories)
    if task == "instance":
        wanted = {r.id for r in records}
        annotations = read_json(split.instances_json)["annotations"]
        return _instances([a for a in annotations if a["image_id"] in wanted], categories)
    return _panoptic(split.panoptic_json, split.panoptic_folder, categories)


def prediction_reader(
    folder: Path, data: Dataset, task: Task, records: Sequence[ImageRecord], least: float
) -> Reader:
    categories = {c.id: c for c in data.info.categories}
    if task == "semantic":
        return lambda record: _semantic(
            read_label_map(folder / "semantic" / f"{record.stem}.png").astype(np.int32), categories
        )
    if task == "instance":
        results = _results(folder / "instances.json", {r.id for r in records})
        return _instances([r for r in results if r["score"] >= least], categories)
    return _panoptic(folder / "panoptic.json", folder / "panoptic", categories)


def _results(path: Path, wanted: set[int]) -> Iterator[dict[str, Any]]:
    """COCO results of some images. segbench writes one object a line, so that the others need no parsing."""
    start = re.compile(r'\s*\{"image_id": (\d+),')
    with path.open(encoding="utf-8") as lines:
        if next(lines, "").strip() != "[":
            yield from (r for r in read_json(path) if r["image_id"] in wanted)
            return
        for line in lines:
            found = start.match(line)
            if found and int(found[1]) in wanted:
                yield json.loads(line.rstrip().rstrip(","))


def _semantic(ids: np.ndarray, categories: dict[int, Category]) -> list[Region]:
    known = {**categories, -1: VOID}
    return [Region(known[i], ids == i) for i in np.unique(ids).tolist() if i in known]


def _instances(annotations: list[dict[str, Any]], categories: dict[int, Category]) -> Reader:
    def read(record: ImageRecord) -> list[Region]:
        own = [a for a in annotations if a["image_id"] == record.id]
        own.sort(key=lambda a: a.get("score", 0))
        height, width = _size(record)
        return [
            Region(
                VOID if a.get("iscrowd") else categories[a["category_id"]],
                _decode(a["segmentation"], height, width),
                is_object=not a.get("iscrowd"),
            )
            for a in own
            if a["category_id"] in categories
        ]

    return read


def _decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        segmentation = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = rle.frPyObjects(segmentation, height, width)
    return rle.decode(segmentation).astype(bool)


@cache
def _size(record: ImageRecord) -> tuple[int, int]:
    with Image.open(record.path) as image:
        return image.height, image.width


def _panoptic(index: Path, folder: Path, categories: dict[int, Category]) -> Reader:
    segments = {a["image_id"]: a for a in read_json(index)["annotations"]}

    def read(record: ImageRecord) -> list[Region]:
        annotation = segments.get(record.id)
        if annotation is None:
            return []
        with Image.open(folder / annotation["file_name"]) as image:
            ids = rgb_to_id(np.asarray(image.convert("RGB")))
        kept = [s for s in annotation["segments_info"] if s["category_id"] in categories]
        regions = [
            Region(
                VOID if s.get("iscrowd") else categories[s["category_id"]],
                ids == s["id"],
                is_object=categories[s["category_id"]].isthing and not s.get("iscrowd"),
            )
            for s in kept
        ]
        return [Region(VOID, ids == 0), *regions] if (ids == 0).any() else regions

    return read


def paint(image: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """Colours over the grey image: classes in their own colour, objects in shades of it with an outline."""
    canvas = np.asarray(image.convert("L").convert("RGB")).astype(np.float32)
    height, width = canvas.shape[:2]
    outlines = []
    for k, region in enumerate(regions):
        small = Image.fromarray(region.mask).resize((width, height), Image.Resampling.NEAREST)
        mask = np.asarray(small)
        if region.category is VOID:
            rows, columns = np.ogrid[:height, :width]
            mask = mask & ((rows + columns) % 6 < 2)
        color = np.array(region.category.color, np.float32)
        if region.is_object:
            shade = (0.0, 0.35, -0.3, 0.18, -0.15)[k % 5]
            color = color + (255 - color) * shade if shade > 0 else color * (1 + shade)
            outlines.append((mask & ~_eroded(mask), color))
        canvas[mask] = 0.42 * canvas[mask] + 0.58 * color
    for edge, color in outlines:
        canvas[edge] = 0.35 * color + 0.65 * 255
    return Image.fromarray(canvas.clip(0, 255).astype(np.uint8))


def _eroded(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _compose(
    titles: Sequence[str], strips: Sequence[tuple[str, list[Image.Image]]], legend: list[Category], tile: int
) -> Image.Image:
    font, small = _font(17 if tile > 200 else 13), _font(13)
    width = GAP + len(titles) * (tile + GAP)
    entries = _legend_places(legend, small, width)
    height = (
        30
        + sum(tiles[0].height + GAP for _, tiles in strips)
        + 24 * (entries[-1][1] + 1 if entries else 0)
        + 6
    )
    canvas = Image.new("RGB", (width, height), CANVAS)
    draw = ImageDraw.Draw(canvas)
    for i, title in enumerate(titles):
        draw.text((GAP + i * (tile + GAP) + 2, 15), _fit(title, font, tile), TEXT, font, anchor="lm")
    y = 30
    for name, tiles in strips:
        for i, image in enumerate(tiles):
            canvas.paste(image, (GAP + i * (tile + GAP), y))
        label = _fit(name, small, tile - 10)
        bottom = y + tiles[0].height
        draw.rectangle([GAP, bottom - 19, GAP + small.getlength(label) + 8, bottom - 1], CANVAS)
        draw.text((GAP + 4, bottom - 10), label, TEXT, small, anchor="lm")
        y = bottom + GAP
    for x, line, category, label in entries:
        middle = y + 24 * line + 12
        draw.rounded_rectangle([x, middle - 6, x + 12, middle + 6], 3, category.color if category else CANVAS)
        draw.text((x + 18, middle), label, MUTED, small, anchor="lm")
    return canvas


def _legend_places(
    legend: list[Category], font: ImageFont.FreeTypeFont, width: int
) -> list[tuple[int, int, Category | None, str]]:
    """(x, line, category, text) of each entry, broken into lines."""
    entries: list[tuple[Category | None, str]] = [(c, _fit(c.name, font, 200)) for c in legend[:LEGEND]]
    if len(legend) > LEGEND:
        entries.append((None, f"and {len(legend) - LEGEND} more"))
    x, line, places = GAP + 2, 0, []
    for category, text in entries:
        needed = int(font.getlength(text)) + 18 + 20
        if x + needed > width and x > GAP + 2:
            x, line = GAP + 2, line + 1
        places.append((x, line, category, text))
        x += needed
    return places
