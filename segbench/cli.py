"""The `segbench` command: one subcommand for each step of the pipeline.

Each subcommand imports what it needs when it runs, so that all start quickly.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from segbench.errors import SegbenchError
from segbench.jobs.locks import alone_with
from segbench.jobs.state import recorded, set_up_logging

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T", bound="BaseModel")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmark segmentation networks.",
)

Log = Annotated[Path | None, typer.Option(help="Also append the messages to this file.")]
Spec = Annotated[str, typer.Option(help="The step's configuration as JSON.")]
Out = Annotated[Path, typer.Option(help="Where to write the result.")]
Data = Annotated[Path, typer.Option(help="Folder of the converted dataset.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads; by default, torch decides.")]
Code = Annotated[
    str, typer.Option(help="Fingerprint of the code. With it, predictions that would be the same are kept.")
]
Mirror = Annotated[str | None, typer.Option(help="Folder or address with archives and SHA256SUMS.")]


def _json(text: str, option: str = "--spec") -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SegbenchError(f"is not valid JSON: {error}", where=option) from error


def _parsed(model: type[T], text: str, option: str = "--spec") -> T:
    from pydantic import ValidationError

    try:
        return model.model_validate(_json(text, option))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise SegbenchError(
            "; ".join(lines), where=option, remedy="copy the line from a log of the run"
        ) from error


@app.command()
def fetch(
    name: str,
    out: Out,
    spec: Spec,
    record: Annotated[Path, typer.Option(help="JSON file to write with source and checksum of the archive.")],
    mirror: Mirror = None,
    pause: Annotated[
        float,
        typer.Option(min=0, help="Seconds before the first retry; later ones wait longer."),
    ] = 1.0,
    log: Log = None,
) -> None:
    """Fetch one archive and verify it; an archive that is already there is only verified."""
    set_up_logging(log)
    from segbench.contract.sources import Archive
    from segbench.data.sources.fetch import fetch_archive
    from segbench.files import write_text

    archive = _parsed(Archive, spec)
    with alone_with(out):
        provenance = fetch_archive(name, archive, out, mirror, pause=pause)
        write_text(record, provenance.model_dump_json(indent=2) + "\n")


@app.command()
def weights(out: Out, spec: Spec, mirror: Mirror = None, log: Log = None) -> None:
    """Fetch public weights of a backbone or a whole network and verify them."""
    set_up_logging(log)
    from segbench.contract.sources import WeightsEntry
    from segbench.data.sources.weights import fetch_weights

    entry = _parsed(WeightsEntry, spec)
    with alone_with(out):
        fetch_weights(entry, out, mirror)


@app.command()
def convert(
    name: str,
    out: Out,
    spec: Spec,
    archive: Annotated[
        list[Path] | None, typer.Option(help="A fetched archive; repeat the option for each archive.")
    ] = None,
    borrow: Annotated[
        str,
        typer.Option(help="JSON of archives to fetch, and to remove afterwards, by path."),
    ] = "{}",
    mirror: Mirror = None,
    threads: Annotated[int, typer.Option(min=1, help="Number of processes that write images.")] = 1,
    state: Annotated[Path | None, typer.Option(help="Folder for state.json.")] = None,
    log: Log = None,
) -> None:
    """Convert a dataset to the canonical form, or generate it."""
    set_up_logging(log)
    with recorded("convert", state or out.parent / f"{name}.state", log):
        from segbench.contract.sources import Archive
        from segbench.data.convert import ConvertSpec, convert_dataset, restored
        from segbench.data.sources.borrow import borrowed

        parsed = _parsed(ConvertSpec, spec)
        lent = {Path(path): Archive(**entry) for path, entry in _json(borrow, "--borrow").items()}
        with alone_with(out):
            if not restored(name, parsed, archive or [], out):
                with borrowed(lent, mirror):
                    convert_dataset(name, parsed, archive or [], out, processes=threads)


@app.command()
def lint(
    data: Annotated[Path, typer.Argument(help="Folder of the converted dataset.")],
    out: Out,
    metadata: Annotated[
        str,
        typer.Option(help="JSON of columns of a CSV file that must fit the images."),
    ] = "null",
    state: Annotated[Path | None, typer.Option(help="Folder for state.json.")] = None,
    log: Log = None,
) -> None:
    """Check a converted dataset before training; an error stops only this dataset."""
    set_up_logging(log)
    with recorded("lint", state or out.parent, log):
        from segbench.data import properties
        from segbench.data.lint.dataset import lint_dataset
        from segbench.files import write_json

        if metadata != "null":
            from segbench.contract.columns import Columns
            from segbench.data.columns import values_of_images
            from segbench.data.dataset import Dataset

            values_of_images(Dataset(data), _parsed(Columns, metadata, "--metadata"))
        report = lint_dataset(data)
        from segbench.data.lint.drawing import draw_pairs, draw_summary  # imports matplotlib

        draw_summary(report.splits, out.with_name("lint.png"))
        pairs = out.with_name("near_duplicates.png")
        if report.near_duplicates:
            draw_pairs(data, [(*pair.files, pair.distance) for pair in report.near_duplicates], pairs)
        else:
            pairs.unlink(missing_ok=True)
        write_json((state or out.parent) / "lint_findings.json", report.model_dump(mode="json"))
        report.raise_on_errors()
        properties.write_properties(out.with_name(properties.FILE), report.properties)
        write_json(out, report.model_dump(mode="json"))


@app.command()
def fold(
    data: Annotated[Path, typer.Argument(help="Folder of the converted dataset.")],
    folds: Annotated[int, typer.Option(min=2, help="Number of folds.")],
    fold: Annotated[int, typer.Option(min=0, help="Number of the fold, from 0.")],
    out: Out,
    state: Annotated[Path | None, typer.Option(help="Folder for state.json.")] = None,
    log: Log = None,
) -> None:
    """Write one fold of a converted dataset for cross-validation."""
    set_up_logging(log)
    with recorded("fold", state or out.parent / f"{out.name}.state", log):
        from segbench.data.folds.write import write_fold

        if fold >= folds:
            raise SegbenchError(f"is {fold}; {folds} folds count from 0", where="--fold")
        with alone_with(out):
            write_fold(data, folds, fold, out)


@app.command()
def train(
    data: Data,
    out: Out,
    spec: Spec,
    weights: Annotated[
        Path | None, typer.Option(help="Weights that the recipe's pretrained, weights or init_from names.")
    ] = None,
    workers: int = 0,
    threads: Threads = None,
    device: Device = "auto",
    stop_at: Annotated[
        float | None,
        typer.Option(envvar="SLURM_JOB_END_TIME", help="Unix time of a time limit; stop before it."),
    ] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between checkpoints.")] = 10.0,
    inference: Annotated[str, typer.Option(help="JSON of the recipe's `inference`, for validations.")] = "{}",
    tensorboard: Annotated[bool, typer.Option(help="Write event files for TensorBoard.")] = False,
    cache: Annotated[
        Literal["none", "ram"], typer.Option(help="ram: keep the training images decoded in memory.")
    ] = "none",
    log: Log = None,
) -> None:
    """Train one network on one dataset; continue from the last checkpoint in OUT."""
    set_up_logging(log)
    with recorded("train", out, log):
        from segbench.contract.cell import CellSpec
        from segbench.contract.recipe import Inference
        from segbench.training.runner.train import train as run

        cell = _parsed(CellSpec, spec)
        measure = None
        if cell.recipe.validate_every and cell.recipe.validation_images:
            from segbench.evaluation.validation import PrimaryMetric
            from segbench.report.validation_pictures import validation_pictures

            measure = PrimaryMetric(validation_pictures if tensorboard else None)
        run(
            data,
            cell,
            out,
            measure=measure,
            inference=_parsed(Inference, inference, "--inference"),
            tensorboard=tensorboard,
            cache=cache,
            weights=weights,
            workers=workers,
            threads=threads,
            device=device,
            checkpoint_every=60 * checkpoint_minutes,
            stop_at=stop_at,
        )


@app.command()
def predict(
    data: Data,
    out: Out,
    model: Annotated[Path | None, typer.Option(help="A trained model.pt.")] = None,
    control: Annotated[
        str, typer.Option(help="JSON of a control instead of a model: class_path, task, seed.")
    ] = "",
    inference: Annotated[str, typer.Option(help="JSON of the recipe's `inference`.")] = "{}",
    split: Annotated[str, typer.Option(help="Split to predict; by default, the evaluation split.")] = "",
    threads: Threads = None,
    workers: Annotated[int, typer.Option(help="Processes that read images.")] = 0,
    device: Device = "auto",
    code: Code = "",
    log: Log = None,
) -> None:
    """Predict a split into OUT."""
    set_up_logging(log)
    with recorded("predict", out.parent, log):
        if control and split:
            raise SegbenchError("controls predict the evaluation split", where="--split", remedy="remove it")
        if control:
            from segbench.contract.cell import ControlSpec
            from segbench.prediction.controls import run_control

            spec = _parsed(ControlSpec, control, "--control")
            run_control(spec.class_path, data, spec.task, spec.seed, out)
        elif model is None:
            raise SegbenchError("give --model or --control", where="segbench predict")
        else:
            from segbench.contract.recipe import Inference
            from segbench.prediction.runner.origin import is_made_from, origin, write_origin

            made_from = origin(data, model, code, [inference, split]) if code else {}
            if code and is_made_from(out, made_from):
                logging.info("%s: model, data, settings and code are the same; kept", out)
                _remove_checkpoint(model.parent)
                return
            from segbench.prediction.runner.predict import predict as run

            run(
                data,
                model,
                out,
                inference=_parsed(Inference, inference),
                split=split,
                threads=threads,
                workers=workers,
                device=device,
            )
            if code:
                write_origin(out, made_from)


def _remove_checkpoint(cell: Path) -> None:
    """Remove the checkpoint of a training that was repeated and ended in the same weights."""
    from segbench.jobs.state import CHECKPOINT

    if (cell / CHECKPOINT).exists():
        from segbench.files import read_json
        from segbench.training.runner.checkpoint import remove_checkpoint  # imports torch

        remove_checkpoint(cell, str(read_json(cell / "training.json")["identity"]))


@app.command()
def evaluate(
    data: Data,
    predictions: Annotated[Path, typer.Option(help="Folder that `predict` wrote.")],
    out: Out,
    options: Annotated[str, typer.Option(help="JSON of the evaluation options.")] = "{}",
    threads: Annotated[int, typer.Option(min=1, help="Number of processes that score.")] = 1,
    log: Log = None,
) -> None:
    """Score predictions against the truth."""
    set_up_logging(log)
    with recorded("evaluate", out, log):
        from segbench.contract.evaluation import EvaluationOptions
        from segbench.evaluation.runner.evaluate import evaluate as run

        run(
            data,
            predictions,
            out,
            options=_parsed(EvaluationOptions, options, "--options"),
            processes=threads,
        )


@app.command()
def controls(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the cells of the dataset.")],
    repetition: Annotated[str, typer.Option(help="Seed and fold of the cells, such as seed0-fold2.")],
    spec: Annotated[str, typer.Option(help="JSON of the controls by name: class_path, task, seed.")],
    options: Annotated[str, typer.Option(help="JSON of the evaluation options.")] = "{}",
    threads: Annotated[int, typer.Option(min=1, help="Number of processes that score.")] = 1,
    code: Code = "",
    log: Log = None,
) -> None:
    """Predict the evaluation split with controls, and score them: one cell in OUT for each."""
    set_up_logging(log)
    from segbench.contract.cell import ControlSpec
    from segbench.contract.evaluation import EvaluationOptions
    from segbench.evaluation.runner.controls import predict_and_score

    specs = {name: _parsed(ControlSpec, json.dumps(one)) for name, one in _json(spec).items()}
    predict_and_score(
        data,
        {out / name / repetition: one for name, one in specs.items()},
        options=_parsed(EvaluationOptions, options, "--options"),
        processes=threads,
        code=code,
        log_file=log,
    )


@app.command()
def external(data: Data, out: Out, spec: Spec, log: Log = None) -> None:
    """Read predictions that another program made into OUT, to score them like those of a network."""
    set_up_logging(log)
    with recorded("external", out.parent, log):
        from segbench.contract.external import ExternalSpec
        from segbench.exchange.predictions.read import read_predictions

        read_predictions(data, _parsed(ExternalSpec, spec), out)


@app.command()
def export(
    data: Annotated[Path, typer.Argument(help="Folder of the converted dataset, such as results/data/NAME.")],
    out: Annotated[Path, typer.Option(help="Folder to write; of nnU-Net, its folder of raw datasets.")],
    to: Annotated[str, typer.Option(help="nnunet, yolo, coco or pairs.")],
    number: Annotated[
        int, typer.Option(min=1, max=999, help="nnunet: number of the dataset, NNN in DatasetNNN_NAME.")
    ] = 501,
    folds: Annotated[
        int | None, typer.Option(min=2, help="nnunet: folds of a cross-validation, as of `folds` in a run.")
    ] = None,
    log: Log = None,
) -> None:
    """Write a converted dataset as another program wants it, with the same splits and folds."""
    set_up_logging(log)
    from segbench.exchange.export.export import export_dataset

    print(export_dataset(data, out, to, number=number, folds=folds))


@app.command()
def pool(
    per_image: Annotated[list[Path], typer.Argument(help="The per_image.parquet of each fold.")],
    out: Out,
    log: Log = None,
) -> None:
    """Score the predictions of all folds of a cross-validation as one set."""
    set_up_logging(log)
    from segbench.evaluation.joined import joined
    from segbench.evaluation.pooling import write_scores

    out.mkdir(parents=True, exist_ok=True)
    write_scores(joined(per_image), out)


@app.command()
def summarise(
    run: Annotated[Path, typer.Argument(help="run.json of a run.")],
    out: Out,
    log: Log = None,
) -> None:
    """Gather the scores of all cells into tables."""
    set_up_logging(log)
    from segbench.report.summarise import summarise as gather

    gather(run, out)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="run.json of a run.")],
    summary: Annotated[Path, typer.Option(help="Folder that `summarise` wrote.")],
    out: Out,
    log: Log = None,
) -> None:
    """Draw the plots and write the report page."""
    set_up_logging(log)
    from segbench.report.page import report as write

    write(run, summary, out)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def plan(
    context: typer.Context,
    max_hours: Annotated[
        float | None,
        typer.Option(help="Maximum hours of training; by default, the configuration's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Allow more than max_hours.")] = False,
    price: Annotated[float | None, typer.Option(min=0, help="Money for a device-hour, such as 2.5.")] = None,
    on: Annotated[
        str | None,
        typer.Option(help="GPU to estimate for, such as A100; by default, what was probed, or this machine."),
    ] = None,
) -> None:
    """Show what a run would do, why, and at what cost; accepts Snakemake's options, such as --configfile."""
    from segbench.jobs.plan import plan as run
    from segbench.probe.runner.meter import LazyMeter

    run(context.args, LazyMeter(), ceiling=max_hours, yes=yes, price=price, on=on)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def probe(context: typer.Context) -> None:
    """Measure a few steps of each network on its device; accepts Snakemake's options, such as --profile."""
    from segbench.probe.runner.all import probe_all

    probe_all(context.args)


@app.command()
def probe_network(
    out: Out,
    work: Annotated[str, typer.Option(help="JSON of what decides the cost of a step.")],
    folder: Annotated[Path, typer.Option(help="Folder with the probes of all runs.")],
    code: Annotated[str, typer.Option(help="Fingerprint of the code of the training.")] = "",
    threads: Threads = None,
    device: Device = "auto",
    log: Log = None,
) -> None:
    """Measure a few steps of one network on noise."""
    set_up_logging(log)
    from segbench.jobs.cost.work import Work
    from segbench.probe.runner.probe import probe as run

    run(
        _parsed(Work, work, "--work"),
        out,
        folder=folder,
        code=code,
        threads=threads,
        device=device,
    )


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def status(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also list finished and pending cells.")] = False,
    live: Annotated[bool, typer.Option("--watch", help="Draw running cells until all have ended.")] = False,
) -> None:
    """Show the status of the cells of a run, during and after it.

    Accepts the folder of a run or Snakemake's options, such as --configfile. Without any, it shows the run
    that was started last.
    """
    from segbench.report.status import newest_run
    from segbench.report.status import status as show

    run = _run_folder(context.args) if context.args else newest_run()
    if live and sys.stdout.isatty():
        from segbench.report.watch import watch

        watch(run / "run.json" if run.is_dir() else run)
    show(run, everything=everything)


def _run_folder(arguments: list[str]) -> Path:
    """Return the folder of a run that is given by folder, name below results/, or Snakemake's options."""
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        given = Path(arguments[0])
        return given if given.exists() or len(given.parts) > 1 else Path("results") / given
    from segbench.jobs.plan import configured, parsed

    options = parsed(arguments)
    config = configured(options).config
    return Path(options.directory or "", config.results, config.run)


@app.command()
def overview(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a run; by default, the run started last.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write all scores and costs to this file.")
    ] = None,
) -> None:
    """Print one table of networks x datasets with the primary metric of each task, as Markdown."""
    from segbench.contract.run import RunDescription
    from segbench.files import write_text
    from segbench.report.overview import overview as gather
    from segbench.report.overview import to_markdown
    from segbench.report.status import newest_run

    frame = gather(RunDescription.read((run or newest_run()) / "run.json"))
    if csv is not None:
        write_text(csv, frame.to_csv(index=False))
    print(to_markdown(frame), end="")


@app.command()
def power(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a run; by default, the run started last.")
    ] = None,
    difference: Annotated[
        float, typer.Option(min=1e-4, max=1, help="Difference of two networks' primary scores.")
    ] = 0.01,
    wanted: Annotated[
        float, typer.Option("--power", min=0.5, max=0.999, help="Probability to find it.")
    ] = 0.8,
) -> None:
    """Print how many test images or seeds are needed to part two networks, as Markdown."""
    from segbench.comparison.power import power as needed
    from segbench.comparison.power import to_markdown
    from segbench.report.status import newest_run

    print(to_markdown(needed(run or newest_run(), difference, wanted), difference, wanted), end="")


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Folders of two or more runs; each is compared with the first. RUN@1: its seed 1."
        ),
    ],
    margin: Annotated[
        float | None,
        typer.Option(
            min=0, help="Difference that does not matter; by default, the first run's `equivalent`."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Compare all metrics, not only the primary.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Any difference counts, however small.")] = False,
    out_json: Annotated[
        Path | None, typer.Option("--json", help="Also write all of it to this file.")
    ] = None,
    out_csv: Annotated[Path | None, typer.Option("--csv", help="Also write the scores to this file.")] = None,
) -> None:
    """Compare the same cells of several runs. Status 0: no score differs; 1: some do; 2: not comparable."""
    from segbench.runs.compare_all import compare_all

    with _status_on_error(2):
        status = compare_all(runs, margin, every=everything, exact=exact, json=out_json, csv=out_csv)
    raise SystemExit(status)


@app.command()
def verify(
    run: Annotated[str, typer.Argument(help="Folder of a run.")],
) -> None:
    """Compute all tables of a run again from its per-image files. Status 0: equal; 1: not; 2: gaps."""
    from segbench.contract.run import RunDescription
    from segbench.runs.results import run_json
    from segbench.runs.verify import lines_of
    from segbench.runs.verify import verify as check

    with _status_on_error(2):
        found = check(RunDescription.read(run_json(run)))
    for line in lines_of(found):
        print(line)
    raise SystemExit(found.exit_status)


@app.command()
def bundle(
    run: Annotated[str, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Zip file to write.")],
    with_models: Annotated[bool, typer.Option("--with-models", help="Include the trained weights.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the archive: a name or an address.")] = "",
    author: Annotated[
        list[str] | None,
        typer.Option(help="Who made it: 'Jo Doe', or 'Jo Doe <https://orcid.org/…>'; may be repeated."),
    ] = None,
    publisher: Annotated[str, typer.Option(help="Organisation of the authors, like `--author`.")] = "",
    registry: Annotated[Path, typer.Option("--config", help="Folder of the registries.")] = Path("config"),
) -> None:
    """Write one archive of a run to publish: tables, statistics, page, origin, citations and licences."""
    from segbench.contract.run import RunDescription
    from segbench.runs.bundle import bundle as write
    from segbench.runs.results import run_json

    described = RunDescription.read(run_json(run))
    missing = write(
        described,
        out,
        registry,
        models=with_models,
        licence=licence,
        authors=author or [],
        publisher=publisher,
    )
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    for one in missing:
        print(f"missing: {one}")


@app.command()
def segment(
    model: Annotated[Path, typer.Argument(help="A trained model.pt.")],
    inputs: Annotated[
        list[Path], typer.Argument(help="Images, videos, folders of both, or patterns such as 'in/**/*.png'.")
    ],
    out: Out,
    paint: Annotated[
        bool, typer.Option("--paint/--no-paint", help="Paint the prediction over each image and video.")
    ] = True,
    masks: Annotated[
        bool, typer.Option("--masks", help="Label maps: masks/*.png, and the names in masks/classes.json.")
    ] = False,
    coco: Annotated[
        bool, typer.Option("--coco", help="COCO results of all objects: coco/results.json, coco/images.json.")
    ] = False,
    panoptic: Annotated[
        bool, typer.Option("--panoptic", help="COCO's panoptic format: panoptic/*.png, panoptic.json.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Tables of objects and classes: objects.csv, counts.csv.")
    ] = False,
    min_score: Annotated[
        float,
        typer.Option(min=0, max=1, help="Objects below this score do not count; COCO results have all."),
    ] = 0.5,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images of one size in a forward pass; by default, as in the recipe."),
    ] = None,
    device: Device = "auto",
    show: Annotated[
        str, typer.Option(help="Channels to paint on: one, or three as red, green, blue, such as 4,3,2.")
    ] = "",
) -> None:
    """Apply a trained network to your own images or videos: painted pictures, masks, COCO files, tables."""
    set_up_logging(None)
    from segbench.prediction.runner.media import predict_files

    if show and not re.fullmatch(r"\d+(,\d+,\d+)?", show):
        raise typer.BadParameter("write one or three numbers, such as 1 or 4,3,2", param_hint="--show")
    asked = {"paint": paint, "masks": masks, "coco": coco, "panoptic": panoptic, "csv": csv}
    if not any(asked.values()):
        raise typer.BadParameter("nothing is asked for; add --masks, --coco, --panoptic or --csv")
    predict_files(
        model,
        inputs,
        out,
        products=[name for name, wanted in asked.items() if wanted],
        min_score=min_score,
        batch_size=batch,
        device=device,
        show=[int(n) for n in show.split(",") if n],
    )


@app.command()
def export_model(
    cell: Annotated[Path, typer.Argument(help="Folder of a trained cell, or its model.pt.")],
    to: Annotated[str, typer.Option(help="onnx, or torch (a program of torch.export).")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default, model.onnx or model.pt2 in the cell.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the converted dataset; by default, the one of the run.")
    ] = None,
) -> None:
    """Write a trained semantic network for other programs, and check it on three images."""
    set_up_logging(None)
    if to not in ("onnx", "torch"):
        raise typer.BadParameter("choose onnx or torch", param_hint="--to")
    from segbench.prediction.runner.export import export_model as export

    print(export(cell, to, out, data))  # type: ignore[arg-type]


Registry = Annotated[Path, typer.Option("--config", help="Folder of the registries.")]


@app.command()
def adopt(
    folder: Annotated[Path, typer.Argument(help="Folder with your images and their annotation.")],
    name: Annotated[str | None, typer.Option(help="Name of the dataset; by default, the folder's.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an entry of this name.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Use the entry of this name as you have edited it; convert again.")
    ] = False,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Option of the converter; repeat it for each."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of converted datasets; by default, the default run's.")
    ] = None,
    registry: Registry = Path("config"),
) -> None:
    """Make a dataset of a folder: find its converter, write the entry, convert, check, and draw it."""
    set_up_logging(None)
    from segbench.adopt.adopt import Wishes, parsed_options
    from segbench.adopt.adopt import adopt as run

    run(folder, Wishes(name, force, keep, parsed_options(options or []), data, registry))


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Name of a network; by default, all are listed.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="List what this recipe gives each network, on the dataset of `--on`.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(help="Dataset of `--recipe`. Default: cityscapes; with `paper`, all that papers name."),
    ] = None,
    registry: Registry = Path("config"),
) -> None:
    """List the networks, show the card of one, or what a recipe gives each of them."""
    from segbench.catalogue.listing import network_card, network_row, networks, show, show_rows
    from segbench.catalogue.protocol import paper_rows, recipe_rows
    from segbench.config.schema import PAPER

    if recipe is not None:
        every = recipe == PAPER and on is None
        on = on or "cityscapes"
        rows = paper_rows(registry) if every else recipe_rows(recipe, on, registry)
        if name is not None:
            rows = [row for row in rows if row["Network"] == name]
        if not rows:
            raise SegbenchError(f"'{recipe}' trains no such network on {on}", where="segbench models")
        show_rows(rows)
        return
    show("network", networks(registry), network_row, network_card, name)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="Name of a dataset; by default, all are listed.")] = None,
    registry: Registry = Path("config"),
) -> None:
    """List the datasets, or show the card of one."""
    from segbench.catalogue.listing import dataset_card, dataset_row, datasets, show

    show("dataset", datasets(registry), dataset_row, dataset_card, name)


@app.command()
def cards(
    readme: Annotated[Path, typer.Option(help="File with the two tables.")] = Path("README.md"),
    protocol: Annotated[Path, typer.Option(help="File with tables of recipes.")] = Path("docs/protocol.md"),
    registry: Registry = Path("config"),
) -> None:
    """Measure the sizes of all networks, write them to their entries, and update the tables in the README."""
    set_up_logging(None)
    from segbench.catalogue.listing import networks, write_readme, write_size
    from segbench.catalogue.protocol import with_recipe_tables
    from segbench.catalogue.size import measure
    from segbench.files import write_text

    for name, entry in networks(registry).items():
        size = measure(entry.class_, entry.tasks, entry.options)
        write_size(registry / "models" / f"{name}.yaml", size.model_dump(mode="json"))
    write_readme(readme, registry)
    write_text(protocol, with_recipe_tables(protocol.read_text(encoding="utf-8"), registry))


@app.command()
def reference(
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("docs/reference.md"),
) -> None:
    """Write the reference of all configuration keys from their schemas."""
    from segbench.catalogue.reference import reference as page
    from segbench.files import write_text

    write_text(out, page())


@contextmanager
def _status_on_error(status: int) -> Iterator[None]:
    """Print a `SegbenchError` of the block, and exit with this status."""
    try:
        yield
    except SegbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(status) from None


def _guarded(command: Callable[[], None]) -> None:
    with _status_on_error(1):
        command()


def main() -> None:
    """Entry point of the `segbench` command."""
    if sys.argv[1:2] in (["score"], ["--help"], []):  # spares the other commands its imports
        from segbench.evaluation.runner.score import app as score

        app.add_typer(score, name="score", help="Score prediction files of any program.")
    _guarded(app)


if __name__ == "__main__":
    main()
