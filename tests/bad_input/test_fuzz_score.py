"""Damaged truth and predictions given to `segbench score`."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import check, random_of, seeds
from mutations import damaged_image, damaged_json, places
from PIL import Image
from sources import SHAPE, labels, picture
from typer.testing import CliRunner

from segbench.data.coco import masks
from segbench.data.dataset import id_to_rgb
from segbench.errors import SegbenchError
from segbench.evaluation.runner.score import app

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


def values(folder: Path, task: str, files: dict[str, bytes]) -> dict[tuple[str, str], float | None]:
    """Scores by metric and class; in this process, which is quicker."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    suffix, options = ("", ["--classes", "2"]) if task == "semantic" else (".json", [])
    sides = ["--truth", folder / f"truth{suffix}", "--predictions", folder / f"guess{suffix}"]
    out = folder / "scores.json"
    found = CliRunner().invoke(app, [task, *map(str, sides), "--json", str(out), *options])
    if found.exception:
        assert not out.exists()
        raise found.exception
    return {(s["metric"], s["class"]): s["value"] for s in json.loads(out.read_text())["scores"]}


def records(tree: Any) -> list[dict[str, Any]]:
    """All JSON objects of a file."""
    return [container[key] for container, key in places([tree]) if isinstance(container[key], dict)]


def field(tree: Any, rng: random.Random, keys: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    found = [(record, key) for record in records(tree) for key in keys if key in record]
    return rng.choice(found)


NUMBERS = ("id", "image_id", "category_id", "iscrowd", "score", "area", "height", "width", "bbox")


def as_text(tree: Any, rng: random.Random) -> None:
    record, key = field(tree, rng, NUMBERS)
    value = record[key]
    record[key] = [str(v) for v in value] if isinstance(value, list) else str(value)


def as_null(tree: Any, rng: random.Random) -> None:
    record, key = field(tree, rng, (*NUMBERS, "file_name", "name", "segmentation", "segments_info"))
    record[key] = None


def twice(tree: Any, rng: random.Random) -> None:
    """Another entry with the same id."""
    entries = tree[rng.choice(("images", "categories"))] if isinstance(tree, dict) else tree
    entries.append(copy.deepcopy(rng.choice(entries)))


def in_another_order(tree: Any, rng: random.Random) -> None:
    for entries in tree.values() if isinstance(tree, dict) else [tree]:
        rng.shuffle(entries)


def of_another_size(tree: Any, rng: random.Random) -> None:
    record, key = field(tree, rng, ("height", "width", "size"))
    value = record[key]
    record[key] = value[::-1] if isinstance(value, list) else value * rng.choice((2, 10))


def degenerate(tree: Any, rng: random.Random) -> None:
    record, key = field(tree, rng, ("segmentation", "segments_info"))
    outlines: list[Any] = [
        [],
        [[]],
        {},
        [[1, 1, 5, 5]],
        [[1, 1]],
        [[1, 1, 1, 1, 1, 1]],
        [[900, 1, 901, 1, 901, 2]],
    ]
    record[key] = rng.choice(outlines if key == "segmentation" else [[], {}, [{}], [[]], None])


@pytest.mark.parametrize("mutate", [as_text, as_null, twice, in_another_order, of_another_size, degenerate])
@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_what_other_programs_write(task: str, mutate: Callable[..., None], tmp_path: Path) -> None:
    """The right value, or a message with file, value and remedy.

    The right value of an entry that is read otherwise than it stands is that of the entry as it should stand;
    only the outlines, and objects that are listed twice, are others.
    """
    expected = values(tmp_path / "sound", task, MAKERS[task]())
    for seed in seeds(12):
        files, rng = MAKERS[task](), random_of("score", task, mutate.__name__, seed)
        name = rng.choice([n for n in files if n.endswith(".json")])
        tree = json.loads(files[name])
        mutate(tree, rng)
        files[name] = json.dumps(tree).encode()
        folder = tmp_path / str(seed)
        try:
            found = values(folder, task, files)
        except SegbenchError as error:
            assert error.remedy and error.where is not None, error
            assert Path(error.where) == folder / name or mutate in (of_another_size, twice), error
            assert mutate is not in_another_order, error
        else:
            assert found == expected or mutate is degenerate or (mutate is twice and name == "guess.json")
            if task == "instance" and name == "truth.json":
                assert mutate not in (as_text, twice)


FORMS = {
    "grey in three channels": lambda ids: Image.fromarray(ids).convert("RGB"),
    "grey and alpha": lambda ids: Image.fromarray(ids).convert("LA"),
    "bool": lambda ids: Image.fromarray(ids.astype(bool)),
    "palette": lambda ids: Image.fromarray(ids, "P"),
    "16 bit": lambda ids: Image.fromarray(ids.astype(np.uint16)),
    "0 and 255": lambda ids: Image.fromarray(ids * 255),
    "0 and 128": lambda ids: Image.fromarray(ids * 128),
    "colours": lambda ids: Image.fromarray(np.stack([ids * 128, ids * 0, ids * 0], -1)),
    "another size": lambda ids: Image.fromarray(ids.repeat(2, 0)),
    "turned": lambda ids: Image.fromarray(ids.T.copy()),
}
EXACT = ("grey in three channels", "grey and alpha", "bool", "palette", "16 bit")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", ["truth", "guess"])
def test_masks_as_other_programs_write_them(side: str, form: str, tmp_path: Path) -> None:
    files = semantic()
    expected = values(tmp_path / "sound", "semantic", files)
    for name in files:
        if name.startswith(side):
            image = io.BytesIO()
            FORMS[form](labels(0, 1).astype(np.uint8)).save(image, "PNG")
            files[name] = image.getvalue()
    if form in EXACT:
        assert values(tmp_path / "in", "semantic", files) == expected
        return
    with pytest.raises(SegbenchError) as caught:
        values(tmp_path / "in", "semantic", files)
    other = "guess" if form in ("another size", "turned") else side  # sizes are said of the prediction
    assert str(caught.value.where).startswith(str(tmp_path / "in" / other)) and caught.value.remedy
