"""Images that are kept decoded are those of the files, to the bit, and so are the batches made of them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_loader import AUGMENT

from segbench import quota
from segbench.contract.recipe import BorderWeights
from segbench.contract.view import Task
from segbench.data.dataset import Dataset, Split
from segbench.data.loading import decoding, kept
from segbench.data.loading.decoding import read_colours, read_labels, read_pixels
from segbench.data.loading.kept import keep
from segbench.data.loading.loader import MicroBatches, SegmentationDataset, TrainingStream, training_batches
from segbench.data.loading.transforms import training_transform
from segbench.errors import SegbenchError


@pytest.fixture
def root(shapes: Path, tmp_path: Path) -> Path:
    """A dataset whose images are a JPEG in grey, one in colours, and PNGs."""
    copy = tmp_path / "data"
    shutil.copytree(shapes, copy)
    first, second, *_ = sorted((copy / "train" / "images").iterdir())
    for path, mode in ((first, "L"), (second, "RGB")):
        Image.open(path).convert(mode).save(path.with_suffix(".jpg"))
        path.unlink()
    return copy


def batches(split: Split, task: Task, workers: int, borders: BorderWeights | None = None) -> list[Any]:
    info = split.dataset.info
    transform = training_transform(AUGMENT, info.mean, info.std)
    images = SegmentationDataset(split, split.dataset.view(task), transform, borders)
    positions = MicroBatches(6, 4, 1, start=0)
    return list(training_batches(TrainingStream(images, 3), positions, workers=workers))


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def no_decoding(*_: Any) -> Any:
    raise AssertionError("decodes a file")


@pytest.mark.parametrize(
    ("task", "borders", "workers"),
    [("semantic", None, 2), ("semantic", BorderWeights(), 0), ("instance", None, 0), ("panoptic", None, 0)],
)
def test_batches_are_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task, borders: Any, workers: int
) -> None:
    split = Dataset(root).split("train")
    expected = batches(split, task, 0, borders)
    split.kept = keep(split, split.dataset.view(task), tmp_path)
    assert split.kept is not None and len(split.kept) == 2 * len(split)
    monkeypatch.setattr(decoding, "_decoded", no_decoding)
    monkeypatch.setattr(decoding, "read_label_map", no_decoding)
    found = batches(split, task, workers, borders)
    for (images, targets), (own, others) in zip(expected, found, strict=True):
        assert torch.equal(images, own)
        assert all(map(equal, targets, others))


def test_arrays_have_values_type_and_strides_of_the_decoded_ones(root: Path, tmp_path: Path) -> None:
    split = Dataset(root).split("train")
    view = split.dataset.view("panoptic")
    known = pickle.loads(pickle.dumps(keep(split, view, tmp_path)))  # as in another process
    for record in split:
        path = split.panoptic_folder / f"{record.stem}.png"
        for name, expected in ((record.path, read_pixels(split, record).numpy()), (path, read_colours(path))):
            found = known[name]
            assert (found.dtype, found.strides) == (expected.dtype, expected.strides)
            np.testing.assert_array_equal(found, expected)
            assert not found.flags.writeable
    labels = split.semantic_path(record.stem)
    np.testing.assert_array_equal(read_labels(labels, known), read_labels(labels))  # not kept for this task


@pytest.mark.parametrize("after", [0, 1])
def test_what_does_not_fit_is_not_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, after: int
) -> None:
    """By the size of some images, or, if these are small, when the limit is reached."""
    split = Dataset(root).split("train")
    free = 2 * sum(image.size for image in map(split.read_image, split))
    monkeypatch.setattr(quota, "free_memory", lambda: free)
    if after:
        known, calls = kept._flat, iter(range(2 * kept.SAMPLE))
        monkeypatch.setattr(
            kept, "_flat", lambda array: known(array)[: 1 if next(calls, None) is not None else None]
        )
    assert keep(split, split.dataset.view("panoptic"), tmp_path) is None
    assert "cache: ram is not used: the 12 images of train need" in caplog.text


def test_a_broken_image_is_an_error_where_it_is_needed(root: Path, tmp_path: Path) -> None:
    split = Dataset(root).split("train")
    broken = split.images[3].path
    broken.write_bytes(broken.read_bytes()[:60])
    split.kept = keep(split, split.dataset.view("semantic"), tmp_path)
    assert split.kept is not None and broken not in split.kept and split.images[4].path in split.kept
    with pytest.raises(SegbenchError, match=broken.name):
        read_pixels(split, split.images[3])
