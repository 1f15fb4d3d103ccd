"""Time and memory of the scores, each beside its reference: files on disk to the final dictionary.

    python -m benchmarks.evaluation                       a trial on 200 images
    python -m benchmarks.evaluation --images 5000         the table of docs/metrics.md
    python -m benchmarks.evaluation --memory 500,50000    peak memory of the scores at these sizes

Every measurement runs in a fresh process and counts its start, except for Python's own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.synthetic import make

SCORES = {"mask AP": "ours_masks", "PQ": "ours_panoptic", "mIoU": "ours_semantic"}
REFERENCES = {
    "mask AP": {"pycocotools": "pycocotools_masks", "hotcoco, AP alone": "hotcoco_masks"},
    "PQ": {"panopticapi, one process": "panopticapi", "panopticapi, all cores": "panopticapi_all_cores"},
    "mIoU": {"numpy bincount and PIL": "numpy_confusion"},
}


def ours_masks(folder: Path) -> dict[str, float]:
    from segbench.evaluation.score import score_instance

    return _pooled(score_instance, folder, folder / "instances.json", folder / "results.json")


def ours_semantic(folder: Path) -> dict[str, float]:
    from segbench.evaluation.score import class_names, score_semantic

    names = class_names(str(folder / "names.txt"))
    return _pooled(score_semantic, folder, folder / "semantic_truth", folder / "semantic_predicted", names)


def ours_panoptic(folder: Path) -> dict[str, float]:
    from segbench.evaluation.score import score_panoptic

    paths = [folder / "panoptic_truth.json", folder / "panoptic_predicted.json"]
    folders = {"truth_folder": folder / "panoptic_truth", "predictions_folder": folder / "panoptic_predicted"}
    return _pooled(score_panoptic, folder, *paths, **folders)


def _pooled(score, folder, *arguments, **keywords) -> dict[str, float]:
    from segbench.evaluation.pooling import pool
    from segbench.evaluation.statistics import Statistics

    path = folder / "per_image.parquet"
    score(*arguments, path, **keywords)
    return {s.metric: s.value for s in pool(Statistics(path)) if not s.name}


def measure(what: str, folder: Path) -> dict[str, float]:
    """Run one function in a fresh process: its scores, and seconds and peak MiB (of it and its largest child)."""
    command = [sys.executable, "-m", "benchmarks.evaluation", "--measure", what, str(folder)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def _measure(what: str, folder: Path) -> None:
    import benchmarks.references as references

    start = time.perf_counter()
    scores = (globals().get(what) or getattr(references, what))(folder)
    seconds = time.perf_counter() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({**scores, "seconds": seconds, "mib": peak / 1024}))


def speed(folder: Path, repeats: int, console: Console) -> None:
    table = Table(
        "score", "against", "seconds", "MiB", "ours, seconds", "ours, MiB", "times as fast", "difference"
    )
    for score, name in SCORES.items():
        ours = min((measure(name, folder) for _ in range(repeats)), key=lambda m: m["seconds"])
        for reference, function in REFERENCES[score].items():
            theirs = min((measure(function, folder) for _ in range(repeats)), key=lambda m: m["seconds"])
            key = next(k for k in theirs if k not in ("seconds", "mib"))
            table.add_row(
                *(score, reference, f"{theirs['seconds']:.2f}", f"{theirs['mib']:.0f}"),
                *(
                    f"{ours['seconds']:.2f}",
                    f"{ours['mib']:.0f}",
                    f"{theirs['seconds'] / ours['seconds']:.1f}",
                ),
                f"{abs(theirs[key] - ours[key]):.1e}",
            )
    console.print(table)


def main(
    images: int = 200,
    repeats: int = 1,
    memory: Annotated[str, typer.Option(help="Numbers of images, with commas.")] = "",
    measure: Annotated[tuple[str, str] | None, typer.Option(hidden=True)] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the generated files here and use them again.")
    ] = None,
) -> None:
    if measure:
        _measure(measure[0], Path(measure[1]))
        return
    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="segbench-benchmark-") as scratch:
        if memory:
            peaks(Path(scratch), [int(n) for n in memory.split(",")], console)
            return
        place = folder or Path(scratch) / "files"
        if not place.exists():
            make(place, images)
        console.print(f"{len(list((place / 'semantic_truth').iterdir()))} images, {os.cpu_count()} cores")
        speed(place, repeats, console)


def peaks(scratch: Path, sizes: list[int], console: Console) -> None:
    table = Table("images", *(f"{score}, MiB" for score in SCORES))
    for size in sizes:
        make(scratch / str(size), size, unique=min(sizes))
        found = (measure(name, scratch / str(size)) for name in SCORES.values())
        table.add_row(str(size), *(f"{m['mib']:.0f}" for m in found))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
