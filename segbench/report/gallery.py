"""Galleries: one row for each image, with the image, the truth and the prediction of each network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle

from segbench.contract.run import RunDescription
from segbench.contract.view import Category, Task, has_class
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import decode
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.data.images import image_size
from segbench.data.painting import VOID, Region, paint, shown
from segbench.evaluation.annotations import Objects, SegmentMap
from segbench.evaluation.instance.files import InstanceFile
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.prediction_folder import PredictionFolder
from segbench.files import atomic_path, read_json

CANVAS, TEXT, MUTED = (22, 24, 29), (236, 238, 242), (160, 166, 178)
"""Light text on a dark canvas, which suits light and dark pages."""
GAP = 6
WIDTH = 1800
"""Preferred width of a gallery in pixels. Tiles are 150 to 320 pixels wide."""
LEGEND = 30
"""Largest number of classes in a legend; the others are counted."""


Size = tuple[int, int]
"""Height, width."""
Reader = Callable[[ImageRecord, Size], Iterator[Region]]
"""Yields the regions of an image at the size of a tile, one at a time, as large images may have thousands."""


def gallery(
    run: RunDescription, dataset: str, task: Task, models: Sequence[str], hardest: Sequence[str], path: Path
) -> str | None:
    """Draw a gallery of one dataset and task as JPEG.

    Args:
        models: Networks, one column each. Those without predictions are skipped. Predictions of another task
            are converted as in the evaluation.
        hardest: Stems of images to add below the evenly spread ones.
        path: File to write.

    Returns:
        The caption, or None if there are no images or no predictions, and so no file.
    """
    first = {c.model: c for c in reversed(run.cells) if c.dataset == dataset}
    data = Dataset(run.data(next(iter(first.values()))))
    split = data.split(data.info.evaluation_split)
    records = _choose(split, run.options.gallery_images, hardest)
    readers = {}
    for model in models:
        folder = run.folder(first[model]) / "predictions"
        if (folder / "predictions.json").exists():
            readers[model] = prediction_reader(folder, split, task, run.options.instance_score)
    if not records or not readers:
        return None
    truth = truth_reader(split, task)
    titles = ["image", "truth", *(run.title(m) for m in readers)]
    tile = min(320, max(150, (WIDTH - GAP) // len(titles) - GAP))
    seen: dict[int, Category] = {}

    def noted(regions: Iterator[Region]) -> Iterator[Region]:
        for region in regions:
            seen[region.category.id] = region.category
            yield region

    channels = run.options.gallery_channels.get(dataset, ())
    strips = []
    for record in records:
        image = Image.fromarray(shown(split.read_image(record), channels))
        size = tile, max(1, round(image.height * tile / image.width))
        tiles = [image.resize(size, Image.Resampling.LANCZOS)]
        grey = np.asarray(tiles[0].convert("L").convert("RGB"))
        for read in (truth, *readers.values()):
            regions = noted(read(record, (size[1], size[0])))
            tiles.append(Image.fromarray(paint(grey, regions)))
        strips.append((f"{record.stem} (hardest)" if record.stem in hardest else record.stem, tiles))
    order = [c.id for c in data.info.categories] + [VOID.id]
    legend = sorted(seen.values(), key=lambda c: order.index(c.id))
    with atomic_path(path) as partial:
        _compose(titles, strips, legend, tile).save(partial, quality=88, subsampling=0)
    drawn = "" if task == "semantic" else f" Objects with a score of {run.options.instance_score} or more."
    worst = " Hardest: the best network scores lowest on these images." if hardest else ""
    which = "first seed and fold" if run.datasets[dataset].folds else "first seed"
    return f"{run.dataset_title(dataset)}, {task}; the {which} of each network.{drawn}{worst}"


def _choose(split: Split, count: int, hardest: Sequence[str]) -> list[ImageRecord]:
    """Choose evenly spread images, the same in every run, then the hardest."""
    images = split.images
    count = min(count, len(images))
    even = [images[int((k + 0.5) * len(images) / count)] for k in range(count)]
    chosen = [i for i in even if i.stem not in hardest]
    return chosen + [i for i in images if i.stem in hardest]


def truth_reader(split: Split, task: Task) -> Reader:
    """Return a reader of the truth of a task."""
    categories = {c.id: c for c in split.dataset.info.categories}
    if task == "semantic":
        overlapping = split.dataset.info.overlapping
        return lambda record, size: _classes(
            split.read_semantic(record.stem), size, categories, overlapping=overlapping
        )
    if task in ("instance", "detection"):
        path, index = split.instances_json, AnnotationIndex(split.instances_json)

        def objects(record: ImageRecord, size: Size) -> Iterator[Region]:
            file = InstanceFile(path, {record.id: index[record.id]}, task == "instance")
            found = file.objects(record.id, _shape(record))
            if task == "instance":
                return _objects(found, size, categories)
            return _boxes(found, record, size, categories)

        return objects
    files = PanopticFiles(split.panoptic_json, split.panoptic_folder, categories)

    def segments(record: ImageRecord, size: Size) -> Iterator[Region]:
        read, infos = files.read(record.id, _shape(record)), files.records[record.id]["segments_info"]
        crowd = np.array([bool(s.get("iscrowd")) for s in infos], bool)
        void = np.append(True, crowd)[read.index]
        if void.any():
            yield Region(VOID, sample(void, size))
        yield from _segments(read, size, categories, ~crowd)

    return segments


def prediction_reader(folder: Path, split: Split, task: Task, least: float) -> Reader:
    """Return a reader of the predictions of a task, converted if the network predicts another task.

    Objects with a score below `least` are skipped.
    """
    categories = {c.id: c for c in split.dataset.info.categories}
    index = read_json(folder / "predictions.json")
    predicted = PredictionFolder(split, folder, index["parts"], index["task"], least)
    if task == "semantic":
        overlapping = split.dataset.info.overlapping
        return lambda record, size: _classes(
            predicted.semantic(record, _shape(record)), size, categories, overlapping=overlapping
        )
    if task == "panoptic":
        return lambda record, size: _segments(predicted.segments(record, _shape(record)), size, categories)
    if task == "detection":
        limit = 0.0 if predicted.sources[task] == "semantic" else least  # components have no score

        def boxes(record: ImageRecord, size: Size) -> Iterator[Region]:
            found = predicted.objects(task, record, _shape(record))
            return _boxes(found, record, size, categories, limit)

        return boxes
    if predicted.sources[task] == "instance":
        return lambda record, size: _objects(_with_masks(predicted, record), size, categories, least)

    def things(record: ImageRecord, size: Size) -> Iterator[Region]:
        found = predicted.segments(record, _shape(record), task)
        shown = np.array([categories[c].isthing for c in found.class_ids.tolist()], bool)
        if predicted.sources[task] == "panoptic":  # components of a class map have no score
            shown &= found.scores >= least
        return _segments(found, size, categories, shown)

    return things


def _with_masks(predicted: PredictionFolder, record: ImageRecord) -> Objects:
    """Read the objects of an image. If they are boxes only, their masks become the areas inside the boxes."""
    shape = _shape(record)
    found = predicted.objects("instance", record, shape)
    return _filled(found, shape) if predicted.boxes_only else found


def _filled(found: Objects, shape: Size) -> Objects:
    """Replace masks by the areas inside the boxes."""
    return replace(found, masks=rle.frPyObjects(found.boxes, *shape) if len(found.boxes) else [])


def _boxes(
    found: Objects, record: ImageRecord, size: Size, categories: dict[int, Category], least: float = 0.0
) -> Iterator[Region]:
    """Yield the frames of boxes, and crowds, by ascending score."""
    for region in _objects(_filled(found, _shape(record)), size, categories, least):
        yield replace(region, frame=region.is_object)


def _shape(record: ImageRecord) -> Size:
    width, height = image_size(record.path)
    return height, width


def sample(values: np.ndarray, size: Size) -> np.ndarray:
    """Resize an array to (height, width) by the nearest pixels."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, values.shape))
    return values[rows][:, columns]


def _classes(
    ids: np.ndarray, size: Size, categories: dict[int, Category], *, overlapping: bool
) -> Iterator[Region]:
    """Yield the classes. Those that overlap are painted over each other, with outlines."""
    known, ids = {**categories, VOID.id: VOID}, sample(ids, size)
    if overlapping:
        masks = [(VOID, ids < 0), *((c, has_class(ids, i - 1)) for i, c in categories.items())]
        yield from (Region(c, mask, overlaps=c is not VOID) for c, mask in masks if mask.any())
        return
    yield from (Region(known[i], ids == i) for i in np.unique(ids).tolist() if i in known)


def _objects(
    found: Objects, size: Size, categories: dict[int, Category], least: float = 0.0
) -> Iterator[Region]:
    """Yield objects by ascending score, so that the best are on top."""
    for k in np.argsort(found.scores, kind="stable"):
        if found.scores[k] >= least:
            category = VOID if found.crowd[k] else categories[int(found.class_ids[k])]
            yield Region(category, sample(decode(found.masks[k]), size), is_object=not found.crowd[k])


def _segments(
    segments: SegmentMap, size: Size, categories: dict[int, Category], shown: np.ndarray | None = None
) -> Iterator[Region]:
    """Yield segments; `shown` selects some of them."""
    index = sample(segments.index, size)
    for k in np.unique(index[index > 0]).tolist():
        if shown is None or shown[k - 1]:
            category = categories[int(segments.class_ids[k - 1])]
            yield Region(category, index == k, category.isthing)


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
    """Return (x, line, category, text) of each entry, broken into lines."""
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
