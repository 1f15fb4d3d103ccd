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
from segbench.files import resumable
from segbench.importing import load_object
from segbench.jobs.fingerprint import fingerprint

log = logging.getLogger(__name__)


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
    with resumable(out, _input(name, spec, digests)) as folder:
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
    log.info("%s: %s", name, ", ".join(f"{n} {split}" for split, n in info.splits.items()))


def _opened(path: Path, folder: Path, limits: Limits) -> Path:
    """Return the folder with the contents of an archive, extracted now or before a kill; else the file."""
    if folder.is_dir():
        return folder
    return extract(path, folder, limits) if is_archive(path) else path


def _input(name: str, spec: ConvertSpec, archives: dict[str, str]) -> str:
    """Return a digest of all that decides the dataset: its entry, archives, own folder, and the code."""
    parts = [
        name,
        spec.model_dump_json(),
        archives,
        _own_files(spec.options.get("folder")),
        fingerprint(__name__, spec.convert.partition(":")[0]),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _own_files(folder: Any) -> str:
    """Return a digest of the folder in a dataset's options. The converter checks the option."""
    with suppress(TypeError, RuntimeError):  # no path, or the home of an unknown user
        path = Path(folder).expanduser()
        return own_folder.digest(path) if path.is_dir() else ""
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
