"""Datasets that must be placed by hand and are not there: a run goes on without them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from segbench.config.resolved_run import PlannedCell, ResolvedRun
from segbench.contract.run import MissingDataset, SkippedPair
from segbench.contract.sources import Archive, local_path
from segbench.errors import SegbenchError


def without_missing(run: ResolvedRun) -> ResolvedRun:
    """Return the run without the datasets that must be placed by hand and are not there.

    An archive with `manual` is there if it lies in `archives` or in the folder `mirror`. A converted dataset
    needs no archive. Only files are looked at: with an address as mirror, no archive counts as missing.

    Raises:
        SegbenchError: the mirror is a folder that does not exist, or every dataset is missing.
    """
    folder = local_path(run.config.mirror) if run.config.mirror else None
    mirrored = bool(run.config.mirror) and folder is None
    missing = []
    for name, entry in run.datasets.items():
        if not entry.archives or Path(run.config.data, name, "dataset.json").exists():
            continue
        if folder and not folder.is_dir():
            raise SegbenchError(
                f"the folder {folder} does not exist",
                where="mirror",
                remedy="correct its name, or remove the key to fetch from upstream",
            )
        places = [Path(run.config.archives), *([folder] if folder else [])]
        wanted = [
            _wish(places[0] / archive, described)
            for archive, described in entry.archives.items()
            if described.manual and not mirrored and not any((p / archive).exists() for p in places)
        ]
        if wanted:
            missing.append(MissingDataset(dataset=name, title=entry.title, wanted=wanted))
    if missing and len(missing) == len(run.datasets):
        raise SegbenchError(
            "every dataset of the run is missing\n  " + "\n  ".join(map(str, missing)),
            remedy="place the files, or name other datasets",
        )
    absent = {one.dataset for one in missing}
    cells = [cell for cell in run.cells if cell.dataset not in absent]
    stranded = _stranded(cells)
    skipped = {(cell.dataset, cell.model): cell.earlier for cell in stranded if cell.earlier}
    return replace(
        run,
        datasets={name: entry for name, entry in run.datasets.items() if name not in absent},
        cells=[cell for cell in cells if cell not in stranded],
        skipped=[pair for pair in run.skipped if pair.dataset not in absent]
        + [
            SkippedPair(
                dataset=d, model=m, reason=f"starts from {first[1]} on {first[0]}, which cannot be trained"
            )
            for (d, m), first in skipped.items()
        ],
        missing=missing,
    )


def _stranded(cells: Iterable[PlannedCell]) -> list[PlannedCell]:
    """Return the cells that start from a cell that is not among them, directly or through others."""
    left, lost = {cell.key: cell for cell in cells}, []
    while found := [cell for cell in left.values() if cell.earlier and cell.earlier not in left]:
        lost += found
        for cell in found:
            del left[cell.key]
    return lost


def _wish(place: Path, archive: Archive) -> str:
    return f"place {place.name} at {place} ({str(archive.manual).rstrip('.')})"
