"""The convert step: extract the archives, run the converter, write the canonical dataset."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from segbench.contract.channels import Channels, Window
from segbench.contract.limits import Limits
from segbench.contract.view import Task
from segbench.data.converters.common import require
from segbench.data.dataset import Archives, Converted
from segbench.data.images import allow_pixels
from segbench.data.sources import own_folder
from segbench.data.sources.archives import extract, is_archive
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.files import read_json, resumable, write_json, write_text
from segbench.importing import load_object
from segbench.jobs.fingerprint import fingerprint

log = logging.getLogger(__name__)
RECORD = "conversion.json"
"""What a dataset was made from, and its `dataset.json` once more: see `restored`."""


class ConvertSpec(BaseModel):
    """Input of the convert step: keys of the dataset's entry, and the limits of extraction."""

    model_config = ConfigDict(extra="forbid")

    title: str
    convert: str
    """Python path of the converter, `package.module:function`."""
    tasks: list[Task]
    channels: Channels
    window: Window | None = None
    options: dict[str, Any]
    licence: str
    citation: str
    limits: Limits = Limits()


def convert_dataset(
    name: str, spec: ConvertSpec, archives: Sequence[Path], out: Path, *, processes: int = 1
) -> None:
    """Write a canonical dataset. After a kill, a call with the same input continues.

    Args:
        name: name of the dataset.
        spec: its entry.
        archives: its archives and other files; archives are extracted beside `out` for the time of the step.
        out: folder of the dataset. The caller makes sure that no other process makes it.
        processes: number of processes that write images.

    Raises:
        SegbenchError: an archive or the data is not valid, or lacks a task of `spec.tasks`.
    """
    convert: Callable[[Archives, dict[str, Any]], Converted] = load_object(spec.convert)
    allow_pixels(spec.limits.max_pixels)
    digests = {a.name: _sha256(require(a, "fetch it again")) for a in archives}
    given = _input(name, spec)
    with resumable(out, _digest([given, digests])) as folder:
        opened = {a.name: _opened(a, folder / a.name, spec.limits) for a in archives}
        try:
            info = write_dataset(
                convert(opened, spec.options),
                out,
                name=name,
                title=spec.title,
                licence=spec.licence,
                citation=spec.citation,
                archives=digests,
                channels=spec.channels,
                window=spec.window,
                max_pixels=spec.limits.max_pixels,
                processes=processes,
                work=folder,
            )
        except SegbenchError as error:  # name the archive: its temporary folder is gone
            inside = f"{folder}/"
            where = str(error.where).replace(inside, "") if error.where else f"dataset {name}"
            what = error.what.replace(inside, "")
            raise type(error)(what, where=where, remedy=error.remedy) from error
    if missing := set(spec.tasks) - set(info.tasks):
        shutil.rmtree(out)
        raise SegbenchError(
            f"the converted data has no {', '.join(sorted(missing))} truth, but its entry lists it",
            where=f"dataset {name}",
            remedy=f"write `tasks: [{', '.join(info.tasks)}]` in the entry, or fix the converter",
        )
    dataset = (out / "dataset.json").read_text(encoding="utf-8")
    write_json(out / RECORD, {"input": given, "dataset": dataset})
    log.info("%s: %s", name, ", ".join(f"{n} {split}" for split, n in info.splits.items()))


def restored(name: str, spec: ConvertSpec, archives: Sequence[Path], out: Path) -> bool:
    """Give a finished conversion its `dataset.json` back.

    Conversion and check are one job. Where the check fails or is killed, Snakemake removes `dataset.json`;
    the rest of the conversion is there.

    Args:
        name, spec, archives, out: as for `convert_dataset`. Archives that are not there count as unchanged.

    Returns:
        Whether the dataset is there again. False if nothing is missing, or if its input has changed.
    """
    if (out / "dataset.json").exists() or not (out / RECORD).exists():
        return False
    record = read_json(out / RECORD)
    if record["input"] != _input(name, spec):
        return False
    before = json.loads(record["dataset"])["archives"]
    here = {a.name: _sha256(a) for a in archives if a.exists()}
    if before.keys() != {a.name for a in archives} or here.items() - before.items():
        return False
    write_text(out / "dataset.json", record["dataset"])
    log.info("%s: was converted before", name)
    return True


def _opened(path: Path, folder: Path, limits: Limits) -> Path:
    """Return the folder with the contents of an archive, extracted now or before a kill; else the file."""
    if folder.is_dir():
        return folder
    return extract(path, folder, limits) if is_archive(path) else path


def _input(name: str, spec: ConvertSpec) -> str:
    """Return a digest of all that decides the dataset but its archives: entry, own folder, and the code."""
    code = fingerprint(__name__, spec.convert.partition(":")[0])
    return _digest([name, spec.model_dump_json(), _own_files(spec), code])


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _own_files(spec: ConvertSpec) -> str:
    """Return a digest of the folder in a dataset's options. The converter checks the option."""
    with suppress(KeyError, TypeError, RuntimeError):  # no path, or the home of an unknown user
        path = Path(spec.options["folder"]).expanduser()
        counts = own_folder.read_by(spec.convert, spec.options)
        return own_folder.digest(path, counts=counts) if path.is_dir() else ""
    return ""


def _sha256(path: Path) -> str:
    if path.is_dir():
        raise SegbenchError(
            "is a folder, not a file",
            where=path,
            remedy="pack it as a zip; or name it in the converter's option `folder`, if it has one",
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
