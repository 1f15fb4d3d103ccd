"""Time and memory of the scores, each beside its reference: files on disk to the final dictionary.

    python -m benchmarks.evaluation                       a trial on 200 images
    python -m benchmarks.evaluation --images 5000         the table of docs/metrics.md
    python -m benchmarks.evaluation --memory 500,5000,50000    peak memory of the scores at these sizes
    python -m benchmarks.evaluation --before b81f586      a revision and the present files, in turn

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
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.revisions import ROOT, unpack
from benchmarks.synthetic import make

AGAINST = {
    "masks": ("pycocotools_masks", "hotcoco_masks"),
    "masks_only_ap": ("pycocotools_masks", "hotcoco_masks"),
    "panoptic": ("panopticapi", "panopticapi_all_cores"),
    "semantic": ("numpy_confusion",),
    "semantic_no_boundary": ("numpy_confusion",),
    "decoding": (),
}
"""Ours -> its references, in `benchmarks.references`."""


def masks(folder: Path, **keywords) -> dict[str, float]:
    from segbench.evaluation.runner.scored_files import score_instance

    return _pooled(score_instance, folder, folder / "instances.json", folder / "results.json", **keywords)


def masks_only_ap(folder: Path) -> dict[str, float]:
    return masks(folder, options=_no_families())


def semantic(folder: Path, **keywords) -> dict[str, float]:
    from segbench.evaluation.runner.scored_maps import score_semantic
    from segbench.evaluation.semantic.values import Values, class_names

    values = Values(class_names(str(folder / "names.txt")))
    sides = folder / "semantic_truth", folder / "semantic_predicted"
    return _pooled(score_semantic, folder, *sides, values, **keywords)


def semantic_no_boundary(folder: Path) -> dict[str, float]:
    return semantic(folder, options=_no_families())


def panoptic(folder: Path) -> dict[str, float]:
    from segbench.evaluation.runner.scored_files import score_panoptic

    paths = [folder / "panoptic_truth.json", folder / "panoptic_predicted.json"]
    folders = {"truth_folder": folder / "panoptic_truth", "predictions_folder": folder / "panoptic_predicted"}
    return _pooled(score_panoptic, folder, *paths, **folders)


def decoding(folder: Path) -> dict[str, float]:
    """Of the class maps, by several processes as the scores: the least that these can take."""
    from segbench.evaluation.runner.workers import available, in_chunks

    paths = [p for side in ("truth", "predicted") for p in (folder / f"semantic_{side}").iterdir()]
    return {"files": sum(in_chunks(_decode, paths, available()))}


def _decode(paths: list[Path]) -> int:
    from segbench.data.images import open_image

    return sum(open_image(path).width > 0 for path in paths)


def _no_families():
    from segbench.contract.evaluation import EvaluationOptions

    return EvaluationOptions(families=(), bootstrap_samples=0)


def _pooled(score, folder, *arguments, **keywords) -> dict[str, float]:
    from segbench.evaluation.pooling import pool
    from segbench.evaluation.runner.workers import available
    from segbench.evaluation.statistics import Statistics

    path = folder / "per_image.parquet"
    score(*arguments, path, processes=available(), **keywords)
    return {s.metric: s.value for s in pool(Statistics(path)) if not s.name}


def measured(what: str, folder: Path, source: Path = ROOT) -> dict[str, float]:
    """Run one function of the files in `source` in a fresh process.

    Returns:
        Its scores, wall and processor seconds, and peak MiB: that of the process and of its largest child
        together.
    """
    command = [sys.executable, "-m", "benchmarks.evaluation", "--measure", what, str(folder.absolute())]
    environment = os.environ | {"PYTHONPATH": str(source)}
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=source, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def _measure(what: str, folder: Path) -> None:
    import benchmarks.references as references

    start = time.perf_counter()
    scores = (globals().get(what) or getattr(references, what))(folder)
    seconds = time.perf_counter() - start
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(u.ru_utime + u.ru_stime for u in usage)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would hold the starting process's size too
    peak = (int(status.split("VmHWM:")[1].split()[0]) + usage[1].ru_maxrss) / 1024
    print(json.dumps({**scores, "seconds": seconds, "processor": processor, "mib": peak}))


def speed(folder: Path, repeats: int) -> Table:
    """The least of `repeats` rounds, in each of which everything runs once; factors are of time over ours."""
    titles = ("what", "seconds", "processor seconds", "MiB", "factor", "processor factor", "difference")
    table = Table(*titles, box=box.MARKDOWN)
    names = dict.fromkeys(name for pair in AGAINST.items() for name in (pair[0], *pair[1]))
    rounds = [{name: measured(name, folder) for name in names} for _ in range(repeats)]
    done = {name: {k: min(r[name][k] for r in rounds) for k in rounds[0][name]} for name in names}
    for ours, references in AGAINST.items():
        for name in (ours, *references):
            m, own = done[name], done[ours]
            row = [name, f"{m['seconds']:.1f}", f"{m['processor']:.1f}", f"{m['mib']:.0f}"]
            if name != ours:
                (key,) = m.keys() - {"seconds", "processor", "mib"}
                row += [f"{m[k] / own[k]:.1f}" for k in ("seconds", "processor")]
                row.append(f"{abs(m[key] - own[key]):.0e}")
            table.add_row(*row)
    return table


def compared(folder: Path, repeats: int, revision: str, source: Path) -> Table:
    """Processor seconds of a revision, whose files are in `source`, and of the present files, in turn."""
    table = Table("what", revision, "now", "now / before", box=box.MARKDOWN)
    for what in AGAINST:
        pairs = [[measured(what, folder, place) for place in (source, ROOT)] for _ in range(repeats)]
        before, now = (min(found["processor"] for found in side) for side in zip(*pairs))
        table.add_row(what, f"{before:.1f}", f"{now:.1f}", f"{now / before:.2f}")
    return table


def peaks(scratch: Path, sizes: list[int]) -> Table:
    """Flat for maps, here of 80 x 60; objects, which are held, up to 5,000 images."""
    names = ("semantic", "panoptic", "masks", "pycocotools_masks")
    table = Table("images", *(f"{name}, MiB" for name in names), box=box.MARKDOWN)
    for size in sizes:
        make(scratch / str(size), size, unique=min(sizes), objects=size <= 5000, shrink=8)
        wanted = [n for n in names if size <= 5000 or "masks" not in n]
        found = [f"{measured(n, scratch / str(size))['mib']:.0f}" for n in wanted]
        table.add_row(str(size), *found)
    return table


def main(
    images: int = 200,
    repeats: int = 1,
    memory: Annotated[str, typer.Option(help="Numbers of images, with commas.")] = "",
    before: Annotated[str, typer.Option(help="A revision to compare with.")] = "",
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
            console.print(peaks(Path(scratch), [int(n) for n in memory.split(",")]))
            return
        place = folder or Path(scratch) / "files"
        if not place.exists():
            make(place, images, unique=1000)
        console.print(f"{len(list((place / 'semantic_truth').iterdir()))} images, {os.cpu_count()} cores")
        if before:
            source = unpack(before, Path(scratch) / "source")
            console.print(compared(place, repeats, before, source))
            return
        console.print(speed(place, repeats))


if __name__ == "__main__":
    typer.run(main)
