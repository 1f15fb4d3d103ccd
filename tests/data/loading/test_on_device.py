from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from segbench.contract.recipe import Augment
from segbench.contract.view import Task
from segbench.data.dataset import Dataset
from segbench.data.loading.colour import blur_matrix
from segbench.data.loading.loader import Batch, SegmentationDataset, TrainingStream, collate
from segbench.data.loading.on_device import DeviceChanges
from segbench.data.loading.transforms import training_transform

VALUES: dict[str, dict[str, object]] = {
    "jitter": {"color_jitter": 0.4},
    "photometric": {"photometric": {}, "blur": {"sigma": [0.5, 1.5]}, "noise": {"std": [0, 0.1]}},
    "sometimes": {"blur": {"sigma": [0.5, 1.5], "probability": 0.5}},
}


def batch(root: Path, task: Task, augment: Augment) -> tuple[Batch, DeviceChanges | None]:
    dataset = Dataset(root)
    mean, std = dataset.info.mean, dataset.info.std
    later = DeviceChanges(augment, mean, std) if augment.on_device else None
    transform = training_transform(augment, mean, std)
    split, view = dataset.split("train"), dataset.view(task)
    stream = TrainingStream(SegmentationDataset(split, view, transform, later=later), seed=5)
    found = collate([stream[position] for position in range(8)])
    assert isinstance(found, tuple)
    return found, later


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic", "detection"])
@pytest.mark.parametrize("crop", [[32, 40], [200, 200], None])
@pytest.mark.parametrize("values", VALUES)
def test_batches_are_those_of_the_loader(
    shapes: Path, values: str, crop: list[int] | None, task: Task
) -> None:
    """Images smaller than the crop are padded with the mean colour: the changes must not reach there."""
    keys = VALUES[values] | {"crop": crop, "scale": [0.5, 1.5]}
    (expected, truth), _ = batch(shapes, task, Augment.model_validate(keys))
    (images, targets), later = batch(shapes, task, Augment.model_validate(keys | {"on_device": True}))
    assert later is not None and images.dtype == torch.uint8
    assert torch.equal(later(images, targets), expected)
    for one, other in zip(targets, truth, strict=True):
        assert one.keys() - {"changes"} == other.keys()
        assert all(torch.equal(one[key], value) for key, value in other.items() if torch.is_tensor(value))
    steps = [[number for number, _ in target["changes"][1]] for target in targets]
    assert (len({*map(len, steps)}) > 1) == (values != "jitter")


def test_a_blur_by_matrices_is_that_of_scipy() -> None:
    image = np.random.default_rng(0).random((3, 20, 31), np.float32)
    for sigma in (0.4, 2.0, 9.0):
        rows, columns = blur_matrix(20, sigma), blur_matrix(31, sigma)
        blurred = rows @ torch.from_numpy(image) @ columns.T
        expected = gaussian_filter(image, sigma, axes=(1, 2), mode="reflect")
        assert np.abs(blurred.numpy() - expected).max() < 1e-5


def test_pasted_objects_need_changed_images() -> None:
    with pytest.raises(ValidationError, match="copy_paste joins two images.*set on_device to false"):
        Augment.model_validate({"on_device": True, "copy_paste": {}})
