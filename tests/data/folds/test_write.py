from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample, rgb_to_id
from segbench.data.folds.write import write_fold
from segbench.data.images import open_image
from segbench.data.lint.dataset import lint_dataset
from segbench.errors import SegbenchError

CELL = [Category(id=1, name="cell", isthing=True, color=(9, 9, 9))]


def sample(stem: str, split: str = "train", group: str | None = None, value: int = 0) -> Sample:
    file = io.BytesIO()
    pixels = np.random.default_rng([value, len(split), len(stem)]).integers(0, 200, (6, 8, 3)) + value
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    mask = np.zeros((6, 8), bool)
    mask[1 + value % 4 : 4, 2:5] = True
    outline = [[1.5, 1.25, 6.5, 1.25, 6.5, 4.5]]
    objects = [{"category_id": 1, "segmentation": mask}, {"category_id": 1, "segmentation": outline}]
    return Sample(split, stem, file.getvalue(), ".png", instances=objects, group=group)


def cells(division: str = "own") -> Converted:
    """Ten images of five patients, two in the test split; `b` is in both splits."""
    train = [sample(s, "train", f"p{n // 2}", n) for n, s in enumerate("abcdefgh")]
    test = [sample("b", "test", "p4", 10), sample("z", "test", "p4", 11)]
    return Converted(CELL, True, "test", [*train, *test], orientation="stored", division=division)


def fold(dataset: Dataset, folds: int, number: int) -> Dataset:
    out = dataset.root / "folds" / str(folds) / str(number)
    write_fold(dataset.root, folds, number, out)
    return Dataset(out)


def records(dataset: Dataset, split: str) -> Iterator[tuple[str, dict]]:
    """What is stored of each image, by name."""
    part = dataset.split(split)
    by_image: dict[int, list] = {record.id: [] for record in part}
    for one in json.loads(part.instances_json.read_text())["annotations"]:
        number = one.pop("image_id")
        by_image[number].append({k: v for k, v in one.items() if k != "id"})
    for record in part:
        found = {
            "image": record.path.read_bytes(),
            "semantic": part.read_semantic(record.stem).tolist(),
            "objects": by_image[record.id],
            "group": part.groups().get(record.stem),
        }
        if part.panoptic_json.exists():
            path = part.panoptic_folder / f"{record.stem}.png"
            entries = json.loads(part.panoptic_json.read_text())["annotations"]
            found["panoptic"] = rgb_to_id(np.asarray(open_image(path))).tolist()
            found["segments"] = [e["segments_info"] for e in entries if e["image_id"] == record.id]
        yield record.stem, found


def test_a_fold_has_each_image_as_its_source(write) -> None:
    source = write(cells())
    before = {f"{s}_{name}": found for s in ("train", "test") for name, found in records(source, s)}
    tested: list[str] = []
    for number in range(3):
        one = fold(source, 3, number)
        test, train = dict(records(one, "test")), dict(records(one, "train"))
        assert {**test, **train} == before and not set(test) & set(train)
        assert not {t["group"] for t in test.values()} & {t["group"] for t in train.values()}
        ids = [a["id"] for a in json.loads(one.split("train").instances_json.read_text())["annotations"]]
        assert ids == list(range(1, len(ids) + 1))
        assert lint_dataset(one.root).errors == []
        tested += test
    assert sorted(tested) == sorted(before)


def test_images_are_links(write) -> None:
    source = write(cells())
    one = fold(source, 2, 0)
    linked = {r.path.stat().st_ino for s in one.info.splits for r in one.split(s)}
    assert linked == {r.path.stat().st_ino for s in source.info.splits for r in source.split(s)}


def test_statistics_are_those_of_the_training_images_of_the_fold(write) -> None:
    one = fold(write(cells()), 3, 1)
    pixels = np.concatenate([one.split("train").read_image(r).reshape(-1, 3) for r in one.split("train")])
    assert one.info.mean == pytest.approx((pixels / 255).mean(0))
    assert one.info.std == pytest.approx((pixels / 255).std(0))


def test_a_given_evaluation_split_is_kept_out(write) -> None:
    source = write(cells("published"))
    names = [n for number in range(4) for n, _ in records(fold(source, 4, number), "test")]
    assert sorted(names) == list("abcdefgh")


def test_panoptic_truth_is_the_same(shapes: Path, tmp_path: Path) -> None:
    source = Dataset(shapes)
    write_fold(shapes, 3, 0, tmp_path / "0")
    one = Dataset(tmp_path / "0")
    before = {f"{s}_{name}": found for s in ("train", "val") for name, found in records(source, s)}
    assert {name: found for s in ("train", "test") for name, found in records(one, s)} == before
    keys = ("tasks", "derived", "categories", "background", "channels")
    assert all(getattr(one.info, key) == getattr(source.info, key) for key in keys)


def test_more_folds_than_groups(write) -> None:
    with pytest.raises(SegbenchError, match="has 5 groups.* 6 folds") as found:
        fold(write(cells()), 6, 0)
    assert "`folds` to 5" in str(found.value.remedy) and "toy" in str(found.value.where)


def test_a_fold_depends_on_its_number_and_on_the_groups(write) -> None:
    source = write(cells())
    digests = {fold(source, 3, number).info.digest for number in range(3)}
    assert len(digests) == 3
    converted = cells()
    for one in converted.samples:
        one.group = None
    assert write(converted, name="other").info.digest != source.info.digest
