from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from segbench.contract.prediction import IGNORE
from segbench.contract.view import View
from segbench.data.dataset import Dataset
from segbench.data.loading.grid import Grid
from segbench.data.loading.loader import SegmentationDataset
from segbench.data.loading.targets import build_target, mask_bounds, stack_objects
from segbench.data.loading.transforms import plain_transform
from segbench.errors import SegbenchError


def load(root: Path, task: str) -> SegmentationDataset:
    dataset = Dataset(root)
    return SegmentationDataset(dataset.split("train"), dataset.view(task), plain_transform([0] * 3, [1] * 3))


def encoded(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the category id and the segment id of each pixel of the fixture."""
    return (image[0] * 255 / 50).round().int(), (image[1] * 255 / 20).round().int()


def test_semantic_view(shapes: Path) -> None:
    for image, target in load(shapes, "semantic"):
        category, _ = encoded(image)
        void = category == 0
        if target["image_id"] == 1:  # the only one with void and with a crowd, which keeps its class
            assert void.any() and (target["semantic"][:, -3:] == IGNORE).all()
        assert (target["semantic"][~void] == category[~void] - 1).all()
        assert (target["semantic"][void] == IGNORE).all()
        assert (target["valid"] == ~void).all()
        assert target["semantic"].dtype == torch.int64


def test_panoptic_view(shapes: Path) -> None:
    for image, target in load(shapes, "panoptic"):
        category, segment = encoded(image)
        crowd = segment == 3 if target["image_id"] == 1 else torch.zeros_like(segment, dtype=torch.bool)
        known = (category > 0) & ~crowd
        assert (target["valid"] == known).all()
        assert (target["masks"].sum(0) == known).all()
        assert len(target["labels"]) == len(segment[known].unique())
        for label, mask in zip(target["labels"], target["masks"]):
            assert mask.any() and (category[mask] == label + 1).all() and len(segment[mask].unique()) == 1


def test_instance_view(shapes: Path) -> None:
    dataset = load(shapes, "instance")
    assert [c.name for c in dataset.view.classes] == ["box", "disc"]
    for image, target in dataset:
        category, segment = encoded(image)
        things = segment >= (4 if target["image_id"] == 1 else 3)
        assert (target["masks"].any(0) == things).all()
        assert target["boxes"].dtype == torch.float32 and target["masks"].dtype == torch.bool
        for label, mask, box in zip(target["labels"], target["masks"], target["boxes"]):
            assert (category[mask] == label + 3).all()
            y, x = mask.nonzero(as_tuple=True)
            assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_stuff_in_two_pieces_is_one_segment(shapes: Path) -> None:
    from segbench.data.loading.targets import PanopticReader

    dataset = Dataset(shapes)
    split, view = dataset.split("train"), dataset.view("panoptic")
    reader = PanopticReader(split, view)
    record = split.images[1]
    grid = Grid.whole(split.read_image(record).shape[:2])
    _, labels = reader(record, grid)
    ids = np.array(Image.open(split.panoptic_folder / "01.png"))[..., 0].astype(int)
    reader._segments = lambda _: [(k, 0) for k in np.unique(ids)]  # all segments are listed as sky
    merged, one = reader(record, grid)
    assert len(labels) > 2 and one.tolist() == [0] and (merged == 1).all()


def test_overlapping_objects_stay_apart() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((30, 50, 60), bool)
    for mask in masks:
        y, x = rng.integers(0, 40, 2)
        mask[y : y + 10, x : x + 12] = True
    rles = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    layers = np.stack([np.ones((50, 60), np.int32), *stack_objects(rles, Grid.whole((50, 60)))])
    assert 2 < len(layers) < 16
    target = build_target("instance", torch.from_numpy(layers), torch.arange(30), image_id=1)
    order = target["labels"].argsort()
    assert (target["masks"][order].numpy() == masks).all()


def test_no_objects() -> None:
    layers = np.stack([np.ones((4, 5), np.int32), *stack_objects([], Grid.whole((4, 5)))])
    target = build_target("instance", torch.from_numpy(layers), torch.zeros(0, dtype=torch.int64), image_id=1)
    assert (
        target["masks"].shape == (0, 4, 5) and target["boxes"].shape == (0, 4) and len(target["labels"]) == 0
    )


def test_objects_that_were_cropped_away_are_dropped() -> None:
    layers = torch.tensor([[[1, 1], [1, 1]], [[0, 3], [0, 3]]], dtype=torch.int32)
    target = build_target("instance", layers, torch.tensor([5, 6, 7, 8]), image_id=1)
    assert target["labels"].tolist() == [7] and target["boxes"].tolist() == [[1, 0, 2, 2]]


def test_bounds_of_a_single_pixel() -> None:
    masks = torch.zeros(1, 5, 6, dtype=torch.bool)
    masks[0, 2, 3] = True
    assert mask_bounds(masks).tolist() == [[3, 2, 4, 3]]


def test_many_objects_are_quick() -> None:
    """375 cells, the most in an image of DSB 2018."""
    ids = np.kron(np.arange(375).reshape(15, 25) + 1, np.ones((16, 16), np.int32))
    rles = [coco.encode(np.asfortranarray(ids == k, np.uint8)) for k in range(1, 376)]
    started = time.process_time()
    layers = stack_objects(rles, Grid.whole(ids.shape))
    stack = torch.from_numpy(np.stack([np.ones_like(ids), *layers]))
    target = build_target("instance", stack, torch.zeros(375, dtype=torch.int64), image_id=1)
    assert len(layers) == 1 and len(target["masks"]) == 375
    assert time.process_time() - started < 2  # CPU time; it takes 0.1 s


def test_label_outside_the_class_list(shapes: Path, tmp_path: Path) -> None:
    dataset = load(shapes, "semantic")
    few = View("semantic", dataset.view.classes[:2])
    dataset = SegmentationDataset(dataset.split, few, dataset.transform)
    with pytest.raises(SegbenchError, match=r"semantic/0\d\.png: label 4 is outside the class list"):
        list(dataset)


def test_image_of_another_size(shapes: Path, tmp_path: Path) -> None:
    import shutil

    root = shutil.copytree(shapes, tmp_path / "copy")
    Image.new("RGB", (20, 20)).save(root / "train" / "images" / "03.png")
    with pytest.raises(SegbenchError, match=r"03\.png: has height and width \(20, 20\), its truth"):
        load(root, "semantic")[3]
