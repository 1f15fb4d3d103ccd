"""Processor seconds that Snakemake takes to work out what to do, at the size of a full benchmark.

    python -m benchmarks.dag --before 64b1516

A configuration of 14 datasets x 20 networks x 3 seeds with all controls. Nothing is fetched or trained:
for the finished run, empty files stand for the results, which `snakemake --touch` records.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.revisions import ROOT, unpack

DATASETS = "ade20k camvid cityscapes coco2017 cornea drive dsb2018 isbi2012 kvasir_seg liver loveda"
DATASETS += " penn_fudan phc_u373 voc2012_sbd"


def configuration(project: Path) -> dict[str, object]:
    entries = {
        path.stem: yaml.safe_load(path.read_text()) for path in sorted((project / "config/models").glob("*"))
    }
    return {
        "run": "large",
        "recipe": "standard",
        "datasets": DATASETS.split(),
        "models": [name for name, entry in entries.items() if entry.get("trained", True)],
        "controls": [name for name, entry in entries.items() if not entry.get("trained", True)],
        "seeds": [0, 1, 2],
    }


class Run:
    """A run of the project in `source`, in the folder `place`."""

    def __init__(self, source: Path, place: Path) -> None:
        self.source, self.place = source, place
        place.mkdir()
        (place / "large.yaml").write_text(yaml.safe_dump(configuration(source)))

    def snakemake(self, *arguments: str) -> tuple[float, str]:
        """Processor seconds and output of a call."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", self.source / "Snakefile"]
        command += ["--workflow-profile", self.source / "profiles/default", "--configfile", "large.yaml"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": str(self.source)},
            capture_output=True,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds, done.stdout + done.stderr

    def finish(self, plan: str) -> None:
        """Make the files that a dry run lists, and let Snakemake record them as results."""
        for line in plan.splitlines():
            if line.startswith("    output: "):
                for name in line.removeprefix("    output: ").split(", "):
                    path = self.place / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text("{}")
        self.snakemake("--touch", "--forceall", "--quiet")


def measure(source: Path, place: Path) -> tuple[int, float, float]:
    """Number of jobs; processor seconds of a dry run of a new run and of a finished one."""
    run = Run(source, place)
    run.snakemake("--dry-run", "--quiet")  # byte code and fingerprints
    new, plan = run.snakemake("--dry-run")
    total = next(line for line in plan.splitlines() if line.startswith("total"))
    run.finish(plan)
    finished, answer = run.snakemake("--dry-run")
    assert "Nothing to be done" in answer, answer[-2000:]
    return int(total.split()[1]), new, finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", help="a revision to compare with")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = {"now": ROOT}
        if chosen.before:
            sources = {chosen.before: unpack(chosen.before, Path(folder, "source")), **sources}
        print("| version | jobs | dry run | nothing to be done |", flush=True)
        print("| --- | ---: | ---: | ---: |")
        for name, source in sources.items():
            jobs, *seconds = measure(source, Path(folder, name))
            print(f"| {name} | {jobs} | {' | '.join(f'{s:.1f} s' for s in seconds)} |", flush=True)


if __name__ == "__main__":
    main()
