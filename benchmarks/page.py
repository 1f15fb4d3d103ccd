"""Time, memory and size of the report page, of a run as large as the one on the mirror.

    python -m benchmarks.page                    20 networks on 9 datasets, images of 500 x 375 pixels
    python -m benchmarks.page --coco             10 networks on the objects of COCO's 5,000 validation images
    python -m benchmarks.page --before 463bb2d   the same, compared with a revision

The run is made up: scenes, and predictions that are the truth with mistakes. Networks of one kind share four
predictions, and datasets of one kind all files. Scores and statistics are those of the evaluation. The report
runs in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.revisions import ROOT, unpack

sys.path.insert(0, str(ROOT / "tests" / "report"))

import fake_run

from segbench.contract.evaluation import EvaluationOptions
from segbench.data import properties
from segbench.data.dataset import Dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.report.summarise import summarise

DATASETS = (
    "vessels1",
    "vessels2",
    "vessels3",
    "vessels4",
    "bubbles1",
    "bubbles2",
    "bubbles3",
    "street1",
    "street2",
)
VIEWS = {"semantic": 11, "instance": 6, "panoptic": 3}
"""Networks by the view that they are trained on."""
QUALITIES = (0.5, 0.6, 0.7, 0.75)
SIZE, IMAGES = (375, 500), 12
COCO_NETWORKS, COCO_IMAGES, COCO_OBJECTS = 10, 5000, 100


def make(root: Path) -> Path:
    """Write a run with scores; returns its run.json."""
    run_json = root / "results/page/run.json"
    cells, skipped = [], []
    networks = [(f"{view}_{n:02}", view, n) for view, count in VIEWS.items() for n in range(count)]
    for dataset in DATASETS:
        kind = fake_run.kind(dataset)
        data, tasks = root / "data" / dataset, fake_run.TASKS[kind]
        folder = run_json.parent / "cells" / dataset
        controls = [(model, tasks[-1], quality) for model, quality in fake_run.CONTROLS.items()]
        for model, view, _ in [*networks, *controls]:
            control = model in fake_run.CONTROLS
            if view in tasks:
                cells.append(
                    {"dataset": dataset, "model": model, "seed": 0, "task": view, "control": control}
                )
            else:
                skipped.append({"dataset": dataset, "model": model, "reason": f"it learns {view}"})
        if dataset != f"{kind}1":
            shutil.copytree(root / "data" / f"{kind}1", data, copy_function=os.link)
            shutil.copytree(folder.with_name(f"{kind}1"), folder, copy_function=os.link)
            continue
        scenes = fake_run.make_dataset(data, dataset, IMAGES, SIZE)
        split = Dataset(data).split("test")
        measured = ((record.stem, properties.measure(split.read_image(record))) for record in split)
        properties.write_properties(data / properties.FILE, (("test", *one) for one in measured))
        for model, view, which in [*networks, *controls]:
            if view not in tasks:
                continue
            control, cell = model in fake_run.CONTROLS, folder / model / "seed0"
            same = folder / f"{view}_{which % len(QUALITIES):02}" / "seed0" if not control else cell
            if same.exists():
                shutil.copytree(same, cell, copy_function=os.link)
                for name in ("training.json", "efficiency.json", "history.csv"):
                    (cell / name).unlink()
            else:
                quality = which if control else QUALITIES[which]
                fake_run.make_predictions(cell / "predictions", data, scenes, view, quality)
                options = EvaluationOptions(families=("objects",), bootstrap_samples=200)
                evaluate(data, cell / "predictions", cell, options=options)
            fake_run.write(cell / "state.json", {"step": "evaluate", "state": "ok"})
            if not control:
                fake_run.make_training(cell, 0, 2_000_000 * (1 + which) ** 2, 60.0 * (1 + which))
        print(dataset, flush=True)
    describe(run_json, root, DATASETS, cells, skipped)
    return run_json


def make_coco(root: Path) -> Path:
    """Write a run of one dataset with as many images and detections as COCO's; returns its run.json."""
    name, data = "bubbles", root / "data" / "bubbles"
    fake_run.make_dataset(data, name, 1, (480, 640))
    image, truth = data / "test/images/img001.jpg", json.loads((data / "test/instances.json").read_text())
    record, objects = truth["images"][0], truth["annotations"]
    listed = [record | {"id": i, "file_name": f"img{i:04}.jpg"} for i in range(1, COCO_IMAGES + 1)]
    for one in listed:
        os.link(image, image.with_name(one["file_name"]))
        os.link(data / "test/semantic/img001.png", data / f"test/semantic/{Path(one['file_name']).stem}.png")
    image.unlink()
    (data / "test/semantic/img001.png").unlink()
    truth["images"] = listed
    truth["annotations"] = [
        a | {"image_id": i["id"], "id": 14 * i["id"] + k} for i in listed for k, a in enumerate(objects)
    ]
    fake_run.write(data / "test/instances.json", truth)
    info = json.loads((data / "dataset.json").read_text())
    fake_run.write(data / "dataset.json", info | {"splits": {"train": 0, "test": COCO_IMAGES}})
    outline = {"size": [480, 640], "counts": objects[0]["segmentation"]["counts"]}
    cells = []
    for n in range(COCO_NETWORKS):
        model = f"instance_{n:02}"
        cells.append({"dataset": name, "model": model, "seed": 0, "task": "instance", "control": False})
        cell = root / f"results/page/cells/{name}/{model}/seed0"
        folder = cell / "predictions"
        if n:
            shutil.copytree(cell.parents[1] / "instance_00/seed0/predictions", folder, copy_function=os.link)
        else:
            folder.mkdir(parents=True)
            index = {"dataset": name, "split": "test", "task": "instance", "parts": ["instances"]}
            fake_run.write(folder / "predictions.json", index)
            with (folder / "instances.json").open("w") as file:
                for i in range(1, COCO_IMAGES + 1):
                    for k in range(COCO_OBJECTS):
                        one = {"image_id": i, "category_id": 1, "score": 1 - k / COCO_OBJECTS}
                        one |= {"segmentation": outline, "bbox": [10.5, 20.5, 30.25, 40.75]}
                        file.write(("[\n" if i + k == 1 else ",\n") + json.dumps(one))
                file.write("\n]")
            print(f"instances.json: {(folder / 'instances.json').stat().st_size / 1e6:.0f} MB", flush=True)
        fake_run.make_scores(cell, name, "instance", 0.5 + n / 50, 0)
        fake_run.make_training(cell, 0, 40_000_000 + n, 600.0)
        fake_run.write(cell / "state.json", {"step": "evaluate", "state": "ok"})
    describe(root / "results/page/run.json", root, (name,), cells, [])
    return root / "results/page/run.json"


def describe(run_json: Path, root: Path, datasets: tuple[str, ...], cells: list, skipped: list) -> None:
    described = {
        d: {"root": str(root / "data" / d), "title": f"{d.capitalize()} (made up)"} for d in datasets
    }
    run = {"name": "page", "cells": cells, "skipped": skipped, "datasets": described}
    fake_run.write(run_json, run)


def measure(source: Path, run_json: Path, out: Path) -> tuple[float, float, float, float]:
    """Return processor seconds and peak memory in MB of the report, and MB of the page and of its folder."""
    code = (
        "import sys; from pathlib import Path; from segbench.report.page import report; import resource;"
        "report(*map(Path, sys.argv[1:]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            *(path.resolve() for path in (run_json, run_json.parent / "summary", out)),
        ],
        cwd=source,  # the first place of an import
        check=True,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    whole = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return seconds, int(done.stdout) / 1024, (out / "index.html").stat().st_size / 1e6, whole / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--coco", action="store_true", help="one dataset as large as COCO's validation split")
    parser.add_argument("--before", help="a revision to compare with")
    parser.add_argument("--folder", type=Path, help="keep the made-up run here and use it again")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = (chosen.folder or Path(scratch)) / ("coco" if chosen.coco else "mirror")
        run_json = root / "results/page/run.json"
        if not run_json.exists():
            (make_coco if chosen.coco else make)(root)
            summarise(run_json, run_json.parent / "summary")
        sources = {"now": ROOT}
        if chosen.before:
            sources = {chosen.before: unpack(chosen.before, Path(scratch, "source")), **sources}
        print(
            "| version | processor s | peak MB | page MB | folder MB |\n| --- | ---: | ---: | ---: | ---: |"
        )
        for name, source in sources.items():
            values = measure(source, run_json, run_json.parent / f"report-{name}")
            print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
