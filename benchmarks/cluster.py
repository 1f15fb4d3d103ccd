"""The shape of the full benchmark on the SLURM in a box, with faults.

    tools/slurm-cluster start
    SEGBENCH_MIRROR=FOLDER python -m benchmarks.cluster --networks unet,fcn_resnet50 --datasets drive,camvid
    SEGBENCH_MIRROR=FOLDER python -m benchmarks.cluster          # all networks, nine datasets, two seeds
    tools/slurm-cluster stop

Each cell trains for three iterations on its small backbone and goes through every step. One running job in
33 is killed, and the controller is restarted once. At the end all cells must be there, and no training may
have been completed twice. Start it as root, with SLURM's programs on the PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
FIELDS = {"id": "JobID", "state": "State", "comment": "Comment", "submitted": "SubmitTime"}
FIELDS |= {"started": "StartTime", "ended": "EndTime"}
TICKS = os.sysconf("SC_CLK_TCK")
BENCHMARK = 1500
"""Jobs of the whole configuration, for the extrapolation: see benchmarks/dag.py."""


def configuration(place: Path, networks: list[str], datasets: list[str], seeds: int) -> dict[str, object]:
    mirror = yaml.safe_load((ROOT / "config/mirror.yaml").read_text())
    short = {"iterations": 3, "batch_size": 1, "accumulate": 1, "schedule": {"warmup_iterations": 0}}
    return {
        "run": "cluster",
        "recipe": "demo",
        "mirror": os.environ["SEGBENCH_MIRROR"],
        "results": str(place),
        "data": str(place / "data"),
        "archives": str(place / "archives"),
        "weights": str(place / "weights"),
        "datasets": datasets or mirror["datasets"],
        "models": networks or mirror["models"],
        "controls": ["control_constant", "control_random", "control_truth"],
        "seeds": [*range(seeds)],
        "evaluation": {"bootstrap_samples": 0},
        "overrides": [{"recipe": short}],
    }


def queue() -> pd.DataFrame:
    """All jobs of the cluster's last hour; empty while the controller is away."""
    form = ",".join(f"{field}:200" for field in FIELDS.values())
    command = ["squeue", "--states=all", "--noheader", f"--Format={form}"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    rows = [[line[i : i + 200].strip() for i in range(0, 200 * len(FIELDS), 200)] for line in lines]
    return pd.DataFrame(rows, columns=list(FIELDS)).set_index("id")


def control(*command: str) -> None:
    subprocess.run([ROOT / "tools/slurm-cluster", *command], check=True)


class Faults:
    """Kills one job in `one_in` shortly after it was seen running; the same ones with the same seed."""

    def __init__(self, one_in: int, seed: int) -> None:
        self._one_in, self._draw = one_in, random.Random(seed)
        self._seen: set[str] = set()
        self._doomed: dict[str, float] = {}
        self.killed: list[str] = []

    def strike(self, running: list[str]) -> None:
        for job in running:
            if job not in self._seen:
                self._seen.add(job)
                if self._draw.randrange(self._one_in) == 0:
                    self._doomed[job] = time.monotonic() + self._draw.uniform(0, 10)
        for job in [j for j, moment in self._doomed.items() if moment < time.monotonic()]:
            del self._doomed[job]
            if job in running:
                subprocess.run(["scancel", "--signal=KILL", "--full", job], capture_output=True)
                self.killed.append(job)


def usage(pid: int) -> tuple[float, float]:
    """Processor seconds and peak memory in MB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return (int(fields[11]) + int(fields[12])) / TICKS, int(status["VmHWM"].split()[0]) / 1024


def run(place: Path, faults: Faults, jobs_at_once: int) -> tuple[float, pd.DataFrame, float, float]:
    """Run to the end. Seconds, all jobs, and processor seconds and peak MB of Snakemake."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--jobs", str(jobs_at_once)]
    command += ["--configfile", str(place / "cluster.yaml")]
    began, restarted, seconds, memory = time.monotonic(), False, 0.0, 0.0
    known = queue().index
    found = queue().iloc[:0]
    with (place / "log").open("w") as log:
        call = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        while call.poll() is None:
            seconds, memory = usage(call.pid)
            now = queue().drop(index=known, errors="ignore")
            found = now.combine_first(found)
            faults.strike([*now.index[now.state == "RUNNING"]])
            cells = sum(1 for _ in place.glob("cluster/cells/*/*/*/scores.csv"))
            if cells >= 5 and not restarted:
                restarted = True
                control("controller", "stop")
                time.sleep(5)
                control("controller", "start")
            time.sleep(1)
    print(f"Snakemake ended with status {call.returncode}; its messages are in {place / 'log'}")
    found = queue().drop(index=known, errors="ignore").combine_first(found)
    return time.monotonic() - began, found, seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", default="", help="names with commas between; by default, all")
    parser.add_argument("--datasets", default="", help="names with commas between; by default, nine")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--one-in", type=int, default=33, help="one job in this number is killed")
    parser.add_argument("--jobs", type=int, default=100, help="jobs in the queue")
    parser.add_argument("--out", type=Path, default=Path("results/cluster-benchmark"))
    chosen = parser.parse_args()
    place = chosen.out.resolve()
    place.mkdir(parents=True, exist_ok=True)
    networks, datasets = (names.split(",") if names else [] for names in (chosen.networks, chosen.datasets))
    config = configuration(place, networks, datasets, chosen.seeds)
    (place / "cluster.yaml").write_text(yaml.safe_dump(config))
    faults = Faults(chosen.one_in, 0)
    wall, jobs, seconds, memory = run(place, faults, chosen.jobs)
    planned = json.loads((place / "cluster/run.json").read_text())["cells"]
    status = pd.read_csv(place / "cluster/summary/cells.csv").status.value_counts().to_dict()
    done = jobs[(jobs.state == "COMPLETED") & jobs.comment.str.startswith("rule_train")]
    times = jobs[["submitted", "started", "ended"]].apply(pd.to_datetime, errors="coerce")
    ran = (times.ended - times.started).dt.total_seconds()
    waited = (times.started - times.submitted).dt.total_seconds()
    figures = {
        "cells planned": len(planned),
        "cells by status": status,
        "trainings completed twice": int(done.comment.duplicated().sum()),
        "jobs submitted": len(jobs),
        "jobs by state": jobs.state.value_counts().to_dict(),
        "jobs killed": len(faults.killed),
        "wall time, s": round(wall),
        "wall time a cell, s": round(wall / len(planned), 1),
        "a job runs, mean s": round(ran.mean(), 1),
        "a job waits, mean s": round(waited.mean(), 1),
        "Snakemake, processor s": round(seconds, 1),
        "Snakemake, share of a core": round(seconds / wall, 3),
        "Snakemake, peak MB": round(memory),
        f"extrapolated to {BENCHMARK} jobs: processor s": round(seconds / max(1, len(jobs)) * BENCHMARK),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    (place / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
