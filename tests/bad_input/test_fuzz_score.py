"""Damaged truth and predictions given to `segbench score`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forked import check, random_of, seeds
from mutations import damaged_image, damaged_json
from sources import SHAPE, labels, picture

from segbench.data import masks
from segbench.data.dataset import id_to_rgb

IDS = labels(1000, 2)
CATEGORIES = [{"id": 40, "name": "sky", "isthing": 0}, {"id": 7, "name": "dog", "isthing": 1}]
IMAGES = [
    {"id": 1, "file_name": "1.jpg", "height": SHAPE[0], "width": SHAPE[1]},
    {"id": 2, "file_name": "2.jpg", "height": SHAPE[0], "width": SHAPE[1]},
]
OBJECT = {"image_id": 1, "category_id": 7, "bbox": [5, 0, 5, 8], "segmentation": masks.encode(IDS == 2)}
POLYGON = {"image_id": 2, "category_id": 7, "bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 6, 1, 6, 6]]}
SEGMENTS = [{"id": 1000, "category_id": 40, "iscrowd": 0}, {"id": 2, "category_id": 7, "iscrowd": 0}]


def semantic() -> dict[str, bytes]:
    return {f"{side}/{name}.png": picture(labels(0, 1)) for side in ("truth", "guess") for name in "ab"}


def instance() -> dict[str, bytes]:
    objects = [{"id": i, "iscrowd": 0, "area": 40, **o} for i, o in enumerate((OBJECT, POLYGON), 1)]
    truth = {"images": IMAGES, "annotations": objects, "categories": CATEGORIES}
    results = [{**OBJECT, "score": 0.9}, {**POLYGON, "score": 0.4}]
    return {"truth.json": json.dumps(truth).encode(), "guess.json": json.dumps(results).encode()}


def panoptic() -> dict[str, bytes]:
    files = {}
    for side in ("truth", "guess"):
        annotations = [{"image_id": i, "file_name": f"{i}.png", "segments_info": SEGMENTS} for i in (1, 2)]
        content = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}
        files[f"{side}.json"] = json.dumps(content).encode()
        files |= {f"{side}/{i}.png": picture(id_to_rgb(IDS)) for i in (1, 2)}
    return files


MAKERS = {"semantic": semantic, "instance": instance, "panoptic": panoptic}


def score(folder: Path, task: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(content)
    suffix, options = ("", ["--classes", "2"]) if task == "semantic" else (".json", [])
    (folder / "out").mkdir()
    result = check(
        folder, ["truth", "guess"], "score", task, "--truth", folder / "in" / f"truth{suffix}",
        "--predictions", folder / "in" / f"guess{suffix}", "--json", folder / "out" / "scores.json",
        "--per-image", folder / "out" / "images.parquet", *options,
    )  # fmt: skip
    found = {path.name for path in (folder / "out").iterdir()}
    assert found == {"scores.json", "images.parquet"} if result.status == 0 else "scores.json" not in found


@pytest.mark.parametrize("task", MAKERS)
def test_sound_files_are_scored(task: str, tmp_path: Path) -> None:
    score(tmp_path, task, MAKERS[task]())
    assert (tmp_path / "out" / "scores.json").exists()


@pytest.mark.parametrize(("task", "seed"), [(t, s) for t in MAKERS for s in seeds(16)])
def test_damaged_files(task: str, seed: int, tmp_path: Path) -> None:
    files, rng = MAKERS[task](), random_of("score", task, seed)
    name = rng.choice(list(files))
    files[name] = (damaged_json if name.endswith(".json") else damaged_image)(files[name], rng)
    score(tmp_path, task, files)
