"""Galleries: for each image, the image, the truth and the prediction of each network, small and large.

On images where networks fail, the mistakes of each are painted instead of its classes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from segbench.contract.run import RunDescription
from segbench.contract.view import Category, Task
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.data.painting import VOID, Region, paint, shown
from segbench.files import atomic_path
from segbench.report.mistakes import KINDS, cropped, mistakes
from segbench.report.regions import prediction_reader, truth_reader

CANVAS, TEXT, MUTED = (22, 24, 29), (236, 238, 242), (160, 166, 178)
"""Light text on a dark canvas, which suits light and dark pages."""
GAP, TILE, COLUMNS = 6, 320, 6
"""Of a large picture: pixels between tiles, width of a tile, and tiles in a line."""
Failure = Literal["hardest", "networks differ"]
FAILURES_NOTE = (
    "Hardest: the best score of all networks is lowest on these images. Networks differ: the standard "
    "deviation of their scores is largest. On these images the mistakes of each network are painted: green "
    "is right, blue missed, orange invented, pink the wrong class{}. Next to its name is its score of the "
    "image, a mean over the seeds."
)
LEGEND = 30
"""Largest number of classes in a legend; the others are counted."""


@dataclass(frozen=True)
class Row:
    """One image of a gallery."""

    name: str
    failure: Failure | None
    file: str
    """Name of the file with the large picture."""
    thumbnails: list[str]
    """WebP files as data URIs, in the order of `Gallery.titles`."""
    scores: list[str]
    """The score of each network on the image where mistakes are shown, in the same order; else empty."""


@dataclass(frozen=True)
class Gallery:
    caption: str
    titles: list[str]
    """Image, truth, and networks."""
    rows: list[Row]


def gallery(
    run: RunDescription,
    dataset: str,
    task: Task,
    models: Sequence[str],
    scores: pd.DataFrame,
    folder: Path,
    thumbnail: int = 160,
) -> Gallery | None:
    """Draw a gallery of one dataset and task.

    A large picture of each image is written to `folder` as `<dataset>_<task>_<n>.jpg`.

    Args:
        models: Networks, one column each. Those without predictions are skipped. Predictions of another task
            are converted as in the evaluation.
        scores: Scores of images, images x networks, by which those are chosen where networks fail; see
            `segbench.report.image_scores`.
        folder: Folder of the large pictures.
        thumbnail: Width of the small pictures in pixels.

    Returns:
        The gallery, or None if there are no images or no predictions, and so no file.
    """
    first = {c.model: c for c in reversed(run.cells) if c.dataset == dataset}
    data = Dataset(run.data(next(iter(first.values()))))
    split = data.split(data.info.evaluation_split)
    own = scores.loc[scores.index.isin([i.stem for i in split.images]), scores.columns.isin(models)]
    failures = choose_failures(own, run.options.gallery_worst, run.options.gallery_disagreement)
    records = _choose(split, run.options.gallery_images, failures)
    ids = {record.id for record in records}
    readers = {}
    for model in models:
        predictions = run.folder(first[model]) / "predictions"
        if (predictions / "predictions.json").exists():
            readers[model] = prediction_reader(predictions, split, task, run.options.instance_score, ids)
    if not records or not readers:
        return None
    truth = truth_reader(split, task)
    titles = ["image", "truth", *(run.title(m) for m in readers)]
    order = [c.id for c in (*data.info.categories, VOID, *KINDS)]
    channels = run.options.gallery_channels.get(dataset, ())
    rows = []
    for number, record in enumerate(records, 1):
        seen: dict[int, Category] = {}
        image = Image.fromarray(shown(split.read_image(record), channels))
        size = TILE, max(1, round(image.height * TILE / image.width))
        tiles = [image.resize(size, Image.Resampling.LANCZOS)]
        grey = np.asarray(tiles[0].convert("L").convert("RGB"))
        true: Iterable[Region] = truth(record, size[::-1])
        answers = (read(record, size[::-1]) for read in readers.values())
        failure = failures.get(record.stem)
        if failure:
            true = cropped(true)
            answers = (mistakes(true, answer, task, size[::-1]) for answer in answers)
        tiles += [Image.fromarray(paint(grey, _noted(regions, seen))) for regions in chain([true], answers)]
        legend = sorted(seen.values(), key=lambda c: order.index(c.id))
        name = f"{dataset}_{task}_{number}.jpg"
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / name) as partial:
            _compose(record.stem, titles, tiles, legend).save(partial, quality=85)
        small = [_data_uri(tile, thumbnail) for tile in tiles]
        shown_scores = ["", "", *(_score(own, record.stem, m) for m in readers)] if failure else []
        rows.append(Row(record.stem, failure, name, small, shown_scores))
    drawn = "" if task == "semantic" else f" Objects with a score of {run.options.instance_score} or more."
    matched = "" if task == "semantic" else " (of objects matched at IoU > .5, at the size of the picture)"
    where = f" {FAILURES_NOTE.format(matched)}" if failures else ""
    which = "first seed and fold" if run.datasets[dataset].folds else "first seed"
    caption = f"{run.dataset_title(dataset)}, {task}; the {which} of each network.{drawn}{where}"
    return Gallery(caption, titles, rows)


def choose_failures(scores: pd.DataFrame, hardest: int, differing: int) -> dict[str, Failure]:
    """Choose the images on which even the best network scores low, and those on which networks differ most.

    Args:
        scores: images x networks, NaN where a score is undefined.
        hardest: number of images with the lowest best score.
        differing: number of other images with the largest standard deviation of the scores.
    """
    if scores.empty:
        return {}
    found: dict[str, Failure] = dict.fromkeys(scores.max(axis=1).nsmallest(hardest).index, "hardest")
    spread = scores.std(axis=1, ddof=0).drop(list(found)).nlargest(differing)
    return found | dict.fromkeys(spread.index[spread > 0], "networks differ")


def _score(scores: pd.DataFrame, image: str, model: str) -> str:
    value = float(scores[model].get(image, math.nan)) if model in scores else math.nan
    return "" if math.isnan(value) else f"{value:.2f}"


def _noted(regions: Iterable[Region], seen: dict[int, Category]) -> Iterator[Region]:
    for region in regions:
        seen[region.category.id] = region.category
        yield region


def _choose(split: Split, count: int, failures: Mapping[str, Failure]) -> list[ImageRecord]:
    """Choose evenly spread images, the same in every run, then those where networks fail, in their order."""
    images = split.images
    count = min(count, len(images))
    even = [images[int((k + 0.5) * len(images) / count)] for k in range(count)]
    by_stem = {i.stem: i for i in images if i.stem in failures}
    return [*(i for i in even if i.stem not in failures), *(by_stem[stem] for stem in failures)]


def _data_uri(tile: Image.Image, width: int) -> str:
    """Return a small copy of a tile. WebP has almost no header, which is most of a small JPEG file."""
    file = io.BytesIO()
    small = tile.resize((width, max(1, round(tile.height * width / tile.width))), Image.Resampling.BOX)
    small.save(file, "WEBP", quality=55, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


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
    name: str, titles: Sequence[str], tiles: Sequence[Image.Image], legend: list[Category]
) -> Image.Image:
    """Return one picture of all tiles, each below its title, with the classes and the image's name below."""
    font, small = _font(17), _font(13)
    columns = min(COLUMNS, len(tiles))
    width, step = GAP + columns * (TILE + GAP), tiles[0].height + 30
    top = -(-len(tiles) // columns) * step
    entries = _legend_places(legend, small, width)
    lines = entries[-1][1] + 1 if entries else 0
    canvas = Image.new("RGB", (width, top + 24 * (lines + 1) + 6), CANVAS)
    draw = ImageDraw.Draw(canvas)
    for i, (title, tile) in enumerate(zip(titles, tiles)):
        x, y = GAP + i % columns * (TILE + GAP), i // columns * step
        draw.text((x + 2, y + 15), _fit(title, font, TILE), TEXT, font, anchor="lm")
        canvas.paste(tile, (x, y + 30))
    for x, line, category, label in entries:
        middle = top + 24 * line + 16
        draw.rounded_rectangle([x, middle - 6, x + 12, middle + 6], 3, category.color if category else CANVAS)
        draw.text((x + 18, middle), label, MUTED, small, anchor="lm")
    draw.text((GAP + 2, top + 24 * lines + 16), _fit(name, small, width - 2 * GAP), TEXT, small, anchor="lm")
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
