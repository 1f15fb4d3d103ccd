"""`segbench probe`: one short job for each network of a run, and a table of what they found."""

from __future__ import annotations

import subprocess
import sys

from segbench import units
from segbench.errors import SegbenchError
from segbench.jobs.cost import probes
from segbench.jobs.cost.bill import table
from segbench.jobs.cost.probes import Probe
from segbench.jobs.plan import configured, parsed

TARGET = "probes"
"""Target of the workflow that probes all networks of a run."""


def probe_all(arguments: list[str]) -> None:
    """Call Snakemake for the probes of a run, here or on a cluster, and print the probes of its networks.

    Args:
        arguments: options of Snakemake, such as `--configfile` and `--profile`.

    Raises:
        SegbenchError: a probe has failed, or the configuration has a mistake.
    """
    run = configured(parsed(arguments))  # mistakes are reported before anything starts
    done = subprocess.run([sys.executable, "-m", "snakemake", TARGET, *arguments], check=False)
    models = {cell.class_path for cell in run.cells if cell.recipe}
    found = [one for one in probes.of_run(run).all if one.work.network.class_path in models]
    print(*table([HEAD, *map(row, found)]), sep="\n")
    if done.returncode:
        raise SegbenchError(
            "some probes have failed",
            where="segbench probe",
            remedy=f"see {run.config.results}/{run.config.run}/logs/probe",
        )


HEAD = (
    *("network", "crop", "images", "step", "loading"),
    *("memory", "share", "prediction", "accumulate", "device"),
)
"""Columns of the table."""


def row(found: Probe) -> tuple[str, ...]:
    """Return the row of a probe: `accumulate` names what fits if the recipe's does not."""
    work = found.work
    parts = str(found.accumulate) if found.fits else f"{found.accumulate} (not {work.accumulate})"
    return (
        work.network.class_path.partition(":")[2],
        "{} x {}".format(*work.size),
        str(work.batch),
        units.duration(found.seconds),
        units.duration(found.loading),
        units.memory(found.memory.allocated or found.memory.resident),
        f"{found.share:.0%}" if found.share else units.NOTHING,
        units.duration(found.prediction_seconds),
        parts,
        found.device,
    )
