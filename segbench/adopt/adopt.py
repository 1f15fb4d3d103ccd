"""The command `segbench adopt`: from a folder to an entry, a converted dataset and a contact sheet."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segbench.adopt.detect import propose
from segbench.adopt.entry import entry_text, name_of
from segbench.adopt.photos import channels_of
from segbench.adopt.proposal import Proposal
from segbench.adopt.sheet import contact_sheet
from segbench.config.problems import Problem, error_of, validate
from segbench.config.registry import CONFIG, read_entries, read_yaml
from segbench.config.schema import DatasetEntry, ModelEntry, RunConfig
from segbench.contract.view import offered
from segbench.data.convert import ConvertSpec, convert_dataset
from segbench.data.converters.folder import SourceOptions, root_of
from segbench.data.dataset import Dataset
from segbench.data.lint.dataset import lint_dataset
from segbench.data.sources.archives import is_archive
from segbench.errors import SegbenchError
from segbench.files import write_json, write_text
from segbench.jobs.locks import alone_with

log = logging.getLogger(__name__)


@dataclass
class Wishes:
    """Options of the command.

    Attributes:
        name: name of the dataset; None: that of the folder.
        force: replace an entry of this name.
        keep: use the entry of this name as it is, and convert again.
        options: options of the converter that the user gives.
        data: folder of the converted datasets; None: that of the default run.
        registry: folder of the registries.
    """

    name: str | None = None
    force: bool = False
    keep: bool = False
    options: Mapping[str, Any] | None = None
    data: Path | None = None
    registry: Path = CONFIG


def adopt(folder: Path, wishes: Wishes) -> None:
    """Adopt a folder, and print what was understood and the next command.

    Raises:
        SegbenchError: the folder is not understood, the data has errors, or the entry exists.
    """
    folder = _checked(folder)
    name = wishes.name or name_of(folder)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise SegbenchError(f"{name!r} is not a name", where="--name", remedy="use letters, digits, _ and -")
    path = wishes.registry / "datasets" / f"{name}.yaml"
    if path.exists() and not (wishes.force or wishes.keep):
        raise SegbenchError(
            "exists",
            where=path,
            remedy="give another name with --name; --keep converts with this entry, --force replaces it",
        )
    run = _default_run(wishes.registry)
    data = wishes.data or Path(run.data)
    out = data / name
    if wishes.keep:
        entry = _entry(path, wishes)
        _convert(name, entry, out)
    else:
        entry = _adopted(folder, name, path, out, wishes)
    sheet = data / f"{name}.png"
    contact_sheet(out, sheet)
    report = lint_dataset(out)
    for warning in report.warnings:
        print(f"warning: {warning.file}: {warning.what}")
    print(f"entry: {path}\ncontact sheet: {sheet}")
    try:
        report.raise_on_errors()
    except SegbenchError as error:
        how = (
            f"correct {path}, and run with --keep; a rare class may be in the test images only: set "
            "`test_fraction` or `test`, or remove the class"
        )
        raise SegbenchError(error.what, where=error.where, remedy=f"{error.remedy}\n  {how}") from error
    write_json(out / "lint.json", report.model_dump(mode="json"))
    models = _fitting(entry, run, wishes.registry)
    settings = [f"run={name}", f"datasets=[{name}]", f"models=[{','.join(models)}]"]
    if wishes.data is not None:
        settings.append(f"data={wishes.data}")
    if wishes.registry == CONFIG:
        _tell_snakemake(out, settings)
    program = ".venv/bin/snakemake" if Path(".venv/bin/snakemake").exists() else "snakemake"
    print(f"Look at the contact sheet. If it is right:\n  {program} --config {' '.join(settings)}")
    print(f"If not: edit {path}, which says how; then\n  segbench adopt {folder} --name {name} --keep")


def _checked(folder: Path) -> Path:
    folder = folder.expanduser()
    if folder.is_file() and is_archive(folder):
        raise SegbenchError("is an archive", where=folder, remedy="extract it, and name the folder")
    if not folder.is_dir():
        raise SegbenchError(
            "is not a folder" if folder.exists() else "does not exist", where=folder, remedy="check the path"
        )
    return folder.resolve()


def _default_run(registry: Path) -> RunConfig:
    problems: list[Problem] = []
    path = registry / "config.yaml"
    config = validate(RunConfig, read_yaml(path), str(path), problems)
    if config is None:
        raise error_of(problems)
    return config


def _entry(path: Path, wishes: Wishes) -> DatasetEntry:
    if wishes.options:
        raise SegbenchError(
            "has no effect with --keep", where="--set", remedy="change the options in the entry"
        )
    problems: list[Problem] = []
    found = read_entries(DatasetEntry, path.parent, [path.stem], "--keep", problems)
    if problems:
        raise error_of(problems)
    entry = found[path.stem]
    if entry.archives or "folder" not in entry.options:
        raise SegbenchError("is not the entry of a folder", where=path, remedy="give another name")
    return entry


def _adopted(folder: Path, name: str, path: Path, out: Path, wishes: Wishes) -> DatasetEntry:
    """Find the converter, convert, and write the entry."""
    proposal = propose(root_of({}, SourceOptions(folder=folder)), wishes.options)
    channels, notes = channels_of(proposal.images)
    _print(proposal, notes)
    title = name.replace("_", " ").capitalize()

    def text(tasks: Sequence[str]) -> str:
        return entry_text(proposal, folder, title, tasks, channels, notes)

    try:
        _convert(name, _parsed(text([]), path), out)  # tasks are known afterwards
    except SegbenchError as error:
        how = "options are given as --set 'KEY=VALUE', such as those above; docs/reference.md lists all"
        remedy = f"{error.remedy}\n  {how}" if error.remedy else how
        raise SegbenchError(error.what, where=error.where, remedy=remedy) from error
    tasks = Dataset(out).info.tasks
    whole = text([t for t in tasks if t != "detection" or "instance" not in tasks])  # masks have boxes
    entry = _parsed(whole, path)
    write_text(path, whole)
    return entry


def _parsed(text: str, path: Path) -> DatasetEntry:
    problems: list[Problem] = []
    entry = validate(DatasetEntry, yaml.safe_load(text), str(path), problems)
    if entry is None:
        raise error_of(problems)
    return entry


def _convert(name: str, entry: DatasetEntry, out: Path) -> None:
    spec = ConvertSpec(
        title=entry.title,
        convert=entry.convert,
        tasks=entry.tasks,
        channels=entry.channels,
        options=entry.options,
        licence=entry.licence,
        citation=entry.citation,
    )
    with alone_with(out):
        convert_dataset(name, spec, [], out)


def _print(proposal: Proposal, notes: Sequence[str]) -> None:
    print(f"converter: {proposal.converter}")
    for heading, texts in (
        ("seen", [*proposal.seen, *notes]),
        ("taken", proposal.taken),
        ("otherwise (as --set 'KEY=VALUE', or in the entry)", proposal.otherwise),
    ):
        print(f"{heading}:", *(f"  {text}" for text in texts), sep="\n")


def _fitting(entry: DatasetEntry, run: RunConfig, registry: Path) -> list[str]:
    """Return the networks that can learn a task of the dataset: those of the default run, else all."""
    problems: list[Problem] = []
    every = sorted(path.stem for path in (registry / "models").glob("*.yaml"))
    for names in (run.models, every):
        models = read_entries(ModelEntry, registry / "models", names, "the default run", problems)
        tasks = offered(set(entry.tasks))
        if fitting := [n for n, model in models.items() if model.trained and {*model.tasks} & {*tasks}]:
            return fitting
    return []


def _tell_snakemake(out: Path, settings: Sequence[str]) -> None:
    """Let Snakemake record the conversion, so that it converts again when the entry or the folder changes."""
    if not Path("Snakefile").exists():
        return
    rules = ["--forcerun", "convert_dataset"]  # else, finished files are not recorded
    command = [sys.executable, "-m", "snakemake", "--touch", "--cores", "1", *rules, "--config"]
    done = subprocess.run(
        [*command, *settings, "--", str(out / "lint.json")], capture_output=True, text=True, check=False
    )
    if done.returncode:  # without a record, a changed entry would not be converted again
        (out / "dataset.json").unlink()
        log.warning(
            "the run will convert the dataset again, because Snakemake did not record it: %s",
            done.stderr.strip()[-500:],
        )


def parsed_options(given: Sequence[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE` of the command line; values are YAML."""
    options = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.isidentifier():
            raise SegbenchError(
                f"{text!r} is not KEY=VALUE", where="--set", remedy="such as --set void=[255]"
            )
        try:  # a pattern such as {name}.png is text
            options[key] = (
                value if key in ("image", "mask") and not value.startswith("[") else yaml.safe_load(value)
            )
        except yaml.YAMLError as error:
            raise SegbenchError(f"{json.dumps(value)} is not YAML", where=f"--set {key}") from error
    return options
