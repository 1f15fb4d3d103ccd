from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from segbench.contract.prediction import IGNORE
from segbench.contract.recipe import Augment
from segbench.contract.view import Task
from segbench.data.dataset import Dataset
from segbench.data.loading.loader import (
    MicroBatches,
    SegmentationDataset,
    TrainingStream,
    collate,
    training_batches,
)
from segbench.data.loading.transforms import plain_transform, training_transform
from segbench.errors import SegbenchError

AUGMENT = Augment(scale=(0.5, 2.0), crop=(32, 32), rotate90=True, color_jitter=0.4)


def stream(root: Path, seed: int = 3, task: Task = "semantic", augment: Augment = AUGMENT) -> TrainingStream:
    dataset = Dataset(root)
    transform = training_transform(augment, dataset.info.mean, dataset.info.std)
    return TrainingStream(SegmentationDataset(dataset.split("train"), dataset.view(task), transform), seed)


def test_every_epoch_is_a_new_permutation(shapes: Path) -> None:
    order = [stream(shapes).index(i) for i in range(36)]
    epochs = [order[:12], order[12:24], order[24:]]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order != [stream(shapes, seed=4).index(i) for i in range(36)]


def test_an_item_depends_on_seed_and_position_only(shapes: Path) -> None:
    first, second = stream(shapes), stream(shapes)
    list(map(first.__getitem__, range(15)))  # earlier samples do not matter
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(first[17][0], second[17][0])
    assert torch.equal(torch.get_rng_state(), before)  # sampling does not change the global generator
    assert first[17][0].shape != stream(shapes, seed=4)[17][0].shape or not torch.equal(
        first[17][0], stream(shapes, seed=4)[17][0]
    )


def test_the_same_image_differs_from_epoch_to_epoch(shapes: Path) -> None:
    draws = stream(shapes)
    places = [i for i in range(60) if draws.index(i) == 5]
    images = [draws[i][0] for i in places]
    assert len(images) == 5 and not any(torch.equal(images[0], other) for other in images[1:])


def test_micro_batches_of_all_iterations() -> None:
    batches = list(MicroBatches(iterations=5, batch_size=5, accumulate=2, start=0))
    assert batches[:4] == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]]
    assert len(batches) == len(MicroBatches(5, 5, 2, 0)) == 10


@pytest.mark.parametrize("start", range(6))
def test_micro_batches_go_on_from_any_iteration(start: int) -> None:
    whole = list(MicroBatches(5, 5, 2, 0))
    assert list(MicroBatches(5, 5, 2, start)) == whole[2 * start :]


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_workers_and_resuming_never_change_a_batch(shapes: Path, task: Task) -> None:
    def batches(workers: int, start: int) -> list:
        return list(
            training_batches(stream(shapes, task=task), MicroBatches(6, 4, 2, start), workers=workers)
        )

    alone = batches(0, 0)
    for other in (batches(2, 0), alone[:4] + batches(1, 2)):
        assert len(alone) == len(other) == 12
        for (images, targets), (images2, targets2) in zip(alone, other):
            assert torch.equal(images, images2)
            for one, two in zip(targets, targets2, strict=True):
                assert all(torch.equal(torch.as_tensor(one[k]), torch.as_tensor(two[k])) for k in one)


def test_collate_pads_with_void(shapes: Path) -> None:
    dataset = Dataset(shapes)
    for task in ("semantic", "instance", "panoptic"):
        view = dataset.view(task)
        items = SegmentationDataset(dataset.split("train"), view, plain_transform([0] * 3, [1] * 3))
        pair = [items[0], items[1]]  # 48 x 60 and 40 x 56
        images, targets = collate(pair)
        assert images.shape == (2, 3, 48, 60)
        assert torch.equal(images[1, :, :40, :56], pair[1][0])
        outside = torch.ones(48, 60, dtype=torch.bool)
        outside[:40, :56] = False
        assert not images[1][:, outside].any() and not targets[1]["valid"][outside].any()
        for key, void in (("semantic", IGNORE), ("masks", False)):
            if key in targets[1]:
                assert (targets[1][key][..., outside] == void).all()
                assert torch.equal(targets[1][key][..., :40, :56], pair[1][1][key])
        assert all(target["valid"].shape == (48, 60) for target in targets)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(shapes: Path, tmp_path: Path, workers: int) -> None:
    import shutil

    root = shutil.copytree(shapes, tmp_path / "copy")
    path = root / "train" / "images" / "07.png"
    path.write_bytes(path.read_bytes()[:200])
    batches = training_batches(stream(root), MicroBatches(3, 4, 1, 0), workers=workers)
    with pytest.raises(SegbenchError, match=r"^\S*07\.png: is not a readable image") as caught:
        list(batches)
    assert "Traceback" not in str(caught.value) and caught.value.where == path


def test_draws_are_spread_evenly(shapes: Path) -> None:
    counts = Counter(islice(map(stream(shapes).index, range(10_000)), 30))
    assert set(counts.values()) == {2, 3}
