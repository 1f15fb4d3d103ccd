"""The convert step: extract the archives, run the converter, write the canonical dataset."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from segbench.contract.channels import Channels, Window
from segbench.contract.limits import Limits
from segbench.contract.view import Task
from segbench.data.converters.common import require
from segbench.data.dataset import Archives, Converted
from segbench.data.images import allow_pixels
from segbench.data.sources.archives import extract, is_archive
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.files import scratch
from segbench.importing import load_object

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


def convert_dataset(name: str, spec: ConvertSpec, archives: Sequence[Path], out: Path) -> None:
    """Write a canonical dataset.

    Args:
        name: name of the dataset.
        spec: its entry.
        archives: its archives and other files; archives are extracted beside `out` for the time of the step.
        out: folder of the dataset.

    Raises:
        SegbenchError: an archive or the data is not valid, or lacks a task of `spec.tasks`.
    """
    convert: Callable[[Archives, dict[str, Any]], Converted] = load_object(spec.convert)
    allow_pixels(spec.limits.max_pixels)
    with scratch(out) as folder:
        opened = {
            a.name: extract(a, folder / a.name, spec.limits) if is_archive(a) else a
            for a in (require(path, "fetch it again") for path in archives)
        }
        try:
            info = write_dataset(
                convert(opened, spec.options),
                out,
                name=name,
                title=spec.title,
                licence=spec.licence,
                citation=spec.citation,
                archives={a.name: _sha256(a) for a in archives},
                channels=spec.channels,
                window=spec.window,
                max_pixels=spec.limits.max_pixels,
            )
        except SegbenchError as error:  # name the archive: its temporary folder is gone
            inside = f"{folder}/"
            where = str(error.where).replace(inside, "") if error.where else f"dataset {name}"
            raise SegbenchError(error.what.replace(inside, ""), where=where, remedy=error.remedy) from error
    if missing := set(spec.tasks) - set(info.tasks):
        shutil.rmtree(out)
        raise SegbenchError(
            f"the converted data has no {', '.join(sorted(missing))} truth, but its entry lists it",
            where=f"dataset {name}",
            remedy=f"write `tasks: [{', '.join(info.tasks)}]` in the entry, or fix the converter",
        )
    log.info("%s: %s", name, ", ".join(f"{n} {split}" for split, n in info.splits.items()))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
