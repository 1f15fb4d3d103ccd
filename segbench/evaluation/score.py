"""`segbench score`: scores of anyone's files, without a configuration."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pyarrow as pa
import typer

from segbench.data.dataset import Category, Task
from segbench.data.images import IMAGE_SUFFIXES
from segbench.errors import SegbenchError
from segbench.evaluation import boundary, instance, panoptic, semantic, tide
from segbench.evaluation.instance_files import read_results, read_truth
from segbench.evaluation.maps import read_labels
from segbench.evaluation.options import EvaluationOptions
from segbench.evaluation.panoptic_files import PanopticFiles
from segbench.evaluation.pooling import document, pool
from segbench.evaluation.show import show
from segbench.evaluation.statistics import Heading, Rows, Scored, Statistics, Writer, rows_of
from segbench.evaluation.workers import in_chunks
from segbench.files import write_json

T = TypeVar("T")
log = logging.getLogger(__name__)
app = typer.Typer(help="Score predictions in common formats against their truth.", no_args_is_help=True)
OPTIONS = EvaluationOptions(bootstrap_samples=0)

Truth = Annotated[Path, typer.Option(help="The truth.")]
Predictions = Annotated[Path, typer.Option(help="The predictions.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write every score to this file.")]
PerImage = Annotated[Path | None, typer.Option(help="Write the per-image statistics to this Parquet file.")]
MissingEmpty = Annotated[
    bool, typer.Option("--missing-as-empty", help="Count an image without prediction as predicted empty.")
]


@app.command("semantic")
def semantic_command(
    truth: Truth,
    predictions: Predictions,
    classes: Annotated[str, typer.Option(help="Number of classes, or a file with one name a line.")],
    ignore: Annotated[int, typer.Option(help="Value of void pixels in the truth; -1: there are none.")] = 255,
    mask: Annotated[Path | None, typer.Option(help="Folder of masks; only non-zero pixels count.")] = None,
    missing_as_empty: MissingEmpty = False,
    json: Json = None,
    per_image: PerImage = None,
) -> None:
    """Class maps: two folders of single-channel images of the same names. Value = class, from 0."""
    names = class_names(classes)
    with statistics_file(per_image) as path:
        score_semantic(
            truth, predictions, names, path, ignore=ignore, mask=mask, missing_as_empty=missing_as_empty
        )
        _present(path, json)


@app.command("instance")
def instance_command(
    truth: Truth,
    predictions: Predictions,
    boxes: Annotated[bool, typer.Option("--boxes", help="Score boxes instead of masks.")] = False,
    max_detections: Annotated[str, typer.Option(help="Limits of AR; AP takes the last.")] = "1,10,100",
    json: Json = None,
    per_image: PerImage = None,
) -> None:
    """Objects: COCO annotations, and a list of COCO results. An image without results has no detection."""
    try:
        limits = tuple(int(m) for m in max_detections.split(","))
        ascending = limits[0] > 0 and list(limits) == sorted(set(limits))
    except ValueError:
        ascending = False
    if not ascending:
        raise SegbenchError(
            f"'{max_detections}' is not a list of ascending numbers",
            where="--max-detections",
            remedy="for example 1,10,100",
        )
    with statistics_file(per_image) as path:
        score_instance(truth, predictions, path, boxes=boxes, max_detections=limits)
        found = tide.errors(truth, predictions, boxes=boxes, max_detections=limits[-1]) if json else None
        _present(path, json, tide=found)


@app.command("panoptic")
def panoptic_command(
    truth: Truth,
    predictions: Predictions,
    truth_dir: Annotated[Path | None, typer.Option(help="PNG files; default: TRUTH without .json.")] = None,
    predictions_dir: Annotated[
        Path | None, typer.Option(help="PNG files; default: PREDICTIONS without .json.")
    ] = None,
    missing_as_empty: MissingEmpty = False,
    json: Json = None,
    per_image: PerImage = None,
) -> None:
    """Segments: two files in COCO's panoptic format."""
    with statistics_file(per_image) as path:
        score_panoptic(
            truth,
            predictions,
            path,
            truth_folder=truth_dir or truth.with_suffix(""),
            predictions_folder=predictions_dir or predictions.with_suffix(""),
            missing_as_empty=missing_as_empty,
        )
        _present(path, json)


def class_names(classes: str) -> list[str]:
    """From a number, or a file with one name a line."""
    if classes.isdecimal() and int(classes) > 0:
        return [str(i) for i in range(int(classes))]
    try:
        names = [line.strip() for line in Path(classes).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SegbenchError(
            f"'{classes}' is neither a number nor a readable file ({error})", where="--classes"
        ) from error
    names = [name for name in names if name]
    if not names or len(set(names)) < len(names):
        raise SegbenchError("needs one name a line, each once", where=classes, remedy="mend the list")
    return names


@contextmanager
def statistics_file(path: Path | None) -> Iterator[Path]:
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="segbench-score-") as folder:
        yield Path(folder) / "per_image.parquet"


def _present(path: Path, json: Path | None, **figures: Any) -> None:
    statistics = Statistics(path)
    scores = pool(statistics)
    if json is not None:
        write_json(json, document(statistics, scores, **figures))
    show(scores, len(statistics.heading.image_ids))


def _write(
    path: Path,
    task: Task,
    scored: Scored,
    options: EvaluationOptions,
    images: Mapping[int, T],
    job: Callable[[Sequence[tuple[int, T]]], pa.RecordBatch],
) -> None:
    """Statistics of `images`: what `job` knows each by, by its id."""
    if not images:
        raise SegbenchError("the truth holds no image")
    with Writer(path, Heading(options, {task: scored}, tuple(images))) as writer:
        for batch in in_chunks(job, [*images.items()]):
            writer.add(batch)


def score_semantic(
    truth: Path,
    predictions: Path,
    names: Sequence[str],
    path: Path,
    *,
    ignore: int = 255,
    mask: Path | None = None,
    missing_as_empty: bool = False,
    options: EvaluationOptions = OPTIONS,
) -> None:
    """Write the statistics file `path` of two folders of label maps; a missing map predicts no class."""
    true_files, predicted_files = _images(truth), _images(predictions)
    mask_files = _images(mask) if mask else {}
    _check_images(true_files, predicted_files, predictions, missing_as_empty)
    if mask:
        _check_images(true_files, mask_files, mask, False)
    index = semantic.ClassIndex(range(len(names)), ignore if ignore >= 0 else None)
    bounds = boundary.settings(options)

    def add(rows: Rows, image: tuple[int, str]) -> None:
        image_id, stem = image
        path = truth / f"{stem}{true_files[stem]}"
        true = index.truth(read_labels(path), path)
        if mask:
            shown = read_labels(mask / f"{stem}{mask_files[stem]}", true.shape)
            true = np.where(shown == 0, index.size, true)
        guess = np.full_like(true, index.size)
        if stem in predicted_files:
            path = predictions / f"{stem}{predicted_files[stem]}"
            guess = index.prediction(read_labels(path, true.shape), path)
        semantic.add_image(rows, image_id, stem, true, guess, index, bounds)

    classes = (Category(id=i, name=n, isthing=False, color=(0, 0, 0)) for i, n in enumerate(names))
    images = dict(enumerate(true_files, 1))
    _write(path, "semantic", Scored(tuple(classes)), options, images, partial(rows_of, "semantic", add))


def _images(folder: Path) -> dict[str, str]:
    """Endings of the images of a folder, by the name without it, sorted."""
    if not folder.is_dir():
        raise SegbenchError("is not a folder", where=folder, remedy="name the folder of the images")
    found: dict[str, str] = {}
    for stem, ending in sorted((path.stem, path.suffix) for path in folder.iterdir()):
        if ending.lower() in IMAGE_SUFFIXES and found.setdefault(stem, sys.intern(ending)) != ending:
            raise SegbenchError(f"two images are called {stem}", where=folder, remedy="keep one of them")
    return found


def _check_images(
    true: Collection[Any], predicted: Collection[Any], where: Path, missing_as_empty: bool
) -> None:
    """Both sides know the same images; those without prediction may be allowed."""
    missing, unknown = ([i for i in a if i not in b] for a, b in ((true, predicted), (predicted, true)))
    if unknown:
        raise SegbenchError(
            f"image {unknown[0]} is not in the truth{_more(unknown)}",
            where=where,
            remedy="score predictions on the split that they were made for",
        )
    if missing and not missing_as_empty:
        raise SegbenchError(
            f"has nothing for image {missing[0]}{_more(missing)}",
            where=where,
            remedy="predict every image, or count them as empty with --missing-as-empty",
        )
    if missing:
        log.warning("%s: image %s%s counts as empty", where, missing[0], _more(missing))


def _more(names: list[Any]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def score_instance(
    truth: Path,
    predictions: Path,
    path: Path,
    *,
    boxes: bool = False,
    max_detections: tuple[int, ...] = (1, 10, 100),
    options: EvaluationOptions = OPTIONS,
) -> None:
    """Write the statistics file `path` of COCO annotations and a list of COCO results."""
    annotations, images, categories = read_truth(truth, masks=not boxes)
    classes = _categories(categories, truth)
    results = read_results(predictions, images, [c.id for c in classes], masks=not boxes)
    kinds = ("box",) if boxes else ("mask",)
    scored = Scored(classes, "", max_detections, kinds, options.min_score)
    objects = "objects" in options.families and not boxes

    def read(item: tuple[int, dict[str, Any]]) -> instance.Image:
        image_id, image = item
        shape = _shape(image, truth)
        name = str(image.get("file_name", image_id))
        return image_id, name, annotations.found(image_id, shape), results.found(image_id, shape)

    job = partial(instance.rows_of, read, scored, objects)
    _write(path, "instance", scored, options, dict(sorted(images.items())), job)


def _categories(found: list[dict[str, Any]], path: Path) -> tuple[Category, ...]:
    try:
        things = ((int(c["id"]), str(c["name"]), bool(c.get("isthing", 1))) for c in found)
        return tuple(Category(id=i, name=n, isthing=t, color=(0, 0, 0)) for i, n, t in sorted(things))
    except (TypeError, KeyError, ValueError) as error:
        raise SegbenchError(
            f"a category lacks id or name ({error!r})", where=path, remedy="give each {id, name}"
        ) from error


def _shape(image: dict[str, Any], path: Path) -> tuple[int, int]:
    """Height and width; 0 where they are not given, as with boxes."""
    shape = image.get("height", 0), image.get("width", 0)
    if not all(isinstance(n, int) and 0 <= n < 2**15 for n in shape):
        raise SegbenchError(
            f"image {image['id']} is of {shape[1]!r} x {shape[0]!r} pixels (width x height)",
            where=path,
            remedy="give height and width as numbers of pixels, below 32768",
        )
    return shape


def score_panoptic(
    truth: Path,
    predictions: Path,
    path: Path,
    *,
    truth_folder: Path,
    predictions_folder: Path,
    missing_as_empty: bool = False,
    options: EvaluationOptions = OPTIONS,
) -> None:
    """Write the statistics file `path` of two files in COCO's panoptic format."""
    true_files = PanopticFiles(truth, truth_folder)
    classes = _categories(true_files.records.categories, truth)
    predicted_files = PanopticFiles(predictions, predictions_folder, [c.id for c in classes])
    _check_images(true_files.records, predicted_files.records, predictions, missing_as_empty)

    def add(rows: Rows, image: tuple[int, str]) -> None:
        image_id, name = image
        guess = panoptic.Side([])
        if image_id in predicted_files.records:
            guess = predicted_files.side(image_id)
        with panoptic.faults_of(predictions):
            panoptic.add_image(rows, image_id, name, true_files.side(image_id), guess, classes)

    images = {i: str(i) for i in true_files.records}
    _write(path, "panoptic", Scored(classes), options, images, partial(rows_of, "panoptic", add))
