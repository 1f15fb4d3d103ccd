"""The command `segbench score`, which scores files of any program without a configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from segbench.errors import SegbenchError
from segbench.evaluation.pooling import document, pool
from segbench.evaluation.runner.scored_files import OPTIONS, score_instance, score_panoptic
from segbench.evaluation.runner.scored_maps import score_semantic
from segbench.evaluation.runner.show import show
from segbench.evaluation.runner.workers import available
from segbench.evaluation.semantic.values import BINARY, TOP, Values, class_names, parse_map
from segbench.evaluation.statistics import Statistics
from segbench.files import write_json

app = typer.Typer(help="Score predictions in common formats against their truth.", no_args_is_help=True)

Truth = Annotated[Path, typer.Option(help="File or folder of the truth.")]
Predictions = Annotated[Path, typer.Option(help="File or folder of the predictions.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write every score to this file.")]
PerImage = Annotated[Path | None, typer.Option(help="Write the per-image statistics to this Parquet file.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Number of processes. Default: one for each available processor.")
]
MissingEmpty = Annotated[
    bool,
    typer.Option("--missing-as-empty", help="Score an image without predictions as an empty prediction."),
]


@app.command("semantic")
def semantic_command(
    truth: Truth,
    predictions: Predictions,
    classes: Annotated[
        str | None,
        typer.Option(help="Number of classes, or a file with one class name per line; the first is value 0."),
    ] = None,
    ignore: Annotated[
        int | None,
        typer.Option(
            min=-1,
            max=TOP,
            help="Value of void pixels in the truth, which is not a class; -1: there are none. "
            "Default: 255, or 65535 with more than 255 classes; with --binary -1.",
        ),
    ] = None,
    binary: Annotated[
        bool, typer.Option("--binary", help="Score masks: 0 is background, every other value is foreground.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="With --binary: values above it are foreground, as for grey JPEG or probability maps."
        ),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FROM=TO", help="Read value FROM as value TO; may be repeated."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Folder of masks; only their non-zero pixels are scored.")
    ] = None,
    cldice: Annotated[
        bool,
        typer.Option(
            "--cldice", help="Also score centrelines, of all classes but one that is named background."
        ),
    ] = False,
    missing_as_empty: MissingEmpty = False,
    json: Json = None,
    per_image: PerImage = None,
    threads: Threads = None,
) -> None:
    """Score class maps: two folders of single-channel images with the same names. Values are classes."""
    if classes is None and not binary:
        raise SegbenchError(
            "is missing", where="--classes", remedy="give the number of classes, or --binary for masks"
        )
    names = BINARY if classes is None else class_names(classes)
    values = Values(names, ignore, parse_map(mapped or []), binary, threshold)
    options = OPTIONS.model_copy(update={"families": (*OPTIONS.families, "cldice")}) if cldice else OPTIONS
    with statistics_file(per_image) as path:
        score_semantic(
            truth,
            predictions,
            values,
            path,
            mask=mask,
            missing_as_empty=missing_as_empty,
            options=options,
            processes=threads or available(),
        )
        _present(path, json)


@app.command("instance")
def instance_command(
    truth: Truth,
    predictions: Predictions,
    boxes: Annotated[bool, typer.Option("--boxes", help="Score boxes instead of masks.")] = False,
    max_detections: Annotated[
        str, typer.Option(help="Limits of AR, ascending; AP uses the last.")
    ] = "1,10,100",
    json: Json = None,
    per_image: PerImage = None,
    threads: Threads = None,
) -> None:
    """Score objects: COCO annotations and COCO results. An image without results has no detections."""
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
        pair = score_instance(
            truth, predictions, path, boxes=boxes, max_detections=limits, processes=threads or available()
        )
        _present(path, json, tide=pair.tide(limits[-1]) if json else None)


@app.command("panoptic")
def panoptic_command(
    truth: Truth,
    predictions: Predictions,
    truth_dir: Annotated[
        Path | None, typer.Option(help="Folder of PNG files. Default: TRUTH without .json.")
    ] = None,
    predictions_dir: Annotated[
        Path | None, typer.Option(help="Folder of PNG files. Default: PREDICTIONS without .json.")
    ] = None,
    missing_as_empty: MissingEmpty = False,
    json: Json = None,
    per_image: PerImage = None,
    threads: Threads = None,
) -> None:
    """Score segments: two files in COCO's panoptic format, with their folders of PNG files."""
    with statistics_file(per_image) as path:
        score_panoptic(
            truth,
            predictions,
            path,
            truth_folder=truth_dir or truth.with_suffix(""),
            predictions_folder=predictions_dir or predictions.with_suffix(""),
            missing_as_empty=missing_as_empty,
            processes=threads or available(),
        )
        _present(path, json)


@contextmanager
def statistics_file(path: Path | None) -> Iterator[Path]:
    """Yield `path`, or for None a temporary path."""
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
    show(scores, len(statistics.metadata.image_ids))
